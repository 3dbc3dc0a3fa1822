/* Defines what maps, drops and unmaps memory, as profilers and libraries for fast networks do: counts by thread, and asks the kernel. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static __thread long calls;

long plugin_memory_calls(void) { return calls; }

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    calls++;
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

int munmap(void *address, size_t length) {
    calls++;
    return (int)syscall(SYS_munmap, address, length);
}

int madvise(void *address, size_t length, int advice) {
    calls++;
    return (int)syscall(SYS_madvise, address, length, advice);
}
