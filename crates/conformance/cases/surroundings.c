/* What is around a program: a debugger that goes step by step, libraries that define libc's functions anew. */
#include "conformance.h"

#include <link.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

/* Functions of libc's as a preloaded library defines them: with thread-local storage of its own, and a memory of who called. */
static volatile int watching, called;
static char last_called[32];
static __thread volatile int own_storage;

static void note(const char *name) {
    if (!watching) return;
    called++;
    own_storage++;
    strncpy(last_called, name, sizeof last_called - 1);
}

#define NEXT(type, name)                                                                                     \
    static __typeof__(type) next;                                                                                        \
    if (!next) next = (type)dlsym(RTLD_NEXT, name);                                                          \
    note(name)

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT(int (*)(clockid_t, struct timespec *), "clock_gettime");
    return next(clock, time);
}

long syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    long a = va_arg(arguments, long), b = va_arg(arguments, long), c = va_arg(arguments, long);
    long d = va_arg(arguments, long), e = va_arg(arguments, long), f = va_arg(arguments, long);
    va_end(arguments);
    NEXT(long (*)(long, ...), "syscall");
    return next(number, a, b, c, d, e, f);
}

pid_t getpid(void) {
    NEXT(pid_t (*)(void), "getpid");
    return next();
}

int sched_yield(void) {
    NEXT(int (*)(void), "sched_yield");
    return next();
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
    NEXT(int (*)(__rlimit_resource_t, struct rlimit *), "getrlimit");
    return next(resource, limit);
}

/* Blocks of all kinds come and go for so long that the allocator's own thread looks after them. */
static void watch_for_a_while(void) {
    watching = 1;
    for (int round = 0; round < 15; round++) {
        enum { BLOCKS = 4000 };
        static void *blocks[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = hide(malloc((size_t)i * 5));
            if (!blocks[i]) FAIL("no memory");
            memset(blocks[i], 1, (size_t)i * 5);
        }
        for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
        free(hide(calloc(1, 3 * MIB)));
        if (round % 5 == 0) {
            char *large = hide(malloc(40 * MIB));
            CHECK(large);
            *large = 1;
            large = hide(realloc(large, 90 * MIB));
            CHECK(large);
            free(large);
        }
        usleep(100000);
    }
    watching = 0;
    CHECK_THAT(called == 0, "%d calls, the last of %s", called, last_called);
}

CASE_FREESTONE(functions_of_libcs_that_others_define_are_left_to_them) { watch_for_a_while(); }

/* Functions that an instrument writes into a library's table of addresses while the program runs, as memray does. */
static void *noted_mmap(void *addr, size_t len, int protection, int flags, int fd, off_t offset) {
    long result = syscall(SYS_mmap, addr, len, protection, flags, fd, offset);
    note("mmap");
    return (void *)result;
}

static int noted_munmap(void *addr, size_t len) {
    long result = syscall(SYS_munmap, addr, len);
    note("munmap");
    return (int)result;
}

static void *noted_mremap(void *addr, size_t len, size_t new_len, int flags, void *to) {
    long result = syscall(SYS_mremap, addr, len, new_len, flags, to);
    note("mremap");
    return (void *)result;
}

static int noted_mprotect(void *addr, size_t len, int protection) {
    long result = syscall(SYS_mprotect, addr, len, protection);
    note("mprotect");
    return (int)result;
}

static int noted_madvise(void *addr, size_t len, int advice) {
    long result = syscall(SYS_madvise, addr, len, advice);
    note("madvise");
    return (int)result;
}

static const struct {
    const char *name;
    void *function;
} instrument[] = {{"mmap", (void *)noted_mmap},         {"munmap", (void *)noted_munmap},   {"mremap", (void *)noted_mremap},
                  {"mprotect", (void *)noted_mprotect}, {"madvise", (void *)noted_madvise}};

/* Writes the instrument's functions wherever the loader wrote those of their names. */
static int overwrite(const ElfW(Rela) *relocations, size_t bytes, const ElfW(Sym) *symbols, const char *names, uintptr_t base) {
    int written = 0;
    for (size_t i = 0; i < bytes / sizeof *relocations; i++) {
        const char *name = names + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name;
        for (unsigned j = 0; j < COUNT_OF(instrument); j++) {
            if (strcmp(name, instrument[j].name) != 0) continue;
            uintptr_t at = base + relocations[i].r_offset, page = at & -(uintptr_t)getpagesize();
            CHECK(mprotect((void *)page, (size_t)getpagesize(), PROT_READ | PROT_WRITE) == 0);
            memcpy((void *)at, &instrument[j].function, sizeof(void *));
            written++;
        }
    }
    return written;
}

/* The same in the library, or program, in which malloc lies. How many there were. */
static int instrument_allocator(struct dl_phdr_info *info, size_t size, void *malloc_address) {
    (void)size;
    const ElfW(Dyn) *dynamic = NULL;
    int is_it = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_DYNAMIC) dynamic = (const ElfW(Dyn) *)start;
        is_it |= part->p_type == PT_LOAD && (uintptr_t)malloc_address - start < part->p_memsz;
    }
    if (!is_it || !dynamic) return 0;
    uintptr_t of[DT_JMPREL + 1] = {0};
    for (; dynamic->d_tag != DT_NULL; dynamic++)
        if ((size_t)dynamic->d_tag < COUNT_OF(of)) of[dynamic->d_tag] = dynamic->d_un.d_val;
    /* glibc has added where the library lies, musl has not. */
    static const int addresses[] = {DT_SYMTAB, DT_STRTAB, DT_RELA, DT_JMPREL};
    for (unsigned i = 0; i < COUNT_OF(addresses); i++)
        if (of[addresses[i]] < info->dlpi_addr) of[addresses[i]] += info->dlpi_addr;
    const ElfW(Sym) *symbols = (const ElfW(Sym) *)of[DT_SYMTAB];
    const char *names = (const char *)of[DT_STRTAB];
    return overwrite((const ElfW(Rela) *)of[DT_RELA], of[DT_RELASZ], symbols, names, info->dlpi_addr) +
           overwrite((const ElfW(Rela) *)of[DT_JMPREL], of[DT_PLTRELSZ], symbols, names, info->dlpi_addr);
}

CASE_FREESTONE(functions_that_an_instrument_writes_into_our_table_are_not_met) {
    void *address = (void *)SYMBOL(void *(*)(size_t), malloc);
    free(hide(malloc(1)));
    if (dl_iterate_phdr(instrument_allocator, address) == 0) skip("no table of addresses");
    watch_for_a_while();
}

/* Blocks of a class that are new, resized and freed, and one without a class. Copying and clearing would take most of the steps. */
static void use_blocks(void) {
    static const size_t sizes[] = {1, 24, 100, 1000, 5000};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        void *p = hide(malloc(sizes[i])), *q = hide(calloc(1, sizes[i]));
        p = hide(realloc(p, sizes[i] * 2));
        if (!p || !q) _exit(2);
        free(p);
        free(q);
    }
    free(hide(malloc(100000)));
    free(hide(malloc(3000000)));
}

/* A debugger goes step by step to watch a variable, or to record what is executed. */
CASE(a_program_that_is_stepped_through_gets_on) {
    use_blocks();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(SKIPPED);
        raise(SIGSTOP);
        use_blocks();
        use_blocks();
        _exit(0);
    }
    int status = 0, steps = 0;
    double until = seconds_now() + 15;
    CHECK(waitpid(child, &status, 0) == child);
    while (WIFSTOPPED(status) && seconds_now() < until) {
        int signal = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, (void *)(uintptr_t)signal) != 0) break;
        CHECK(waitpid(child, &status, 0) == child);
        steps++;
    }
    if (WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        FAIL("still stepping after %d steps", steps);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) skip("no ptrace here");
    CHECK_THAT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x after %d steps", status, steps);
}
