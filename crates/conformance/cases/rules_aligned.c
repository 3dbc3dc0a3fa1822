/* posix_memalign, aligned_alloc, memalign, valloc, pvalloc. */
#include "conformance.h"

static void check_block(void *p, size_t align, size_t size) {
    CHECK_THAT(p != NULL, "align %zu, size %zu", align, size);
    CHECK_THAT(aligned_to(p, align), "align %zu, size %zu: %p", align, size, p);
    CHECK_THAT(malloc_usable_size(p) >= size, "align %zu, size %zu", align, size);
    fill_sparse(p, size, size / 16 + 1, (unsigned)align);
}

CASE(posix_memalign_all_alignments_and_sizes) {
    for (size_t align = sizeof(void *); align <= 64 * KIB; align *= 2) {
        void *blocks[200];
        size_t sizes[200];
        int count = 0;
        for (size_t size = 0; size <= 300 * KIB; size = size * 9 / 8 + 1) {
            void *p = NULL;
            CHECK(posix_memalign(&p, align, size) == 0);
            check_block(hide(p), align, size);
            sizes[count] = size;
            blocks[count++] = p;
        }
        while (count-- > 0) {
            CHECK(whole_sparse(blocks[count], sizes[count], sizes[count] / 16 + 1, (unsigned)align));
            free(blocks[count]);
        }
    }
}

CASE(alignments_up_to_1_gib) {
    for (size_t align = 64 * KIB; align <= GIB; align *= 2) {
        static const size_t sizes[] = {1, 4096, 100000, 3 * MIB};
        void *blocks[COUNT_OF(sizes)];
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            void *p = NULL;
            CHECK_THAT(posix_memalign(&p, align, sizes[i]) == 0, "align %zu, size %zu", align, sizes[i]);
            check_block(blocks[i] = hide(p), align, sizes[i]);
        }
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) free(blocks[i]);
    }
}

CASE(memalign_of_1_gib_at_1_gib) {
    void *p = hide(memalign(GIB, GIB));
    check_block(p, GIB, GIB);
    free(p);
}

/* 4 GiB of addresses for one byte: granted or refused cleanly, never wrong. */
CASE(alignments_above_1_gib_work_or_are_refused) {
    for (size_t align = 2 * GIB; align <= (size_t)1 << 62; align *= 2) {
        void *untouched = &untouched, *p = untouched;
        int error = posix_memalign(&p, align, 1);
        if (error == 0) {
            check_block(p, align, 1);
            free(p);
        } else {
            CHECK_THAT(error == ENOMEM && p == untouched, "align %zu: %d", align, error);
        }
        errno = 0;
        p = hide(memalign(align, 1));
        if (!p) CHECK_THAT(errno == ENOMEM || errno == EINVAL, "align %zu: errno %d", align, errno);
        if (p) check_block(p, align, 1);
        free(p);
    }
}

CASE(posix_memalign_rejects_bad_alignments) {
    static const size_t bad[] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 24, 48, 100, 1000, 4095, 4097,
                                 3 * 4096, SIZE_MAX, SIZE_MAX - 7, (size_t)PTRDIFF_MAX};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        void *untouched = &untouched, *p = untouched;
        errno = 66;
        CHECK_THAT(posix_memalign(&p, opaque(bad[i]), 64) == EINVAL, "alignment %zu", bad[i]);
        CHECK_THAT(p == untouched && errno == 66, "alignment %zu", bad[i]);
    }
}

CASE(posix_memalign_of_zero_bytes) {
    for (size_t align = sizeof(void *); align <= MIB; align *= 2) {
        void *p = NULL, *q = NULL;
        CHECK(posix_memalign(&p, align, 0) == 0 && posix_memalign(&q, align, 0) == 0);
        CHECK(p && q && p != q && aligned_to(p, align) && aligned_to(q, align));
        free(p);
        free(q);
    }
}

static const size_t TOO_LARGE[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 4096, SIZE_MAX / 2 + 2};

CASE(posix_memalign_too_large_is_enomem) {
    for (size_t align = sizeof(void *); align <= GIB; align *= 8) {
        for (unsigned i = 0; i < COUNT_OF(TOO_LARGE); i++) {
            void *untouched = &untouched, *p = untouched;
            CHECK_THAT(posix_memalign(&p, align, opaque(TOO_LARGE[i])) == ENOMEM, "align %zu", align);
            CHECK_THAT(p == untouched, "align %zu", align);
        }
    }
}

/* POSIX and the manual: the error is returned, errno is not set. glibc itself sets it. */
CASE_FREESTONE(posix_memalign_refused_leaves_errno) {
    for (size_t align = sizeof(void *); align <= GIB; align *= 8) {
        for (unsigned i = 0; i < COUNT_OF(TOO_LARGE); i++) {
            void *p = NULL;
            errno = 66;
            CHECK(posix_memalign(&p, align, opaque(TOO_LARGE[i])) == ENOMEM);
            CHECK_THAT(errno == 66, "align %zu, errno %d", align, errno);
        }
    }
}

CASE(posix_memalign_leaves_errno_when_it_succeeds) {
    for (size_t size = 1; size < 64 * MIB; size *= 4) {
        void *p = NULL;
        errno = 66;
        CHECK(posix_memalign(&p, 4096, size) == 0);
        CHECK_THAT(errno == 66, "size %zu, errno %d", size, errno);
        free(p);
    }
}

CASE(aligned_alloc_any_size_is_accepted) {
    /* C17 dropped the demand that the size be a multiple of the alignment; glibc never made it. */
    for (size_t align = 1; align <= 64 * KIB; align *= 2) {
        for (size_t size = 0; size <= 100000; size = size * 3 + 1) {
            void *p = hide(aligned_alloc(align, size));
            check_block(p, align, size);
            free(p);
        }
    }
}

/* glibc 2.38 and newer, as its manual says: EINVAL. Older ones round the alignment up, as memalign. */
CASE(aligned_alloc_of_a_bad_alignment) {
    static const size_t bad[] = {3, 5, 6, 7, 12, 24, 48, 100, 4095, 4097};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        errno = 0;
        void *p = hide(aligned_alloc(opaque(bad[i]), 64));
        if (!p) CHECK_THAT(errno == EINVAL, "alignment %zu, errno %d", bad[i], errno);
        size_t rounded = 1;
        while (rounded < bad[i]) rounded *= 2;
        if (p) CHECK_THAT(aligned_to(p, rounded), "alignment %zu", bad[i]);
        free(p);
    }
    errno = 0;
    void *p = hide(aligned_alloc(opaque(0), 64));
    if (!p) CHECK(errno == EINVAL);
    free(p);
}

CASE_FREESTONE(aligned_alloc_of_a_bad_alignment_is_einval) {
    static const size_t bad[] = {0, 3, 5, 6, 7, 12, 24, 48, 100, 4095, 4097, SIZE_MAX};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        errno = 0;
        CHECK_THAT(hide(aligned_alloc(opaque(bad[i]), 64)) == NULL, "alignment %zu", bad[i]);
        CHECK_THAT(errno == EINVAL, "alignment %zu, errno %d", bad[i], errno);
    }
}

CASE(memalign_rounds_a_bad_alignment_up) {
    for (size_t align = 0; align < 5000; align += align / 16 + 1) {
        size_t rounded = 1;
        while (rounded < align) rounded *= 2;
        void *p = hide(memalign(opaque(align), 100));
        CHECK_THAT(p != NULL, "alignment %zu", align);
        CHECK_THAT(aligned_to(p, rounded) && aligned_to(p, 16), "alignment %zu: %p", align, p);
        CHECK(malloc_usable_size(p) >= 100);
        fill(p, 100, 1);
        free(p);
    }
}

CASE(memalign_with_an_alignment_above_half_the_space_is_einval) {
    static const size_t bad[] = {SIZE_MAX, SIZE_MAX / 2 + 2, SIZE_MAX - 1};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        errno = 0;
        CHECK(hide(memalign(opaque(bad[i]), 16)) == NULL);
        CHECK_THAT(errno == EINVAL, "errno %d", errno);
    }
}

CASE(valloc_is_page_aligned) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size <= 200000; size = size * 2 + 1) {
        void *p = hide(valloc(size));
        check_block(p, page, size);
        free(p);
    }
}

CASE(pvalloc_rounds_up_to_whole_pages) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size <= 200000; size = size * 2 + 1) {
        size_t rounded = (size + page - 1) / page * page;
        void *p = hide(pvalloc(size));
        check_block(p, page, rounded);
        free(p);
    }
}

CASE(pvalloc_near_the_end_of_the_space_does_not_wrap) {
    for (size_t less = 0; less < 5000; less += 7) {
        errno = 0;
        CHECK_THAT(hide(pvalloc(opaque(SIZE_MAX - less))) == NULL, "SIZE_MAX - %zu", less);
        CHECK(errno == ENOMEM);
    }
}

CASE(aligned_blocks_do_not_overlap) {
    enum { MANY = 2000 };
    static void *blocks[MANY];
    static size_t sizes[MANY];
    unsigned state = 99;
    for (int round = 0; round < 20000; round++) {
        unsigned i = random_next(&state) % MANY;
        if (blocks[i]) CHECK_THAT(whole(blocks[i], sizes[i], i), "block %u of %zu bytes", i, sizes[i]);
        free(blocks[i]);
        size_t align = (size_t)1 << (random_next(&state) % 13);
        sizes[i] = random_size(&state, 12);
        blocks[i] = hide(memalign(align, sizes[i]));
        CHECK(blocks[i] && aligned_to(blocks[i], align));
        fill(blocks[i], sizes[i], i);
    }
    for (int i = 0; i < MANY; i++) free(blocks[i]);
}
