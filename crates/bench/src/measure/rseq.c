/* Plain memory in the place of what the kernel writes for restartable sequences, for valgrind, which has none: so that a program runs
   there on Freestone's caches per CPU, as it does everywhere else. Preloaded before the library, or before a program that has it.

   Each thread has a number of its own, and so a cache that nobody else uses: no sequence needs to be restarted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

/* As many as the mask of processors has bits at the least. */
#define NUMBERS 64

/* `struct rseq` as of Linux 6.3. */
struct area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t announced;
    uint32_t flags, node_id, mm_cid, rest[9];
};

__thread struct area fake_rseq_area __attribute__((aligned(64), tls_model("initial-exec")));

/* glibc's two words about the area. The distance from the thread pointer is known when the objects are relocated, and may be asked for in the
   first constructor: so it is what a function yields that the dynamic linker calls to relocate the word. */
static void *distance(void) {
    uintptr_t at;
    __asm__("movq fake_rseq_area@gottpoff(%%rip), %0" : "=r"(at));
    return (void *)at;
}

void fake_rseq_distance(void) __attribute__((ifunc("distance")));
void (*__rseq_offset)(void) = fake_rseq_distance;
unsigned __rseq_size = 32;

/* Bit n: number n is some thread's. The first thread has number 0. */
static uint64_t taken = 1;

static void set_number(uint32_t number) {
    fake_rseq_area.cpu_id_start = fake_rseq_area.cpu_id = fake_rseq_area.mm_cid = number;
}

struct start { void *(*function)(void *); void *argument; };

static void give_back(void *number) { __atomic_fetch_and(&taken, ~(1ul << (uintptr_t)number), __ATOMIC_SEQ_CST); }

static void *begin(void *passed) {
    struct start start = *(struct start *)passed;
    free(passed);
    uint64_t before, number;
    do {
        before = __atomic_load_n(&taken, __ATOMIC_SEQ_CST);
        number = before == UINT64_MAX ? NUMBERS : (uint64_t)__builtin_ctzl(~before);
    } while (number < NUMBERS && !__atomic_compare_exchange_n(&taken, &before, before | 1ul << number, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    /* Beyond that a thread goes without a cache, as where the kernel gives it no number. */
    set_number(number < NUMBERS ? (uint32_t)number : UINT32_MAX);
    void *result;
    if (number == NUMBERS) return start.function(start.argument);
    pthread_cleanup_push(give_back, (void *)(uintptr_t)number);
    result = start.function(start.argument);
    pthread_cleanup_pop(1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct start *start = malloc(sizeof *start);
    if (start == NULL) return EAGAIN;
    *start = (struct start){function, argument};
    int error = real(thread, attributes, begin, start);
    if (error != 0) free(start);
    return error;
}

/* The library asks by this how many processors there can be: as many as there are numbers, by the second way to ask. */
long syscall(long number, ...) {
    long a[6], result;
    __builtin_va_list list;
    __builtin_va_start(list, number);
    for (int n = 0; n < 6; n++) a[n] = __builtin_va_arg(list, long);
    __builtin_va_end(list);
    if (number == SYS_openat && strcmp((const char *)a[1], "/sys/devices/system/cpu/possible") == 0) {
        errno = ENOENT;
        return -1;
    }
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
