/* realloc and reallocarray: null, zero, growing, shrinking, refusal. */
#include "conformance.h"

#include <sys/mman.h>

CASE(realloc_of_null_is_malloc) {
    void *p = hide(realloc(NULL, 100));
    CHECK(p && malloc_usable_size(p) >= 100);
    fill(p, 100, 1);
    free(p);
    p = hide(realloc(NULL, 0));
    CHECK(p != NULL);
    free(p);
}

/* glibc's manual: the block is freed and NULL returned. A block not freed would show as growth. */
CASE(realloc_to_zero_frees_and_gives_null) {
    size_t before = 0;
    for (int i = 0; i < 4000; i++) {
        void *p = hide(malloc(100 * KIB));
        CHECK(p);
        fill_sparse(p, 100 * KIB, 4096, 1);
        errno = 77;
        CHECK(hide(realloc(p, 0)) == NULL);
        CHECK_THAT(errno == 77, "errno %d", errno);
        if (i == 100) before = resident_kib();
    }
    CHECK_THAT(resident_kib() < before + 32 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

CASE(realloc_of_a_small_block_to_zero_frees) {
    size_t before = 0;
    for (int i = 0; i < 2000000; i++) {
        CHECK(hide(realloc(hide(malloc(48)), 0)) == NULL);
        if (i == 1000) before = resident_kib();
    }
    CHECK_THAT(resident_kib() < before + 16 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

CASE(realloc_keeps_contents_small_steps) {
    for (size_t start = 1; start < 3000; start = start * 2 + 3) {
        void *p = hide(malloc(start));
        fill(p, start, (unsigned)start);
        for (size_t size = start; size < start + 400; size++) {
            p = hide(realloc(p, size));
            CHECK(p && aligned_to(p, size >= 16 ? 16 : 8) && malloc_usable_size(p) >= size);
            CHECK_THAT(whole(p, start, (unsigned)start), "%zu to %zu", start, size);
        }
        for (size_t size = start; size > 0; size--) {
            p = hide(realloc(p, size));
            CHECK(p);
            CHECK_THAT(whole(p, size, (unsigned)start), "%zu to %zu", start, size);
        }
        free(p);
    }
}

/* Lists as redis keeps them: each of many blocks is appended to, and ends at some 8 KiB. */
CASE(realloc_in_small_steps_to_8_kib_leaves_little_room) {
    static void *blocks[512];
    size_t held = 0;
    for (int i = 0; i < 512; i++) {
        size_t size = 16;
        blocks[i] = hide(malloc(size));
        while (size < 8192) {
            size += 64 + i % 64;
            blocks[i] = hide(realloc(blocks[i], size));
            CHECK(blocks[i]);
        }
        held += malloc_usable_size(blocks[i]);
    }
    CHECK_THAT(held < 512 * (8192 + 8192 / 3), "%zu bytes a block", held / 512);
    for (int i = 0; i < 512; i++) free(blocks[i]);
}

/* From every size range to every other. */
CASE(realloc_keeps_contents_between_all_ranges) {
    static const size_t sizes[] = {1,         8,         24,        100,           1000,      4096,
                                   20 * KIB,  32 * KIB,  33 * KIB,  64 * KIB + 1,  128 * KIB, 250 * KIB,
                                   1 * MIB,   1500 * KIB, 4 * MIB,  9 * MIB,       33 * MIB};
    for (unsigned from = 0; from < COUNT_OF(sizes); from++) {
        for (unsigned to = 0; to < COUNT_OF(sizes); to++) {
            size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            void *p = hide(malloc(sizes[from]));
            CHECK(p);
            fill_sparse(p, sizes[from], 97, from);
            /* The last byte written by fill_sparse lies in the part that is kept only when growing. */
            p = hide(realloc(p, sizes[to]));
            CHECK(p && malloc_usable_size(p) >= sizes[to]);
            size_t checked = least - (least - 1) % 97;
            CHECK_THAT(whole_sparse(p, checked, 97, from), "%zu to %zu", sizes[from], sizes[to]);
            fill_sparse(p, sizes[to], 4096, to);
            CHECK(whole_sparse(p, sizes[to], 4096, to));
            free(p);
        }
    }
}

CASE(realloc_grows_step_by_step_to_1_gib) {
    size_t size = 16;
    void *p = hide(malloc(size));
    fill_sparse(p, 16, 1, 3);
    while (size < GIB) {
        size_t larger = size * 2;
        p = hide(realloc(p, larger));
        CHECK_THAT(p != NULL, "to %zu", larger);
        CHECK_THAT(whole_sparse(p, 16, 1, 3), "to %zu", larger);
        unsigned char *bytes = (unsigned char *)p;
        for (size_t mark = 32; mark < larger; mark *= 2)
            CHECK_THAT(bytes[mark - 1] == (unsigned char)(mark % 251), "to %zu, mark %zu", larger, mark);
        bytes[larger - 1] = (unsigned char)(larger % 251);
        size = larger;
    }
    while (size > 16) {
        size /= 4;
        p = hide(realloc(p, size));
        CHECK_THAT(p && whole_sparse(p, 16, 1, 3), "down to %zu", size);
    }
    free(p);
}

/* 512 MiB of which a few pages are touched: a copy would make all of them resident. */
CASE_FREESTONE(realloc_to_1_gib_moves_no_bytes) {
    unsigned char *p = (unsigned char *)hide(malloc(512 * MIB));
    CHECK(p);
    fill_sparse(p, 512 * MIB, 64 * MIB, 9);
    size_t before = resident_kib();
    double start = seconds_now();
    p = (unsigned char *)hide(realloc(p, GIB));
    double took = seconds_now() - start;
    CHECK(p);
    CHECK(whole_sparse(p, 512 * MIB, 64 * MIB, 9));
    CHECK_THAT(resident_kib() < before + 16 * KIB, "resident %zu KiB, before %zu", resident_kib(), before);
    CHECK_THAT(took < 0.5, "took %.3f s", took);
    free(p);
}

enum { OS_PAGE = 4096, TAKEN = 50000 };

/* Makes so many pages readable, each between two that are not: two mappings more. Whether they come to their limit by that. */
static int take_mappings(unsigned char *pages, int count) {
    for (int i = 0; i < count; i++)
        if (mprotect(pages + (size_t)i * 2 * OS_PAGE, OS_PAGE, PROT_READ) != 0) return 1;
    return 0;
}

static void give_mappings(unsigned char *pages, int count) {
    for (int i = 0; i < count; i++) mprotect(pages + (size_t)i * 2 * OS_PAGE, OS_PAGE, PROT_NONE);
}

static int mappings_left;

static void realloc_with_few_mappings_left(void) {
    const size_t size = 16 * MIB, part = 256 * KIB, bytes = (size_t)TAKEN * 2 * OS_PAGE;
    free(hide(malloc(8 * size)));
    unsigned char *pages =
        (unsigned char *)mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    unsigned char *p = (unsigned char *)hide(malloc(size));
    void *fence = hide(malloc(size));
    CHECK(p && fence);
    fill_sparse(p, size, OS_PAGE, 5);
    unsigned char *begin = (unsigned char *)(((uintptr_t)p + part - 1) & ~(uintptr_t)(part - 1));
    for (size_t at = 0; at + part < size - part; at += 2 * part) madvise(begin + at, part, MADV_DONTDUMP);
    if (!take_mappings(pages, TAKEN)) skip("no limit on mappings is near");
    give_mappings(pages, mappings_left / 2);
    unsigned char *larger = (unsigned char *)hide(realloc(p, size + size / 2));
    munmap(pages, bytes);
    if (larger) p = larger;
    CHECK_THAT(whole_sparse(p, size, OS_PAGE, 5), "%d, %s", mappings_left, larger ? "moved" : "refused");
    free(p);
    free(fence);
}

/* The kernel has a block of which parts were treated differently as several mappings. With few left it may refuse to move it half-way
 * (Linux 6.17 and later). */
CASE(realloc_keeps_contents_with_few_mappings_left) {
    for (mappings_left = 4; mappings_left < 40; mappings_left += 14) in_child(realloc_with_few_mappings_left);
}

/* A block fenced in by others, so that growing in place is impossible, again and again. */
CASE(realloc_of_fenced_large_blocks) {
    void *blocks[8] = {0};
    void *fences[200] = {0};
    size_t size = 40 * KIB;
    for (int i = 0; i < 8; i++) {
        blocks[i] = hide(malloc(size));
        fill_sparse(blocks[i], size, 512, (unsigned)i);
    }
    for (unsigned step = 0; step < COUNT_OF(fences); step++) {
        fences[step] = hide(malloc(40 * KIB));
        CHECK(fences[step]);
        size_t larger = size + 13 * KIB + step;
        for (unsigned i = 0; i < 8; i++) {
            blocks[i] = hide(realloc(blocks[i], larger));
            CHECK(blocks[i]);
            CHECK_THAT(whole_sparse(blocks[i], size, 512, i), "%zu to %zu", size, larger);
            fill_sparse(blocks[i], larger, 512, i);
        }
        size = larger;
        if (step % 3 == 0) {
            free(fences[step / 2]);
            fences[step / 2] = NULL;
        }
    }
    for (int i = 0; i < 8; i++) free(blocks[i]);
    for (unsigned i = 0; i < COUNT_OF(fences); i++) free(fences[i]);
}

CASE(realloc_of_aligned_blocks_keeps_contents) {
    for (size_t align = 16; align <= 8 * MIB; align *= 4) {
        for (size_t size = 1; size <= 3 * MIB; size = size * 9 + 5) {
            void *p = hide(memalign(align, size));
            CHECK(p && aligned_to(p, align));
            fill_sparse(p, size, 33, 2);
            p = hide(realloc(p, size * 3));
            CHECK_THAT(p && whole_sparse(p, size, 33, 2), "align %zu, size %zu", align, size);
            size_t part = size / 2 + 1;
            p = hide(realloc(p, part));
            CHECK_THAT(p && whole_sparse(p, part - (part - 1) % 33, 33, 2), "align %zu, size %zu", align,
                       size);
            free(p);
        }
    }
}

CASE(realloc_refused_leaves_the_block) {
    static const size_t sizes[] = {1, 100, 40000, 3 * MIB};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        void *p = hide(malloc(sizes[i]));
        fill(p, sizes[i], i);
        errno = 0;
        CHECK(hide(realloc(p, opaque((size_t)PTRDIFF_MAX + 1))) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(hide(realloc(p, opaque(SIZE_MAX))) == NULL && errno == ENOMEM);
        CHECK(whole(p, sizes[i], i));
        free(p);
    }
}

CASE(realloc_to_the_same_size_keeps_everything) {
    for (size_t size = 1; size <= 2 * MIB; size = size * 3 + 1) {
        void *p = hide(malloc(size));
        fill_sparse(p, size, 7, 4);
        for (int i = 0; i < 5; i++) p = hide(realloc(p, size));
        CHECK_THAT(p && whole_sparse(p, size, 7, 4), "size %zu", size);
        free(p);
    }
}

CASE(reallocarray_is_realloc_with_a_product) {
    int *p = (int *)hide(reallocarray(NULL, 100, sizeof(int)));
    CHECK(p && malloc_usable_size(p) >= 400);
    fill(p, 400, 6);
    p = (int *)hide(reallocarray(p, 10000, sizeof(int)));
    CHECK(p && malloc_usable_size(p) >= 40000 && whole(p, 400, 6));
    p = (int *)hide(reallocarray(p, 10, sizeof(int)));
    CHECK(p && whole(p, 40, 6));
    CHECK(hide(reallocarray(p, 0, sizeof(int))) == NULL);
}

CASE(reallocarray_refused_leaves_the_block) {
    void *p = hide(malloc(333));
    fill(p, 333, 8);
    static const size_t pairs[][2] = {{SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX, SIZE_MAX},
                                      {SIZE_MAX / 2 + 1, 2}, {(size_t)1 << 33, (size_t)1 << 33},
                                      {PTRDIFF_MAX, 2}, {SIZE_MAX, 1}};
    for (unsigned i = 0; i < COUNT_OF(pairs); i++) {
        errno = 0;
        CHECK(hide(reallocarray(p, opaque(pairs[i][0]), opaque(pairs[i][1]))) == NULL);
        CHECK_THAT(errno == ENOMEM, "pair %u, errno %d", i, errno);
        CHECK(whole(p, 333, 8));
    }
    free(p);
}

CASE(realloc_random_walk_of_many_blocks) {
    enum { MANY = 500 };
    static void *blocks[MANY];
    static size_t sizes[MANY];
    unsigned state = 4711;
    for (int round = 0; round < 40000; round++) {
        unsigned i = random_next(&state) % MANY;
        size_t size = random_size(&state, round % 50 == 0 ? 18 : 12);
        size_t least = sizes[i] < size ? sizes[i] : size;
        blocks[i] = hide(realloc(blocks[i], size));
        CHECK(blocks[i]);
        CHECK_THAT(whole(blocks[i], least, i), "%zu to %zu", sizes[i], size);
        fill(blocks[i], size, i);
        sizes[i] = size;
    }
    for (int i = 0; i < MANY; i++) free(blocks[i]);
}
