/* Limits of one's own and of a control group: a program at its limit gets errors, loses nothing, goes on, and works as before
 * once it has freed something. */
#include "conformance.h"

#define FREESTONE_WEAK
#include "../../malloc/include/freestone.h"

#include <sys/stat.h>

/* A list through blocks that are filled from end to end, each with a pattern of its own. */
struct link {
    struct link *next;
    size_t size;
    unsigned seed;
};

static void dress(struct link *one, size_t size, unsigned seed) {
    one->size = size;
    one->seed = seed;
    fill(one + 1, size - sizeof *one, seed);
}

static int intact(const struct link *one) { return whole(one + 1, one->size - sizeof *one, one->seed); }

/* Allocates and fills blocks of `size` until there are no more; returns how many. */
static size_t exhaust(struct link **list, size_t size) {
    for (size_t count = 0;; count++) {
        errno = 0;
        struct link *one = (struct link *)hide(malloc(size));
        if (!one) {
            CHECK_THAT(errno == ENOMEM, "errno %d", errno);
            return count;
        }
        dress(one, size, (unsigned)count);
        one->next = *list;
        *list = one;
    }
}

/* Frees all; every block must still hold what was written, and errno stays. */
static void release(struct link *list) {
    while (list) {
        struct link *next = list->next;
        CHECK(intact(list));
        errno = 77;
        free(list);
        CHECK_THAT(errno == 77, "errno %d", errno);
        list = next;
    }
}

static const size_t mixed_sizes[] = {100, 2 * MIB, 5000, 300 * KIB, 32, 30 * KIB, 100 * KIB};

/* With room for `least` bytes: as much of one size after the other, each from what the last one held. */
static void sizes_in_turn(size_t least) {
    for (unsigned i = 0; i < COUNT_OF(mixed_sizes); i++) {
        struct link *list = NULL;
        size_t size = mixed_sizes[i], count = exhaust(&list, size);
        CHECK_THAT(count * size >= least, "%zu blocks of %zu", count, size);
        release(list);
    }
}

#define REFUSED(call)                                                                                        \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        CHECK(hide(call) == NULL);                                                                           \
        CHECK_THAT(errno == ENOMEM, "%s: errno %d", #call, errno);                                           \
    } while (0)

/* At the limit: every function says so, again and again, and what was asked to grow stands. */
static void every_function_is_refused(size_t size) {
    enum { OLD = 1000, MIDDLE = 200 * KIB };
    void *old = hide(malloc(OLD)), *middle = hide(malloc(MIDDLE)), *out = &size;
    CHECK(old && middle);
    fill(old, OLD, 1);
    fill(middle, MIDDLE, 2);
    struct link *list = NULL;
    exhaust(&list, MIB);
    for (int i = 0; i < 20; i++) {
        REFUSED(malloc(size));
        REFUSED(calloc(size, 1));
        REFUSED(realloc(NULL, size));
        REFUSED(realloc(hide(old), size));
        REFUSED(realloc(hide(middle), size));
        REFUSED(reallocarray(hide(old), size, 1));
        REFUSED(aligned_alloc(4096, size));
        REFUSED(memalign(MIB, size));
        REFUSED(valloc(size));
        REFUSED(malloc(GIB));
        REFUSED(malloc(GIB << 20));
        CHECK(posix_memalign(&out, 64, size) == ENOMEM && out == &size);
        CHECK(whole(old, OLD, 1) && whole(middle, MIDDLE, 2));
    }
    release(list);
    void *zeros = hide(calloc(size, 1));
    CHECK(zeros && all_zero(zeros, size));
    free(zeros);
    CHECK((old = hide(realloc(hide(old), size))) != NULL && whole(old, OLD, 1));
    CHECK((middle = hide(realloc(hide(middle), size))) != NULL && whole(middle, MIDDLE, 2));
    free(old);
    free(middle);
}

static void add_option(const char *more) {
    char conf[256];
    const char *now = getenv("FREESTONE_CONF");
    snprintf(conf, sizeof conf, "%s,%s", now ? now : "cache:auto", more);
    setenv("FREESTONE_CONF", conf, 1);
}

INNER(inner_64_mib) {
    every_function_is_refused(8 * MIB);
    sizes_in_turn(50 * MIB);
    CHECK(freestone_footprint() <= 64 * MIB && resident_kib() < 80 * KIB);
}

static void option_64_mib(void) { add_option("limit_hard:64M"); }

CASE_FREESTONE(hard_limit_by_option) { run_inner("inner_64_mib", option_64_mib); }

CASE_FREESTONE(hard_limit_by_call) {
    CHECK(freestone_set_limits(0, 64 * MIB) == 0);
    every_function_is_refused(8 * MIB);
    sizes_in_turn(50 * MIB);
    CHECK(freestone_footprint() <= 64 * MIB);
    CHECK(freestone_set_limits(0, 0) == 0);
    void *p = hide(malloc(200 * MIB));
    CHECK(p);
    free(p);
}

/* A limit below what is in use takes nothing away. */
CASE_FREESTONE(hard_limit_below_what_is_in_use) {
    enum { COUNT = 300 };
    void *kept[COUNT];
    for (unsigned i = 0; i < COUNT; i++) fill(kept[i] = hide(malloc(100 * KIB)), 100 * KIB, i);
    CHECK(freestone_set_limits(0, 10 * MIB) == 0);
    for (unsigned i = 0; i < COUNT; i++) {
        REFUSED(malloc(MIB));
        CHECK(whole(kept[i], 100 * KIB, i));
    }
    for (unsigned i = 0; i < COUNT; i++) free(kept[i]);
    void *p = hide(malloc(8 * MIB));
    CHECK(p);
    free(p);
}

CASE_FREESTONE(limits_that_are_none) {
    CHECK(freestone_set_limits(FREESTONE_PERCENT(100), FREESTONE_PERCENT(1)) == 0);
    REFUSED(malloc(freestone_footprint() + 64 * GIB));
    size_t wrong[] = {FREESTONE_PERCENT(0), FREESTONE_PERCENT(101), SIZE_MAX};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        errno = 0;
        CHECK(freestone_set_limits(0, wrong[i]) == -1 && errno == EINVAL);
        CHECK(freestone_set_limits(wrong[i], 0) == -1);
    }
    /* What was set before stands. */
    REFUSED(malloc(freestone_footprint() + 64 * GIB));
}

/* Threads that all allocate until there is no more, and one that watches. */
static volatile int stop;
static size_t watched_limit;

static void *exhaust_in_turns(void *argument) {
    unsigned turn = (unsigned)(uintptr_t)argument;
    while (!stop) {
        struct link *list = NULL;
        size_t size = mixed_sizes[turn++ % COUNT_OF(mixed_sizes)];
        exhaust(&list, size < MIB ? size : MIB);
        for (struct link *one = list; one && !stop; one = one->next) {
            void *block = hide(malloc(size));
            void *larger = hide(realloc(block, size + size / 2));
            free(larger ? larger : block);
        }
        release(list);
    }
    return NULL;
}

static void *watch(void *unused) {
    while (!stop) {
        size_t footprint = freestone_footprint();
        CHECK_THAT(footprint <= watched_limit, "%zu of %zu", footprint, watched_limit);
    }
    return unused;
}

CASE_FREESTONE(hard_limit_holds_for_threads_at_once) {
    pthread_t threads[6], watcher;
    watched_limit = 24 * MIB;
    CHECK(freestone_set_limits(0, watched_limit) == 0);
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
        threads[i] = spawn(exhaust_in_turns, (void *)i, 128 * KIB);
    watcher = spawn(watch, NULL, 128 * KIB);
    sleep_milliseconds(2500);
    stop = 1;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
    join(watcher);
    struct link *list = NULL;
    size_t count = exhaust(&list, 100 * KIB);
    CHECK_THAT(count * 100 * KIB >= 18 * MIB, "%zu blocks", count);
    release(list);
}

/* The soft limit: told once for each time it is crossed from below. */
static int told;
static size_t told_footprint, told_limit;

static void count_it(size_t footprint, size_t limit) {
    told++;
    told_footprint = footprint;
    told_limit = limit;
    /* It may allocate and free, whatever size. */
    free(hide(malloc(100)));
    free(hide(malloc(10 * MIB)));
}

/* Fills memory beyond the limit in small steps, and frees it. */
static void cross(size_t bytes, size_t size) {
    struct link *list = NULL;
    for (size_t taken = 0; taken < bytes; taken += size) {
        struct link *one = (struct link *)hide(malloc(size));
        CHECK(one);
        dress(one, size, (unsigned)taken);
        one->next = list;
        list = one;
    }
    release(list);
}

/* Waits until so many bytes are left; frees on the way, where only callers work. */
static void wait_for_footprint(size_t most) {
    double until = seconds_now() + 5;
    while (freestone_footprint() > most && seconds_now() < until) {
        free(hide(malloc(300 * KIB)));
        sleep_milliseconds(10);
    }
    CHECK_THAT(freestone_footprint() <= most, "%zu", freestone_footprint());
    /* One more look, so that the allocator has seen it. */
    sleep_milliseconds(250);
    for (int i = 0; i < 200; i++) free(hide(malloc(300 * KIB)));
}

static void soft_limit_is_told(void) {
    freestone_on_soft_limit(count_it);
    CHECK(freestone_set_limits(32 * MIB, 0) == 0);
    cross(16 * MIB, 5000);
    CHECK(told == 0);
    for (int round = 1; round <= 3; round++) {
        cross(60 * MIB, round == 2 ? 200 * KIB : 5000);
        CHECK_THAT(told == round, "told %d times in round %d", told, round);
        CHECK(told_limit == 32 * MIB && told_footprint > told_limit && told_footprint < 48 * MIB);
        wait_for_footprint(28 * MIB);
    }
    /* A callback taken back is not called. */
    freestone_on_soft_limit(NULL);
    cross(60 * MIB, 5000);
    CHECK(told == 3);
    wait_for_footprint(28 * MIB);
    CHECK(freestone_set_limits(0, 0) == 0);
    freestone_on_soft_limit(count_it);
    cross(60 * MIB, 5000);
    CHECK(told == 3);
}

CASE_FREESTONE(soft_limit_is_told_once_a_crossing) { soft_limit_is_told(); }

INNER(inner_soft_limit) { soft_limit_is_told(); }
static void option_no_thread(void) { add_option("background:0"); }
CASE_FREESTONE(soft_limit_without_a_thread) { run_inner("inner_soft_limit", option_no_thread); }

/* A block that grows in place crosses it, too. */
CASE_FREESTONE(soft_limit_crossed_by_realloc) {
    freestone_on_soft_limit(count_it);
    CHECK(freestone_set_limits(32 * MIB, 0) == 0);
    char *p = NULL;
    for (size_t size = MIB; size <= 64 * MIB; size += MIB) {
        CHECK((p = (char *)hide(realloc(p, size))) != NULL);
        p[size - 1] = 1;
    }
    CHECK_THAT(told == 1, "told %d times", told);
    free(p);
}

/* Beyond the soft limit nothing free is kept, though it be wanted again and again. */
CASE_FREESTONE(beyond_the_soft_limit_free_memory_goes_back) {
    void *ballast = hide(malloc(64 * MIB));
    fill_sparse(ballast, 64 * MIB, 4096, 1);
    CHECK(freestone_set_limits(48 * MIB, 0) == 0);
    for (int i = 0; i < 8; i++) {
        cross(40 * MIB, 5000);
        wait_for_footprint(70 * MIB);
    }
    CHECK(whole_sparse(ballast, 64 * MIB, 4096, 1));
    free(ballast);
}

/* A control group of our own, version 1 or 2. */
static char group[64], group_limit[96];

static int write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = (ssize_t)strlen(text), written = write(fd, text, (size_t)length);
    close(fd);
    return written == length;
}

static int make_group(const char *root, const char *file) {
    snprintf(group, sizeof group, "%s/freestone-%d", root, (int)getpid());
    if (mkdir(group, 0755) != 0) return 0;
    snprintf(group_limit, sizeof group_limit, "%s/%s", group, file);
    if (write_text(group_limit, "268435456")) return 1;
    rmdir(group);
    return 0;
}

static void enter_group(void) {
    char path[96];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    if (!write_text(path, "0")) skip("cannot enter a control group");
}

static void enter_group_with_limit(void) {
    enter_group();
    add_option("limit_hard:80%");
}

static void leave_group(void) {
    for (int i = 0; i < 100 && rmdir(group) != 0; i++) sleep_milliseconds(10);
}

/* Starts `name` in a control group of 256 MiB. */
static void in_group(const char *name, void (*prepare)(void)) {
    if (!make_group("/sys/fs/cgroup/memory", "memory.limit_in_bytes") &&
        !make_group("/sys/fs/cgroup", "memory.max"))
        skip("no control group can be made here");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        run_inner(name, prepare);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    leave_group();
    CHECK_THAT(WIFEXITED(status), "died of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == SKIPPED) _exit(SKIPPED);
    CHECK(WEXITSTATUS(status) == 0);
}

INNER(inner_group_256_mib) {
    /* 204.8 MiB, of which very little is lost. */
    every_function_is_refused(16 * MIB);
    sizes_in_turn(180 * MIB);
    CHECK(freestone_footprint() <= 205 * MIB && resident_kib() < 230 * KIB);
}

INNER(inner_group_256_mib_threads) {
    pthread_t threads[4];
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
        threads[i] = spawn(exhaust_in_turns, (void *)i, 128 * KIB);
    sleep_milliseconds(4000);
    stop = 1;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) join(threads[i]);
}

INNER(inner_group_256_mib_by_call) {
    CHECK(freestone_set_limits(FREESTONE_PERCENT(50), FREESTONE_PERCENT(75)) == 0);
    struct link *list = NULL;
    size_t count = exhaust(&list, MIB);
    CHECK_THAT(count > 180 && count < 192, "%zu MiB", count);
    release(list);
}

CASE_FREESTONE(control_group_is_not_exceeded) { in_group("inner_group_256_mib", enter_group_with_limit); }
CASE_FREESTONE(control_group_is_not_exceeded_by_threads) {
    in_group("inner_group_256_mib_threads", enter_group_with_limit);
}
CASE_FREESTONE(control_group_by_call) { in_group("inner_group_256_mib_by_call", enter_group); }
