/* What glibc, C23 and jemalloc's users expect beyond the classic functions. */
#include "conformance.h"

CASE(usable_size_of_null_is_zero) { CHECK(malloc_usable_size(hide(NULL)) == 0); }

CASE(usable_size_is_writable_and_kept) {
    enum { KEPT = 32 };
    unsigned char *kept[KEPT] = {0};
    unsigned turn = 0;
    for (size_t size = 0; size < 3 * MIB; size += size / 50 + 1, turn++) {
        unsigned slot = turn % KEPT;
        if (kept[slot])
            CHECK_THAT(whole(kept[slot], malloc_usable_size(kept[slot]), slot), "before size %zu", size);
        free(kept[slot]);
        kept[slot] = (unsigned char *)hide(malloc(size));
        CHECK(kept[slot] && malloc_usable_size(kept[slot]) >= size);
        CHECK_THAT(malloc_usable_size(kept[slot]) <= size + size / 4 + 16 * KIB, "size %zu: usable %zu", size,
                   malloc_usable_size(kept[slot]));
        fill(kept[slot], malloc_usable_size(kept[slot]), slot);
    }
    for (unsigned slot = 0; slot < KEPT; slot++) {
        CHECK(whole(kept[slot], malloc_usable_size(kept[slot]), slot));
        free(kept[slot]);
    }
}

CASE(usable_size_survives_realloc) {
    for (size_t size = 1; size < 400 * KIB; size = size * 2 + 7) {
        void *p = hide(malloc(size));
        size_t usable = malloc_usable_size(p);
        fill(p, usable, 3);
        p = hide(realloc(p, usable * 2));
        CHECK_THAT(p && whole(p, usable, 3), "size %zu, usable %zu", size, usable);
        free(p);
    }
}

CASE(usable_size_of_aligned_blocks) {
    for (size_t align = 8; align <= MIB; align *= 2) {
        for (size_t size = 1; size < 200 * KIB; size = size * 5 + 3) {
            void *p = hide(memalign(align, size)), *q = hide(memalign(align, size));
            size_t usable = malloc_usable_size(p);
            CHECK(usable >= size);
            fill(q, malloc_usable_size(q), 2);
            fill(p, usable, 1);
            CHECK(whole(q, malloc_usable_size(q), 2));
            free(p);
            free(q);
        }
    }
}

typedef void (*free_sized_type)(void *, size_t);
typedef void (*free_aligned_sized_type)(void *, size_t, size_t);
typedef void (*sdallocx_type)(void *, size_t, int);
typedef size_t (*nallocx_type)(size_t, int);
typedef void *(*mallocx_type)(size_t, int);
typedef void *(*rallocx_type)(void *, size_t, int);
typedef size_t (*xallocx_type)(void *, size_t, size_t, int);
typedef size_t (*sallocx_type)(void *, int);
typedef void (*dallocx_type)(void *, int);

#ifdef CONFORMANCE_STATIC
void free_sized(void *, size_t);
void free_aligned_sized(void *, size_t, size_t);
void sdallocx(void *, size_t, int);
size_t nallocx(size_t, int);
void *mallocx(size_t, int);
void *rallocx(void *, size_t, int);
size_t xallocx(void *, size_t, size_t, int);
size_t sallocx(void *, int);
void dallocx(void *, int);
void cfree(void *);
#endif

CASE(free_sized_after_malloc_calloc_realloc) {
    free_sized_type release = SYMBOL(free_sized_type, free_sized);
    REQUIRE(release);
    release(NULL, 0);
    release(NULL, 100);
    for (size_t size = 0; size < 5 * MIB; size += size / 20 + 1) {
        errno = 77;
        release(hide(malloc(size)), size);
        release(hide(calloc(1, size)), size);
        release(hide(realloc(hide(malloc(size / 2 + 1)), size + 1)), size + 1);
        CHECK(errno == 77);
    }
}

CASE(free_aligned_sized_after_aligned_alloc) {
    free_aligned_sized_type release = SYMBOL(free_aligned_sized_type, free_aligned_sized);
    REQUIRE(release);
    release(NULL, 64, 0);
    release(NULL, 0, 0);
    for (size_t align = 1; align <= MIB; align *= 2)
        for (size_t size = 0; size < MIB; size = size * 3 + 1) {
            void *p = hide(aligned_alloc(align, size));
            CHECK(p);
            fill_sparse(p, size, 100, 1);
            release(p, align, size);
        }
}

/* A sized free must put the block where the next malloc of that size looks: no growth. */
CASE(free_sized_returns_the_block) {
    free_sized_type release = SYMBOL(free_sized_type, free_sized);
    REQUIRE(release);
    size_t before = 0;
    for (int i = 0; i < 300000; i++) {
        size_t size = (size_t)i % 3000;
        void *p = hide(malloc(size));
        fill_sparse(p, size, 512, 1);
        release(p, size);
        if (i == 3000) before = resident_kib();
    }
    CHECK_THAT(resident_kib() < before + 8 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

/* jemalloc's flags: the base-two logarithm of the alignment in the low bits, 0x40 for zeroed. */
CASE(nallocx_agrees_with_malloc) {
    nallocx_type size_of = SYMBOL(nallocx_type, nallocx);
    REQUIRE(size_of);
    size_t last = 0;
    for (size_t size = 1; size < 4 * MIB; size += size / 100 + 1) {
        size_t block = size_of(size, 0);
        CHECK_THAT(block >= size && block >= last, "size %zu: %zu", size, block);
        CHECK_THAT(size_of(block, 0) == block, "size %zu: %zu, then %zu", size, block, size_of(block, 0));
        void *p = hide(malloc(size));
        CHECK_THAT(malloc_usable_size(p) >= block, "size %zu: %zu, nallocx %zu", size, malloc_usable_size(p),
                   block);
        free(p);
        last = block;
    }
    for (int shift = 0; shift <= 20; shift++) CHECK(size_of(1000, shift) >= 1000);
    CHECK(size_of(opaque(SIZE_MAX), 0) == 0);
}

CASE(sdallocx_with_and_without_alignment) {
    sdallocx_type release = SYMBOL(sdallocx_type, sdallocx);
    REQUIRE(release);
    for (size_t size = 1; size < MIB; size = size * 2 + 1) {
        release(hide(malloc(size)), size, 0);
        for (int shift = 4; shift <= 16; shift++)
            release(hide(aligned_alloc((size_t)1 << shift, size)), size, shift);
    }
}

/* A program linked with jemalloc allocates by one of these and frees by another: all, or none, are to be ours. */
CASE(jemallocs_calls_work_on_each_others_blocks) {
    mallocx_type allocate = SYMBOL(mallocx_type, mallocx);
    rallocx_type resize = SYMBOL(rallocx_type, rallocx);
    xallocx_type in_place = SYMBOL(xallocx_type, xallocx);
    sallocx_type size_of = SYMBOL(sallocx_type, sallocx);
    dallocx_type release = SYMBOL(dallocx_type, dallocx);
    sdallocx_type release_sized = SYMBOL(sdallocx_type, sdallocx);
    REQUIRE(release_sized);
    CHECK(allocate && resize && in_place && size_of && release);
    const int zero = 0x40;
    for (size_t size = 1; size < 3 * MIB; size = size * 3 + 1)
        for (int shift = 0; shift <= 16; shift++) {
            /* Used once before, so that there is something to clear. */
            void *old = hide(allocate(size, shift));
            memset(old, 0xff, size_of(old, 0));
            release(old, 0);
            unsigned char *p = hide(allocate(size, shift | zero));
            CHECK(p && (uintptr_t)p % ((uintptr_t)1 << shift) == 0);
            size_t usable = size_of(p, 0);
            CHECK(usable >= size && in_place(p, size, 0, shift) >= size);
            for (size_t i = 0; i < usable; i += i < 4096 ? 1 : 509) CHECK(p[i] == 0);
            fill(p, usable, 3);
            unsigned char *q = hide(resize(p, usable * 2, shift | zero));
            CHECK(q && (uintptr_t)q % ((uintptr_t)1 << shift) == 0 && size_of(q, 0) >= usable * 2);
            CHECK(whole(q, usable, 3));
            for (size_t i = usable; i < usable * 2; i += 61) CHECK(q[i] == 0);
            q = hide(resize(q, size, shift));
            CHECK(q && whole(q, size, 3));
            if (shift % 2)
                release_sized(q, size_of(q, 0), shift);
            else
                free(q);
            release_sized(hide(allocate(size, shift)), size, shift);
        }
    void *p = hide(malloc(100));
    CHECK(resize(p, opaque(SIZE_MAX / 2 + 9), 0) == NULL && !allocate(opaque(SIZE_MAX - 9), 0));
    release(p, 0);
}

/* What was asked for last may be stated in the end; and nallocx tells what may be used, in every mode. */
INNER(inner_sizes_of_jemallocs_calls) {
    mallocx_type allocate = SYMBOL(mallocx_type, mallocx);
    rallocx_type resize = SYMBOL(rallocx_type, rallocx);
    sallocx_type size_of = SYMBOL(sallocx_type, sallocx);
    nallocx_type size_for = SYMBOL(nallocx_type, nallocx);
    sdallocx_type release_sized = SYMBOL(sdallocx_type, sdallocx);
    REQUIRE(release_sized);
    for (size_t size = 2; size < MIB; size = size * 3 / 2 + 1)
        for (int shift = 0; shift <= 14; shift++)
            for (size_t least = 8; least >= 5; least--) {
                unsigned char *p = hide(allocate(size, shift));
                CHECK_THAT(size_of(p, 0) >= size_for(size, shift), "%zu bytes at 2^%d: %zu, nallocx %zu", size,
                           shift, size_of(p, 0), size_for(size, shift));
                fill(p, size_for(size, shift), 5);
                size_t less = size * least / 8;
                p = hide(resize(p, less, shift));
                CHECK(p && aligned_to(p, (size_t)1 << shift) && whole(p, less, 5));
                release_sized(p, less, shift);
            }
}

CASE(jemallocs_calls_agree_on_sizes) { run_inner("inner_sizes_of_jemallocs_calls", NULL); }

static void hardened(void) { setenv("FREESTONE_CONF", "harden:1", 1); }
static void debugged(void) { setenv("FREESTONE_CONF", "debug:1", 1); }
static void of_few_classes(void) { setenv("FREESTONE_CONF", "class_max:32K", 1); }
static void guarded(void) { setenv("FREESTONE_CONF", "guard:4K", 1); }

CASE_FREESTONE(jemallocs_calls_agree_on_sizes_in_every_mode) {
    run_inner("inner_sizes_of_jemallocs_calls", hardened);
    run_inner("inner_sizes_of_jemallocs_calls", debugged);
    run_inner("inner_sizes_of_jemallocs_calls", guarded);
    run_inner("inner_sizes_of_jemallocs_calls", of_few_classes);
}

CASE(cfree_is_free) {
    void (*release)(void *) = SYMBOL(void (*)(void *), cfree);
    REQUIRE(release);
    for (int i = 0; i < 1000; i++) release(hide(malloc((size_t)i * 10)));
    release(NULL);
}

CASE(mallopt_answers) {
    int results[] = {mallopt(M_MMAP_THRESHOLD, 1 << 20), mallopt(M_TRIM_THRESHOLD, 1 << 20),
                     mallopt(M_ARENA_MAX, 2), mallopt(M_MXFAST, 64), mallopt(M_TOP_PAD, 65536),
                     mallopt(-12345, 7)};
    for (unsigned i = 0; i < COUNT_OF(results); i++)
        CHECK_THAT(results[i] == 0 || results[i] == 1, "call %u: %d", i, results[i]);
    void *p = hide(malloc(2 * MIB));
    CHECK(p);
    free(p);
}

CASE(mallinfo2_counts_what_is_in_use) {
    enum { MANY = 10240 };
    static void *blocks[MANY];
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < MANY; i++) {
        blocks[i] = hide(malloc(1024));
        fill_sparse(blocks[i], 1024, 512, 1);
    }
    struct mallinfo2 during = mallinfo2();
    size_t grown = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
    CHECK_THAT(grown >= 9 * MIB && grown <= 16 * MIB, "grown by %zu", grown);
    CHECK(during.arena + during.hblkhd >= during.uordblks);
    for (int i = 0; i < MANY; i++) free(blocks[i]);
    struct mallinfo2 after = mallinfo2();
    CHECK_THAT(after.uordblks <= before.uordblks + 2 * MIB, "%zu, before %zu", after.uordblks, before.uordblks);
}

CASE(mallinfo2_counts_large_blocks) {
    struct mallinfo2 before = mallinfo2();
    void *p = hide(malloc(10 * MIB));
    struct mallinfo2 during = mallinfo2();
    size_t grown = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
    CHECK_THAT(grown >= 10 * MIB && grown <= 12 * MIB, "grown by %zu", grown);
    free(p);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
CASE(mallinfo_agrees_with_mallinfo2) {
    void *p = hide(malloc(MIB));
    struct mallinfo narrow = mallinfo();
    struct mallinfo2 wide = mallinfo2();
    long difference = (long)(unsigned)narrow.uordblks - (long)(unsigned)wide.uordblks;
    CHECK_THAT(difference > -1000000 && difference < 1000000, "%ld", difference);
    free(p);
}
#pragma GCC diagnostic pop

/* Every tag closed in order, attributes quoted: enough of XML for what the manual promises. */
static void check_xml(const char *text) {
    const char *open[64];
    size_t lengths[64];
    int depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        CHECK_THAT(end != NULL, "tag without end: %.40s", at);
        int quotes = 0;
        for (const char *q = at; q < end; q++) quotes += *q == '"';
        CHECK_THAT(quotes % 2 == 0, "quotes in %.60s", at);
        if (at[1] == '/') {
            CHECK_THAT(depth > 0, "closes nothing: %.40s", at);
            depth--;
            CHECK_THAT(lengths[depth] == (size_t)(end - at - 2) &&
                           memcmp(open[depth], at + 2, lengths[depth]) == 0,
                       "closes another tag: %.40s", at);
        } else if (end[-1] != '/' && at[1] != '?' && at[1] != '!') {
            CHECK(depth < 64);
            open[depth] = at + 1;
            lengths[depth++] = strcspn(at + 1, " >\t\n");
        }
    }
    CHECK_THAT(depth == 0, "%d tags left open", depth);
}

CASE(malloc_info_writes_well_formed_xml) {
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(malloc_info(0, stream) == 0);
    CHECK(fclose(stream) == 0);
    CHECK_THAT(strncmp(text, "<malloc", 7) == 0, "begins %.20s", text);
    CHECK_THAT(strstr(text, "</malloc>") != NULL, "ends ...%s", text + (length > 20 ? length - 20 : 0));
    check_xml(text);
    free(text);
}

CASE(malloc_info_rejects_options) {
    errno = 0;
    int result = malloc_info(1, stdout);
    CHECK_THAT(result == EINVAL || (result == -1 && errno == EINVAL), "%d, errno %d", result, errno);
}

CASE(malloc_stats_writes_to_stderr) {
    int ends[2], saved = dup(STDERR_FILENO);
    char text[4096];
    CHECK(pipe(ends) == 0);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
    malloc_stats();
    fflush(stderr);
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(ends[1]);
    CHECK_THAT(read(ends[0], text, sizeof text) > 10, "nothing written");
}

CASE(malloc_trim_gives_memory_back) {
    enum { MANY = 65536 };
    static void *blocks[MANY];
    int first = malloc_trim(0);
    CHECK(first == 0 || first == 1);
    size_t before = resident_kib();
    for (int i = 0; i < MANY; i++) {
        blocks[i] = hide(malloc(1024));
        fill_sparse(blocks[i], 1024, 256, 1);
    }
    CHECK(resident_kib() > before + 60 * KIB);
    for (int i = 0; i < MANY; i++) free(blocks[i]);
    int result = malloc_trim(0);
    CHECK(result == 0 || result == 1);
    CHECK_THAT(resident_kib() < before + 8 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

CASE(malloc_trim_twice_and_with_a_pad) {
    CHECK((malloc_trim(MIB) | 1) == 1);
    CHECK((malloc_trim(0) | 1) == 1);
    CHECK((malloc_trim(opaque(SIZE_MAX)) | 1) == 1);
    void *p = hide(malloc(100));
    fill(p, 100, 1);
    CHECK((malloc_trim(0) | 1) == 1);
    CHECK(whole(p, 100, 1));
    free(p);
}

/* The names that programs written against glibc take hold of; declared here, as no header does. */
#ifdef CONFORMANCE_STATIC
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);
void *__libc_memalign(size_t, size_t);
void *__libc_valloc(size_t);
void *__libc_pvalloc(size_t);
int __posix_memalign(void **, size_t, size_t);
#endif

CASE(libc_names_and_plain_names_share_blocks) {
    void *(*libc_malloc)(size_t) = SYMBOL(void *(*)(size_t), __libc_malloc);
    void *(*libc_calloc)(size_t, size_t) = SYMBOL(void *(*)(size_t, size_t), __libc_calloc);
    void *(*libc_realloc)(void *, size_t) = SYMBOL(void *(*)(void *, size_t), __libc_realloc);
    void (*libc_free)(void *) = SYMBOL(void (*)(void *), __libc_free);
    void *(*libc_memalign)(size_t, size_t) = SYMBOL(void *(*)(size_t, size_t), __libc_memalign);
    REQUIRE(libc_malloc);
    REQUIRE(libc_calloc);
    REQUIRE(libc_realloc);
    REQUIRE(libc_free);
    REQUIRE(libc_memalign);
    for (size_t size = 1; size < 3 * MIB; size = size * 2 + 5) {
        free(hide(libc_malloc(size)));
        libc_free(hide(malloc(size)));
        void *p = hide(libc_calloc(1, size));
        CHECK(p && all_zero(p, size));
        fill_sparse(p, size, 64, 1);
        p = hide(realloc(p, size * 2));
        CHECK(p);
        p = hide(libc_realloc(p, size * 3));
        CHECK(p && malloc_usable_size(p) >= size * 3);
        free(p);
        p = hide(libc_memalign(256, size));
        CHECK(p && aligned_to(p, 256));
        free(p);
    }
    errno = 0;
    CHECK(hide(libc_malloc(opaque(SIZE_MAX))) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(hide(libc_calloc(opaque(SIZE_MAX), 2)) == NULL && errno == ENOMEM);
}

CASE(libc_names_of_aligned_functions) {
    void *(*libc_valloc)(size_t) = SYMBOL(void *(*)(size_t), __libc_valloc);
    void *(*libc_pvalloc)(size_t) = SYMBOL(void *(*)(size_t), __libc_pvalloc);
    int (*libc_posix_memalign)(void **, size_t, size_t) =
        SYMBOL(int (*)(void **, size_t, size_t), __posix_memalign);
    REQUIRE(libc_valloc);
    REQUIRE(libc_pvalloc);
    REQUIRE(libc_posix_memalign);
    void *p = hide(libc_valloc(10)), *q = hide(libc_pvalloc(10)), *r = NULL;
    CHECK(libc_posix_memalign(&r, 512, 100) == 0);
    CHECK(p && q && r && aligned_to(p, 4096) && aligned_to(q, 4096) && aligned_to(r, 512));
    CHECK(malloc_usable_size(q) >= 4096);
    free(p);
    free(q);
    free(r);
    CHECK(libc_posix_memalign(&r, 3, 100) == EINVAL);
}
