/* The kernel's side: many mappings, locked memory, pages that should stay untouched, refusals. */
#include "conformance.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static size_t count_mappings(void) {
    static char bytes[64 * 1024];
    int fd = open("/proc/self/maps", O_RDONLY);
    size_t lines = 0;
    ssize_t n;
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) lines += bytes[i] == '\n';
    close(fd);
    return lines;
}

/* Every second one of 100,000 large blocks freed: holes that must not become mappings. */
CASE(bug11_hundred_thousand_holes) {
    enum { MANY = 100000 };
    static void *blocks[MANY];
    size_t size = 33 * KIB;
    for (int i = 0; i < MANY; i++) {
        blocks[i] = hide(malloc(size));
        CHECK_THAT(blocks[i] != NULL, "block %d", i);
        *(char *)blocks[i] = 1;
    }
    for (int i = 0; i < MANY; i += 2) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    malloc_trim(0);
    size_t mappings = count_mappings();
    CHECK_THAT(mappings < 20000, "%zu mappings", mappings);
    for (int i = 0; i < MANY; i += 2) {
        blocks[i] = hide(calloc(1, size));
        CHECK_THAT(blocks[i] != NULL, "block %d", i);
        CHECK(*(char *)blocks[i] == 0);
    }
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    for (int i = 0; i < MANY; i++) free(blocks[i]);
    void *large = hide(malloc(500 * MIB));
    CHECK(large);
    free(large);
}

static void *do_nothing(void *unused) { return unused; }

/* Buffers that grow by half, as arrays do. Where growth cuts each out into a mapping of its own, there
 * are soon none left for the program's next mmap and thread. */
CASE(bug11_growing_buffers_leave_mappings_to_the_program) {
    enum { MANY = 6000 };
    static struct {
        char *bytes;
        size_t size;
    } buffers[MANY];
    const size_t least = 40000;
    unsigned state = 1;
    for (unsigned i = 0; i < MANY; i++) {
        buffers[i].bytes = (char *)hide(malloc(least));
        CHECK(buffers[i].bytes);
        buffers[i].size = least;
        *buffers[i].bytes = (char)i;
    }
    for (int i = 0; i < 6 * MANY; i++) {
        unsigned one = random_next(&state) % MANY;
        size_t old = buffers[one].size, size = old > 10 * least ? least : old + old / 2;
        char *bytes = (char *)hide(realloc(buffers[one].bytes, size));
        CHECK_THAT(bytes != NULL, "realloc from %zu to %zu, call %d", old, size, i);
        CHECK(*bytes == (char)one);
        if (size > old) bytes[old] = bytes[size - 1] = 1;
        buffers[one].bytes = bytes;
        buffers[one].size = size;
    }
    size_t mappings = count_mappings();
    CHECK_THAT(mappings < 8000, "%zu mappings", mappings);
    for (int i = 0; i < 50; i++) {
        int protection = i % 2 ? PROT_READ : PROT_READ | PROT_EXEC;
        CHECK(mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    }
    for (int i = 0; i < 20; i++) join(spawn(do_nothing, NULL, 0));
    for (int i = 0; i < MANY; i++) free(buffers[i].bytes);
}

CASE(bug11_other_mappings_are_used_up) {
    /* The program itself takes all but some mappings; the allocator must live on what is left. */
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    long most = 65530;
    if (file && fscanf(file, "%ld", &most) != 1) most = 65530;
    if (file) fclose(file);
    if (most > 300000) skip("vm.max_map_count is too large to reach");
    char *range = (char *)mmap(NULL, (size_t)most * 2 * 4096, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(range != MAP_FAILED);
    long split = 0;
    while (split < most && mprotect(range + (size_t)split * 8192, 4096, PROT_READ) == 0) split++;
    static void *blocks[3000];
    size_t got = 0;
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        errno = 0;
        blocks[i] = hide(malloc(i % 10 == 0 ? 200 * KIB : 500));
        if (blocks[i]) {
            fill_sparse(blocks[i], 500, 50, 1);
            got++;
        } else {
            CHECK(errno == ENOMEM);
        }
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    munmap(range, (size_t)most * 2 * 4096);
    void *p = hide(malloc(40 * MIB));
    CHECK(p);
    free(p);
}

static void work_zeroed(void) {
    for (size_t size = 100; size < 8 * MIB; size = size * 3 + 1) {
        void *p = hide(malloc(size));
        CHECK_THAT(p != NULL, "size %zu", size);
        memset(p, 0xcc, size);
        hide(p);
        free(p);
        malloc_trim(0);
        p = hide(calloc(1, size));
        CHECK_THAT(p && all_zero(p, size), "size %zu", size);
        fill_sparse(p, size, 100, 1);
        p = hide(realloc(p, size * 2));
        CHECK(p && whole_sparse(p, size - (size - 1) % 100, 100, 1));
        free(p);
    }
}

/* MADV_DONTNEED fails on locked pages: they keep their bytes, and calloc must know. */
CASE(bug10_everything_locked) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) skip("mlockall is not permitted here");
    work_zeroed();
}

CASE(bug10_locked_on_fault) {
#ifdef MCL_ONFAULT
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) skip("mlockall is not permitted here");
#endif
    work_zeroed();
}

CASE(bug10_block_locked_by_the_program) {
    for (size_t size = 16 * KIB; size <= 4 * MIB; size *= 4) {
        for (int round = 0; round < 5; round++) {
            char *p = (char *)hide(malloc(size));
            CHECK(p);
            if (mlock(p, size) != 0) skip("mlock is not permitted here");
            memset(p, 0xcc, size);
            hide(p);
            free(p);
            malloc_trim(0);
            p = (char *)hide(calloc(1, size));
            CHECK_THAT(p && all_zero(p, size), "size %zu", size);
            free(p);
        }
    }
}

/* Programs mark blocks of theirs: not dumped, not inherited by fork, zero in the child. */
CASE(bug10_block_marked_wipe_on_fork) {
    size_t size = 256 * KIB;
    for (int round = 0; round < 10; round++) {
        char *p = (char *)hide(memalign(4096, size));
        madvise(p, size, MADV_DONTDUMP);
        memset(p, 1, size);
        hide(p);
        madvise(p, size, MADV_DODUMP);
        free(p);
        p = (char *)hide(calloc(1, size));
        CHECK(all_zero(p, size));
        free(p);
    }
}

/* One byte in every megabyte: huge pages or eager clearing would make all of it resident. */
CASE(bug12_sparse_touch_stays_sparse) {
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    char mode[64] = {0};
    if (file && fgets(mode, sizeof mode, file) && strstr(mode, "[always]"))
        skip("this system makes huge pages of everything");
    if (file) fclose(file);
    enum { MANY = 200 };
    void *blocks[MANY];
    size_t before = resident_kib();
    for (int i = 0; i < MANY; i++) {
        blocks[i] = hide(i % 2 ? malloc(MIB) : calloc(1, MIB));
        CHECK(blocks[i]);
        *(volatile char *)blocks[i] = 1;
    }
    CHECK_THAT(resident_kib() < before + 8 * KIB, "%zu KiB, before %zu", resident_kib(), before);
    for (int i = 0; i < MANY; i++) free(blocks[i]);
}

CASE(bug12_memory_falls_when_most_of_it_is_freed) {
    enum { MANY = 3000 };
    static void *blocks[MANY];
    for (int i = 0; i < MANY; i++) {
        blocks[i] = hide(malloc(64 * KIB));
        fill_sparse(blocks[i], 64 * KIB, 4096, 1);
    }
    size_t peak = resident_kib();
    for (int i = 0; i < MANY; i++)
        if (i % 50) free(blocks[i]);
    malloc_trim(0);
    CHECK_THAT(resident_kib() < peak / 4, "%zu KiB, at the peak %zu", resident_kib(), peak);
    for (int i = 0; i < MANY; i += 50) free(blocks[i]);
}

/* From here on `number` fails with `error`, as in a sandbox or when the kernel has run short. */
static void refuse(long number, int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        skip("system call filters are not possible here");
}

static void work_refused(long number, int error) {
    void *blocks[100];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = hide(malloc((size_t)i * i * 40 + 1));
        memset(blocks[i], 0xdd, (size_t)i * i * 40 + 1);
    }
    refuse(number, error);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    work_zeroed();
    work_zeroed();
}

CASE(bug09_madvise_refused) { work_refused(SYS_madvise, EINVAL); }
CASE(bug09_madvise_not_permitted) { work_refused(SYS_madvise, EPERM); }
CASE(bug09_madvise_out_of_memory) { work_refused(SYS_madvise, ENOMEM); }
CASE(bug09_munmap_out_of_memory) { work_refused(SYS_munmap, ENOMEM); }
CASE(bug09_mremap_not_permitted) { work_refused(SYS_mremap, EPERM); }
CASE(bug09_mremap_out_of_memory) { work_refused(SYS_mremap, ENOMEM); }
CASE(bug09_mprotect_refused) { work_refused(SYS_mprotect, EACCES); }
CASE(bug09_membarrier_and_getcpu_refused) {
    refuse(SYS_membarrier, EPERM);
    work_refused(SYS_getcpu, EPERM);
}

/* No page more from the kernel: what is at hand still serves, the rest is refused with ENOMEM. */
CASE(bug09_mmap_refused) {
    void *kept[200];
    for (unsigned i = 0; i < COUNT_OF(kept); i++) {
        kept[i] = hide(malloc((size_t)i * 300 + 1));
        fill(kept[i], (size_t)i * 300 + 1, i);
    }
    refuse(SYS_mmap, ENOMEM);
    /* brk answers with an address, not with an error: a limit refuses it instead. */
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_DATA, &none) == 0);
    refuse(SYS_mremap, ENOMEM);
    refuse(SYS_mprotect, ENOMEM);
    int refused = 0;
    for (int i = 0; i < 3000; i++) {
        errno = 0;
        void *p = hide(malloc(MIB));
        if (!p) {
            CHECK_THAT(errno == ENOMEM, "errno %d", errno);
            refused++;
        }
    }
    CHECK(refused > 0);
    for (unsigned i = 0; i < COUNT_OF(kept); i++) {
        CHECK(whole(kept[i], (size_t)i * 300 + 1, i));
        free(kept[i]);
    }
    void *p = hide(malloc(100));
    CHECK(p);
    free(p);
}
