/* Signal handlers that allocate, whatever they interrupt. POSIX does not ask for it, glibc deadlocks;
 * Freestone promises it. The cases with "between" mask the signal around calls and hold for all. */
#include "conformance.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>

enum { RING = 64 };

struct ring {
    void *blocks[RING];
    size_t sizes[RING];
    unsigned state;
    volatile unsigned long turns;
};

static _Thread_local struct ring *handler_ring;
static struct ring rings[8];

static void step(struct ring *ring, unsigned max_bits) {
    unsigned i = random_next(&ring->state) % RING;
    unsigned action = random_next(&ring->state) % 8;
    if (ring->blocks[i]) {
        CHECK_THAT(whole(ring->blocks[i], ring->sizes[i], i), "block of %zu bytes", ring->sizes[i]);
        if (action == 0) {
            size_t size = random_size(&ring->state, max_bits);
            size_t least = size < ring->sizes[i] ? size : ring->sizes[i];
            ring->blocks[i] = hide(realloc(ring->blocks[i], size));
            CHECK(ring->blocks[i] && whole(ring->blocks[i], least, i));
            ring->sizes[i] = size;
            fill(ring->blocks[i], size, i);
            ring->turns++;
            return;
        }
        free(ring->blocks[i]);
        ring->blocks[i] = NULL;
    }
    size_t size = random_size(&ring->state, max_bits);
    void *p = hide(action == 1 ? calloc(1, size) : action == 2 ? memalign(64, size) : malloc(size));
    CHECK_THAT(p != NULL, "%zu bytes", size);
    if (action == 1) CHECK(all_zero(p, size));
    fill(p, size, i);
    ring->sizes[i] = size;
    ring->blocks[i] = p;
    ring->turns++;
}

static void drain(struct ring *ring) {
    for (unsigned i = 0; i < RING; i++) {
        if (ring->blocks[i]) CHECK(whole(ring->blocks[i], ring->sizes[i], i));
        free(ring->blocks[i]);
        ring->blocks[i] = NULL;
    }
}

static void on_signal(int signal) {
    (void)signal;
    int saved = errno;
    if (handler_ring)
        for (int i = 0; i < 4; i++) step(handler_ring, 11);
    errno = saved;
}

static void listen_to(int signal) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static void start_timer(int which, long microseconds) {
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    CHECK(setitimer(which, &every, NULL) == 0);
}

/* Works on `own` for two seconds while the handler works on `ring`. */
static void work_under_signals(struct ring *own, struct ring *ring, unsigned max_bits, int masked) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigaddset(&mask, SIGUSR1);
    ring->state = 77;
    own->state = (unsigned)(uintptr_t)&own | 1;
    handler_ring = ring;
    double until = seconds_now() + 2;
    while (seconds_now() < until) {
        for (int i = 0; i < 100; i++) {
            if (masked) pthread_sigmask(SIG_BLOCK, &mask, NULL);
            step(own, max_bits);
            if (masked) pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
        }
    }
    handler_ring = NULL;
    drain(own);
}

CASE(signals_between_calls) {
    listen_to(SIGALRM);
    start_timer(ITIMER_REAL, 300);
    work_under_signals(&rings[0], &rings[1], 12, 1);
    start_timer(ITIMER_REAL, 0);
    CHECK_THAT(rings[1].turns > 1000, "the handler worked %lu times", rings[1].turns);
    drain(&rings[1]);
}

CASE_FREESTONE(bug13_timer_interrupts_small_allocations) {
    listen_to(SIGALRM);
    start_timer(ITIMER_REAL, 150);
    work_under_signals(&rings[0], &rings[1], 9, 0);
    start_timer(ITIMER_REAL, 0);
    CHECK_THAT(rings[1].turns > 1000, "the handler worked %lu times", rings[1].turns);
    drain(&rings[1]);
}

CASE_FREESTONE(bug13_timer_interrupts_large_allocations) {
    listen_to(SIGALRM);
    start_timer(ITIMER_REAL, 150);
    work_under_signals(&rings[0], &rings[1], 18, 0);
    start_timer(ITIMER_REAL, 0);
    CHECK_THAT(rings[1].turns > 1000, "the handler worked %lu times", rings[1].turns);
    drain(&rings[1]);
}

static void take_pages(int signal) {
    (void)signal;
    int saved = errno;
    free(hide(malloc(100 * KIB)));
    errno = saved;
}

/* In debug mode no address serves twice: now and then more of them have to be mapped. */
INNER(inner_timer_interrupts_a_debugged_program) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = take_pages;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    start_timer(ITIMER_REAL, 500);
    for (size_t bytes = 0; bytes < 8 * GIB; bytes += 4 * MIB) free(hide(malloc(4 * MIB)));
    start_timer(ITIMER_REAL, 0);
}

static void debugged(void) { setenv("FREESTONE_CONF", "debug:1,debug_leaks:0", 1); }

CASE_FREESTONE(timer_interrupts_a_debugged_program) {
    run_inner("inner_timer_interrupts_a_debugged_program", debugged);
}

static volatile int stop;
static pthread_t targets[2];
static volatile int targets_ready;

static void *shoot(void *argument) {
    (void)argument;
    while (targets_ready < 2) sched_yield();
    while (!stop)
        for (int i = 0; i < 2; i++) pthread_kill(targets[i], SIGUSR1);
    return NULL;
}

static void *be_target(void *argument) {
    int index = (int)(uintptr_t)argument;
    targets[index] = pthread_self();
    __atomic_add_fetch(&targets_ready, 1, __ATOMIC_SEQ_CST);
    work_under_signals(&rings[index * 2], &rings[index * 2 + 1], 11, 0);
    return NULL;
}

/* As many signals as a thread can send: nearly every critical section is interrupted. */
CASE_FREESTONE(bug13_signal_storm_from_another_thread) {
    listen_to(SIGUSR1);
    pthread_t workers[2];
    for (uintptr_t i = 0; i < 2; i++) workers[i] = spawn(be_target, (void *)i, 0);
    pthread_t shooter = spawn(shoot, NULL, 0);
    /* The targets must outlive the shooting: they end only after `stop`. */
    sleep_milliseconds(1500);
    /* On a busy machine the handlers come to their turns later. */
    for (int side = 1; side <= 3; side += 2)
        while (__atomic_load_n(&rings[side].turns, __ATOMIC_RELAXED) <= 100) sleep_milliseconds(10);
    stop = 1;
    join(shooter);
    for (int i = 0; i < 2; i++) join(workers[i]);
    drain(&rings[1]);
    drain(&rings[3]);
}

/* Blocks of the interrupted code freed by the handler and the other way round. */
static void *volatile passed[32];

static void on_exchange(int signal) {
    (void)signal;
    static unsigned state = 9;
    for (int i = 0; i < 4; i++) {
        void *fresh = hide(malloc(160));
        CHECK(fresh);
        fill(fresh, 160, 2);
        void *old = __atomic_exchange_n(&passed[random_next(&state) % 32], fresh, __ATOMIC_ACQ_REL);
        if (old) CHECK(whole(old, 160, 2));
        free(old);
    }
}

CASE_FREESTONE(bug13_blocks_pass_between_handler_and_program) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_exchange;
    sigaction(SIGALRM, &action, NULL);
    start_timer(ITIMER_REAL, 150);
    unsigned state = 3;
    double until = seconds_now() + 1.5;
    while (seconds_now() < until) {
        void *fresh = hide(malloc(160));
        CHECK(fresh);
        fill(fresh, 160, 2);
        void *old = __atomic_exchange_n(&passed[random_next(&state) % 32], fresh, __ATOMIC_ACQ_REL);
        if (old) CHECK(whole(old, 160, 2));
        free(old);
    }
    start_timer(ITIMER_REAL, 0);
}



CASE(handler_on_an_alternate_stack_allocates_between_calls) {
    stack_t stack;
    memset(&stack, 0, sizeof stack);
    stack.ss_size = 64 * KIB;
    stack.ss_sp = malloc(stack.ss_size);
    CHECK(sigaltstack(&stack, NULL) == 0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    rings[1].state = 5;
    handler_ring = &rings[1];
    for (int i = 0; i < 3000; i++) raise(SIGUSR1);
    handler_ring = NULL;
    drain(&rings[1]);
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0);
    free(stack.ss_sp);
}

/* A signal directed at the process must reach the program's thread, not one of the allocator's. */
CASE(bug13_no_background_thread_takes_signals) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
    unsigned state = 1;
    for (int i = 0; i < 200; i++) {
        for (int j = 0; j < 200; j++) {
            void *p = hide(malloc(random_size(&state, 20)));
            CHECK(p);
            free(p);
        }
        CHECK(kill(getpid(), SIGTERM) == 0);
        struct timespec limit = {5, 0};
        CHECK(sigtimedwait(&mask, NULL, &limit) == SIGTERM);
    }
}

CASE(bug13_no_signal_disposition_is_changed) {
    void *p = hide(malloc(10 * MIB));
    free(p);
    for (int signal = 1; signal < 32; signal++) {
        struct sigaction action;
        if (signal == SIGKILL || signal == SIGSTOP || sigaction(signal, NULL, &action) != 0) continue;
        /* What is ignored from the start (SIGHUP under nohup) stays so. */
        int untouched = action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN;
        CHECK_THAT(untouched, "signal %d has a handler", signal);
    }
}

static volatile int forks_of_handler;

/* One signal a time: where a fork takes longer than the timer, repeated ones leave the program no turn. */
static void arm_timer_once(long microseconds) {
    struct itimerval once = {{0, 0}, {0, microseconds}};
    CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}

static void on_signal_fork(int signal) {
    (void)signal;
    int saved = errno;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        free(hide(malloc(100)));
        _exit(0);
    }
    reap(child);
    forks_of_handler++;
    if (!stop) arm_timer_once(1500);
    errno = saved;
}

static void *churn_unsignalled(void *unused) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!stop) {
        void *p = hide(malloc(100000));
        CHECK(p);
        *(volatile char *)p = 1;
        free(p);
    }
    return unused;
}

/* The handler forks in the midst of an allocation, while other threads allocate too. */
CASE_FREESTONE(bug01_handler_forks) {
    pthread_t threads[3];
    stop = 0;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) threads[i] = spawn(churn_unsignalled, NULL, 0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal_fork;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    arm_timer_once(1500);
    double until = seconds_now() + 2;
    while (seconds_now() < until) {
        void *p = hide(malloc(100000));
        CHECK(p);
        *(volatile char *)p = 1;
        free(p);
    }
    stop = 1;
    arm_timer_once(0);
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
    CHECK_THAT(forks_of_handler > 20, "%d forks", forks_of_handler);
}

static sigjmp_buf out_of_fault;

static void leave_fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    siglongjmp(out_of_fault, 1);
}

static void end_well(int number) {
    (void)number;
    _exit(0);
}

static void fault_plainly(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = end_well;
    /* More often than the allocator can remember. */
    for (int i = 0; i < 200; i++) CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    *(volatile char *)hide((void *)16) = 1;
    _exit(3);
}

/* A handler of faults that a mode of the allocator has set before is not seen, and is in nobody's way. */
CASE(a_handler_of_faults_is_the_programs_own) {
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    CHECK(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    action.sa_sigaction = leave_fault;
    action.sa_flags = SA_SIGINFO;
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGSEGV, &action, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_sigaction == leave_fault);
    CHECK((old.sa_flags & SA_SIGINFO) && sigismember(&old.sa_mask, SIGUSR1));
    volatile int survived = 0;
    char *p = hide(aligned_alloc(4096, MIB));
    REQUIRE(p);
    CHECK(mprotect(p, 4096, PROT_NONE) == 0);
    if (sigsetjmp(out_of_fault, 1) == 0) {
        *(volatile char *)(p + 5) = 1;
    } else {
        survived = 1;
    }
    CHECK(survived && mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0);
    free(p);
    in_child(fault_plainly);
    action.sa_handler = SIG_DFL;
    action.sa_flags = 0;
    CHECK(sigaction(SIGSEGV, &action, &old) == 0 && old.sa_sigaction == leave_fault);
}
