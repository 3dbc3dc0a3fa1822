/* Reading and writing what was freed, and what was never written. */
#include "misuse.h"

/* Writes to a freed block, at once; then requests of its size. */
static void write_after(size_t size) {
    unsigned char *p = take(size, 0x11);
    free(p);
    memset(hide(p), 0x41, size < 64 ? size : 64);
    hide(p);
    settle(size);
}
FAULT(write_after_free_small, "a small block written right after its free") { write_after(64); }
FAULT(write_after_free_tiny, "a block of 16 bytes written right after its free") { write_after(16); }
FAULT(write_after_free_4_kib, "a block of 4 KiB written right after its free") { write_after(4096); }
FAULT(write_after_free_medium, "a block of 40 KiB written right after its free") { write_after(40 * KIB); }
FAULT(write_after_free_large, "a block of 1 MiB written right after its free") { write_after(MIB); }

FAULT(write_after_free_delayed, "a small block written long after its free") {
    unsigned char *p = take(64, 0x11), *others[200];
    free(p);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < COUNT_OF(others); i++) others[i] = take(48, 0x22);
        for (size_t i = 0; i < COUNT_OF(others); i++) free(others[i]);
    }
    memset(hide(p), 0x41, 64);
    hide(p);
    settle(64);
}

FAULT(write_after_free_one_bit, "one byte in the middle of a freed block written") {
    unsigned char *p = take(128, 0x11);
    free(p);
    ((unsigned char *)hide(p))[77] = 0x41;
    hide(p);
    settle(128);
}

FAULT(write_after_free_of_a_new_owner, "an old pointer changes the next owner's block") {
    unsigned char *p = take(64, 0x11);
    free(p);
    unsigned char *next = take(64, 0x22);
    memset(hide(p), 0x41, 64);
    if (!all_are(next, 64, 0x22)) missed("the new owner's block was changed");
    free(next);
    settle(64);
}

FAULT(write_after_free_of_a_later_owner, "an old pointer changes one of 100 later blocks") {
    unsigned char *p = take(64, 0x11), *next[100];
    free(p);
    for (size_t i = 0; i < COUNT_OF(next); i++) next[i] = take(64, 0x22);
    memset(hide(p), 0x41, 64);
    for (size_t i = 0; i < COUNT_OF(next); i++)
        if (!all_are(next[i], 64, 0x22)) missed("a new owner's block was changed");
    for (size_t i = 0; i < COUNT_OF(next); i++) free(next[i]);
    settle(64);
}

FAULT(write_after_free_then_calloc, "a freed block is written, and calloc hands it out") {
    unsigned char *p = take(96, 0x11);
    free(p);
    memset(hide(p), 0x41, 96);
    for (int i = 0; i < 2000; i++) {
        unsigned char *q = (unsigned char *)hide(calloc(1, 96));
        if (!all_are(q, 96, 0)) missed("calloc's block was not zero");
    }
    settle(96);
    harmless("calloc's blocks were zero");
}

FAULT(write_after_realloc, "the old place of a block that realloc moved is written") {
    unsigned char *p = take(64, 0x11);
    unsigned char *q = (unsigned char *)hide(realloc(p, 9000));
    if (p == q) skip("the block did not move");
    memset(hide(p), 0x41, 64);
    hide(p);
    free(q);
    settle(64);
}

static void *overwrite(void *p) {
    memset(p, 0x41, 64);
    hide(p);
    return NULL;
}
FAULT(write_after_free_by_another_thread, "a thread writes to what another has freed") {
    unsigned char *p = take(64, 0x11);
    free(p);
    pthread_join(spawn(overwrite, hide(p)), NULL);
    settle(64);
}

/* Reads a freed block: its old contents must not be there. */
static void read_after(size_t size) {
    unsigned char *p = take(size, 0x77);
    free(p);
    /* The first words may hold an allocator's link. */
    if (some_are(hide(p), size, 0x77)) missed("the old contents were read");
    harmless("the old contents were gone");
}
FAULT(read_after_free_small, "a small block read right after its free") { read_after(64); }
FAULT(read_after_free_4_kib, "a block of 4 KiB read right after its free") { read_after(4096); }
FAULT(read_after_free_medium, "a block of 40 KiB read right after its free") { read_after(40 * KIB); }
FAULT(read_after_free_large, "a block of 1 MiB read right after its free") { read_after(MIB); }

FAULT(read_after_free_of_a_new_owner, "an old pointer reads the next owner's secret") {
    unsigned char *p = take(64, 0x11);
    free(p);
    for (int i = 0; i < 100; i++) take(64, 0x77);
    if (some_are(hide(p), 64, 0x77)) missed("the new owner's contents were read");
    harmless("nobody else's contents were read");
}

FAULT(read_after_realloc, "the old place of a block that realloc moved is read") {
    unsigned char *p = take(64, 0x77);
    unsigned char *q = (unsigned char *)hide(realloc(p, 9000));
    if (p == q) skip("the block did not move");
    if (some_are(hide(p), 64, 0x77)) missed("the old contents were read");
    harmless("the old contents were gone");
}

/* Virtual call through a freed object. */
struct object {
    void (*call)(void);
    char rest[56];
};
static void attacked(void) { missed("the attacker's function was called"); }
FAULT(call_after_free, "a function is called through a freed object that the attacker filled") {
    struct object *victim = (struct object *)take(sizeof *victim, 0x11);
    free(victim);
    for (int i = 0; i < 50; i++) {
        struct object *spray = (struct object *)hide(malloc(sizeof *spray));
        spray->call = attacked;
        hide(spray);
    }
    ((struct object *)hide(victim))->call();
}

/* Never written, yet full of what was there before. */
static void read_unwritten(size_t size) {
    unsigned char *old[64];
    for (size_t i = 0; i < COUNT_OF(old); i++) old[i] = take(size, 0x77);
    for (size_t i = 0; i < COUNT_OF(old); i++) free(old[i]);
    for (size_t i = 0; i < COUNT_OF(old); i++) {
        unsigned char *p = (unsigned char *)hide(malloc(size));
        if (some_are(p, size, 0x77)) missed("a new block held old contents");
    }
    harmless("new blocks held nothing old");
}
FAULT(unwritten_small, "a new small block read before it was written") { read_unwritten(64); }
FAULT(unwritten_4_kib, "a new block of 4 KiB read before it was written") { read_unwritten(4096); }
FAULT(unwritten_medium, "a new block of 40 KiB read before it was written") { read_unwritten(40 * KIB); }
FAULT(unwritten_large, "a new block of 1 MiB read before it was written") { read_unwritten(MIB); }

FAULT(unwritten_behind_realloc, "the new part of a grown block read before it was written") {
    unsigned char *old[64];
    for (size_t i = 0; i < COUNT_OF(old); i++) old[i] = take(500, 0x77);
    for (size_t i = 0; i < COUNT_OF(old); i++) free(old[i]);
    for (size_t i = 0; i < COUNT_OF(old); i++) {
        unsigned char *p = (unsigned char *)hide(realloc(take(40, 0x11), 500));
        if (some_are(p + 40, 460, 0x77)) missed("the new part held old contents");
    }
    harmless("the new part held nothing old");
}
