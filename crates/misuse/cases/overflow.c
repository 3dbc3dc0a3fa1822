/* Writing and reading outside a block. */
#include "misuse.h"

/* Writes `count` bytes behind a block of `size` bytes that lies among others of its size, then frees all. */
static void write_behind(size_t size, size_t count, int byte) {
    unsigned char *blocks[32];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = take(size, 0x11);
    unsigned char *p = blocks[16];
    for (size_t i = 0; i < count; i++) p[size + i] = (unsigned char)byte;
    hide(p);
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        if (i != 16 && !all_are(blocks[i], size, 0x11)) missed("another block was changed");
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    settle(size);
    harmless("no other block was changed");
}

FAULT(overflow_small_by_1, "one byte written behind a block of 24 bytes") { write_behind(24, 1, 0x41); }
FAULT(overflow_small_by_8, "8 bytes written behind a block of 40 bytes") { write_behind(40, 8, 0x41); }
FAULT(overflow_full_class_by_1, "one byte written behind a block of 64 bytes") { write_behind(64, 1, 0x41); }
FAULT(overflow_full_class_by_8, "8 bytes written behind a block of 256 bytes") { write_behind(256, 8, 0x41); }
FAULT(overflow_by_a_zero, "a zero byte written behind a string of 32 bytes") { write_behind(32, 1, 0); }
FAULT(overflow_odd_size, "one byte written behind a block of 1001 bytes") { write_behind(1001, 1, 0x41); }
FAULT(overflow_tiny, "one byte written behind a block of 1 byte") { write_behind(1, 1, 0x41); }
FAULT(overflow_over_the_neighbour, "200 bytes written behind a block of 48 bytes") { write_behind(48, 200, 0x41); }
FAULT(overflow_medium_by_1, "one byte written behind a block of 40 KiB") { write_behind(40 * KIB, 1, 0x41); }

FAULT(overflow_large_by_1, "one byte written behind a block of 1 MiB") {
    unsigned char *p = take(MIB, 0x11), *q = take(MIB, 0x22);
    p[MIB] = 0x41;
    hide(p);
    free(p);
    free(q);
    settle(MIB);
}

FAULT(overflow_large_by_a_page, "a large block written on for 8 pages") {
    unsigned char *blocks[8];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = take(MIB, 0x11);
    for (size_t i = 0; i < 8; i++) blocks[4][MIB + i * 4096] = 0x41;
    hide(blocks[4]);
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        if (!all_are(blocks[i], MIB, 0x11)) missed("another block was changed");
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    settle(MIB);
}

FAULT(overflow_far, "one byte written 256 KiB behind a small block") {
    unsigned char *p = take(100, 0x11);
    p[256 * KIB] = 0x41;
    hide(p);
    free(p);
    settle(100);
}

static void write_behind_aligned(size_t align, size_t size) {
    void *p = NULL;
    if (posix_memalign(&p, align, size) != 0) skip("no memory");
    unsigned char *bytes = (unsigned char *)hide(p);
    memset(bytes, 0x11, size);
    bytes[size] = 0x41;
    hide(bytes);
    free(bytes);
    settle(size);
}
FAULT(overflow_aligned, "one byte written behind 64 bytes aligned to 64") { write_behind_aligned(64, 64); }
FAULT(overflow_page_aligned, "one byte written behind 4096 bytes aligned to 4096") {
    write_behind_aligned(4096, 4096);
}

FAULT(overflow_calloc, "one byte written behind a block of calloc") {
    unsigned char *p = (unsigned char *)hide(calloc(6, 8));
    p[48] = 0x41;
    hide(p);
    free(p);
    settle(48);
}

FAULT(overflow_then_realloc, "one byte written behind a block that is then resized") {
    unsigned char *p = take(48, 0x11);
    p[48] = 0x41;
    p = (unsigned char *)hide(realloc(hide(p), 4000));
    free(p);
    settle(48);
}

FAULT(overflow_after_shrinking, "one byte written behind what realloc left of a block") {
    unsigned char *p = take(100, 0x11);
    p = (unsigned char *)hide(realloc(hide(p), 60));
    p[60] = 0x41;
    hide(p);
    free(p);
    settle(100);
}

FAULT(overflow_of_nothing, "16 bytes written to a block of no bytes") {
    unsigned char *p = (unsigned char *)hide(malloc(0));
    memset(p, 0x41, 16);
    hide(p);
    free(p);
    settle(16);
}

FAULT(overflow_never_freed, "one byte written behind a block that stays until the end") {
    unsigned char *p = take(64, 0x11);
    p[64] = 0x41;
    hide(p);
}

static void write_before(size_t size, size_t count) {
    unsigned char *blocks[32];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = take(size, 0x11);
    unsigned char *p = blocks[16];
    for (size_t i = 1; i <= count; i++) p[-(ptrdiff_t)i] = 0x41;
    hide(p);
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        if (!all_are(blocks[i], size, 0x11)) missed("another block was changed");
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    settle(size);
    harmless("no other block was changed");
}

FAULT(underflow_small_by_1, "one byte written before a block of 64 bytes") { write_before(64, 1); }
FAULT(underflow_small_by_8, "8 bytes written before a block of 40 bytes") { write_before(40, 8); }
FAULT(underflow_medium, "16 bytes written before a block of 48 KiB") { write_before(48 * KIB, 16); }
FAULT(underflow_large, "8 bytes written before a block of 1 MiB") { write_before(MIB, 8); }

/* Reading: the neighbours hold 0x77. */
static void read_behind(size_t size, ptrdiff_t from, size_t count) {
    unsigned char *blocks[33];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = take(size, 0x77);
    unsigned char *p = blocks[16];
    memset(p, 0x11, size);
    if (some_are(hide(p + from), count, 0x77)) missed("another block's contents were read");
    harmless("nothing of another block was read");
}
FAULT(overread_small, "64 bytes read behind a block of 64 bytes") { read_behind(64, 64, 64); }
FAULT(overread_string, "4000 bytes read behind a block of 32 bytes") { read_behind(32, 32, 4000); }
FAULT(overread_large, "64 KiB read behind a block of 1 MiB") { read_behind(MIB, (ptrdiff_t)MIB, 64 * KIB); }
FAULT(underread_large, "64 KiB read before a block of 1 MiB") {
    read_behind(MIB, -(ptrdiff_t)(64 * KIB), 64 * KIB);
}
