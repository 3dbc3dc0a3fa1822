// Giving a block back as what it is not: by the wrong family, size or alignment.
#include "misuse.h"
#include <new>

extern "C" {
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
void sdallocx(void *, size_t, int) __attribute__((weak));
}

/* Whether the allocator went by what it knows rather than by what it was told. */
static void nothing_came_of(size_t size) {
    if (handed_out_twice(64) || handed_out_twice(size)) missed("two owners have one block");
    settle(64);
    settle(size);
    harmless("nothing came of it");
}

static void *fresh(size_t size) { return hide(::operator new(size)); }

FAULT(delete_of_malloc, "malloc given back by delete") {
    ::operator delete(take(64, 0x11));
    nothing_came_of(64);
}
FAULT(free_of_new, "new given back by free") {
    free(fresh(64));
    nothing_came_of(64);
}
FAULT(delete_of_new_array, "new[] given back by delete") {
    ::operator delete(hide(::operator new[](64)));
    nothing_came_of(64);
}
FAULT(delete_array_of_new, "new given back by delete[]") {
    ::operator delete[](fresh(64));
    nothing_came_of(64);
}
FAULT(delete_array_of_malloc, "malloc given back by delete[]") {
    ::operator delete[](take(64, 0x11));
    nothing_came_of(64);
}
FAULT(plain_delete_of_aligned_new, "an aligned new given back by the plain delete") {
    ::operator delete(hide(::operator new(256, std::align_val_t(256))));
    nothing_came_of(256);
}
FAULT(realloc_of_new, "new resized by realloc") {
    free(hide(realloc(fresh(64), 3000)));
    nothing_came_of(64);
}

FAULT(delete_too_small, "a sized delete of 16 bytes for a block of 200") {
    ::operator delete(fresh(200), opaque(16));
    nothing_came_of(200);
}
FAULT(delete_too_large, "a sized delete of 4000 bytes for a block of 64, and requests follow") {
    unsigned char *p = (unsigned char *)fresh(64);
    unsigned char *behind[40];
    for (auto &block : behind) block = take(64, 0x22);
    ::operator delete(p, opaque(4000));
    for (int i = 0; i < 500; i++) take(4000, 0x33);
    for (auto &block : behind)
        if (!all_are(block, 64, 0x22)) missed("a new block overlaps others");
    nothing_came_of(4000);
}
FAULT(delete_large_as_small, "a sized delete of 64 bytes for a block of 1 MiB") {
    ::operator delete(fresh(MIB), opaque(64));
    nothing_came_of(64);
}
FAULT(delete_small_as_large, "a sized delete of 1 MiB for a block of 64 bytes") {
    ::operator delete(fresh(64), opaque(MIB));
    nothing_came_of(64);
}
FAULT(delete_of_a_base, "a derived object deleted by the size of its base") {
    ::operator delete(fresh(48), opaque(32));
    nothing_came_of(48);
}
FAULT(aligned_delete_wrong_size, "an aligned sized delete of 64 bytes for a block of 1024") {
    void *p = hide(::operator new(1024, std::align_val_t(64)));
    ::operator delete(p, opaque(64), std::align_val_t(64));
    nothing_came_of(1024);
}
FAULT(aligned_delete_wrong_alignment, "an aligned delete by 4096 for a block aligned to 64") {
    void *p = hide(::operator new(1024, std::align_val_t(64)));
    ::operator delete(p, opaque(1024), std::align_val_t(opaque(4096)));
    nothing_came_of(1024);
}
FAULT(aligned_delete_too_large, "an aligned sized delete of 4000 bytes for a block of 208, and requests follow") {
    void *p = hide(::operator new(208, std::align_val_t(16)));
    unsigned char *behind[40];
    for (auto &block : behind) block = take(208, 0x22);
    ::operator delete(p, opaque(4000), std::align_val_t(16));
    for (int i = 0; i < 500; i++) hide(memset(hide(::operator new(4000, std::align_val_t(16))), 0x33, 4000));
    for (auto &block : behind)
        if (!all_are(block, 208, 0x22)) missed("a new block overlaps others");
    nothing_came_of(4000);
}
FAULT(free_sized_wrong, "C23 free_sized of 16 bytes for a block of 200") {
    if (!free_sized) skip("there is no free_sized here");
    free_sized(take(200, 0x11), opaque(16));
    nothing_came_of(200);
}
FAULT(free_aligned_sized_wrong, "C23 free_aligned_sized by another alignment and size") {
    if (!free_aligned_sized) skip("there is no free_aligned_sized here");
    free_aligned_sized(hide(aligned_alloc(64, 1024)), opaque(256), opaque(4096));
    nothing_came_of(1024);
}
FAULT(sdallocx_wrong, "sdallocx of 16 bytes for a block of 200") {
    if (!sdallocx) skip("there is no sdallocx here");
    sdallocx(take(200, 0x11), opaque(16), 0);
    nothing_came_of(200);
}
FAULT(double_delete, "an object deleted twice") {
    void *p = fresh(64);
    ::operator delete(p);
    ::operator delete(hide(p));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}
FAULT(double_sized_delete, "an object deleted twice with its size") {
    void *p = fresh(64);
    ::operator delete(p, opaque(64));
    ::operator delete(hide(p), opaque(64));
    if (handed_out_twice(64)) missed("two owners have one block");
    settle(64);
}
