/* The frame of every conformance program: named cases, one process each.
 *
 *   program              runs every case in a process of its own, a line each
 *   program --list       prints the names
 *   program NAME         runs one case in this process
 *
 * A case prints `ok NAME`, `ok NAME # SKIP reason` or `not ok NAME: reason`. Exit status: 0, SKIPPED
 * or 1. A case ends by returning, so that what runs after main is part of it. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
/* An exit status that the runner reports as "ignored". */
#define SKIPPED 77
#define CASE_TIMEOUT_SECONDS 40
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { KIND_CASE, KIND_FREESTONE, KIND_INNER };

struct conformance_case {
    const char *name;
    void (*run)(void);
    int kind;
};

static struct conformance_case conformance_cases[160];
static int conformance_count;
static const char *conformance_current = "(before main)";

static UNUSED void conformance_add(const char *name, void (*run)(void), int kind) {
    conformance_cases[conformance_count].name = name;
    conformance_cases[conformance_count].run = run;
    conformance_cases[conformance_count].kind = kind;
    conformance_count += 1;
}

#define CONFORMANCE_DEFINE(name, kind)                                                                       \
    static void name(void);                                                                                  \
    __attribute__((constructor)) static void conformance_add_##name(void) {                                  \
        conformance_add(#name, name, kind);                                                                  \
    }                                                                                                        \
    static void name(void)

/* A rule that holds for every allocator that keeps to the standards and to glibc's manual. */
#define CASE(name) CONFORMANCE_DEFINE(name, KIND_CASE)
/* A promise of Freestone's own, or one that glibc is known to break. */
#define CASE_FREESTONE(name) CONFORMANCE_DEFINE(name, KIND_FREESTONE)
/* Started only by another case, with `run_inner`. */
#define INNER(name) CONFORMANCE_DEFINE(name, KIND_INNER)

/* Ends the process with a reason. Usable from threads, children and while memory is exhausted: the
 * text goes through a buffer on the stack, straight to the descriptor. */
__attribute__((format(printf, 3, 4))) static UNUSED void conformance_fail(const char *file, int line,
                                                                          const char *format, ...) {
    char text[512];
    const char *base = strrchr(file, '/');
    int used = snprintf(text, sizeof text, "not ok %s: %s:%d: ", conformance_current,
                        base ? base + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    used += vsnprintf(text + used, sizeof text - (size_t)used - 1, format, arguments);
    va_end(arguments);
    if ((size_t)used > sizeof text - 2) used = sizeof text - 2;
    text[used] = '\n';
    ssize_t written = write(STDOUT_FILENO, text, (size_t)used + 1);
    (void)written;
    _exit(1);
}

#define FAIL(...) conformance_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) FAIL("%s", #condition);                                                            \
    } while (0)
/* CHECK with the values that explain the failure. */
#define CHECK_THAT(condition, ...)                                                                           \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            char conformance_why[256];                                                                       \
            snprintf(conformance_why, sizeof conformance_why, __VA_ARGS__);                                  \
            FAIL("%s (%s)", #condition, conformance_why);                                                    \
        }                                                                                                    \
    } while (0)

static UNUSED void skip(const char *reason) {
    char text[256];
    int used = snprintf(text, sizeof text, "ok %s # SKIP %s\n", conformance_current, reason);
    ssize_t written = write(STDOUT_FILENO, text, (size_t)used);
    (void)written;
    _exit(SKIPPED);
}

/* Hides where a pointer or size came from, so that the compiler can conclude nothing from it. */
static inline UNUSED void *hide(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static inline UNUSED size_t opaque(size_t n) {
    __asm__ volatile("" : "+r"(n));
    return n;
}

/* A symbol that not every C library has, or NULL. */
#ifdef CONFORMANCE_STATIC
#define SYMBOL(type, name) ((type)(void *)name)
#else
#define SYMBOL(type, name) ((type)dlsym(RTLD_DEFAULT, #name))
#endif

/* Whether the malloc in use is Freestone's. */
static UNUSED int on_freestone(void) {
#ifdef CONFORMANCE_STATIC
    return 1;
#else
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, "malloc");
    return symbol && dladdr(symbol, &info) && info.dli_fname && strstr(info.dli_fname, "libfreestone_malloc");
#endif
}

/* For symbols that Freestone must have and others may have. */
#define REQUIRE(pointer)                                                                                     \
    do {                                                                                                     \
        if (!(pointer)) {                                                                                    \
            if (on_freestone()) FAIL("missing symbol for %s", #pointer);                                     \
            skip("this allocator lacks " #pointer);                                                          \
        }                                                                                                    \
    } while (0)

static inline UNUSED int aligned_to(const void *p, size_t align) {
    return ((uintptr_t)p & (align - 1)) == 0;
}

/* Patterns: each byte depends on its offset and on the seed, so that blocks which overlap, move by
 * some bytes or come back with old contents are told apart. */
static inline UNUSED unsigned char pattern_at(size_t offset, unsigned seed) {
    return (unsigned char)(offset * 31 + (offset >> 8) * 7 + seed * 101 + 1);
}

static UNUSED void fill(void *p, size_t n, unsigned seed) {
    unsigned char *bytes = (unsigned char *)hide(p);
    for (size_t i = 0; i < n; i++) bytes[i] = pattern_at(i, seed);
    hide(p);
}

static UNUSED int whole(const void *p, size_t n, unsigned seed) {
    const unsigned char *bytes = (const unsigned char *)hide((void *)p);
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != pattern_at(i, seed)) return 0;
    return 1;
}

/* The same for one byte in every `step`, and the last one: for blocks too large to touch whole. */
static UNUSED void fill_sparse(void *p, size_t n, size_t step, unsigned seed) {
    unsigned char *bytes = (unsigned char *)hide(p);
    for (size_t i = 0; i < n; i += step) bytes[i] = pattern_at(i, seed);
    if (n) bytes[n - 1] = pattern_at(n - 1, seed);
    hide(p);
}

static UNUSED int whole_sparse(const void *p, size_t n, size_t step, unsigned seed) {
    const unsigned char *bytes = (const unsigned char *)hide((void *)p);
    for (size_t i = 0; i < n; i += step)
        if (bytes[i] != pattern_at(i, seed)) return 0;
    return n == 0 || bytes[n - 1] == pattern_at(n - 1, seed);
}

static UNUSED int all_zero(const void *p, size_t n) {
    const unsigned char *bytes = (const unsigned char *)hide((void *)p);
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return 0;
    return 1;
}

static UNUSED unsigned random_next(unsigned *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* A size with a log-uniform distribution from 1 to 2^max_bits. */
static UNUSED size_t random_size(unsigned *state, unsigned max_bits) {
    size_t high = (size_t)1 << (random_next(state) % (max_bits + 1));
    return high / 2 + random_next(state) % (high / 2 + 1) + 1;
}

/* Field `index` of /proc/self/statm in KiB: 0 virtual, 1 resident. Allocates nothing. */
static UNUSED size_t statm_kib(int index) {
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    char *at = text;
    size_t pages = strtoul(at, &at, 10);
    if (index == 1) pages = strtoul(at, &at, 10);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / KIB;
}

static UNUSED size_t resident_kib(void) { return statm_kib(1); }
static UNUSED size_t virtual_kib(void) { return statm_kib(0); }

static UNUSED double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static UNUSED void sleep_milliseconds(long milliseconds) {
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {}
}

/* Starts a thread with a small stack (0: the default) and insists that it starts. */
static UNUSED pthread_t spawn(void *(*body)(void *), void *argument, size_t stack) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (stack) pthread_attr_setstacksize(&attributes, stack);
    int error = pthread_create(&thread, &attributes, body, argument);
    pthread_attr_destroy(&attributes);
    CHECK_THAT(error == 0, "pthread_create: %s", strerror(error));
    return thread;
}

static UNUSED void join(pthread_t thread) { CHECK(pthread_join(thread, NULL) == 0); }

/* Waits for a child and insists that it ended well. */
static UNUSED void reap(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
    CHECK_THAT(!WIFSIGNALED(status), "child died of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == SKIPPED) _exit(SKIPPED);
    CHECK_THAT(WEXITSTATUS(status) == 0, "child exited with %d", WEXITSTATUS(status));
}

/* Runs `body` in a forked child. */
static UNUSED void in_child(void (*body)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    reap(child);
}

/* Runs an INNER case in a fresh process image; `prepare` acts between fork and exec. */
static UNUSED void run_inner(const char *name, void (*prepare)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (prepare) prepare();
        execl("/proc/self/exe", "/proc/self/exe", name, (char *)NULL);
        FAIL("exec: %s", strerror(errno));
    }
    reap(child);
}

static int conformance_run_apart(const struct conformance_case *one) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        execl("/proc/self/exe", "/proc/self/exe", one->name, (char *)NULL);
        _exit(126);
    }
    int status = 0;
    double deadline = seconds_now() + CASE_TIMEOUT_SECONDS;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (seconds_now() > deadline) {
            kill(-child, SIGKILL);
            waitpid(child, &status, 0);
            printf("not ok %s: still running after %d seconds\n", one->name, CASE_TIMEOUT_SECONDS);
            return 1;
        }
        sleep_milliseconds(2);
    }
    if (WIFSIGNALED(status)) printf("not ok %s: died of signal %d\n", one->name, WTERMSIG(status));
    return !(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED));
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (int i = 0; i < conformance_count; i++)
            if (conformance_cases[i].kind != KIND_INNER) puts(conformance_cases[i].name);
        return 0;
    }
    int failures = 0, found = 0;
    for (int i = 0; i < conformance_count; i++) {
        const struct conformance_case *one = &conformance_cases[i];
        if (argc == 1 && one->kind != KIND_INNER) {
            failures += conformance_run_apart(one);
            found = 1;
        } else if (argc == 2 && strcmp(argv[1], one->name) == 0) {
            conformance_current = one->name;
            if (one->kind == KIND_FREESTONE && !on_freestone()) skip("a promise of Freestone's own");
            one->run();
            if (one->kind != KIND_INNER) printf("ok %s\n", one->name);
            fflush(stdout);
            found = 1;
        }
    }
    if (!found) fprintf(stderr, "no such case; --list prints the names\n");
    return failures || !found;
}

#endif
