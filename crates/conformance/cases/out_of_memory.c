/* When memory runs out: NULL and ENOMEM from every function, and everything works again afterwards. */
#include "conformance.h"

static void limit_address_space(size_t room) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = virtual_kib() * KIB + room;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* A list through the blocks themselves: the case needs no memory of its own. */
struct link {
    struct link *next;
    size_t size;
};

/* Allocates blocks of `size` until there are no more; returns how many. */
static size_t exhaust(struct link **list, size_t size) {
    size_t count = 0;
    for (;;) {
        errno = 0;
        struct link *one = (struct link *)hide(malloc(size));
        if (!one) {
            CHECK_THAT(errno == ENOMEM, "errno %d", errno);
            return count;
        }
        one->next = *list;
        one->size = size;
        *list = one;
        count++;
    }
}

static void release(struct link *list) {
    while (list) {
        struct link *next = list->next;
        errno = 77;
        free(list);
        CHECK_THAT(errno == 77, "errno %d", errno);
        list = next;
    }
}

static void exhaust_and_recover(size_t size) {
    limit_address_space(64 * MIB);
    struct link *list = NULL;
    size_t first = exhaust(&list, size);
    CHECK_THAT(first * size > 24 * MIB, "only %zu blocks of %zu", first, size);
    release(list);
    for (int round = 0; round < 3; round++) {
        list = NULL;
        size_t again = exhaust(&list, size);
        CHECK_THAT(again * 10 >= first * 9, "%zu blocks of %zu, then %zu", first, size, again);
        release(list);
    }
    void *p = hide(malloc(8 * MIB));
    CHECK(p);
    free(p);
}

CASE(bug11_exhaust_and_recover_16_bytes) { exhaust_and_recover(16); }
CASE(bug11_exhaust_and_recover_1_kib) { exhaust_and_recover(1000); }
CASE(bug11_exhaust_and_recover_20_kib) { exhaust_and_recover(20 * KIB); }
CASE(bug11_exhaust_and_recover_100_kib) { exhaust_and_recover(100 * KIB); }
CASE(bug11_exhaust_and_recover_1_mib) { exhaust_and_recover(MIB); }

/* From one size to another: what small blocks held must serve large ones. */
CASE(bug11_memory_of_one_size_serves_another) {
    limit_address_space(64 * MIB);
    static const size_t sizes[] = {64, 2 * MIB, 5000, 300 * KIB, 24, 30 * KIB};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        struct link *list = NULL;
        size_t count = exhaust(&list, sizes[i]);
        CHECK_THAT(count * sizes[i] > 20 * MIB, "only %zu blocks of %zu", count, sizes[i]);
        release(list);
    }
}

CASE(bug07_every_function_gives_null_when_memory_is_out) {
    void *old = hide(malloc(1000));
    fill(old, 1000, 1);
    limit_address_space(16 * MIB);
    struct link *list = NULL;
    exhaust(&list, MIB);
    size_t size = 2 * MIB;
    void *out = &size;
#define REFUSED(call)                                                                                        \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        CHECK(hide(call) == NULL);                                                                           \
        CHECK_THAT(errno == ENOMEM, "%s: errno %d", #call, errno);                                           \
    } while (0)
    for (int i = 0; i < 100; i++) {
        REFUSED(malloc(size));
        REFUSED(calloc(size, 1));
        REFUSED(realloc(NULL, size));
        REFUSED(realloc(old, size));
        REFUSED(reallocarray(old, size, 1));
        REFUSED(memalign(64, size));
        REFUSED(memalign(MIB, size));
        REFUSED(aligned_alloc(4096, size));
        REFUSED(valloc(size));
        REFUSED(pvalloc(size));
        CHECK(posix_memalign(&out, 64, size) == ENOMEM && out == &size);
        CHECK(whole(old, 1000, 1));
    }
    release(list);
    CHECK((old = hide(realloc(old, size))) != NULL && whole(old, 1000, 1));
    free(old);
}

CASE(realloc_in_place_or_null_when_memory_is_out) {
    limit_address_space(64 * MIB);
    unsigned char *p = (unsigned char *)hide(malloc(MIB));
    fill_sparse(p, MIB, 4096, 3);
    size_t size = MIB;
    for (;;) {
        errno = 0;
        unsigned char *larger = (unsigned char *)hide(realloc(p, size + MIB));
        if (!larger) break;
        p = larger;
        size += MIB;
    }
    CHECK(errno == ENOMEM && size > 8 * MIB);
    for (size_t i = 0; i < MIB; i += 4096) CHECK(p[i] == pattern_at(i, 3));
    free(p);
}

static void *exhaust_in_thread(void *unused) {
    (void)unused;
    for (int round = 0; round < 4; round++) {
        struct link *list = NULL;
        exhaust(&list, 3000);
        for (struct link *one = list; one; one = one->next) CHECK(one->size == 3000);
        release(list);
    }
    return NULL;
}

CASE(bug11_eight_threads_run_out_together) {
    pthread_t threads[8];
    limit_address_space(128 * MIB);
    for (int i = 0; i < 8; i++) threads[i] = spawn(exhaust_in_thread, NULL, 128 * KIB);
    for (int i = 0; i < 8; i++) join(threads[i]);
    void *p = hide(malloc(4 * MIB));
    CHECK(p);
    free(p);
}

/* While memory is out, fork, stdio and threads of the program must at worst fail, not crash. */
CASE(libc_survives_when_memory_is_out) {
    limit_address_space(32 * MIB);
    struct link *list = NULL, *rest = NULL;
    exhaust(&list, 100 * KIB);
    exhaust(&rest, 100);
    FILE *file = fopen("/proc/self/status", "r");
    if (file) fclose(file);
    char *text = strdup("text");
    free(text);
    if (asprintf(&text, "%s", "text") >= 0) free(text);
    pid_t child = fork();
    if (child == 0) {
        /* The large blocks may have left no room for a single small one. */
        release(rest ? rest : list);
        _exit(hide(malloc(50)) == NULL);
    }
    if (child > 0) reap(child);
    release(rest);
    release(list);
}

INNER(inner_small_space) {
    struct link *list = NULL;
    size_t count = exhaust(&list, 10000);
    CHECK_THAT(count > 5000, "%zu blocks", count);
    release(list);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) threads[i] = spawn(exhaust_in_thread, NULL, 128 * KIB);
    for (int i = 0; i < 4; i++) join(threads[i]);
    void *p = hide(malloc(10 * MIB));
    CHECK(p);
    free(p);
}

static void small_address_space(void) {
    struct rlimit limit = {200000 * KIB, 200000 * KIB};
    setrlimit(RLIMIT_AS, &limit);
}

/* As `ulimit -v 200000`: large reservations at the start break this. */
CASE(bug11_start_in_200000_kib_of_addresses) { run_inner("inner_small_space", small_address_space); }

/* RLIMIT_DATA counts private writable mappings, nearly as strict overcommit does. */
static void small_data(void) {
    struct rlimit limit = {100 * MIB, 100 * MIB};
    setrlimit(RLIMIT_DATA, &limit);
}

CASE(bug11_start_in_100_mib_of_data) { run_inner("inner_small_space", small_data); }

INNER(inner_tiny_space) {
    void *p = hide(malloc(100));
    CHECK(p);
    free(p);
    struct link *list = NULL;
    exhaust(&list, 1000);
    release(list);
}

static void tiny_address_space(void) {
    struct rlimit limit = {24 * MIB, 24 * MIB};
    setrlimit(RLIMIT_AS, &limit);
}

CASE(bug11_start_in_24_mib_of_addresses) { run_inner("inner_tiny_space", tiny_address_space); }
