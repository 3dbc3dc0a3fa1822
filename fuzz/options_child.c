/* What runs under each option string: a little of everything, then what was covered goes to the shared file. Requests may fail: there
 * are limits among the options. */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COUNTERS = 1 << 17, SHARED = 100, BLOCKS = 200 };

static char *first, *end;

void __sanitizer_cov_8bit_counters_init(char *from, char *to);
void __sanitizer_cov_8bit_counters_init(char *from, char *to) {
    first = from;
    end = to;
}
void __sanitizer_cov_pcs_init(const uintptr_t *from, const uintptr_t *to);
void __sanitizer_cov_pcs_init(const uintptr_t *from, const uintptr_t *to) { (void)from, (void)to; }
#define IGNORED(name, type)                                                                                  \
    void name(type a, type b);                                                                               \
    void name(type a, type b) { (void)a, (void)b; }
IGNORED(__sanitizer_cov_trace_cmp1, uint8_t)
IGNORED(__sanitizer_cov_trace_cmp2, uint16_t)
IGNORED(__sanitizer_cov_trace_cmp4, uint32_t)
IGNORED(__sanitizer_cov_trace_cmp8, uint64_t)
IGNORED(__sanitizer_cov_trace_const_cmp1, uint8_t)
IGNORED(__sanitizer_cov_trace_const_cmp2, uint16_t)
IGNORED(__sanitizer_cov_trace_const_cmp4, uint32_t)
IGNORED(__sanitizer_cov_trace_const_cmp8, uint64_t)
void __sanitizer_cov_trace_pc_indir(uintptr_t callee);
void __sanitizer_cov_trace_pc_indir(uintptr_t callee) { (void)callee; }
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) { (void)value, (void)cases; }

static void check(int good) {
    if (!good) _exit(1);
}

static void *work(void *argument) {
    unsigned char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    unsigned seed = argument ? 7 : 1;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            size_t size = sizes[i] = i % 50 == 49 ? 300000 : i % 7 == 6 ? 9000u + (size_t)i : (size_t)(i * 11) % 700;
            void *p = NULL;
            if (i % 3 == 0) p = calloc(1, size);
            else if (i % 3 == 1 || posix_memalign(&p, 64, size) != 0) p = malloc(size);
            blocks[i] = p;
            check(!p || i % 3 || size == 0 || (blocks[i][0] == 0 && blocks[i][size - 1] == 0));
            if (p) memset(p, (int)(seed + (unsigned)i), size);
        }
        for (int i = 0; i < BLOCKS; i++) {
            if (blocks[i] && i % 5 == 0) {
                size_t more = sizes[i] * 2 + 1;
                unsigned char *moved = realloc(blocks[i], more);
                if (moved) {
                    blocks[i] = moved;
                    check(sizes[i] == 0 || moved[sizes[i] - 1] == (unsigned char)(seed + (unsigned)i));
                }
            }
            check(!blocks[i] || sizes[i] == 0 || blocks[i][0] == (unsigned char)(seed + (unsigned)i));
            check(!blocks[i] || malloc_usable_size(blocks[i]) >= sizes[i]);
        }
        for (int i = 0; i < BLOCKS; i++) free(blocks[(i * 37) % BLOCKS]);
    }
    return NULL;
}

int main(void) {
    pthread_t thread;
    int started = pthread_create(&thread, NULL, work, &thread) == 0;
    work(NULL);
    if (started) pthread_join(thread, NULL);
    malloc_trim(0);
    void *to = mmap(NULL, COUNTERS, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED, 0);
    size_t count = (size_t)(end - first);
    if (to != MAP_FAILED) memcpy(to, first, count < COUNTERS ? count : COUNTERS);
    return 0;
}
