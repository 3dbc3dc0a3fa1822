/* calloc: zeroed memory always, also where dirty memory is used again. */
#include "conformance.h"

#include <sys/mman.h>
#include <sys/resource.h>

CASE(calloc_of_zero_gives_a_unique_block) {
    void *a = hide(calloc(0, 8)), *b = hide(calloc(8, 0)), *c = hide(calloc(0, 0));
    void *d = hide(calloc(0, SIZE_MAX)), *e = hide(calloc(SIZE_MAX, 0));
    CHECK(a && b && c && d && e);
    CHECK(a != b && b != c && c != d && d != e && a != c && a != d && a != e);
    free(a);
    free(b);
    free(c);
    free(d);
    free(e);
}

static void dirty_then_calloc(size_t size, unsigned count) {
    void *blocks[64];
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = hide(malloc(size));
        CHECK_THAT(blocks[i] != NULL, "size %zu", size);
        memset(blocks[i], 0xdb, malloc_usable_size(blocks[i]));
        hide(blocks[i]);
    }
    for (unsigned i = 0; i < count; i++) free(blocks[i]);
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = hide(calloc(1, size));
        CHECK_THAT(blocks[i] != NULL, "size %zu", size);
        CHECK_THAT(all_zero(blocks[i], size), "block %u of %zu bytes", i, size);
        CHECK_THAT(aligned_to(blocks[i], size >= 16 ? 16 : 8), "size %zu", size);
        memset(blocks[i], 0xbd, size);
        hide(blocks[i]);
    }
    for (unsigned i = 0; i < count; i++) free(blocks[i]);
}

CASE(calloc_is_zero_after_dirty_reuse_small) {
    for (size_t size = 1; size <= 4096; size++) dirty_then_calloc(size, 8);
    for (size_t size = 4097; size <= 40000; size += 501) dirty_then_calloc(size, 8);
}

CASE(calloc_is_zero_after_dirty_reuse_large) {
    for (size_t size = 32 * KIB; size <= 8 * MIB; size = size * 5 / 4 + 13) dirty_then_calloc(size, 3);
    dirty_then_calloc(64 * MIB, 1);
}

/* Dirty pieces are cut, merged and cut again at other places before calloc gets them. */
CASE(calloc_is_zero_after_merging_and_cutting) {
    enum { MANY = 40 };
    void *blocks[MANY];
    unsigned state = 5;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++) {
            size_t size = 33 * KIB + random_next(&state) % (200 * KIB);
            blocks[i] = hide(malloc(size));
            CHECK(blocks[i]);
            memset(blocks[i], 0xa5, size);
            hide(blocks[i]);
        }
        for (int i = 0; i < MANY; i++) free(blocks[(i * 7 + round) % MANY]);
        for (int i = 0; i < MANY / 4; i++) {
            size_t size = 33 * KIB + random_next(&state) % (700 * KIB);
            blocks[i] = hide(calloc(size, 1));
            CHECK(blocks[i]);
            CHECK_THAT(all_zero(blocks[i], size), "round %d, size %zu", round, size);
        }
        for (int i = 0; i < MANY / 4; i++) free(blocks[i]);
    }
}

CASE(calloc_is_zero_after_trim) {
    for (size_t size = 64; size <= 4 * MIB; size *= 4) {
        void *p = hide(malloc(size));
        memset(p, 0xee, size);
        hide(p);
        free(p);
        malloc_trim(0);
        dirty_then_calloc(size, 2);
    }
}

CASE(calloc_of_1_gib_touches_nothing) {
    size_t before = resident_kib();
    unsigned char *p = (unsigned char *)hide(calloc(GIB, 1));
    CHECK(p);
    for (size_t i = 0; i < GIB; i += 64 * MIB) CHECK(p[i] == 0);
    CHECK(p[GIB - 1] == 0);
    CHECK_THAT(resident_kib() < before + 64 * KIB, "resident %zu KiB, before %zu", resident_kib(), before);
    free(p);
}

/* A block that is made again and again and used to the same part keeps that part. */
CASE_FREESTONE(calloc_of_one_block_in_turn_keeps_the_pages_that_are_used) {
    enum { ROUNDS = 300 };
    struct rusage before, after;
    for (int round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS / 10) getrusage(RUSAGE_SELF, &before);
        unsigned char *p = hide(calloc(1, MIB));
        CHECK(p && all_zero(p, MIB / 5));
        memset(p, 1, MIB / 5);
        free(hide(p));
    }
    getrusage(RUSAGE_SELF, &after);
    long faults = after.ru_minflt - before.ru_minflt;
    CHECK_THAT(faults < 10 * ROUNDS, "%ld faults", faults);
}

/* What is locked in memory can neither be dropped nor made inaccessible, and is dirty when it serves again. */
INNER(inner_calloc_of_what_was_locked) {
    enum { MANY = 60, ROUNDS = 5 };
    static char *blocks[MANY];
    for (size_t size = 929736; size < 929736 + 2 * 4096; size += 4096)
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; i < MANY; i++) {
                blocks[i] = hide(calloc(1, size));
                CHECK(blocks[i] && all_zero(blocks[i], size));
                memset(blocks[i], 1, size);
                if (mlock(blocks[i], 4096) != 0) skip("memory cannot be locked");
            }
            for (int i = 0; i < MANY; i++) free(hide(blocks[i]));
        }
}

static void hardened(void) { setenv("FREESTONE_CONF", "harden:1", 1); }

CASE(calloc_of_what_was_locked) {
    run_inner("inner_calloc_of_what_was_locked", NULL);
    run_inner("inner_calloc_of_what_was_locked", hardened);
}

CASE(calloc_multiplies_its_arguments) {
    for (size_t count = 1; count < 2000; count = count * 3 + 1) {
        for (size_t size = 1; size < 2000; size = size * 2 + 1) {
            void *p = hide(calloc(count, size));
            CHECK(p && malloc_usable_size(p) >= count * size && all_zero(p, count * size));
            memset(p, 0xff, count * size);
            hide(p);
            free(p);
        }
    }
}
