/* malloc and free: sizes, alignment, zero, what a block may hold. */
#include "conformance.h"

CASE(malloc_zero_gives_a_unique_block) {
    enum { MANY = 1000 };
    static void *blocks[MANY];
    for (int i = 0; i < MANY; i++) {
        blocks[i] = hide(malloc(0));
        CHECK(blocks[i] != NULL);
        for (int j = 0; j < i; j++) CHECK(blocks[i] != blocks[j]);
    }
    for (int i = 0; i < MANY; i++) free(blocks[i]);
}

CASE(free_null_does_nothing) {
    free(NULL);
    free(hide(NULL));
}

/* Every size up to 100,000: aligned, large enough, writable to the last byte, and distinct from the
 * blocks that live beside it. */
CASE(malloc_every_size_to_100000) {
    enum { KEPT = 16 };
    void *kept[KEPT] = {0};
    size_t sizes[KEPT] = {0};
    for (size_t size = 0; size <= 100000; size++) {
        unsigned slot = size % KEPT;
        if (kept[slot]) {
            size_t last = sizes[slot];
            CHECK_THAT(whole_sparse(kept[slot], last, 61, (unsigned)last), "size %zu", last);
            free(kept[slot]);
        }
        unsigned char *p = (unsigned char *)hide(malloc(size));
        CHECK_THAT(p != NULL, "size %zu", size);
        CHECK_THAT(aligned_to(p, size >= 16 ? 16 : 8), "size %zu at %p", size, (void *)p);
        CHECK_THAT(malloc_usable_size(p) >= size, "size %zu", size);
        fill_sparse(p, size, 61, (unsigned)size);
        kept[slot] = p;
        sizes[slot] = size;
    }
    for (int i = 0; i < KEPT; i++) free(kept[i]);
}

CASE(malloc_blocks_are_distinct_and_keep_their_bytes) {
    enum { MANY = 20000 };
    static void *blocks[MANY];
    static size_t sizes[MANY];
    unsigned state = 17;
    for (unsigned i = 0; i < MANY; i++) {
        sizes[i] = random_size(&state, 11);
        blocks[i] = hide(malloc(sizes[i]));
        CHECK(blocks[i]);
        fill(blocks[i], sizes[i], i);
    }
    for (unsigned round = 0; round < 3 * MANY; round++) {
        unsigned i = random_next(&state) % MANY;
        CHECK_THAT(whole(blocks[i], sizes[i], i), "block %u of %zu bytes", i, sizes[i]);
        free(blocks[i]);
        sizes[i] = random_size(&state, 11);
        blocks[i] = hide(malloc(sizes[i]));
        fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < MANY; i++) {
        CHECK_THAT(whole(blocks[i], sizes[i], i), "block %u of %zu bytes", i, sizes[i]);
        free(blocks[i]);
    }
}

CASE(malloc_powers_of_two_and_neighbours_to_1_gib) {
    for (size_t power = 1; power <= GIB; power *= 2) {
        for (size_t size = power - 1; size <= power + 1; size++) {
            void *p = hide(malloc(size));
            CHECK_THAT(p != NULL, "size %zu", size);
            CHECK_THAT(aligned_to(p, size >= 16 ? 16 : 8), "size %zu", size);
            CHECK_THAT(malloc_usable_size(p) >= size, "size %zu", size);
            fill_sparse(p, size, size / 64 + 1, (unsigned)size);
            CHECK_THAT(whole_sparse(p, size, size / 64 + 1, (unsigned)size), "size %zu", size);
            free(p);
        }
    }
}

CASE(malloc_many_large_blocks_at_once) {
    enum { MANY = 64 };
    void *blocks[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        blocks[i] = hide(malloc(i * 333333 + 40000));
        CHECK(blocks[i]);
        fill_sparse(blocks[i], i * 333333 + 40000, 4096, i);
    }
    for (unsigned i = 0; i < MANY; i++) {
        CHECK_THAT(whole_sparse(blocks[i], i * 333333 + 40000, 4096, i), "block %u", i);
        free(blocks[i]);
    }
}

enum { HANDED = 5000 };
static void *handed[HANDED];

static void *free_handed(void *unused) {
    (void)unused;
    for (unsigned i = 0; i < HANDED; i++) {
        CHECK_THAT(whole(handed[i], i % 3000 + 1, i), "block %u", i);
        free(handed[i]);
    }
    return NULL;
}

CASE(free_in_another_thread_than_malloc) {
    for (int round = 0; round < 4; round++) {
        for (unsigned i = 0; i < HANDED; i++) {
            handed[i] = hide(malloc(i % 3000 + 1));
            CHECK(handed[i]);
            fill(handed[i], i % 3000 + 1, i);
        }
        join(spawn(free_handed, NULL, 0));
    }
}

/* Below what libc's own heap could be, which is left to it. */
CASE_FREESTONE(free_of_an_address_that_is_nobodys_is_noticed) {
    int status = 0;
    free(hide(malloc(100)));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        close(STDERR_FILENO);
        free(hide((void *)(uintptr_t)0x123450));
        _exit(3);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_THAT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x", (unsigned)status);
}
