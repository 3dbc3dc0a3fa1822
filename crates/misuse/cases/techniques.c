/* Known techniques of heap exploitation, each up to the primitive that it is after: a block with two owners, a
 * chosen address, a block that overlaps another. Written after their public descriptions (Phantasmal Phantasmagoria,
 * The Malloc Maleficarum, 2005; the collection how2heap), by way of what an attacker can write, not of what one
 * allocator stores where. */
#include "misuse.h"

static size_t target[64] __attribute__((aligned(64)));

/* Whether one of many requests of this size is answered with an address in `target`. */
static void requests_must_not_reach_target(size_t size) {
    for (int i = 0; i < 4000; i++) {
        unsigned char *p = (unsigned char *)hide(malloc(size));
        if (p + size > (unsigned char *)target && p < (unsigned char *)(target + COUNT_OF(target)))
            missed("a chosen address was handed out");
    }
    settle(size);
    harmless("no chosen address was handed out");
}

FAULT(technique_free_list_poisoning, "the link in a freed block is made to lead elsewhere") {
    size_t *a = (size_t *)take(64, 0x11), *b = (size_t *)take(64, 0x11);
    free(a);
    free(b);
    b = (size_t *)hide(b);
    b[0] = (size_t)&target[8];
    b[1] = 0;
    hide(b);
    requests_must_not_reach_target(64);
}

FAULT(technique_free_list_poisoning_deep, "the links of 100 freed blocks are made to lead elsewhere") {
    size_t *blocks[100];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = (size_t *)take(64, 0x11);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        for (size_t word = 0; word < 8; word++) ((size_t *)hide(blocks[i]))[word] = (size_t)&target[8];
    requests_must_not_reach_target(64);
}

FAULT(technique_poisoning_by_overflow, "an overflow reaches the links in the freed blocks behind") {
    size_t *blocks[64];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = (size_t *)take(64, 0x11);
    for (size_t i = 1; i < COUNT_OF(blocks); i += 2) free(blocks[i]);
    for (size_t i = 0; i < COUNT_OF(blocks); i += 2) {
        size_t *p = (size_t *)hide(blocks[i]);
        for (size_t word = 8; word < 16; word++) p[word] = (size_t)&target[8];
    }
    requests_must_not_reach_target(64);
}

FAULT(technique_duplicate_by_double_free, "a, b, a freed: three requests, the first and third the same") {
    void *a = take(64, 0x11), *b = take(64, 0x11);
    for (int i = 0; i < 8; i++) free(take(64, 0x22));
    free(a);
    free(b);
    free(hide(a));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}

FAULT(technique_duplicate_after_flush, "a double free hidden by a full cache") {
    void *blocks[600];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = take(64, 0x11);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    free(hide(blocks[0]));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}

FAULT(technique_duplicate_by_two_classes, "a block freed into one size's cache while it lies in another's") {
    unsigned char *p = take(64, 0x11);
    free(p);
    unsigned char *shrunk = (unsigned char *)hide(realloc(hide(p), 20));
    if (!shrunk) return;
    memset(shrunk, 0x33, 20);
    for (int i = 0; i < 500; i++) take(64, 0x22);
    if (!all_are(shrunk, 20, 0x33)) missed("two owners have one block");
    settle(64);
    harmless("the primitive was not obtained");
}

FAULT(technique_house_of_spirit, "a block forged in static memory is freed") {
    target[7] = 0x41;
    target[15] = 0x41;
    free(hide(&target[8]));
    requests_must_not_reach_target(56);
}

FAULT(technique_house_of_spirit_on_the_stack, "a block forged on the stack is freed") {
    size_t forged[32] __attribute__((aligned(64)));
    memset(forged, 0, sizeof forged);
    forged[7] = 0x41;
    forged[15] = 0x41;
    free(hide(&forged[8]));
    for (int i = 0; i < 4000; i++) {
        size_t *p = (size_t *)hide(malloc(56));
        if (p >= forged && p < forged + 32) missed("a chosen address was handed out");
    }
    harmless("no chosen address was handed out");
}

FAULT(technique_house_of_force, "the size of what is left is overwritten, then a huge request") {
    unsigned char *p = take(1000, 0x11);
    memset(p + 1000, 0xff, 24);
    hide(p);
    void *huge = hide(malloc(opaque(-(size_t)4096)));
    if (huge) missed("a request of nearly 2^64 bytes was served");
    requests_must_not_reach_target(1000);
}

FAULT(technique_overlap_by_size, "the size before a neighbour is overwritten, and the neighbour freed") {
    unsigned char *a = take(104, 0x11), *b = take(104, 0x22), *c = take(104, 0x33);
    size_t size = 0xe1;
    memcpy(a + 104, &size, sizeof size);
    hide(a);
    free(b);
    for (int i = 0; i < 100; i++) memset(take(208, 0x44), 0x44, 208);
    if (!all_are(c, 104, 0x33)) missed("a new block overlaps another");
    free(a);
    free(c);
    settle(104);
    harmless("the primitive was not obtained");
}

FAULT(technique_unlink, "forged links beside a block that is merged when its neighbour is freed") {
    size_t *a = (size_t *)take(1032, 0x11), *b = (size_t *)take(1032, 0x22);
    static size_t *place;
    place = a;
    a[1] = 1024;
    a[2] = (size_t)(&place - 3);
    a[3] = (size_t)(&place - 2);
    a[128] = 1024;
    a[129] = 0x410;
    hide(a);
    free(b);
    if (place != a) missed("a pointer of the program was overwritten");
    free(a);
    settle(1032);
    harmless("the primitive was not obtained");
}

FAULT(technique_zero_byte, "a zero byte behind a block makes its neighbour look free") {
    unsigned char *a = take(248, 0x11), *b = take(248, 0x22), *c = take(248, 0x33);
    a[248] = 0;
    hide(a);
    free(a);
    free(c);
    for (int i = 0; i < 200; i++) take(400, 0x44);
    if (!all_are(b, 248, 0x22)) missed("a new block overlaps another");
    free(b);
    settle(248);
    harmless("the primitive was not obtained");
}

FAULT(technique_large_bin, "the links of a large free block are made to lead elsewhere") {
    size_t *a = (size_t *)take(200 * KIB, 0x11);
    void *fence = take(64, 0x22), *b = take(180 * KIB, 0x11);
    free(a);
    for (size_t word = 0; word < 8; word++) ((size_t *)hide(a))[word] = (size_t)&target[8];
    free(b);
    for (int i = 0; i < 50; i++) {
        size_t *p = (size_t *)hide(malloc(180 * KIB));
        if (p >= target && p < target + COUNT_OF(target)) missed("a chosen address was handed out");
    }
    for (size_t i = 0; i < COUNT_OF(target); i++)
        if (target[i]) missed("memory of the program was overwritten");
    free(fence);
    settle(180 * KIB);
    harmless("the primitive was not obtained");
}

FAULT(technique_predictable_neighbour, "two blocks in a row lie side by side") {
    /* What an attacker arranges before an overflow: out of many tries, how often is the next block the neighbour? Of 200 it is 80 where
       chance decides among a few, give or take 9; so few would mislead one time in a hundred. */
    enum { TRIES = 2000 };
    int side_by_side = 0;
    for (int i = 0; i < TRIES; i++) {
        unsigned char *a = take(96, 0x11), *b = take(96, 0x11);
        if (b == a + 96 || b == a - 96 || b == a + 112) side_by_side++;
    }
    if (side_by_side > TRIES / 2) missed("usually");
    harmless("seldom");
}

FAULT(technique_immediate_reuse, "the block freed last is handed out next") {
    int reused = 0;
    for (int i = 0; i < 200; i++) {
        void *p = take(96, 0x11);
        free(p);
        void *q = take(96, 0x11);
        if (p == q) reused++;
        free(q);
    }
    if (reused > 100) missed("usually");
    harmless("seldom");
}

FAULT(technique_reuse_across_sizes, "memory of one size comes back as another") {
    enum { MANY = 4000 };
    static unsigned char *blocks[MANY];
    uintptr_t low = UINTPTR_MAX, high = 0;
    for (int i = 0; i < MANY; i++) {
        blocks[i] = take(96, 0x11);
        if ((uintptr_t)blocks[i] < low) low = (uintptr_t)blocks[i];
        if ((uintptr_t)blocks[i] > high) high = (uintptr_t)blocks[i];
    }
    for (int i = 0; i < MANY; i++) free(blocks[i]);
    malloc_trim(0);
    for (int i = 0; i < MANY; i++) {
        uintptr_t p = (uintptr_t)take(160, 0x22);
        if (p >= low && p < high) missed("an old pointer leads to an object of another size");
    }
    harmless("sizes keep their memory");
}
