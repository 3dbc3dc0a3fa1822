/* The frame of the misuse programs: one fault a case, one process a case.
 *
 *   program --list      prints `NAME<TAB>description`, a line each
 *   program NAME        commits that fault
 *
 * A case never returns a judgement about the allocator that reports it: then the process is dead. If it
 * survives its fault it says on the standard output what came of it, and ends with
 *
 *   MISSED    the fault had an effect: memory was shared, changed, leaked, or an address was accepted
 *   HARMLESS  the fault had no effect, although nobody said anything
 *   SKIPPED   it cannot be committed here
 *
 * A case that ends by returning was accepted in silence: MISSED, after `settle` gave the allocator
 * the usual occasions to notice. Nothing is written to the standard error: what stands there is the
 * allocator's. */
#ifndef MISUSE_H
#define MISUSE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The same numbers in src/outcome.rs. */
enum { MISSED = 40, HARMLESS = 41, SKIPPED = 77 };

struct fault {
    const char *name, *words;
    void (*commit)(void);
};
static struct fault faults[100];
static int fault_count;

static UNUSED void add_fault(const char *name, const char *words, void (*commit)(void)) {
    faults[fault_count++] = (struct fault){name, words, commit};
}

#define FAULT(name, words)                                                                                   \
    static void name(void);                                                                                  \
    __attribute__((constructor)) static void add_##name(void) { add_fault(#name, words, name); }             \
    static void name(void)

static UNUSED __attribute__((noreturn)) void verdict(int status, const char *words) {
    ssize_t ignored = write(STDOUT_FILENO, words, strlen(words));
    ignored += write(STDOUT_FILENO, "\n", 1);
    (void)ignored;
    /* The usual end, so that an allocator can say at exit what it has found. */
    exit(status);
}
static UNUSED __attribute__((noreturn)) void missed(const char *words) { verdict(MISSED, words); }
static UNUSED __attribute__((noreturn)) void harmless(const char *words) { verdict(HARMLESS, words); }
static UNUSED __attribute__((noreturn)) void skip(const char *words) { verdict(SKIPPED, words); }

/* Hides where a pointer or a size came from, so that the compiler concludes nothing from it. */
static inline UNUSED void *hide(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}
static inline UNUSED size_t opaque(size_t n) {
    __asm__ volatile("" : "+r"(n));
    return n;
}

/* A block of `size` bytes, filled with `byte`. */
static UNUSED unsigned char *take(size_t size, int byte) {
    unsigned char *p = (unsigned char *)hide(malloc(size));
    if (!p) skip("no memory");
    memset(hide(p), byte, size);
    return (unsigned char *)hide(p);
}

static UNUSED int all_are(const void *block, size_t size, int byte) {
    const unsigned char *bytes = (const unsigned char *)hide((void *)block);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)byte) return 0;
    return 1;
}

static UNUSED int some_are(const void *block, size_t size, int byte) {
    const unsigned char *bytes = (const unsigned char *)hide((void *)block);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] == (unsigned char)byte) return 1;
    return 0;
}

/* Has blocks of this size come and go, and what is cached return: every usual occasion on which an
 * allocator looks at what was freed. */
static UNUSED void settle(size_t size) {
    enum { MANY = 20000 };
    static void *blocks[MANY];
    /* Where a fault is found at once there is nothing to wait for, and blocks are dear. */
    static int is_short = -1;
    if (is_short < 0) is_short = getenv("MISUSE_SHORT") != NULL;
    size_t count = is_short ? 40 : size > 4096 ? (size > 64 * KIB ? 40 : 800) : MANY;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) blocks[i] = hide(malloc(size));
        for (size_t i = 0; i < count; i++) free(blocks[i]);
    }
    malloc_trim(0);
}

static UNUSED pthread_t spawn(void *(*body)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) != 0) skip("no thread");
    return thread;
}

static UNUSED void *free_it(void *p) {
    free(p);
    return NULL;
}

/* Whether two of the next requests of this size get blocks that overlap, or one gets `p` while its owner has it.
 * Each block carries its own number in its first and last word. */
static UNUSED int handed_out_twice(size_t size) {
    enum { MANY = 3000 };
    static size_t *blocks[MANY];
    size_t count = size > 4096 ? 100 : MANY, last = size / sizeof(size_t) - 1;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = (size_t *)hide(malloc(size));
        if (!blocks[i]) skip("no memory");
        blocks[i][0] = blocks[i][last] = i + 1;
        hide(blocks[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (blocks[i][0] != i + 1 || blocks[i][last] != i + 1) return 1;
    return 0;
}

int main(int argc, char **argv) {
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (int i = 0; i < fault_count; i++) printf("%s\t%s\n", faults[i].name, faults[i].words);
        return 0;
    }
    for (int i = 0; argc == 2 && i < fault_count; i++)
        if (strcmp(argv[1], faults[i].name) == 0) {
            /* The allocator is in use, as in every real program. */
            settle(64);
            faults[i].commit();
            missed("nothing was said");
        }
    fputs("no such fault; --list prints the names\n", stderr);
    return 2;
}

#endif
