/* Programs that put themselves under a filter of system calls which kills for all that is not usual, in every mode. */
#include "conformance.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* What the allocator calls in any case, and what the programs here need. */
static const int usual[] = {SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_futex, SYS_getpid,
                            SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_write, SYS_exit_group};

/* What else is allowed, if anything: what asks for a further filter, or what libc calls where a thread begins and ends. */
static const int for_filters[] = {SYS_prctl, SYS_seccomp};
static const int for_threads[] = {SYS_clone, SYS_clone3, SYS_set_robust_list, SYS_rt_sigprocmask, SYS_sched_yield, SYS_exit};
static const int *also;
static unsigned also_count;

/* From now on any other call kills: of this thread, or with SECCOMP_FILTER_FLAG_TSYNC of all. By either of the kernel's calls. */
static void allow_the_usual(int by_prctl, unsigned flags) {
    struct sock_filter filter[COUNT_OF(usual) + COUNT_OF(for_threads) + 3];
    unsigned n = 0, allowed = COUNT_OF(usual) + also_count;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < allowed; i++) {
        unsigned number = (unsigned)(i < COUNT_OF(usual) ? usual[i] : also[i - COUNT_OF(usual)]);
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, allowed - i, 0);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)n, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) skip("no filters for system calls here");
    long failed = by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                           : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (failed) skip("no filters for system calls here");
}

/* A system call that nobody but the kernel sees; -1 where that is not possible. */
static long unseen_call(long number, long first, long second, const void *third) {
    long result = -1;
#ifdef __x86_64__
    register long fourth __asm__("r10") = 0;
    register long fifth __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory");
#else
    (void)number, (void)first, (void)second, (void)third;
#endif
    return result;
}

/* From now on a call of this number has that answer, in this process and what it becomes, and nobody saw us ask for it. */
static void answer(int number, unsigned with) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, with),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    if (unseen_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, NULL) != 0 ||
        unseen_call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        skip("no filters for system calls here");
}

static void kill_for(int number) { answer(number, SECCOMP_RET_KILL_PROCESS); }

enum { STEP = 5000 };

/* Fills and frees so many bytes in small blocks. */
static void fill_and_free(size_t bytes) {
    void *list = NULL;
    for (size_t taken = 0; taken < bytes; taken += STEP) {
        void **block = (void **)hide(malloc(STEP));
        CHECK(block);
        memset(block, 1, STEP);
        *block = list;
        list = block;
    }
    while (list) {
        void *next = *(void **)list;
        free(list);
        list = next;
    }
}

/* Blocks of all kinds come and go. */
static void work_for(double seconds) {
    for (double until = seconds_now() + seconds; seconds_now() < until;) {
        fill_and_free(16 * MIB);
        for (size_t size = 64 * KIB; size <= 16 * MIB; size *= 2) {
            char *block = hide(malloc(size));
            memset(block, 1, size);
            block = hide(realloc(block, size + size / 2));
            free(block);
            block = hide(calloc(1, size));
            CHECK(block && block[0] == 0 && block[size - 1] == 0);
            memset(block, 1, size);
            free(block);
        }
        for (size_t size = 1; size < 3000; size += 37) free(memset(hide(malloc(size)), 3, size));
        free(hide(aligned_alloc(2 * MIB, 2 * MIB)));
        CHECK(!hide(malloc(opaque((size_t)1 << 46))));
        usleep(20000);
    }
}

static const char *option;

static void add_option(void) {
    char conf[512];
    const char *now = getenv("FREESTONE_CONF");
    snprintf(conf, sizeof conf, "%s,%s", now ? now : "cache:auto", option);
    setenv("FREESTONE_CONF", conf, 1);
}

INNER(inner_begun) {
    free(hide(malloc(100)));
    allow_the_usual(1, 0);
    work_for(0.3);
}

INNER(inner_first_request_in_the_cage) {
    allow_the_usual(0, 0);
    work_for(0.3);
    _exit(0);
}

/* OpenSSH's server forbids its child to write to files, too: a message would end it. */
INNER(inner_that_may_not_write) {
    free(hide(malloc(100)));
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
    allow_the_usual(1, 0);
    work_for(0.1);
}

/* The filter is for the allocator's thread, too. */
INNER(inner_with_all_threads) {
    work_for(0.3);
    allow_the_usual(0, SECCOMP_FILTER_FLAG_TSYNC);
    work_for(1.2);
}

static volatile int caged;

static void *begin_and_end_in_the_cage(void *unused) {
    (void)unused;
    while (!caged) sleep_milliseconds(1);
    fill_and_free(MIB);
    return NULL;
}

static void *begin_before(void *unused) {
    fill_and_free(MIB);
    return begin_and_end_in_the_cage(unused);
}

/* libc registers no areas for restartable sequences, so that each thread would for itself. */
INNER(inner_threads) {
    pthread_t others[] = {spawn(begin_before, NULL, 0), spawn(begin_and_end_in_the_cage, NULL, 0)};
    sleep_milliseconds(50);
    also = for_threads, also_count = COUNT_OF(for_threads);
    allow_the_usual(0, SECCOMP_FILTER_FLAG_TSYNC);
    caged = 1;
    for (unsigned i = 0; i < COUNT_OF(others); i++) join(others[i]);
    join(spawn(begin_and_end_in_the_cage, NULL, 0));
}

static void without_libcs_areas(void) { setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1); }

CASE_FREESTONE(threads_in_a_cage) { run_inner("inner_threads", without_libcs_areas); }

/* Under the first filter the second is asked for by the usual calls, too. */
INNER(inner_caged_again) {
    work_for(0.3);
    also = for_filters, also_count = COUNT_OF(for_filters);
    allow_the_usual(1, 0);
    work_for(0.1);
    allow_the_usual(1, 0);
    also_count = 0;
    allow_the_usual(0, SECCOMP_FILTER_FLAG_TSYNC);
    work_for(0.1);
}

static void with(const char *added) {
    option = added;
    run_inner("inner_caged_again", add_option);
    run_inner("inner_begun", add_option);
    run_inner("inner_first_request_in_the_cage", add_option);
    run_inner("inner_with_all_threads", add_option);
}

static void with_directory(const char *name) {
    char directory[] = "/tmp/conformance-cage.XXXXXX", added[100], rm[100];
    CHECK(mkdtemp(directory));
    snprintf(added, sizeof added, "%s:%s", name, directory);
    with(added);
    run_inner("inner_that_may_not_write", add_option);
    snprintf(rm, sizeof rm, "rm -r %s", directory);
    CHECK(system(rm) == 0);
}

CASE_FREESTONE(a_cage) { with("background:1"); }
CASE_FREESTONE(a_cage_without_a_thread) { with("background:0"); }
CASE_FREESTONE(a_cage_hardened) { with("harden:1"); }
/* A filter that refuses `madvise`, as that of ocserv's workers does, comes when there are guards: what is behind them can be used all the same. */
INNER(inner_madvise_refused) {
    static unsigned char *blocks[400];
    for (int round = 0; round < 4; round++) {
        if (round == 1) answer(SYS_madvise, SECCOMP_RET_ERRNO | ENOSYS);
        if (round == 3) {
            for (int i = 0; i < 40; i++) CHECK((blocks[0] = realloc(blocks[0], ((size_t)i + 1) * 40 * KIB)));
            free(blocks[0]);
            return;
        }
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            size_t size = (i * 131 + (size_t)round * 17) % (i % 20 ? 5000 : 700000) + 1;
            blocks[i] = hide(malloc(size));
            fill(blocks[i], size, (unsigned)i);
        }
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            size_t size = (i * 131 + (size_t)round * 17) % (i % 20 ? 5000 : 700000) + 1;
            CHECK(whole(blocks[i], size, (unsigned)i));
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
}

CASE_FREESTONE(hardened_where_madvise_is_refused) {
    option = "harden:1";
    run_inner("inner_madvise_refused", add_option);
}

CASE_FREESTONE(a_cage_with_guards) { with("guard:1"); }
CASE_FREESTONE(a_cage_with_the_control_open) { with("control:1"); }
CASE_FREESTONE(a_cage_in_debug_mode) {
    with("debug:1");
    run_inner("inner_that_may_not_write", add_option);
}
CASE_FREESTONE(a_cage_under_a_profile) { with_directory("heap_profile"); }
CASE_FREESTONE(a_cage_with_a_report) { with_directory("report"); }
CASE_FREESTONE(a_cage_and_a_recording) { with_directory("record"); }
CASE_FREESTONE(a_cage_and_a_report_of_refusals) { with("oom_report:1"); }
CASE_FREESTONE(a_cage_under_pressure) { with("pressure:1"); }

/* The allocator's thread does not even end. */
static void rest_in_a_cage(void) {
    work_for(0.5);
    allow_the_usual(0, SECCOMP_FILTER_FLAG_TSYNC);
    sleep_milliseconds(7000);
    work_for(0.3);
}

CASE_FREESTONE(a_cage_outlasts_the_thread) { in_child(rest_in_a_cage); }

static void work_in_a_cage(void) {
    allow_the_usual(1, 0);
    work_for(0.3);
}

static void reap_caged(pid_t child) {
    CHECK(child >= 0);
    if (child == 0) {
        work_in_a_cage();
        _exit(0);
    }
    reap(child);
}

CASE_FREESTONE(children_in_cages) {
    work_for(0.5);
    reap_caged(fork());
    reap_caged(_Fork());
    reap_caged((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

/* Runs `body` in a process that is the first of a namespace of processes. */
static void as_the_first(void (*body)(void)) {
    if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) skip("no namespaces of processes here");
    in_child(body);
}

/* Its child has its number and none of its threads, and no handler of ours ran in it. The thread has nothing left to do but to wait for who uses the
 * control: a lock that it held would be held in the child for ever. */
static void clone_the_first(void) {
    work_for(0.3);
    sleep_milliseconds(1500);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, 0, 0, 0, 0);
    if (child < 0) skip("no namespaces of processes here");
    if (child == 0) {
        allow_the_usual(0, SECCOMP_FILTER_FLAG_TSYNC);
        _exit(0);
    }
    reap(child);
}

INNER(inner_clone_of_the_first) { as_the_first(clone_the_first); }

CASE_FREESTONE(a_caged_child_that_has_its_parents_number) {
    option = "control:1";
    run_inner("inner_clone_of_the_first", add_option);
}

/* A child of fork gets the number that one of vfork had. */
static void take_a_number_again(void) {
    free(hide(malloc(100)));
    pid_t first = vfork();
    CHECK(first >= 0);
    if (first == 0) _exit(0);
    reap(first);
    char text[20];
    int len = snprintf(text, sizeof text, "%d", (int)first - 1);
    int file = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, text, (size_t)len) != len) skip("numbers of processes cannot be chosen here");
    close(file);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(getpid() == first);
        work_in_a_cage();
        _exit(0);
    }
    reap(child);
}

CASE_FREESTONE(a_caged_child_that_has_the_number_of_one_of_vfork) { as_the_first(take_a_number_again); }

/* Idle memory still goes back without a call. */
static void memory_goes_back(void) {
    free(hide(malloc(100)));
    size_t before = resident_kib();
    fill_and_free(64 * MIB);
    for (double until = seconds_now() + 5; resident_kib() > before + 6 * KIB && seconds_now() < until;) sleep_milliseconds(20);
    CHECK_THAT(resident_kib() <= before + 6 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

/* What is no filter changes nothing: what comes before one, questions what the kernel knows, and requests that it refuses. */
CASE_FREESTONE(no_cage_and_memory_goes_back) {
    struct sock_filter nonsense = {0xffff, 0, 0, 0};
    struct sock_fprog program = {1, &nonsense};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && (errno == EFAULT || errno == EINVAL));
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == -1 && (errno == EFAULT || errno == ENOSYS));
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == -1);
    memory_goes_back();
}

static volatile int is_caged;

static void *cage_this_thread(void *unused) {
    (void)unused;
    kill_for(SYS_pipe2);
    is_caged = 1;
    pause();
    return NULL;
}

/* The kernel names the thread that cannot have the filter, whose own is another: a number that is no error. */
CASE_FREESTONE(a_cage_that_one_thread_cannot_have) {
    struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &all};
    spawn(cage_this_thread, NULL, 0);
    while (!is_caged) sleep_milliseconds(1);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) > 0);
    memory_goes_back();
}

/* The parent is not caged. */
CASE_FREESTONE(a_child_of_vfork_in_a_cage) {
    free(hide(malloc(100)));
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        allow_the_usual(1, 0);
        _exit(0);
    }
    reap(child);
    memory_goes_back();
}

/* Before a request is refused, what the cache of the only thread holds serves it. */
INNER(inner_limited) {
    enum { BLOCKS = 400000 };
    void **blocks = hide(malloc(BLOCKS * sizeof(void *)));
    allow_the_usual(1, 0);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = hide(malloc(i % 10 ? 100 : i % 2000 + 1));
        CHECK(blocks[i]);
    }
    /* Each slab is held by a block that is freed late. */
    for (int start = 0; start < 97; start++)
        for (int i = start; i < BLOCKS; i += 97) free(blocks[i]);
    void *most = hide(malloc(292 * MIB));
    CHECK(most);
    free(most);
    free(blocks);
}

CASE_FREESTONE(a_cage_and_a_hard_limit) {
    option = "limit_hard:300M";
    run_inner("inner_limited", add_option);
}

/* Under a filter that was there before the program, of a service manager. */
static void no_questions(void) {
    setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef", 1);
    kill_for(SYS_mincore);
}

INNER(inner_calloc) {
    for (int i = 0; i < 5; i++) {
        free(memset(hide(malloc(MIB)), 1, MIB));
        char *block = hide(calloc(1, MIB));
        CHECK(block[77] == 0);
        free(block);
    }
    work_for(0.5);
    fill_and_free(60 * MIB);
}

static void no_questions_hardened(void) {
    option = "harden:1";
    add_option();
    no_questions();
}

CASE_FREESTONE(a_cage_that_was_there_before) {
    run_inner("inner_calloc", no_questions);
    run_inner("inner_calloc", no_questions_hardened);
}

/* Where nobody sees the filter come, and questions are forbidden, there are none. */
INNER(inner_unseen) {
    free(hide(malloc(100)));
    kill_for(SYS_mincore);
    kill_for(SYS_prctl);
    fill_and_free(100 * MIB);
    work_for(0.5);
}

CASE_FREESTONE(a_cage_that_nobody_sees) {
    option = "background:0";
    run_inner("inner_unseen", add_option);
}

/* `syscall` is ours, and passes six arguments on. */
CASE_FREESTONE(other_system_calls_are_as_ever) {
    char path[] = "/tmp/conformance-cage.XXXXXX";
    int file = mkstemp(path);
    long page = sysconf(_SC_PAGESIZE);
    CHECK(file >= 0 && unlink(path) == 0 && ftruncate(file, 3 * page) == 0 && pwrite(file, "third", 5, 2 * page) == 5);
    long at = syscall(SYS_mmap, 0L, page, (long)PROT_READ, (long)MAP_PRIVATE, (long)file, 2 * page);
    CHECK(at > 0 && memcmp((void *)at, "third", 5) == 0);
    CHECK(syscall(SYS_munmap, at, page) == 0);
    errno = 0;
    CHECK(syscall(SYS_close, 123456L) == -1 && errno == EBADF);
    CHECK(syscall(SYS_getpid) == getpid());
    CHECK(close(file) == 0);
}

/* How many threads the kernel counts. Links of a folder, as sandboxes count them: reading it would allocate. */
static unsigned threads_here(void) {
    struct stat tasks;
    CHECK(stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 2);
    return (unsigned)tasks.st_nlink - 2;
}

/* Until the allocator has a thread, for so much work. */
static void have_a_thread(size_t bytes) {
    for (double until = seconds_now() + 3; threads_here() == 1 && seconds_now() < until;) {
        fill_and_free(bytes);
        sleep_milliseconds(20);
    }
    if (threads_here() == 1) skip("no thread of the allocator's here");
}

static void ask_and_count(int by_prctl) {
    errno = 0;
    long result = by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL)
                           : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL);
    CHECK(result == -1 && errno == EFAULT);
    CHECK(threads_here() == 1);
}

INNER(inner_questions_before_a_sandbox) {
    for (int by_prctl = 0; by_prctl < 2; by_prctl++) {
        have_a_thread(16 * MIB);
        ask_and_count(by_prctl);
    }
}

static void work_alone(void) {
    for (int i = 0; i < 20; i++) {
        fill_and_free(200 * KIB);
        sleep_milliseconds(20);
        CHECK(threads_here() == 1);
    }
}

INNER(inner_children_of_a_sandbox) {
    have_a_thread(200 * KIB);
    ask_and_count(0);
    work_alone();
    in_child(work_alone);
}

/* As Chromium does: it asks whether there are filters, counts its threads, and so do its children. */
CASE_FREESTONE(one_thread_for_a_sandbox) {
    option = "background:1";
    run_inner("inner_questions_before_a_sandbox", add_option);
    option = "control:1";
    run_inner("inner_questions_before_a_sandbox", add_option);
    run_inner("inner_children_of_a_sandbox", add_option);
}

static void take_a_namespace(void) {
    have_a_thread(16 * MIB);
    CHECK_THAT(unshare(CLONE_NEWUSER) == 0, "%s", strerror(errno));
}

static void take_a_namespace_by_number(void) {
    have_a_thread(16 * MIB);
    int own = open("/proc/self/ns/mnt", O_RDONLY);
    CHECK_THAT(syscall(SYS_unshare, (long)CLONE_NEWUSER | CLONE_NEWNS) == 0, "%s", strerror(errno));
    int taken = open("/proc/self/ns/mnt", O_RDONLY);
    have_a_thread(16 * MIB);
    CHECK_THAT(setns(taken, CLONE_NEWNS) == 0, "%s", strerror(errno));
    CHECK(close(own) == 0 && close(taken) == 0);
}

static void take_a_namespace_without(void) { _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1); }

INNER(inner_a_namespace) {
    pid_t child = fork();
    if (child == 0) take_a_namespace_without();
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (status) skip("no namespaces of users here");
    in_child(take_a_namespace);
    in_child(take_a_namespace_by_number);
}

/* The kernel gives other namespaces to processes of one thread only. */
CASE_FREESTONE(a_namespace_of_users) {
    option = "background:1";
    run_inner("inner_a_namespace", add_option);
    option = "control:1";
    run_inner("inner_a_namespace", add_option);
}

/* Kills for flags of `mmap` that Chromium's sandbox does not know either. */
static void allow_usual_mappings(void) {
    unsigned known = MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE | MAP_FIXED | MAP_DENYWRITE | MAP_LOCKED;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, ~known, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        skip("no filters for system calls here");
}

static void grow_among_usual_mappings(void) {
    fill_and_free(MIB);
    allow_usual_mappings();
    fill_and_free(100 * MIB);
    for (size_t size = MIB; size < 64 * MIB; size *= 2) {
        char *block = hide(malloc(size));
        CHECK(block && (block = hide(realloc(block, 3 * size))));
        memset(block, 1, 3 * size);
        free(block);
    }
}

INNER(inner_usual_mappings) { grow_among_usual_mappings(); }

CASE_FREESTONE(a_cage_that_looks_at_the_flags_of_mappings) {
    static const char *const options[] = {"background:1", "harden:1", "guard:64K", "control:1"};
    for (unsigned i = 0; i < COUNT_OF(options); i++) {
        option = options[i];
        run_inner("inner_usual_mappings", add_option);
    }
}

/* The loader would need such storage to find the function. */
static void (*volatile end_at)(int) = _exit;

static long (*volatile call)(long, ...) = syscall;

static int end_at_once(void *unused) {
    (void)unused;
    end_at(7);
    return 0;
}

static int end_as_a_thread(void *unused) {
    (void)unused;
    return (int)call(SYS_exit, 7);
}

/* Chromium changes its root in a child whose thread-local storage begins and ends nowhere. */
static void end_a_child(int (*end)(void *)) {
#ifdef __x86_64__
    size_t page = 4096;
    char *stack = mmap(NULL, 16 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *storage = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED && storage != MAP_FAILED && mprotect(storage, page, PROT_NONE) == 0);
    int flags = CLONE_VM | CLONE_VFORK | CLONE_FS | CLONE_SETTLS | SIGCHLD, status;
    pid_t child = clone(end, stack + 16 * page, flags, NULL, NULL, storage + page, NULL);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_THAT(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%x", (unsigned)status);
    munmap(stack, 16 * page);
    munmap(storage, 3 * page);
#else
    (void)end;
    skip("written for x86-64");
#endif
}

INNER(inner_before_the_first_request) { end_a_child(end_at_once); }

INNER(inner_without_storage) {
    free(hide(malloc(100)));
    end_a_child(end_at_once);
    work_for(0.3);
    end_a_child(end_as_a_thread);
}

static void end_without_storage(const char *name) {
    char directory[] = "/tmp/conformance-cage.XXXXXX", added[100], rm[100];
    CHECK(mkdtemp(directory));
    snprintf(added, sizeof added, "%s:%s", name, directory);
    option = added;
    run_inner("inner_before_the_first_request", add_option);
    run_inner("inner_without_storage", add_option);
    snprintf(rm, sizeof rm, "rm -r %s", directory);
    CHECK(system(rm) == 0);
}

CASE_FREESTONE(a_child_without_storage_ends) {
    option = "control:1";
    run_inner("inner_without_storage", add_option);
    end_without_storage("report");
    end_without_storage("record");
    end_without_storage("heap_profile");
}

/* A process that ends its only thread has that one's exit code, at once. */
static void end_with_the_thread(void (*body)(void)) {
    double begun = seconds_now();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(20);
        fill_and_free(64 * MIB);
        sleep_milliseconds(300);
        fill_and_free(64 * MIB);
        body();
        syscall(SYS_exit, 7);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_THAT(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%x", (unsigned)status);
    CHECK_THAT(seconds_now() - begun < 4, "%f s", seconds_now() - begun);
}

static void do_nothing(void) {}

/* What is at hand serves a few requests, as in a C library that asks for more than it needs. */
static void be_strict(void) {
    static void *blocks[1000];
    for (int i = 0; i < 1000; i++) blocks[i] = malloc(opaque((size_t)i));
    for (int i = 0; i < 1000; i++) free(blocks[i]);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) syscall(SYS_exit, 7);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 1000; i++) memset(blocks[i] = malloc(opaque((size_t)i)), 1, (size_t)i);
        for (int i = 0; i < 1000; i++) free(blocks[i]);
    }
}

static void be_strict_by_number(void) {
    if (syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) != 0) return;
    free(hide(malloc(100)));
}

static void be_strict_by_seccomp(void) {
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL) != 0) return;
    free(hide(malloc(100)));
}

INNER(inner_ends_its_thread) {
    end_with_the_thread(do_nothing);
    end_with_the_thread(be_strict);
    end_with_the_thread(be_strict_by_number);
    end_with_the_thread(be_strict_by_seccomp);
}

CASE(ends_its_only_thread) { end_with_the_thread(do_nothing); }

CASE(strict_mode) { end_with_the_thread(be_strict); }

CASE_FREESTONE(strict_mode_with_options) {
    static const char *const options[] = {"background:1", "guard:64K", "sample:64K", "control:1"};
    for (unsigned i = 0; i < COUNT_OF(options); i++) {
        option = options[i];
        run_inner("inner_ends_its_thread", add_option);
    }
}

/* Calls from elsewhere than libc's function come as signals, whose handler leaves the call's number as its result. */
static volatile char calls_of_others;

static void leave_the_number(int number) {
    (void)number;
    calls_of_others = SYSCALL_DISPATCH_FILTER_ALLOW;
}

CASE(calls_that_come_from_libc) {
#ifdef __x86_64__
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), *function = libc ? dlsym(libc, "syscall") : NULL;
    if (!function || dlsym(libc, "getpid") != dlsym(RTLD_DEFAULT, "getpid")) skip("libc is no library here");
    signal(SIGSYS, leave_the_number);
    free(hide(malloc(100)));
    CHECK(syscall(SYS_getpid) == getpid());
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, function, 64, &calls_of_others)) skip("the kernel passes on no calls");
    calls_of_others = SYSCALL_DISPATCH_FILTER_BLOCK;
    long seen = syscall(SYS_getpid);
    calls_of_others = SYSCALL_DISPATCH_FILTER_ALLOW;
    CHECK_THAT(seen == getpid(), "%ld", seen);
#else
    skip("written for x86-64");
#endif
}
