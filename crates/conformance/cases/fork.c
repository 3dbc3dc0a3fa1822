/* fork while other threads are inside the allocator and inside stdio. */
#include "conformance.h"

static volatile int stop;

/* Many forks where the machine is fast, few where it is slow or shared: each case stays in its time. */
enum { STORM_SECONDS = 4 };

static void *churn(void *argument) {
    unsigned state = (unsigned)(uintptr_t)argument * 7919 + 1;
    enum { KEPT = 64 };
    void *kept[KEPT] = {0};
    while (!stop) {
        unsigned i = random_next(&state) % KEPT;
        free(kept[i]);
        kept[i] = hide(malloc(random_size(&state, random_next(&state) % 64 == 0 ? 18 : 11)));
        CHECK(kept[i]);
    }
    for (int i = 0; i < KEPT; i++) free(kept[i]);
    return NULL;
}

/* Holds a stream's lock while it waits in realloc. */
static void *grow_lines(void *argument) {
    (void)argument;
    FILE *file = tmpfile();
    CHECK(file);
    for (int i = 0; i < 100; i++) fprintf(file, "%*d\n", i * 50 + 1, i);
    while (!stop) {
        char *line = NULL;
        size_t room = 0;
        rewind(file);
        while (!stop && getline(&line, &room, file) > 0) {}
        free(line);
    }
    fclose(file);
    return NULL;
}

static void *grow_memory_streams(void *argument) {
    (void)argument;
    while (!stop) {
        char *text = NULL;
        size_t length = 0;
        FILE *stream = open_memstream(&text, &length);
        for (int i = 0; i < 300 && !stop; i++) fprintf(stream, "%0100d", i);
        fclose(stream);
        free(text);
    }
    return NULL;
}

/* Takes the lock of the list of streams, then each stream's: the order in which fork's own
 * preparation meets a thread that waits in realloc. */
static void *flush_all(void *argument) {
    (void)argument;
    while (!stop) {
        fflush(NULL);
        FILE *file = fopen("/dev/null", "w");
        CHECK(file);
        fprintf(file, "%100d", 1);
        fclose(file);
        sleep_milliseconds(1);
    }
    return NULL;
}

static void use_everything(unsigned seed) {
    void *blocks[40];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        size_t size = (size_t)(i * 377 + seed % 100) * (i % 8 == 0 ? 40 : 1) + 1;
        blocks[i] = hide(i % 3 == 0 ? calloc(1, size) : malloc(size));
        CHECK(blocks[i]);
        if (i % 3 == 0) CHECK(all_zero(blocks[i], size));
        fill(blocks[i], size, i);
        blocks[i] = hide(realloc(blocks[i], size + 100));
        CHECK(blocks[i] && whole(blocks[i], size, i));
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
}

/* Forks `count` times among the threads; each child allocates at once and frees its parent's blocks. */
static void storm(void *(*const bodies[])(void *), unsigned threads, int count) {
    pthread_t started[16];
    stop = 0;
    for (unsigned i = 0; i < threads; i++) started[i] = spawn(bodies[i], (void *)(uintptr_t)i, 0);
    void *mine[50];
    for (unsigned i = 0; i < COUNT_OF(mine); i++) {
        mine[i] = hide(malloc(i * 997 + 1));
        fill(mine[i], i * 997 + 1, i);
    }
    double until = seconds_now() + STORM_SECONDS;
    for (int i = 0; i < count && seconds_now() < until; i++) {
        pid_t child = fork();
        CHECK_THAT(child >= 0, "fork: %s", strerror(errno));
        if (child == 0) {
            use_everything((unsigned)i);
            for (unsigned j = 0; j < COUNT_OF(mine); j++) {
                CHECK(whole(mine[j], j * 997 + 1, j));
                free(mine[j]);
            }
            _exit(0);
        }
        use_everything((unsigned)i);
        reap(child);
    }
    stop = 1;
    for (unsigned i = 0; i < threads; i++) join(started[i]);
    for (unsigned i = 0; i < COUNT_OF(mine); i++) {
        CHECK(whole(mine[i], i * 997 + 1, i));
        free(mine[i]);
    }
}

CASE(bug01_fork_storm_among_allocating_threads) {
    static void *(*const bodies[])(void *) = {churn, churn, churn, churn, churn, churn, churn, churn};
    storm(bodies, COUNT_OF(bodies), 2000);
}

CASE(bug01_fork_storm_among_stdio_threads) {
    static void *(*const bodies[])(void *) = {grow_lines, grow_lines, grow_memory_streams,
                                              grow_memory_streams, flush_all, flush_all, churn, churn};
    storm(bodies, COUNT_OF(bodies), 2000);
}

/* Two threads fork at the same time. */
static void *fork_often(void *argument) {
    double until = seconds_now() + STORM_SECONDS;
    for (int i = 0; i < 300 && seconds_now() < until; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            use_everything((unsigned)(uintptr_t)argument);
            _exit(0);
        }
        reap(child);
    }
    return NULL;
}

CASE(bug01_four_threads_fork_at_once) {
    pthread_t forkers[4], churners[2];
    stop = 0;
    for (uintptr_t i = 0; i < 2; i++) churners[i] = spawn(churn, (void *)i, 0);
    for (uintptr_t i = 0; i < 4; i++) forkers[i] = spawn(fork_often, (void *)i, 0);
    for (int i = 0; i < 4; i++) join(forkers[i]);
    stop = 1;
    for (int i = 0; i < 2; i++) join(churners[i]);
}

/* Handlers that allocate: one registered before anything else in the process ran, one in main. In the
 * cases that are not about them they are idle: their work lets the other threads settle before the fork. */
static int handled[2][3], handlers_work;

static void handler_work(int set, int phase) {
    if (!handlers_work) return;
    void *small = hide(malloc(100)), *large = hide(malloc(300 * KIB));
    CHECK(small && large);
    fill(small, 100, 1);
    small = hide(realloc(small, 5000));
    CHECK(small && whole(small, 100, 1));
    free(small);
    free(large);
    handled[set][phase]++;
}

static void early_prepare(void) { handler_work(0, 0); }
static void early_parent(void) { handler_work(0, 1); }
static void early_child(void) { handler_work(0, 2); }
static void late_prepare(void) { handler_work(1, 0); }
static void late_parent(void) { handler_work(1, 1); }
static void late_child(void) { handler_work(1, 2); }

static void register_early(void) { pthread_atfork(early_prepare, early_parent, early_child); }
#ifdef CONFORMANCE_STATIC
__attribute__((constructor(101))) static void constructor_early(void) { register_early(); }
#else
/* Runs before the constructors of all libraries, the preloaded one's included. */
__attribute__((section(".preinit_array"), used)) static void (*const preinit_early)(void) = register_early;
#endif

static void fork_with_handlers(unsigned threads, int forks) {
    pthread_t started[8];
    stop = 0;
    pthread_atfork(late_prepare, late_parent, late_child);
    handlers_work = 1;
    for (uintptr_t i = 0; i < threads; i++) started[i] = spawn(i % 2 ? grow_lines : churn, (void *)i, 0);
    memset(handled, 0, sizeof handled);
    double until = seconds_now() + STORM_SECONDS;
    for (int i = 1; i <= forks && seconds_now() < until; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(handled[0][2] == 1 && handled[1][2] == 1);
            use_everything((unsigned)i);
            _exit(0);
        }
        reap(child);
        CHECK(handled[0][0] == i && handled[1][0] == i && handled[0][1] == i && handled[1][1] == i);
    }
    stop = 1;
    for (unsigned i = 0; i < threads; i++) join(started[i]);
}

CASE(bug01_fork_handlers_that_allocate) { fork_with_handlers(0, 300); }
CASE(bug01_fork_handlers_that_allocate_among_threads) { fork_with_handlers(6, 500); }

/* The child goes on for long: threads, more forks, giving memory back. */
static void live_on(int depth) {
    pthread_t threads[3];
    stop = 0;
    for (uintptr_t i = 0; i < 3; i++) threads[i] = spawn(churn, (void *)i, 0);
    use_everything(1);
    malloc_trim(0);
    if (depth > 0) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            live_on(depth - 1);
            _exit(0);
        }
        reap(child);
    }
    sleep_milliseconds(20);
    stop = 1;
    for (int i = 0; i < 3; i++) join(threads[i]);
}

CASE(bug01_children_of_children_start_threads) {
    double until = seconds_now() + STORM_SECONDS;
    for (int i = 0; i < 10 && seconds_now() < until; i++) live_on(5);
}

/* Blocks that live in other threads' hands at the fork belong to the child too. */
static void *volatile published[256];

static void *publish(void *argument) {
    (void)argument;
    unsigned state = 5;
    while (!stop) {
        unsigned i = random_next(&state) % 256;
        void *fresh = hide(malloc(200));
        fill(fresh, 200, 1);
        void *old = __atomic_exchange_n(&published[i], fresh, __ATOMIC_ACQ_REL);
        free(old);
    }
    return NULL;
}

CASE(bug01_the_child_frees_blocks_of_other_threads) {
    pthread_t threads[4];
    stop = 0;
    for (uintptr_t i = 0; i < 4; i++) threads[i] = spawn(publish, (void *)i, 0);
    double until = seconds_now() + STORM_SECONDS;
    for (int i = 0; i < 500 && seconds_now() < until; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int j = 0; j < 256; j++) {
                if (!published[j]) continue;
                CHECK(whole(published[j], 200, 1));
                free(published[j]);
            }
            use_everything(3);
            _exit(0);
        }
        reap(child);
    }
    stop = 1;
    for (int i = 0; i < 4; i++) join(threads[i]);
}

/* What a thread allocates while another forks may live for ever: it must not drain a fixed supply. */
static void *keep_one_in_five_hundred(void *argument) {
    enum { LONG_LIVED = 2000, SHORT_LIVED = 50 };
    void *longs[LONG_LIVED] = {0}, *shorts[SHORT_LIVED] = {0};
    unsigned state = (unsigned)(uintptr_t)argument * 7919 + 1;
    for (unsigned turn = 0; !stop; turn++) {
        size_t size = random_next(&state) % 8000 + 1;
        char *p = (char *)hide(malloc(size));
        CHECK_THAT(p != NULL, "malloc(%zu), turn %u: %s", size, turn, strerror(errno));
        *p = 1;
        void **slot = &shorts[random_next(&state) % SHORT_LIVED];
        if (turn % 500 == 0) slot = &longs[turn / 500 % LONG_LIVED];
        free(*slot);
        *slot = p;
    }
    for (int i = 0; i < LONG_LIVED; i++) free(longs[i]);
    for (int i = 0; i < SHORT_LIVED; i++) free(shorts[i]);
    return NULL;
}

static void *replace_large_blocks(void *argument) {
    enum { HELD = 400 };
    void *held[HELD] = {0};
    unsigned state = (unsigned)(uintptr_t)argument * 7919 + 1;
    while (!stop) {
        unsigned i = random_next(&state) % HELD;
        free(held[i]);
        size_t size = random_next(&state) % 60000 + 1;
        held[i] = hide(malloc(size));
        CHECK_THAT(held[i] != NULL, "malloc(%zu): %s", size, strerror(errno));
        fill(held[i], size < 64 ? size : 64, i);
    }
    for (int i = 0; i < HELD; i++) free(held[i]);
    return NULL;
}

/* Much resident memory makes each fork long, so that the threads allocate a lot meanwhile. */
static void fork_for_two_seconds(void *(*body)(void *)) {
    size_t size = 128 * MIB;
    void *ballast = hide(malloc(size));
    CHECK(ballast);
    fill_sparse(ballast, size, 4096, 1);
    pthread_t threads[4];
    stop = 0;
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++) threads[i] = spawn(body, (void *)i, 0);
    double until = seconds_now() + 2;
    while (seconds_now() < until) {
        pid_t child = fork();
        CHECK_THAT(child >= 0, "fork: %s", strerror(errno));
        if (child == 0) _exit(0);
        reap(child);
    }
    stop = 1;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
    CHECK(whole_sparse(ballast, size, 4096, 1));
    free(ballast);
}

CASE(bug01_long_lived_blocks_allocated_during_forks) { fork_for_two_seconds(keep_one_in_five_hundred); }
CASE(bug01_large_blocks_allocated_during_forks) { fork_for_two_seconds(replace_large_blocks); }

static void *churn_large(void *unused) {
    while (!stop) {
        void *p = hide(malloc(100000));
        CHECK(p);
        *(volatile char *)p = 1;
        free(p);
    }
    return unused;
}

static void *churn_addresses(void *unused) {
    while (!stop) free(hide(malloc(MIB)));
    return unused;
}

/* In debug mode addresses are mapped 64 MiB at a time, by whoever needs them: here always somebody, when the parent forks. */
INNER(inner_forks_in_debug_mode) {
    pthread_t threads[3];
    for (unsigned i = 0; i < COUNT_OF(threads); i++) threads[i] = spawn(churn_addresses, NULL, 0);
    for (double until = seconds_now() + 3; seconds_now() < until;) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(8);
            for (int i = 0; i < 2000; i++) free(hide(malloc(MIB)));
            _exit(0);
        }
        reap(child);
    }
    stop = 1;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
}

static void debug_mode(void) {
    char conf[256];
    const char *now = getenv("FREESTONE_CONF");
    snprintf(conf, sizeof conf, "%s,debug:1,debug_leaks:0", now ? now : "cache:auto");
    setenv("FREESTONE_CONF", conf, 1);
}

CASE_FREESTONE(bug01_children_of_a_debugged_program_allocate) { run_inner("inner_forks_in_debug_mode", debug_mode); }

/* A child is alone, yet it inherits the traces of threads that its parent's fork found at the door. */
CASE(bug01_children_fork_at_once) {
    pthread_t threads[4];
    stop = 0;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) threads[i] = spawn(churn_large, NULL, 0);
    double until = seconds_now() + 2;
    while (seconds_now() < until) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(5);
            pid_t grandchild = fork();
            CHECK(grandchild >= 0);
            if (grandchild == 0) _exit(0);
            reap(grandchild);
            _exit(0);
        }
        reap(child);
    }
    stop = 1;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
}
