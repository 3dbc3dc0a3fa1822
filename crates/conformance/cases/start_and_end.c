/* Allocation before main and after it, and starting under odd circumstances. */
#include "conformance.h"

static void *from_preinit, *from_early, *from_late;

static void *make(size_t size, unsigned seed) {
    void *p = hide(calloc(1, size));
    if (!p) abort();
    fill(p, size, seed);
    return hide(realloc(p, size + 1000));
}

#ifndef CONFORMANCE_STATIC
static void preinit(void) { from_preinit = make(300, 1); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;
#endif

__attribute__((constructor(101))) static void early(void) { from_early = make(400, 2); }
__attribute__((constructor)) static void late(void) {
    from_late = make(50000, 3);
    FILE *file = fopen("/proc/self/maps", "r");
    char *line = NULL;
    size_t room = 0;
    while (file && getline(&line, &room, file) > 0) {}
    free(line);
    if (file) fclose(file);
    sysconf(_SC_NPROCESSORS_ONLN);
}

CASE(bug05_allocation_before_main) {
    CHECK(whole(from_early, 400, 2) && whole(from_late, 50000, 3));
    free(from_early);
    free(from_late);
#ifndef CONFORMANCE_STATIC
    CHECK(whole(from_preinit, 300, 1));
    from_preinit = hide(realloc(from_preinit, 100000));
    CHECK(from_preinit && whole(from_preinit, 300, 1));
    free(from_preinit);
#endif
}

static void *kept_to_the_end;

static void work_at_the_end(void) {
    if (kept_to_the_end && !whole(kept_to_the_end, 700, 4)) abort();
    free(kept_to_the_end);
    kept_to_the_end = NULL;
    for (size_t size = 1; size < 3 * MIB; size *= 3) {
        void *p = hide(calloc(1, size));
        if (!p || !all_zero(p, size)) abort();
        free(hide(realloc(p, size * 2)));
    }
}

static int destructor_wanted;
__attribute__((destructor(101))) static void very_late(void) {
    if (destructor_wanted) work_at_the_end();
}

CASE(bug03_allocation_in_atexit_and_destructors) {
    kept_to_the_end = malloc(700);
    fill(kept_to_the_end, 700, 4);
    destructor_wanted = 1;
    /* More than the table that libc has at hand: registering allocates. */
    for (int i = 0; i < 200; i++) CHECK(atexit(work_at_the_end) == 0);
}

static void on_exit_work(int status, void *argument) {
    (void)status;
    free(argument);
    work_at_the_end();
}

CASE(bug03_blocks_freed_by_on_exit_and_quick_exit) {
    for (int i = 0; i < 100; i++) CHECK(on_exit(on_exit_work, malloc((size_t)i * 100)) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 100; i++) at_quick_exit(work_at_the_end);
        quick_exit(0);
    }
    reap(child);
}

/* Many keys: libc allocates the second level of its table inside pthread_setspecific. */
static void *set_many_keys(void *keys) {
    pthread_key_t *key = (pthread_key_t *)keys;
    for (int i = 0; i < 500; i++) CHECK(pthread_setspecific(key[i], malloc(10)) == 0);
    return NULL;
}

CASE(bug03_pthread_setspecific_that_allocates) {
    static pthread_key_t keys[500];
    for (int i = 0; i < 500; i++) CHECK(pthread_key_create(&keys[i], free) == 0);
    for (int i = 0; i < 50; i++) join(spawn(set_many_keys, keys, 0));
}

INNER(inner_works) {
    for (size_t size = 1; size < 3 * MIB; size = size * 2 + 1) {
        void *p = hide(malloc(size));
        CHECK(p);
        fill_sparse(p, size, 100, 1);
        p = hide(realloc(p, size * 2));
        CHECK(p && whole_sparse(p, size - (size - 1) % 100, 100, 1));
        free(p);
    }
}

static void close_standard_streams(void) {
    /* Standard output stays: a failing case must be able to say so. */
    close(0);
    close(2);
}

CASE(bug05_start_without_standard_streams) { run_inner("inner_works", close_standard_streams); }

/* The loader needs a descriptor to map libraries; the allocator none to start. */
static void allow_four_descriptors(void) {
    struct rlimit few = {4, 4};
    setrlimit(RLIMIT_NOFILE, &few);
}

CASE(bug05_start_with_few_descriptors) { run_inner("inner_works", allow_four_descriptors); }

INNER(inner_without_descriptors) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    void *p = hide(malloc(40 * MIB));
    CHECK(p);
    free(p);
    for (int i = 0; i < 1000; i++) CHECK(hide(malloc((size_t)i * 100)));
    CHECK((malloc_trim(0) | 1) == 1);
}

CASE(bug05_no_descriptor_can_be_opened) { run_inner("inner_without_descriptors", NULL); }

static void empty_environment(void) {
    char *preload = getenv("LD_PRELOAD");
    char *copy = preload ? strdup(preload) : NULL;
    clearenv();
    if (copy) setenv("LD_PRELOAD", copy, 1);
}

CASE(start_with_an_empty_environment) { run_inner("inner_works", empty_environment); }

static void huge_environment(void) {
    static char name[32], value[100000];
    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "FREESTONE_PAD_%d", i);
        setenv(name, value, 1);
    }
}

CASE(start_with_a_huge_environment) { run_inner("inner_works", huge_environment); }

/* glibc then leaves restartable sequences to the program. */
static void no_rseq(void) { setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1); }

CASE(bug13_start_without_registered_rseq) { run_inner("inner_works", no_rseq); }

static void *churn_small_blocks(void *unused) {
    (void)unused;
    void *kept[50] = {0};
    unsigned state = (unsigned)(uintptr_t)&kept | 1;
    for (int i = 0; i < 40000; i++) {
        unsigned slot = random_next(&state) % 50;
        if (kept[slot]) CHECK(whole(kept[slot], 64, slot));
        free(kept[slot]);
        kept[slot] = hide(malloc(64 + random_next(&state) % 500));
        fill(kept[slot], 64, slot);
    }
    for (int i = 0; i < 50; i++) free(kept[i]);
    return NULL;
}

INNER(inner_threads) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) threads[i] = spawn(churn_small_blocks, NULL, 0);
    for (int i = 0; i < 8; i++) join(threads[i]);
}

CASE(bug13_threads_without_registered_rseq) { run_inner("inner_threads", no_rseq); }

static void with_tunables(void) {
    setenv("GLIBC_TUNABLES", "glibc.malloc.check=3:glibc.malloc.perturb=165:glibc.malloc.tcache_count=0", 1);
    setenv("MALLOC_CHECK_", "3", 1);
    setenv("MALLOC_ARENA_MAX", "1", 1);
    setenv("MALLOC_PERTURB_", "165", 1);
}

CASE(start_with_the_variables_of_glibcs_malloc) { run_inner("inner_works", with_tunables); }

/* Prints where two blocks lie. */
INNER(inner_print_address) {
    printf("%p %p\n", hide(malloc(100)), hide(malloc(10 * MIB)));
    fflush(stdout);
    _exit(0);
}

CASE(bug15_addresses_are_random_from_run_to_run) {
    char seen[12][64];
    int distinct = 0;
#ifdef CONFORMANCE_STATIC
    skip("a static program's loader places it");
#endif
    for (int i = 0; i < 12; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0) {
            dup2(ends[1], STDOUT_FILENO);
            execl("/proc/self/exe", "/proc/self/exe", "inner_print_address", (char *)NULL);
            _exit(1);
        }
        close(ends[1]);
        ssize_t length = read(ends[0], seen[i], sizeof seen[i] - 1);
        CHECK(length > 0);
        seen[i][length] = 0;
        close(ends[0]);
        reap(child);
        int is_new = 1;
        for (int j = 0; j < i; j++) is_new &= strcmp(seen[i], seen[j]) != 0;
        distinct += is_new;
    }
    CHECK_THAT(distinct >= 8, "%d of 12 distinct", distinct);
}

/* Below the program's break, too, wherever the loader has put the program: only what lies on libc's own heap may be another allocator's. */
CASE_FREESTONE(free_of_an_address_that_is_nobodys) {
    char *nobodys = (char *)(uintptr_t)0x300000000;
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        close(STDERR_FILENO);
        free(hide(nobodys + 64));
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_THAT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x", (unsigned)status);
}
