/* dlopen and dlclose: libraries that allocate as they come and go, and Freestone itself loaded so. */
#include "conformance.h"

#include <limits.h>
#include <link.h>
#include <sys/syscall.h>

/* The plugins lie beside the program. */
static void *load_with(const char *name, int flags) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    CHECK(length > 0);
    path[length] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    if (access(path, R_OK) != 0) skip("the plugin was not built beside the program");
    void *library = dlopen(path, flags);
    CHECK_THAT(library != NULL, "%s", dlerror());
    return library;
}

static void *load(const char *name) { return load_with(name, RTLD_NOW); }

static void use(void *library) {
    int (*work)(int) = (int (*)(int))dlsym(library, "plugin_work");
    CHECK(work);
    for (int i = 0; i < 50; i++) CHECK(work(i) == 400);
}

static void *use_in_thread(void *library) {
    use(library);
    return NULL;
}

CASE(bug03_plugin_loaded_and_unloaded_again_and_again) {
    for (int i = 0; i < 100; i++) {
        void *library = load("plugin_locals.so");
        use(library);
        void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_allocate");
        void *p = allocate(1000);
        CHECK(dlclose(library) == 0);
        fill(p, 1000, 1);
        free(p);
    }
}

/* php loads its extensions so: they prefer the libraries that they were linked with, the C library among them. */
CASE(plugin_loaded_with_deepbind_shares_the_heap) {
    void *library = load_with("plugin_locals.so", RTLD_NOW | RTLD_DEEPBIND);
    use(library);
    void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_allocate");
    for (int i = 0; i < 100; i++) {
        void *p = allocate(1000 + i);
        CHECK(malloc_usable_size(p) >= (size_t)(1000 + i));
        fill(p, 1000, 1);
        free(p);
    }
    CHECK(dlopen("no such library", RTLD_NOW) == NULL && dlerror() != NULL);
}

CASE(bug04_plugin_used_in_threads_that_end) {
    for (int i = 0; i < 20; i++) {
        void *library = load("plugin_locals.so");
        pthread_t threads[6];
        for (int j = 0; j < 6; j++) threads[j] = spawn(use_in_thread, library, 0);
        for (int j = 0; j < 6; j++) join(threads[j]);
        CHECK(dlclose(library) == 0);
    }
}

#ifndef CONFORMANCE_STATIC
static int add_writable(struct dl_phdr_info *info, size_t unused, void *sum) {
    (void)unused;
    uintptr_t where = (uintptr_t)dlsym(RTLD_DEFAULT, "malloc");
    size_t writable = 0;
    int is_it = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD) continue;
        if (where - (info->dlpi_addr + part->p_vaddr) < part->p_memsz) is_it = 1;
        if (part->p_flags & PF_W) writable += part->p_memsz;
    }
    if (is_it) *(size_t *)sum = writable;
    return is_it;
}

/* Collectors such as libgc read all writable data of all libraries at each collection, and count it for live. */
CASE_FREESTONE(the_librarys_own_data_is_small) {
    size_t writable = 0;
    CHECK(dl_iterate_phdr(add_writable, &writable) == 1);
    CHECK_THAT(writable < MIB, "%zu KiB of writable data", writable / KIB);
}
#endif

static void *copied[24];
static pthread_barrier_t loaded_now;

static void *touch_all(void *unused) {
    (void)unused;
    void *before = hide(malloc(100));
    /* The libraries come after the thread: its first access to each allocates in __tls_get_addr. */
    pthread_barrier_wait(&loaded_now);
    pthread_barrier_wait(&loaded_now);
    for (unsigned i = 0; i < COUNT_OF(copied); i++) use(copied[i]);
    free(before);
    return NULL;
}

static void copy_file(const char *from, const char *to) {
    static char bytes[64 * 1024];
    int source = open(from, O_RDONLY), target = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    CHECK(source >= 0 && target >= 0);
    ssize_t n;
    while ((n = read(source, bytes, sizeof bytes)) > 0) CHECK(write(target, bytes, (size_t)n) == n);
    close(source);
    close(target);
}

/* More modules with TLS than the loader planned for: it reallocates tables that it made before malloc
 * could be replaced. */
CASE(bug04_many_modules_with_dynamic_tls) {
    char folder[] = "/tmp/freestone-conformance-XXXXXX", from[PATH_MAX], path[PATH_MAX];
    dlclose(load("plugin_locals.so"));
    ssize_t length = readlink("/proc/self/exe", from, sizeof from - 64);
    from[length] = 0;
    strcpy(strrchr(from, '/') + 1, "plugin_locals.so");
    CHECK(mkdtemp(folder));
    pthread_barrier_init(&loaded_now, NULL, 5);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) threads[i] = spawn(touch_all, NULL, 0);
    pthread_barrier_wait(&loaded_now);
    for (unsigned i = 0; i < COUNT_OF(copied); i++) {
        snprintf(path, sizeof path, "%s/%u.so", folder, i);
        copy_file(from, path);
        copied[i] = dlopen(path, RTLD_NOW);
        unlink(path);
        CHECK_THAT(copied[i] != NULL, "%s", dlerror());
    }
    rmdir(folder);
    for (unsigned i = 0; i < COUNT_OF(copied); i++) use(copied[i]);
    pthread_barrier_wait(&loaded_now);
    for (int i = 0; i < 4; i++) join(threads[i]);
    for (unsigned i = 0; i < COUNT_OF(copied); i++) dlclose(copied[i]);
}

CASE(dlerror_text_is_allocated_and_freed) {
    for (int i = 0; i < 500; i++) {
        CHECK(dlopen("/nonexistent/library.so", RTLD_NOW) == NULL);
        CHECK(strstr(dlerror(), "nonexistent"));
        CHECK(dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") == NULL);
        CHECK(dlerror());
    }
}

/* A new namespace has a C library of its own, with a malloc of its own. */
CASE(dlmopen_beside_the_program) {
    void *library = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
    if (!library) skip("dlmopen is not possible here");
    double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
    CHECK(cosine && cosine(0) == 1);
    free(hide(malloc(1000)));
    dlclose(library);
}

static void without_preload(void) { unsetenv("LD_PRELOAD"); }

typedef void *(*malloc_type)(size_t);
typedef void *(*realloc_type)(void *, size_t);
typedef void (*free_type)(void *);

struct loaded_allocator {
    malloc_type malloc;
    realloc_type realloc;
    free_type free;
};

static void *use_loaded(void *argument) {
    const struct loaded_allocator *loaded = (const struct loaded_allocator *)argument;
    for (size_t size = 1; size < 5 * MIB; size = size * 2 + 1) {
        void *p = hide(loaded->malloc(size)), *own = hide(malloc(size));
        CHECK(p && own);
        fill_sparse(p, size, 50, 1);
        fill_sparse(own, size, 50, 2);
        p = hide(loaded->realloc(p, size * 2));
        CHECK(p && whole_sparse(own, size, 50, 2));
        loaded->free(p);
        free(own);
    }
    return NULL;
}

INNER(inner_loads_the_allocator) {
    const char *path = getenv("FREESTONE_LIB");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK_THAT(library != NULL, "%s", dlerror());
    struct loaded_allocator loaded = {(malloc_type)dlsym(library, "malloc"),
                                      (realloc_type)dlsym(library, "realloc"),
                                      (free_type)dlsym(library, "free")};
    CHECK(loaded.malloc && loaded.realloc && loaded.free);
    CHECK(loaded.malloc != malloc);
    use_loaded(&loaded);
    for (int i = 0; i < 20; i++) join(spawn(use_loaded, &loaded, 0));
    pid_t child = fork();
    if (child == 0) {
        use_loaded(&loaded);
        _exit(0);
    }
    reap(child);
    /* What it handed out must stay valid after this: it may not be unloaded under its blocks. */
    void *kept = hide(loaded.malloc(1000));
    fill(kept, 1000, 5);
    CHECK(dlclose(library) == 0);
    CHECK(whole(kept, 1000, 5));
    join(spawn(use_in_thread, load("plugin_locals.so"), 0));
}

/* "cannot allocate memory in static TLS block" is the bug this shows in others. */
CASE_FREESTONE(allocator_loaded_by_dlopen) {
    if (!getenv("FREESTONE_LIB")) setenv("FREESTONE_LIB", getenv("LD_PRELOAD") ?: "", 1);
    run_inner("inner_loads_the_allocator", without_preload);
}

INNER(inner_loads_the_allocator_late) {
    use(load("plugin_locals.so"));
    void *library = dlopen(getenv("FREESTONE_LIB"), RTLD_NOW | RTLD_GLOBAL);
    CHECK_THAT(library != NULL, "%s", dlerror());
    struct loaded_allocator loaded = {(malloc_type)dlsym(library, "malloc"),
                                      (realloc_type)dlsym(library, "realloc"),
                                      (free_type)dlsym(library, "free")};
    join(spawn(use_loaded, &loaded, 0));
}

CASE_FREESTONE(allocator_loaded_globally_after_other_libraries) {
    if (!getenv("FREESTONE_LIB")) setenv("FREESTONE_LIB", getenv("LD_PRELOAD") ?: "", 1);
    run_inner("inner_loads_the_allocator_late", without_preload);
}

/* Another library that defines `syscall`, as torsocks does, is preloaded behind ours. */
INNER(inner_syscall_of_another) {
    int (*count)(void) = SYMBOL(int (*)(void), plugin_system_calls);
    CHECK(count && count() == 0);
    CHECK(syscall(SYS_getpid) == getpid() && count() == 1);
    errno = 0;
    CHECK(syscall(SYS_close, -1L) == -1 && errno == EBADF && count() == 2);
    CHECK(syscall(SYS_seccomp, 99L, 0L, NULL) == -1 && count() == 3);
}

static void preload_behind(const char *name) {
    char path[PATH_MAX], list[2 * PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    CHECK(length > 0);
    path[length] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    if (access(path, R_OK) != 0) skip("the plugin was not built beside the program");
    snprintf(list, sizeof list, "%s:%s", getenv("LD_PRELOAD"), path);
    setenv("LD_PRELOAD", list, 1);
}

static void preload_another(void) { preload_behind("plugin_syscall.so"); }

CASE_FREESTONE(system_calls_go_through_another_that_is_preloaded) {
    if (!getenv("LD_PRELOAD")) skip("not preloaded");
    run_inner("inner_syscall_of_another", preload_another);
}

/* Another library's `mmap` and `madvise` have thread-local storage, which the allocator's own thread has none of. What is free goes back all the same. */
INNER(inner_mappings_of_another) {
    enum { COUNT = 8000 };
    static void *blocks[COUNT];
    long (*count)(void) = SYMBOL(long (*)(void), plugin_memory_calls);
    CHECK(count);
    size_t before = resident_kib();
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < COUNT; i++) memset(blocks[i] = hide(malloc(4000)), 1, 4000);
        for (int i = 0; i < COUNT; i++) free(blocks[i]);
        sleep_milliseconds(40);
    }
    CHECK(count() > 0);
    double until = seconds_now() + 10;
    while (resident_kib() > before + 6 * KIB && seconds_now() < until) {
        for (int i = 0; i < 100; i++) free(hide(malloc(300 * KIB)));
        sleep_milliseconds(20);
    }
    CHECK_THAT(resident_kib() <= before + 6 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

static void preload_watcher(void) { preload_behind("plugin_mappings.so"); }

CASE_FREESTONE(memory_is_mapped_by_another_that_is_preloaded) {
    if (!getenv("LD_PRELOAD")) skip("not preloaded");
    run_inner("inner_mappings_of_another", preload_watcher);
}
