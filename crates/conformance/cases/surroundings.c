/* What is around a program: a debugger that goes step by step, libraries that define libc's functions anew. */
#include "conformance.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>

/* Functions of libc's as a preloaded library defines them: with thread-local storage of its own, and a memory of who called. */
static volatile int watching, called;
static char last_called[32];
static __thread volatile int own_storage;

static void note(const char *name) {
    if (!watching) return;
    called++;
    own_storage++;
    strncpy(last_called, name, sizeof last_called - 1);
}

#define NEXT(type, name)                                                                                     \
    static __typeof__(type) next;                                                                                        \
    if (!next) next = (type)dlsym(RTLD_NEXT, name);                                                          \
    note(name)

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT(int (*)(clockid_t, struct timespec *), "clock_gettime");
    return next(clock, time);
}

long syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    long a = va_arg(arguments, long), b = va_arg(arguments, long), c = va_arg(arguments, long);
    long d = va_arg(arguments, long), e = va_arg(arguments, long), f = va_arg(arguments, long);
    va_end(arguments);
    NEXT(long (*)(long, ...), "syscall");
    return next(number, a, b, c, d, e, f);
}

pid_t getpid(void) {
    NEXT(pid_t (*)(void), "getpid");
    return next();
}

int sched_yield(void) {
    NEXT(int (*)(void), "sched_yield");
    return next();
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
    NEXT(int (*)(__rlimit_resource_t, struct rlimit *), "getrlimit");
    return next(resource, limit);
}

/* Blocks of all kinds come and go for so long that the allocator's own thread looks after them. */
CASE_FREESTONE(functions_of_libcs_that_others_define_are_left_to_them) {
    watching = 1;
    for (int round = 0; round < 15; round++) {
        enum { BLOCKS = 4000 };
        static void *blocks[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = hide(malloc((size_t)i * 5));
            if (!blocks[i]) FAIL("no memory");
            memset(blocks[i], 1, (size_t)i * 5);
        }
        for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
        free(hide(calloc(1, 3 * MIB)));
        usleep(100000);
    }
    watching = 0;
    CHECK_THAT(called == 0, "%d calls, the last of %s", called, last_called);
}

/* Blocks of a class that are new, resized and freed, and one without a class. Copying and clearing would take most of the steps. */
static void use_blocks(void) {
    static const size_t sizes[] = {1, 24, 100, 1000, 5000};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        void *p = hide(malloc(sizes[i])), *q = hide(calloc(1, sizes[i]));
        p = hide(realloc(p, sizes[i] * 2));
        if (!p || !q) _exit(2);
        free(p);
        free(q);
    }
    free(hide(malloc(100000)));
    free(hide(malloc(3000000)));
}

/* A debugger goes step by step to watch a variable, or to record what is executed. */
CASE(a_program_that_is_stepped_through_gets_on) {
    use_blocks();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(SKIPPED);
        raise(SIGSTOP);
        use_blocks();
        use_blocks();
        _exit(0);
    }
    int status = 0, steps = 0;
    double until = seconds_now() + 15;
    CHECK(waitpid(child, &status, 0) == child);
    while (WIFSTOPPED(status) && seconds_now() < until) {
        int signal = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, (void *)(uintptr_t)signal) != 0) break;
        CHECK(waitpid(child, &status, 0) == child);
        steps++;
    }
    if (WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        FAIL("still stepping after %d steps", steps);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) skip("no ptrace here");
    CHECK_THAT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x after %d steps", status, steps);
}
