/* Threads: small stacks, odd first calls, a thousand at once that hand blocks to each other. */
#include "conformance.h"

#include <limits.h>
#include <sys/syscall.h>

/* Every operation, with frames as small as the compiler makes them. */
static void *do_everything(void *unused) {
    (void)unused;
    for (size_t size = 1; size < 3 * MIB; size = size * 3 + 1) {
        void *p = hide(malloc(size)), *q = hide(calloc(size, 1)), *r = hide(memalign(1024, size)), *s = NULL;
        CHECK(p && q && r && all_zero(q, size < 5000 ? size : 5000));
        fill_sparse(p, size, 4096, 1);
        p = hide(realloc(p, size * 2));
        CHECK(p && posix_memalign(&s, 64, size) == 0 && malloc_usable_size(s) >= size);
        free(r);
        free(p);
        free(q);
        free(s);
    }
    CHECK(hide(malloc(opaque(SIZE_MAX))) == NULL);
    void *blocks[16];
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 16; i++) blocks[i] = hide(malloc((size_t)(round * 16 + i)));
        for (int i = 0; i < 16; i++) free(blocks[i]);
    }
    malloc_trim(0);
    mallinfo2();
    return NULL;
}

CASE(stacks_of_64_kib) {
    for (int i = 0; i < 20; i++) join(spawn(do_everything, NULL, 64 * KIB));
}

CASE(stacks_of_the_smallest_size) {
    for (int i = 0; i < 20; i++) join(spawn(do_everything, NULL, (size_t)PTHREAD_STACK_MIN));
}

/* Starts the two threads of each round as close together as possible. */
static volatile int gate;

static void *first_malloc(void *block) {
    (void)block;
    while (!gate) {}
    free(hide(malloc(40)));
    return NULL;
}
static void *first_realloc(void *block) {
    while (!gate) {}
    void *p = hide(realloc(block, 5000));
    CHECK(p && whole(p, 100, 1));
    free(p);
    return NULL;
}
static void *first_free(void *block) {
    while (!gate) {}
    free(block);
    return NULL;
}
static void *first_calloc(void *block) {
    (void)block;
    while (!gate) {}
    void *p = hide(calloc(100, 100));
    CHECK(p && all_zero(p, 10000));
    free(p);
    return NULL;
}
static void *first_memalign(void *block) {
    (void)block;
    while (!gate) {}
    void *p = hide(memalign(4096, 100));
    CHECK(p && aligned_to(p, 4096));
    free(p);
    return NULL;
}
static void *first_huge(void *block) {
    (void)block;
    while (!gate) {}
    void *p = hide(malloc(300 * MIB));
    CHECK(p);
    free(p);
    return NULL;
}
static void *first_usable_size(void *block) {
    while (!gate) {}
    CHECK(malloc_usable_size(block) >= 100);
    return NULL;
}
static void *first_trim(void *block) {
    (void)block;
    while (!gate) {}
    malloc_trim(0);
    return NULL;
}
static void *first_refused(void *block) {
    (void)block;
    while (!gate) {}
    CHECK(hide(malloc(opaque(SIZE_MAX))) == NULL && errno == ENOMEM);
    return NULL;
}

typedef void *(*body_type)(void *);
static const body_type first_calls[] = {first_malloc, first_realloc,     first_free, first_calloc, first_memalign,
                                        first_huge,   first_usable_size, first_trim, first_refused};

static void *fresh_block(void) {
    void *p = hide(malloc(100));
    fill(p, 100, 1);
    return p;
}

/* Each pair of first calls, at the same moment. */
CASE(bug06_every_pair_of_first_calls) {
    for (unsigned i = 0; i < COUNT_OF(first_calls); i++) {
        for (unsigned j = 0; j < COUNT_OF(first_calls); j++) {
            gate = 0;
            pthread_t a = spawn(first_calls[i], fresh_block(), 0);
            pthread_t b = spawn(first_calls[j], fresh_block(), 0);
            gate = 1;
            join(a);
            join(b);
        }
    }
}

/* In a fresh process: the first calls of all. */
INNER(inner_two_first_calls) {
    gate = 0;
    pthread_t a = spawn(first_malloc, NULL, 0), b = spawn(first_calloc, NULL, 0);
    gate = 1;
    first_memalign(NULL);
    join(a);
    join(b);
}
INNER(inner_first_realloc) { free(hide(realloc(NULL, 100))); }
INNER(inner_first_free) { free(NULL); }
INNER(inner_first_huge) { free(hide(malloc(300 * MIB))); }
INNER(inner_first_calloc) { free(hide(calloc(1000, 1000))); }
INNER(inner_first_memalign) { free(hide(memalign(MIB, 10))); }
INNER(inner_first_usable_size) { CHECK(malloc_usable_size(hide(NULL)) == 0); }
INNER(inner_first_refused) { CHECK(hide(calloc(opaque(SIZE_MAX), 2)) == NULL && errno == ENOMEM); }

CASE(bug06_first_call_of_the_process) {
    static const char *const names[] = {"inner_first_realloc",  "inner_first_free",   "inner_first_huge",
                                        "inner_first_calloc",   "inner_first_memalign",
                                        "inner_first_usable_size", "inner_first_refused"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) run_inner(names[i], NULL);
    for (int i = 0; i < 30; i++) run_inner("inner_two_first_calls", NULL);
}

/* A mailbox per thread; each thread fills its neighbours' and empties its own. */
enum { THREADS = 1000, SLOTS = 32 };
static void *mailboxes[THREADS][SLOTS];

static size_t size_in(unsigned box, unsigned slot) { return (box * 37 + slot * 411) % 6000 + 16; }

static void *hand_over(void *argument) {
    unsigned me = (unsigned)(uintptr_t)argument;
    unsigned state = me * 2654435761u + 1;
    for (unsigned i = 0; i < SLOTS * 4; i++) {
        unsigned box = (me + random_next(&state) % 50) % THREADS, slot = random_next(&state) % SLOTS;
        size_t size = size_in(box, slot);
        void *fresh = hide(malloc(size));
        CHECK(fresh);
        fill(fresh, size, box + slot);
        void *old = __atomic_exchange_n(&mailboxes[box][slot], fresh, __ATOMIC_ACQ_REL);
        if (old) CHECK_THAT(whole(old, size, box + slot), "box %u, slot %u", box, slot);
        free(old);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        void *old = __atomic_exchange_n(&mailboxes[me][slot], NULL, __ATOMIC_ACQ_REL);
        if (old) CHECK_THAT(whole(old, size_in(me, slot), me + slot), "box %u, slot %u", me, slot);
        free(old);
    }
    return NULL;
}

CASE(bug14_thousand_threads_hand_blocks_over_and_exit) {
    static pthread_t threads[THREADS];
    size_t after_one = 0;
    for (int round = 0; round < 3; round++) {
        for (uintptr_t i = 0; i < THREADS; i++) threads[i] = spawn(hand_over, (void *)i, 64 * KIB);
        for (int i = 0; i < THREADS; i++) join(threads[i]);
        if (round == 0) after_one = resident_kib();
    }
    for (unsigned box = 0; box < THREADS; box++) {
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            void *old = mailboxes[box][slot];
            if (old) CHECK(whole(old, size_in(box, slot), box + slot));
            free(old);
            mailboxes[box][slot] = NULL;
        }
    }
    malloc_trim(0);
    CHECK_THAT(resident_kib() < after_one + 64 * KIB, "%zu KiB, %zu after the first round", resident_kib(),
               after_one);
}

static pthread_barrier_t all_allocated, may_leave;

static void *allocate_free_and_park(void *unused) {
    (void)unused;
    void *blocks[128];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = hide(malloc(8 * KIB - 16));
        fill_sparse(blocks[i], 8 * KIB - 16, 1024, i);
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    pthread_barrier_wait(&all_allocated);
    pthread_barrier_wait(&may_leave);
    return NULL;
}

/* 1,000 parked threads that each allocated and freed 1 MiB: 1 GiB went through, little may stay. Their
 * stacks are in the figure too. */
CASE_FREESTONE(thousand_parked_threads_hold_little_memory) {
    static pthread_t threads[THREADS];
    pthread_barrier_init(&all_allocated, NULL, THREADS + 1);
    pthread_barrier_init(&may_leave, NULL, THREADS + 1);
    size_t before = resident_kib();
    for (uintptr_t i = 0; i < THREADS; i++) threads[i] = spawn(allocate_free_and_park, NULL, 64 * KIB);
    pthread_barrier_wait(&all_allocated);
    size_t parked = resident_kib();
    pthread_barrier_wait(&may_leave);
    for (int i = 0; i < THREADS; i++) join(threads[i]);
    CHECK_THAT(parked < before + 96 * KIB, "%zu KiB, before %zu", parked, before);
}

/* One thread allocates, another frees, without end: what goes round must not pile up. */
enum { QUEUE = 1024 };
static void *volatile queue[QUEUE];

static void *produce(void *count) {
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
        size_t size = i % 500 + 16;
        void *p = hide(malloc(size));
        fill(p, 16, (unsigned)i);
        *(uint32_t *)p = (uint32_t)i;
        while (__atomic_load_n(&queue[i % QUEUE], __ATOMIC_ACQUIRE)) sched_yield();
        __atomic_store_n(&queue[i % QUEUE], p, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *consume(void *count) {
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
        void *p;
        while (!(p = __atomic_load_n(&queue[i % QUEUE], __ATOMIC_ACQUIRE))) sched_yield();
        __atomic_store_n(&queue[i % QUEUE], NULL, __ATOMIC_RELEASE);
        CHECK(*(uint32_t *)p == (uint32_t)i);
        free(p);
    }
    return NULL;
}

CASE(bug14_producer_and_consumer_do_not_grow) {
    void *some = (void *)(uintptr_t)100000, *many = (void *)(uintptr_t)2000000;
    pthread_t a = spawn(produce, some, 0), b = spawn(consume, some, 0);
    join(a);
    join(b);
    size_t before = resident_kib();
    a = spawn(produce, many, 0);
    b = spawn(consume, many, 0);
    join(a);
    join(b);
    CHECK_THAT(resident_kib() < before + 16 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

#if defined(__x86_64__) && defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
#include <sys/rseq.h>
#define RSEQ_PROBLEM (__rseq_size == 0 ? "this C library registered no restartable sequences" : NULL)

/* The program has a critical section of its own under way whenever it allocates: rseq_cs is shared. */
static void *churn_with_own_sections(void *unused) {
    (void)unused;
    struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    for (int i = 0; i < 200000; i++) {
        unsigned long counted = 0;
        __asm__ volatile(".pushsection __rseq_cs, \"aw\"\n"
                         ".balign 32\n"
                         "3: .long 0, 0\n"
                         ".quad 1f, 2f - 1f, 4f\n"
                         ".popsection\n"
                         "5: leaq 3b(%%rip), %%rax\n"
                         "movq %%rax, 8(%[area])\n"
                         "1: addq $1, %[counted]\n"
                         "2: jmp 6f\n"
                         ".long 0x53053053\n"
                         "4: jmp 5b\n"
                         "6:\n"
                         : [counted] "+r"(counted)
                         : [area] "r"(area)
                         : "rax", "memory", "cc");
        CHECK(counted >= 1);
        void *p = hide(malloc(64));
        CHECK(p);
        free(p);
    }
    return NULL;
}

#else
#define RSEQ_PROBLEM "written for x86-64 and glibc 2.35 or newer"
static void *churn_with_own_sections(void *unused) { return unused; }
#endif

CASE(bug13_program_with_critical_sections_of_its_own) {
    if (RSEQ_PROBLEM) skip(RSEQ_PROBLEM);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) threads[i] = spawn(churn_with_own_sections, NULL, 0);
    for (int i = 0; i < 4; i++) join(threads[i]);
}

/* A vfork child shares our memory and thread-locals, but is another task for the kernel. */
CASE(vfork_child_allocates) {
    for (int i = 0; i < 200; i++) {
        void *volatile mine = malloc(100);
        fill(mine, 100, 1);
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int j = 0; j < 50; j++) free(hide(malloc((size_t)j * 50)));
            _exit(0);
        }
        reap(child);
        CHECK(whole(mine, 100, 1));
        free(mine);
    }
}

/* Its child runs on the parent's area for restartable sequences, so that the cache is given up meanwhile. From Linux 6.19 on the kernel writes
 * the number of a thread only when it changes, and with `rseq_debug` it kills whoever wrote to the area himself. */
CASE(a_parent_of_vfork_has_its_cache_again) {
    const ptrdiff_t *offset = SYMBOL(const ptrdiff_t *, __rseq_offset);
    const unsigned *size = SYMBOL(const unsigned *, __rseq_size);
    if (!offset || !size || *size == 0) skip("libc registers no restartable sequences");
    const volatile int *cpu = (const volatile int *)((char *)__builtin_thread_pointer() + *offset) + 1;
    sigset_t before, after;
    sigprocmask(SIG_SETMASK, NULL, &before);
    sigaddset(&before, SIGUSR2);
    sigprocmask(SIG_SETMASK, &before, NULL);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)*cpu, &one);
    free(hide(malloc(100)));
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            free(hide(malloc(100)));
            _exit(0);
        }
        CHECK(*cpu >= 0);
        reap(child);
        sigprocmask(SIG_SETMASK, NULL, &after);
        CHECK(sigismember(&after, SIGUSR2) == 1 && sigismember(&after, SIGTERM) == 0);
    }
}

/* Each block carries its holder's mark: a block with two holders shows a foreign one. Returns at the
 * deadline. Usable in a vfork child: it ends by _exit where a check fails. */
static void hold_marked_blocks(uintptr_t holder, double until) {
    enum { HELD = 64 };
    uintptr_t *held[HELD] = {0};
    unsigned state = (unsigned)holder * 7919 + 1;
    while (seconds_now() < until) {
        for (int i = 0; i < 1000; i++) {
            unsigned slot = random_next(&state) % HELD;
            uintptr_t mark = holder * HELD + slot;
            if (held[slot])
                CHECK_THAT(held[slot][1] == mark, "%#zx, not %#zx", (size_t)held[slot][1], (size_t)mark);
            free(held[slot]);
            held[slot] = (uintptr_t *)hide(malloc(96));
            CHECK(held[slot]);
            held[slot][1] = mark;
        }
    }
    for (unsigned slot = 0; slot < HELD; slot++) free(held[slot]);
}

static double marked_until;

static void *hold_until_the_end(void *holder) {
    hold_marked_blocks((uintptr_t)holder, marked_until);
    return NULL;
}

/* The child is a task of its own: it runs on another CPU than the thread whose rseq area it shares. */
CASE(bug13_vfork_child_allocates_among_threads) {
    pthread_t threads[3];
    marked_until = seconds_now() + 2;
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
        threads[i] = spawn(hold_until_the_end, (void *)(i + 1), 0);
    for (uintptr_t holder = 100; seconds_now() < marked_until; holder++) {
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            /* It may run into damage that makes it turn for ever, and its parent waits for it. */
            alarm(5);
            hold_marked_blocks(holder, seconds_now() + 0.05);
            _exit(0);
        }
        reap(child);
    }
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
}

static volatile int profiles_done;

static void *use_long_blocks(void *unused) {
    (void)unused;
    unsigned state = 3;
    while (!profiles_done) {
        size_t size = 260 * KIB + random_next(&state) % (200 * KIB);
        unsigned char *p = hide(random_next(&state) % 2 ? malloc(size) : calloc(1, size));
        CHECK(p);
        p[0] = p[size - 1] = 1;
        if (random_next(&state) % 4 == 0) p = hide(realloc(p, size + 100 * KIB));
        CHECK(p && p[0] == 1 && p[size - 1] == 1);
        free(p);
    }
    return NULL;
}

/* A block may be drawn for a profile that has ended when it is made. */
INNER(inner_profiles_begin_and_end) {
    int (*start)(size_t) = SYMBOL(int (*)(size_t), freestone_profile_start);
    void (*end)(void) = SYMBOL(void (*)(void), freestone_profile_stop);
    REQUIRE(start);
    REQUIRE(end);
    pthread_t threads[3];
    for (unsigned i = 0; i < COUNT_OF(threads); i++) threads[i] = spawn(use_long_blocks, NULL, 0);
    double until = seconds_now() + 1;
    while (seconds_now() < until) {
        CHECK(start(64 * KIB) == 0 || errno == ENOTSUP);
        sleep_milliseconds(1);
        end();
    }
    profiles_done = 1;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
}

static void hardened(void) { setenv("FREESTONE_CONF", "harden:1", 1); }
static void guarded(void) { setenv("FREESTONE_CONF", "harden_guards:1", 1); }

CASE_FREESTONE(profiles_begin_and_end_while_threads_use_long_blocks) {
    run_inner("inner_profiles_begin_and_end", NULL);
    run_inner("inner_profiles_begin_and_end", hardened);
    run_inner("inner_profiles_begin_and_end", guarded);
}
