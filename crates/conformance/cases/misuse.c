/* What the program does wrong, and how Freestone says so: by a message and abort. */
#include "conformance.h"

#include <sys/mman.h>
#include <sys/stat.h>

/* Runs `body` in a child that must end by SIGABRT after a line that starts with "freestone:". */
static void must_be_reported(void (*body)(void)) {
    int ends[2], status = 0;
    char text[2048];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        body();
        _exit(3);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while (used < sizeof text - 1 && (n = read(ends[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = 0;
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_THAT(!WIFEXITED(status), "went unnoticed, exit status %d", WEXITSTATUS(status));
    CHECK_THAT(WTERMSIG(status) == SIGABRT, "signal %d; stderr: %.150s", WTERMSIG(status), text);
    int begins = strncmp(text, "freestone:", 10) == 0 || strstr(text, "\nfreestone:") != NULL;
    CHECK_THAT(begins, "stderr: %.200s", text);
}

/* Drives blocks of this size through the caches and back to the central list. */
static void flush_blocks(size_t size) {
    enum { MANY = 100000 };
    static void *blocks[MANY];
    size_t count = size > 4096 ? 2000 : MANY;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) blocks[i] = hide(malloc(size));
        for (size_t i = 0; i < count; i++) free(blocks[i]);
    }
    malloc_trim(0);
}

static size_t wrong_size;

static void double_free(void) {
    void *p = hide(malloc(wrong_size));
    free(p);
    free(hide(p));
    flush_blocks(wrong_size);
}

CASE_FREESTONE(double_free_of_16_bytes) { wrong_size = 16, must_be_reported(double_free); }
CASE_FREESTONE(double_free_of_64_bytes) { wrong_size = 64, must_be_reported(double_free); }
CASE_FREESTONE(double_free_of_1000_bytes) { wrong_size = 1000, must_be_reported(double_free); }
CASE_FREESTONE(double_free_of_20_kib) { wrong_size = 20 * KIB, must_be_reported(double_free); }
CASE_FREESTONE(double_free_of_100_kib) { wrong_size = 100 * KIB, must_be_reported(double_free); }
CASE_FREESTONE(double_free_of_40_mib) { wrong_size = 40 * MIB, must_be_reported(double_free); }

static void free_twice_with_others_between(void) {
    void *p = hide(malloc(96)), *others[50];
    for (unsigned i = 0; i < COUNT_OF(others); i++) others[i] = hide(malloc(96));
    free(p);
    for (unsigned i = 0; i < COUNT_OF(others); i++) free(others[i]);
    free(hide(p));
    flush_blocks(96);
}
CASE_FREESTONE(double_free_with_others_between) { must_be_reported(free_twice_with_others_between); }

static void *free_it(void *p) {
    free(p);
    return NULL;
}

static void free_twice_in_two_threads(void) {
    void *p = hide(malloc(80));
    free(p);
    join(spawn(free_it, p, 0));
    flush_blocks(80);
}
CASE_FREESTONE(double_free_in_two_threads) { must_be_reported(free_twice_in_two_threads); }

static void realloc_after_free(void) {
    void *p = hide(malloc(300 * KIB));
    free(p);
    free(hide(realloc(hide(p), 900 * KIB)));
    flush_blocks(300 * KIB);
}
CASE_FREESTONE(realloc_of_a_freed_large_block) { must_be_reported(realloc_after_free); }

static void free_of_stack(void) {
    char local[256];
    free(hide(local + 16));
    flush_blocks(64);
}
CASE_FREESTONE(free_of_a_stack_address) { must_be_reported(free_of_stack); }

static char global_bytes[8192];
static void free_of_global(void) {
    free(hide(global_bytes + 4096));
    flush_blocks(64);
}
CASE_FREESTONE(free_of_a_global) { must_be_reported(free_of_global); }

static void free_inside_small(void) {
    char *p = (char *)hide(malloc(200));
    free(hide(p + 16));
    flush_blocks(200);
}
CASE_FREESTONE(free_inside_a_small_block) { must_be_reported(free_inside_small); }

static void free_by_one_byte(void) {
    char *p = (char *)hide(malloc(64));
    free(hide(p + 1));
    flush_blocks(64);
}
CASE_FREESTONE(free_of_an_odd_address) { must_be_reported(free_by_one_byte); }

static void free_inside_large(void) {
    char *p = (char *)hide(malloc(500 * KIB));
    free(hide(p + 64 * KIB));
    flush_blocks(500 * KIB);
}
CASE_FREESTONE(free_inside_a_large_block) { must_be_reported(free_inside_large); }

static void free_of_mapped(void) {
    void *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(hide(p));
    flush_blocks(64);
}
CASE_FREESTONE(free_of_a_mapping_of_the_program) { must_be_reported(free_of_mapped); }

static void free_of_wild(void) {
    free(hide((void *)(uintptr_t)0x4141414141414140));
    flush_blocks(64);
}
CASE_FREESTONE(free_of_a_wild_pointer) { must_be_reported(free_of_wild); }

static void free_of_one(void) {
    free(hide((void *)(uintptr_t)16));
    flush_blocks(64);
}
CASE_FREESTONE(free_of_a_tiny_address) { must_be_reported(free_of_one); }

/* The other side: what looks like misuse and is none must pass in silence. */
CASE(bug15_no_false_alarm_when_addresses_come_again) {
    for (int i = 0; i < 1000000; i++) {
        void *p = hide(malloc(64));
        memset(p, 0, 64);
        hide(p);
        free(p);
    }
}

CASE(bug15_no_false_alarm_over_contents) {
    enum { MANY = 2000 };
    static void *blocks[MANY];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++) {
            blocks[i] = hide(malloc(64));
            /* Pointers to other blocks, to itself, and what the allocator may itself leave there. */
            void **words = (void **)blocks[i];
            for (int word = 0; word < 8; word++) words[word] = blocks[(i * 7 + word) % (i + 1)];
            if (i % 3 == 0) memset(words, round % 2 ? 0xff : 0x00, 64);
            hide(words);
        }
        for (int i = 0; i < MANY; i++) free(blocks[(i * 13 + round) % MANY]);
    }
}

static void *free_half(void *blocks) {
    void **from = (void **)blocks;
    for (int i = 0; i < 500; i++) free(from[i]);
    return NULL;
}

CASE(bug15_no_false_alarm_when_threads_free_neighbours) {
    for (int round = 0; round < 200; round++) {
        static void *blocks[2][500];
        for (int i = 0; i < 1000; i++) blocks[i % 2][i / 2] = hide(malloc(48));
        pthread_t a = spawn(free_half, blocks[0], 0), b = spawn(free_half, blocks[1], 0);
        join(a);
        join(b);
    }
}

/* A block that another allocator made, here glibc's own, must not bring free down. */
CASE_FREESTONE(free_of_a_block_of_another_allocator) {
#ifdef CONFORMANCE_STATIC
    skip("a static program has one allocator");
#else
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    CHECK(libc);
    void *(*other_malloc)(size_t) = (void *(*)(size_t))dlsym(libc, "malloc");
    CHECK(other_malloc);
    if (other_malloc == malloc) skip("the C library's malloc cannot be reached");
    free(hide(other_malloc(100)));
    void *p = hide(malloc(100));
    CHECK(p);
    free(p);
#endif
}

/* What leads to the block lies far inside a reservation, beside which the kernel may put mappings of the allocator's own. */
static __attribute__((noinline)) void reserve(int depth) {
    char below[4000];
    fill(below, sizeof below, (unsigned)depth);
    if (depth > 0) {
        reserve(depth - 1);
        hide(below);
        return;
    }
    char **room = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) skip("no room for 64 MiB of addresses");
    room[5 * MIB] = malloc(100);
}

INNER(inner_block_in_a_reservation) {
    char above[100000];
    reserve(20);
    /* Nothing else leads to the block any more. */
    fill(above, sizeof above, 1);
}

static int told;

static void debug_told(void) {
    setenv("FREESTONE_CONF", "debug:1", 1);
    dup2(told, STDERR_FILENO);
}

CASE_FREESTONE(bug15_no_leak_is_told_of_what_a_reservation_leads_to) {
    for (int i = 0; i < 8; i++) {
        FILE *file = tmpfile();
        CHECK(file);
        told = fileno(file);
        run_inner("inner_block_in_a_reservation", debug_told);
        struct stat found;
        CHECK(fstat(told, &found) == 0);
        CHECK_THAT(found.st_size == 0, "%ld bytes were said", (long)found.st_size);
        fclose(file);
    }
}

/* What would draw samples must not have blocks served in another way: not after a request that is refused, either. */
INNER(inner_second_free_after_a_refused_request) {
    CHECK(malloc(opaque(SIZE_MAX / 2)) == NULL);
    char *volatile p = hide(malloc(100));
    free(p);
    char *volatile q = hide(malloc(100));
    CHECK(p != q);
    p[3] = 1;
    _exit(0);
}

static void debugged_and_sampled(void) {
    setenv("FREESTONE_CONF", "debug:1,sample:1M,guard:1M", 1);
    dup2(told, STDERR_FILENO);
}

CASE_FREESTONE(bug15_debug_mode_sees_all_blocks_though_a_profile_is_asked_for) {
    FILE *file = tmpfile();
    CHECK(file);
    told = fileno(file);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        debugged_and_sampled();
        execl("/proc/self/exe", "/proc/self/exe", "inner_second_free_after_a_refused_request", (char *)NULL);
        _exit(126);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
    CHECK_THAT(WIFSIGNALED(status), "status %d", status);
    char said[4096] = "";
    ssize_t length = pread(told, said, sizeof said - 1, 0);
    CHECK(length > 0 && strstr(said, "use after free") && strstr(said, "sample cannot take effect") &&
          strstr(said, "guard cannot take effect"));
    fclose(file);
}
