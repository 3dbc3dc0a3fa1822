/* Sequences of calls of the C interface, as bytes say, against a shadow: what every block holds must stay, no two blocks may
 * overlap, and alignment, zeros and sizes must be as promised. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64, MOST = 300 << 10 };

static struct {
    unsigned char *at;
    size_t size;
    unsigned char seed;
} slots[SLOTS];

struct input {
    const uint8_t *at, *end;
};

static unsigned next(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

/* Small sizes often, large ones now and then. */
static size_t next_size(struct input *in) {
    unsigned kind = next(in), low = next(in);
    if (kind < 150) return low;
    if (kind < 220) return (kind - 150) * 32 + low;
    if (kind < 250) return ((size_t)low << 7) + kind;
    return ((size_t)low << 10) + next(in);
}

static void check(int good) {
    if (!good) abort();
}

/* First and last bytes, and some between. */
static size_t step_of(size_t size) { return size > 4096 ? 509 : 1; }

static void fill(int slot) {
    size_t size = slots[slot].size;
    for (size_t i = 0; i < size; i += step_of(size)) slots[slot].at[i] = (unsigned char)(slots[slot].seed + i);
}

static void verify(int slot, size_t size) {
    for (size_t i = 0; i < size; i += step_of(slots[slot].size))
        check(slots[slot].at[i] == (unsigned char)(slots[slot].seed + i));
}

static void drop(int slot) {
    if (!slots[slot].at) return;
    verify(slot, slots[slot].size);
    free(slots[slot].at);
    slots[slot].at = NULL;
}

static void take(int slot, void *block, size_t size, size_t align, unsigned seed) {
    if (!block) return;
    check((uintptr_t)block % align == 0);
    check(malloc_usable_size(block) >= size);
    for (int other = 0; other < SLOTS; other++) {
        unsigned char *start = slots[other].at;
        if (other != slot && start) check((unsigned char *)block + size <= start || start + slots[other].size <= (unsigned char *)block || size == 0 || slots[other].size == 0);
    }
    slots[slot].at = block;
    slots[slot].size = size;
    slots[slot].seed = (unsigned char)seed;
    fill(slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct input in = {data, data + len};
    while (in.at < in.end) {
        unsigned what = next(&in);
        int slot = (int)(next(&in) % SLOTS);
        size_t size;
        switch (what % 8) {
        case 0:
        case 1:
            drop(slot);
            size = next_size(&in);
            take(slot, malloc(size), size, size <= 8 ? 8 : 16, what);
            break;
        case 2: {
            drop(slot);
            size = next_size(&in);
            unsigned char *zeros = calloc(1, size);
            for (size_t i = 0; zeros && i < size; i++) check(zeros[i] == 0);
            take(slot, zeros, size, size <= 8 ? 8 : 16, what);
            break;
        }
        case 3: {
            drop(slot);
            size_t align = (size_t)8 << (next(&in) % 12);
            size = next_size(&in);
            void *block = NULL;
            if (posix_memalign(&block, align, size) == 0) take(slot, block, size, align, what);
            break;
        }
        case 4:
        case 5: {
            size = next_size(&in);
            if (!slots[slot].at || size == 0) break;
            size_t kept = size < slots[slot].size ? size : slots[slot].size;
            verify(slot, slots[slot].size);
            unsigned char *moved = realloc(slots[slot].at, size);
            if (!moved) break;
            slots[slot].at = moved;
            /* The old pattern's step is the old size's. */
            size_t step = step_of(slots[slot].size);
            for (size_t i = 0; i < kept; i += step) check(moved[i] == (unsigned char)(slots[slot].seed + i));
            slots[slot].at = NULL;
            take(slot, moved, size, size <= 8 ? 8 : 16, what);
            break;
        }
        case 6: drop(slot); break;
        default:
            if (what > 250) malloc_trim(0);
            drop(slot);
        }
    }
    for (int slot = 0; slot < SLOTS; slot++) drop(slot);
    return 0;
}
