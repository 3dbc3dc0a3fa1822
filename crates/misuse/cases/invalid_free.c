/* Freeing what was never handed out. */
#include "misuse.h"

static void free_inside(size_t size, ptrdiff_t offset) {
    unsigned char *p = take(size, 0x11);
    free(hide(p + offset));
    settle(size);
}
FAULT(free_inside_small, "an address 16 bytes inside a small block") { free_inside(200, 16); }
FAULT(free_by_one_byte, "an address one byte inside a small block") { free_inside(64, 1); }
FAULT(free_by_eight_bytes, "an address 8 bytes inside a small block") { free_inside(64, 8); }
FAULT(free_half_of_a_block, "the middle of a block of 128 bytes") { free_inside(128, 64); }
FAULT(free_inside_medium, "an address inside a block of 100 KiB") { free_inside(100 * KIB, 8192); }
FAULT(free_inside_large, "an address 64 KiB inside a large block") { free_inside(500 * KIB, 64 * KIB); }
FAULT(free_inside_large_by_16, "an address 16 bytes inside a large block") { free_inside(500 * KIB, 16); }
FAULT(free_before_a_block, "an address 16 bytes before a small block") { free_inside(64, -16); }
FAULT(free_behind_a_block, "the end of a large block") { free_inside(MIB, (ptrdiff_t)MIB); }

FAULT(free_then_requests_overlap, "an interior address is freed, and requests follow") {
    unsigned char *p = take(128, 0x11);
    free(hide(p + 64));
    for (int i = 0; i < 200; i++) take(128, 0x22);
    if (!all_are(p, 128, 0x11)) missed("a new block overlaps the old one");
    settle(128);
}

FAULT(free_never_handed_out, "an address in a slab that was never handed out") {
    unsigned char *p = take(208, 0x11);
    for (int i = 1; i <= 8; i++) free(hide(p + i * 208 * 3));
    settle(208);
}

FAULT(free_of_a_stack_address, "an address on the stack") {
    char local[256];
    free(hide(local + 16));
    settle(64);
}

static char global_bytes[8192];
FAULT(free_of_a_global, "the address of a global") {
    free(hide(global_bytes + 4096));
    settle(64);
}

FAULT(free_of_a_literal, "a string literal") {
    free(hide((void *)"a literal"));
    settle(64);
}

FAULT(free_of_a_function, "a function") {
    free(hide((void *)(uintptr_t)settle));
    settle(64);
}

static __thread char thread_local_bytes[128];
FAULT(free_of_a_thread_local, "a thread-local variable") {
    free(hide(thread_local_bytes + 16));
    settle(64);
}

FAULT(free_of_a_mapping, "a mapping of the program's own") {
    void *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(hide(p));
    settle(64);
}

FAULT(free_of_a_wild_pointer, "an address that no process has") {
    free(hide((void *)(uintptr_t)0x4141414141414140));
    settle(64);
}

FAULT(free_of_a_tiny_address, "the address 16") {
    free(hide((void *)(uintptr_t)16));
    settle(64);
}

FAULT(free_of_a_far_neighbour, "an address 1 GiB beyond the heap") {
    free(hide(take(64, 0x11) + ((size_t)1 << 30)));
    settle(64);
}

FAULT(free_of_an_unmapped_large_block, "a large block, freed and trimmed, freed inside") {
    unsigned char *p = take(8 * MIB, 0x11);
    free(p);
    malloc_trim(0);
    free(hide(p + 4 * MIB));
    settle(MIB);
}

static void *frees_stack_of_main(void *p) {
    free(p);
    return NULL;
}
FAULT(free_of_a_stack_by_a_thread, "an address on another thread's stack") {
    char local[256];
    pthread_join(spawn(frees_stack_of_main, hide(local + 32)), NULL);
    settle(64);
}

FAULT(realloc_of_a_stack_address, "an address on the stack resized") {
    char local[256];
    memset(local, 0x11, sizeof local);
    free(hide(realloc(hide(local + 16), 500)));
    settle(64);
}

FAULT(realloc_inside_small, "an address inside a small block resized") {
    unsigned char *p = take(128, 0x11);
    free(hide(realloc(hide(p + 32), 4000)));
    settle(128);
}

FAULT(realloc_inside_large, "an address inside a large block resized") {
    unsigned char *p = take(MIB, 0x11);
    free(hide(realloc(hide(p + 128 * KIB), 4 * MIB)));
    settle(MIB);
}

FAULT(realloc_of_freed_small, "a freed small block resized") {
    void *p = take(64, 0x11);
    free(p);
    free(hide(realloc(hide(p), 4000)));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}

FAULT(realloc_of_freed_in_place, "a freed small block resized by a few bytes") {
    void *p = take(60, 0x11);
    free(p);
    void *q = hide(realloc(hide(p), 62));
    if (q == p) {
        memset(q, 0x22, 62);
        for (int i = 0; i < 500; i++) take(60, 0x33);
        if (!all_are(q, 62, 0x22)) missed("two owners have one block");
    }
    settle(60);
}

FAULT(realloc_of_freed_large, "a freed large block resized") {
    void *p = take(300 * KIB, 0x11);
    free(p);
    free(hide(realloc(hide(p), 900 * KIB)));
    settle(300 * KIB);
}

FAULT(usable_size_of_freed, "the size of a freed block asked for") {
    void *p = take(64, 0x11);
    free(p);
    if (malloc_usable_size(hide(p)) != 0) missed("a size was told");
    harmless("the size was 0");
}
