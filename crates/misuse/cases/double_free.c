/* Freeing twice. */
#include "misuse.h"

static void twice(size_t size) {
    void *p = take(size, 0x11);
    free(p);
    free(hide(p));
    settle(size);
}
FAULT(double_free_small, "a small block freed twice in a row") { twice(64); }
FAULT(double_free_tiny, "a block of 8 bytes freed twice in a row") { twice(8); }
FAULT(double_free_1000, "a block of 1000 bytes freed twice in a row") { twice(1000); }
FAULT(double_free_20_kib, "a block of 20 KiB freed twice in a row") { twice(20 * KIB); }
FAULT(double_free_medium, "a block of 100 KiB freed twice in a row") { twice(100 * KIB); }
FAULT(double_free_large, "a block of 40 MiB freed twice in a row") { twice(40 * MIB); }

FAULT(double_free_then_requests, "freed twice in a row, and two requests follow") {
    void *p = take(64, 0x11);
    free(p);
    free(hide(p));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}

FAULT(double_free_interleaved, "freed twice with another free between") {
    void *a = take(64, 0x11), *b = take(64, 0x11);
    free(a);
    free(b);
    free(hide(a));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}

FAULT(double_free_with_many_between, "freed twice with 500 frees between") {
    void *p = take(96, 0x11), *others[500];
    for (size_t i = 0; i < COUNT_OF(others); i++) others[i] = take(96, 0x22);
    free(p);
    for (size_t i = 0; i < COUNT_OF(others); i++) free(others[i]);
    free(hide(p));
    if (handed_out_twice(96)) missed("two owners have one block");
    settle(96);
}

FAULT(double_free_by_two_threads, "freed by two threads, one after the other") {
    void *p = take(80, 0x11);
    free(p);
    pthread_join(spawn(free_it, hide(p)), NULL);
    if (handed_out_twice(80)) missed("two owners have one block");
    settle(80);
}

static void *frees_in_race(void *place) {
    void **block = (void **)place;
    void *p;
    while (!(p = __atomic_load_n(block, __ATOMIC_ACQUIRE))) {}
    free(p);
    return NULL;
}
FAULT(double_free_in_a_race, "freed by two threads at once") {
    for (int i = 0; i < 30; i++) {
        void *place = NULL;
        pthread_t one = spawn(frees_in_race, &place), two = spawn(frees_in_race, &place);
        __atomic_store_n(&place, take(80, 0x11), __ATOMIC_RELEASE);
        pthread_join(one, NULL);
        pthread_join(two, NULL);
    }
    if (handed_out_twice(80)) missed("two owners have one block");
    settle(80);
}

FAULT(double_free_after_reuse, "freed again after the next owner got the block") {
    void *p = take(64, 0x11);
    free(p);
    unsigned char *next = take(64, 0x22);
    free(hide(p));
    unsigned char *third = take(64, 0x33);
    if (next == third || !all_are(next, 64, 0x22)) missed("two owners have one block");
    free(next);
    free(third);
    settle(64);
}

FAULT(double_free_large_after_reuse, "a large block freed again after the next owner got it") {
    void *p = take(MIB, 0x11);
    free(p);
    unsigned char *next = take(MIB, 0x22);
    free(hide(p));
    unsigned char *third = take(MIB, 0x33);
    if (next == third || !all_are(next, MIB, 0x22)) missed("two owners have one block");
    free(next);
    free(third);
    settle(MIB);
}

FAULT(double_free_large_merged, "a large block freed again after it was merged and cut anew") {
    void *p = take(MIB, 0x11), *behind = take(MIB, 0x11);
    free(p);
    free(behind);
    void *both = take(3 * MIB / 2, 0x22);
    free(hide(p));
    unsigned char *third = take(MIB, 0x33);
    if (!all_are(both, 3 * MIB / 2, 0x22)) missed("two owners have one block");
    free(both);
    free(third);
    settle(MIB);
}

FAULT(double_free_of_calloc, "a block of calloc freed twice") {
    void *p = hide(calloc(7, 16));
    free(p);
    free(hide(p));
    if (handed_out_twice(112)) missed("two owners have one block");
    settle(112);
}

FAULT(double_free_of_aligned, "an aligned block freed twice") {
    void *p = hide(aligned_alloc(256, 512));
    free(p);
    free(hide(p));
    settle(512);
}

FAULT(double_free_through_realloc, "the old pointer freed after realloc moved the block") {
    void *p = take(64, 0x11);
    void *q = hide(realloc(p, 9000));
    if (p == q) skip("the block did not move");
    free(hide(p));
    if (handed_out_twice(64)) missed("two owners have one block");
    free(q);
    settle(64);
}

FAULT(double_free_after_realloc_to_nothing, "freed after realloc(p, 0)") {
    void *p = take(64, 0x11);
    void *q = hide(realloc(p, opaque(0)));
    if (q) skip("realloc(p, 0) gives a block here");
    free(hide(p));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}

FAULT(double_free_after_trim, "freed again after malloc_trim") {
    void *p = take(64, 0x11);
    free(p);
    malloc_trim(0);
    free(hide(p));
    settle(64);
}

FAULT(double_free_of_a_whole_slab, "all blocks of a size freed, trimmed, and one freed again") {
    enum { MANY = 3000 };
    static void *blocks[MANY];
    for (size_t i = 0; i < MANY; i++) blocks[i] = take(208, 0x11);
    for (size_t i = 0; i < MANY; i++) free(blocks[i]);
    malloc_trim(0);
    free(hide(blocks[MANY / 2]));
    settle(208);
}

FAULT(double_free_in_a_child, "freed before fork, and again in the child") {
    void *p = take(64, 0x11);
    free(p);
    pid_t child = fork();
    if (child == 0) {
        free(hide(p));
        settle(64);
        _exit(MISSED);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) raise(WTERMSIG(status));
}

static void *at_exit_block;
static void free_at_exit(void) {
    free(at_exit_block);
    settle(64);
}
FAULT(double_free_at_exit, "freed in main, and again at exit") {
    at_exit_block = take(64, 0x11);
    atexit(free_at_exit);
    free(at_exit_block);
}
