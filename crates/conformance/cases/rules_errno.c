/* errno, and sizes that no allocator can serve. */
#include "conformance.h"

static const size_t TOO_LARGE[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 1,       SIZE_MAX - 15,
                                   SIZE_MAX - 4095,         SIZE_MAX - 8191, SIZE_MAX - 65536, SIZE_MAX / 2 + 4097};

#define REFUSED(call)                                                                                        \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        void *refused = hide(call);                                                                          \
        CHECK_THAT(refused == NULL, "%s with size %#zx", #call, size);                                       \
        CHECK_THAT(errno == ENOMEM, "%s with size %#zx: errno %d", #call, size, errno);                      \
    } while (0)

CASE(bug07_too_large_is_enomem_in_every_entry_point) {
    void *old = hide(malloc(100));
    fill(old, 100, 1);
    for (unsigned i = 0; i < COUNT_OF(TOO_LARGE); i++) {
        size_t size = opaque(TOO_LARGE[i]);
        REFUSED(malloc(size));
        REFUSED(calloc(1, size));
        REFUSED(calloc(size, 1));
        REFUSED(realloc(NULL, size));
        REFUSED(realloc(old, size));
        REFUSED(reallocarray(NULL, 1, size));
        REFUSED(reallocarray(old, size, 1));
        REFUSED(memalign(8, size));
        REFUSED(memalign(64, size));
        REFUSED(memalign(MIB, size));
        REFUSED(aligned_alloc(16, size));
        REFUSED(aligned_alloc(4096, size));
        REFUSED(valloc(size));
        REFUSED(pvalloc(size));
    }
    CHECK(whole(old, 100, 1));
    free(old);
}

CASE(bug07_ptrdiff_max_itself_is_enomem_too) {
    for (size_t less = 0; less < 100000; less = less * 2 + 1) {
        size_t size = opaque((size_t)PTRDIFF_MAX - less);
        REFUSED(malloc(size));
        REFUSED(calloc(size, 1));
        REFUSED(realloc(NULL, size));
        REFUSED(memalign(4096, size));
        REFUSED(valloc(size));
        REFUSED(pvalloc(size));
    }
}

CASE(bug07_more_than_the_address_space_is_enomem) {
    for (int shift = 48; shift < 63; shift++) {
        size_t size = opaque((size_t)1 << shift);
        REFUSED(malloc(size));
        REFUSED(calloc(size / 8, 8));
        REFUSED(realloc(NULL, size));
        REFUSED(memalign(64, size));
        REFUSED(aligned_alloc(GIB, size));
    }
}

/* What can never be is refused at once: nothing that is free is given back for it, which would take as long as all of it is. */
CASE(requests_that_can_never_be_served_are_refused_at_once) {
    enum { MANY = 20000 };
    static void *blocks[MANY];
    for (int i = 0; i < MANY; i++) blocks[i] = hide(malloc((size_t)i % 2000 + 1));
    for (int i = 0; i < MANY; i += 2) free(blocks[i]);
    double began = seconds_now();
    for (int i = 0; i < 3000; i++) {
        size_t size = opaque((size_t)1 << (48 + i % 15));
        REFUSED(malloc(size));
    }
    CHECK_THAT(seconds_now() - began < 1.0, "%.2f s", seconds_now() - began);
    for (int i = 1; i < MANY; i += 2) free(blocks[i]);
}

CASE(bug08_calloc_product_overflow) {
    static const size_t pairs[][2] = {{SIZE_MAX, 2},
                                      {2, SIZE_MAX},
                                      {SIZE_MAX, SIZE_MAX},
                                      {SIZE_MAX / 2 + 1, 2},
                                      {2, SIZE_MAX / 2 + 1},
                                      {(size_t)1 << 32, (size_t)1 << 32},
                                      {((size_t)1 << 32) + 1, (size_t)1 << 32},
                                      {SIZE_MAX / 16 + 1, 16},
                                      {SIZE_MAX / 3 + 1, 3},
                                      {(size_t)1 << 63, 2},
                                      {(size_t)1 << 33, ((size_t)1 << 31) + 1}};
    for (unsigned i = 0; i < COUNT_OF(pairs); i++) {
        size_t size = i;
        REFUSED(calloc(opaque(pairs[i][0]), opaque(pairs[i][1])));
        REFUSED(reallocarray(NULL, opaque(pairs[i][0]), opaque(pairs[i][1])));
    }
}

/* Rounding up to a granule, to a page or to an alignment must not wrap to something small. */
CASE(bug08_rounding_never_wraps_to_a_small_block) {
    for (size_t align = 16; align <= GIB; align *= 4) {
        for (size_t less = 0; less < 2 * align && less < 20000; less = less * 2 + 1) {
            size_t size = opaque(SIZE_MAX - less);
            REFUSED(memalign(align, size));
            REFUSED(aligned_alloc(align, size));
            size = opaque(SIZE_MAX - align + 1 - less);
            REFUSED(memalign(align, size));
        }
    }
    for (size_t less = 0; less < 20000; less++) {
        size_t size = opaque(SIZE_MAX - less);
        REFUSED(malloc(size));
        REFUSED(calloc(1, size));
    }
}

/* Growing a block with a large alignment: an implementation that copies the new size, or the usable
 * size of the wrong block, reads beyond the old one, here into a hole or into another block. */
CASE(bug08_aligned_huge_realloc_reads_within_the_block) {
    for (size_t align = 4096; align <= 64 * MIB; align *= 8) {
        for (int round = 0; round < 4; round++) {
            size_t size = 2 * MIB + (size_t)round * 4096 + 1;
            void *p = hide(memalign(align, size));
            CHECK(p && aligned_to(p, align));
            fill_sparse(p, size, 4096, 5);
            p = hide(realloc(p, 70 * MIB));
            CHECK(p && whole_sparse(p, size, 4096, 5));
            p = hide(realloc(p, size));
            CHECK(p && whole_sparse(p, size, 4096, 5));
            free(p);
        }
    }
}

static void free_keeps_errno(void *p) {
    errno = 77;
    free(p);
    CHECK_THAT(errno == 77, "errno %d", errno);
}

CASE(bug07_free_keeps_errno) {
    free_keeps_errno(NULL);
    for (size_t size = 0; size < 300 * MIB; size = size * 3 + 1) {
        free_keeps_errno(hide(malloc(size)));
        free_keeps_errno(hide(calloc(size, 1)));
        free_keeps_errno(hide(memalign(8192, size)));
    }
}

CASE(bug07_many_frees_keep_errno) {
    enum { MANY = 50000 };
    static void *blocks[MANY];
    for (int i = 0; i < MANY; i++) blocks[i] = hide(malloc((size_t)i % 5000));
    errno = 77;
    for (int i = 0; i < MANY; i++) free(blocks[i]);
    CHECK_THAT(errno == 77, "errno %d", errno);
}

/* munmap of a locked page, or the allocator's own bookkeeping, may fail inside: not the caller's affair. */
CASE(bug07_success_keeps_errno) {
    errno = 77;
    for (size_t size = 0; size < 300 * MIB; size = size * 3 + 1) {
        void *p = hide(malloc(size));
        p = hide(realloc(p, size * 2 + 1));
        void *q = hide(calloc(1, size));
        void *r = hide(memalign(4096, size));
        CHECK(p && q && r);
        free(p);
        free(q);
        free(r);
        CHECK_THAT(errno == 77, "size %zu, errno %d", size, errno);
    }
}

static void *first_call_keeps_errno(void *unused) {
    (void)unused;
    errno = 77;
    void *p = hide(malloc(1000));
    CHECK_THAT(errno == 77, "errno %d", errno);
    free(p);
    CHECK_THAT(errno == 77, "errno %d", errno);
    return NULL;
}

CASE(bug07_first_call_of_a_thread_keeps_errno) {
    for (int i = 0; i < 50; i++) join(spawn(first_call_keeps_errno, NULL, 0));
}
