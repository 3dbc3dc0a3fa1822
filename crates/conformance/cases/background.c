/* The allocator's own thread: it looks after idle memory, and nothing of the program's may notice that it is there. */
#include "conformance.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define SINGLE_THREADED __libc_single_threaded
#else
#define SINGLE_THREADED 1
#endif

extern char **environ;

/* The number of the allocator's own thread, 0 where there is none. */
static int own_thread(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) skip("no /proc");
    int found = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL && !found;) {
        char path[300], name[16] = {0};
        snprintf(path, sizeof path, "/proc/self/task/%.200s/comm", task->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (read(fd, name, sizeof name - 1) > 0 && strncmp(name, "freestone", 9) == 0) found = atoi(task->d_name);
        close(fd);
    }
    closedir(tasks);
    return found;
}

enum { STEP = 5000, SPAN = 300 * 1024 };

/* Fills and frees so many bytes in small blocks: enough to look after. */
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

/* A call that comes down to the page heap. */
static void call(void) {
    void *block = hide(malloc(SPAN));
    CHECK(block);
    free(block);
}

/* Makes enough work that the thread starts. */
static int start_it(void) {
    fill_and_free(48 * MIB);
    double until = seconds_now() + 3;
    while (seconds_now() < until) {
        int thread = own_thread();
        if (thread) return thread;
        call();
        sleep_milliseconds(10);
    }
    skip("no thread of the allocator's here");
    return 0;
}

/* Leaves the program idle until the thread has ended. Looking for it allocates, which would wake it. */
static void idle_until_it_ends(void) {
    for (int i = 0; i < 2 && (sleep_milliseconds(6500), own_thread() != 0); i++) {}
    CHECK(own_thread() == 0);
}

/* Without a call of ours the resident set falls. */
static void falls_by_itself(size_t before) {
    double until = seconds_now() + 5;
    while (resident_kib() > before + 4 * KIB && seconds_now() < until) sleep_milliseconds(20);
    CHECK_THAT(resident_kib() <= before + 4 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

/* While calls go on, it falls without a thread. */
static void falls_by_calls(void) {
    fill_and_free(MIB);
    size_t before = resident_kib();
    fill_and_free(64 * MIB);
    double until = seconds_now() + 5;
    while (resident_kib() > before + 6 * KIB && seconds_now() < until) {
        for (int i = 0; i < 100; i++) call();
        CHECK(own_thread() == 0);
        sleep_milliseconds(5);
    }
    CHECK_THAT(resident_kib() <= before + 6 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

static void new_user_namespace(void) { _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : SKIPPED); }

CASE_FREESTONE(thread_comes_for_work_and_goes_when_idle) {
    in_child(new_user_namespace);
    size_t before = resident_kib();
    start_it();
    CHECK(SINGLE_THREADED);
    falls_by_itself(before);
    idle_until_it_ends();
    /* The kernel counts threads here: what does not go with several goes again. */
    CHECK_THAT(unshare(CLONE_NEWUSER) == 0, "%s", strerror(errno));
    call();
}

CASE_FREESTONE(thread_comes_again) {
    for (int round = 0; round < 2; round++) {
        start_it();
        idle_until_it_ends();
    }
}

/* The first call may start it: what the parent had to look after is the child's, too. */
static void be_a_child(void) {
    size_t before = resident_kib();
    start_it();
    falls_by_itself(before);
}

CASE_FREESTONE(fork_while_the_thread_works) {
    start_it();
    double until = seconds_now() + 3;
    for (int i = 0; seconds_now() < until; i++) {
        fill_and_free(24 * MIB);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            if (i % 4 == 0) be_a_child();
            else fill_and_free(2 * MIB);
            _exit(0);
        }
        reap(child);
    }
    CHECK(own_thread() != 0);
}

CASE_FREESTONE(exit_exec_and_spawn_while_the_thread_works) {
    double until = seconds_now() + 3;
    for (int i = 0; seconds_now() < until; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            fill_and_free(24 * MIB);
            call();
            if (i % 3 == 1) execlp("true", "true", (char *)NULL);
            if (i % 3 == 2) {
                char *arguments[] = {(char *)"true", NULL};
                pid_t spawned;
                CHECK(posix_spawnp(&spawned, "true", NULL, NULL, arguments, environ) == 0);
                reap(spawned);
            }
            exit(0);
        }
        reap(child);
    }
}

static void *last_one(void *argument) {
    fill_and_free(48 * MIB);
    sleep_milliseconds(300);
    return argument;
}

static void leave_by_pthread_exit(void) {
    start_it();
    spawn(last_one, NULL, 0);
    pthread_exit(NULL);
}

static void leave_alone_by_pthread_exit(void) {
    start_it();
    pthread_exit(NULL);
}

/* The last thread that libc knows ends the process, whoever else there is. */
CASE_FREESTONE(main_ends_by_pthread_exit) {
    double began = seconds_now();
    in_child(leave_by_pthread_exit);
    in_child(leave_alone_by_pthread_exit);
    CHECK(seconds_now() < began + 4);
}

static void forbid_processes(void) {
    if (geteuid() == 0) CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
    falls_by_calls();
}

CASE_FREESTONE(where_no_thread_can_be_made_callers_do_the_work) { in_child(forbid_processes); }

/* From now on whoever makes a process or a thread is killed. */
static void kill_whoever_clones(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        skip("no filters for system calls here");
}

static void work_in_a_cage(void) {
    free(hide(malloc(100)));
    kill_whoever_clones();
    falls_by_calls();
}

CASE_FREESTONE(under_a_filter_of_its_own_callers_do_the_work) { in_child(work_in_a_cage); }

/* A cage that is entered while the thread lives. */
static void work_and_then_in_a_cage(void) {
    size_t before = resident_kib();
    start_it();
    kill_whoever_clones();
    fill_and_free(48 * MIB);
    falls_by_itself(before);
    /* To end is a call, too, that a filter may kill for. */
    sleep_milliseconds(6500);
    CHECK(own_thread() != 0);
    fill_and_free(48 * MIB);
    falls_by_itself(before);
}

CASE_FREESTONE(a_filter_that_comes_while_the_thread_lives) { in_child(work_and_then_in_a_cage); }

enum { RESTING = 200 };
static pthread_barrier_t resting;

/* Uses a megabyte in blocks of all small sizes, frees it, and rests. */
static void *use_and_rest(void *number) {
    static __thread void *blocks[2000];
    unsigned seed = (unsigned)(uintptr_t)number;
    int held = 0;
    for (size_t taken = 0; taken < MIB;) {
        seed = seed * 1103515245 + 12345;
        size_t size = 16 + (seed >> 16) % 1000;
        blocks[held] = hide(malloc(size));
        CHECK(blocks[held]);
        memset(blocks[held++], 1, size);
        taken += size;
        if (held == 2000) break;
    }
    while (held) free(blocks[--held]);
    pthread_barrier_wait(&resting);
    pause();
    return NULL;
}

/* Whatever the threads had in caches goes back while they rest. */
CASE_FREESTONE(threads_that_rest_keep_nothing) {
    size_t before = resident_kib();
    start_it();
    pthread_attr_t small;
    pthread_attr_init(&small);
    CHECK(pthread_attr_setstacksize(&small, 128 * KIB) == 0);
    pthread_barrier_init(&resting, NULL, RESTING + 1);
    for (intptr_t i = 0; i < RESTING; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &small, use_and_rest, (void *)i) == 0);
    }
    pthread_barrier_wait(&resting);
    /* Of each thread the stack stays, 16 KB of these blocks' addresses, and what its cache is described by. */
    size_t each = 32 + 4 * (size_t)sysconf(_SC_PAGESIZE) / KIB;
    size_t after = before + RESTING * each + 20 * KIB;
    double until = seconds_now() + 8;
    while (resident_kib() > after && seconds_now() < until) sleep_milliseconds(20);
    CHECK_THAT(resident_kib() <= after, "%zu KiB, before %zu", resident_kib(), before);
}

static int at_work = 1;

/* Blocks that bear their addresses come and go. */
static void *work_with_marks(void *number) {
    void **blocks[300] = {0};
    unsigned seed = (unsigned)(uintptr_t)number;
    while (__atomic_load_n(&at_work, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 1000; i++) {
            seed = seed * 1103515245 + 12345;
            int slot = (int)((seed >> 16) % COUNT_OF(blocks));
            if (blocks[slot]) {
                CHECK(*blocks[slot] == (void *)&blocks[slot]);
                free(blocks[slot]);
            }
            blocks[slot] = hide(malloc(16 + (seed >> 8) % 400));
            CHECK(blocks[slot]);
            *blocks[slot] = (void *)&blocks[slot];
        }
        if (seed >> 29 == 0) sleep_milliseconds(1);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) free(blocks[i]);
    return NULL;
}

/* Caches are emptied again and again while their threads work with them. */
CASE_FREESTONE(caches_are_emptied_at_work) {
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, work_with_marks, (void *)(i + 1)) == 0);
    }
    double until = seconds_now() + 2;
    while (seconds_now() < until) {
        malloc_trim(0);
        usleep(300);
    }
    __atomic_store_n(&at_work, 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT_OF(threads); i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* A generation: threads at work, while they are a child is forked, which is the next. */
static void be_a_generation(int left) {
    pthread_t threads[6];
    at_work = 1;
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, work_with_marks, (void *)(i + 1)) == 0);
    }
    sleep_milliseconds(100);
    if (left > 0) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            /* Every second one has had a look at idle memory before it has threads. */
            if (left % 2) malloc_trim(0);
            be_a_generation(left - 1);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    __atomic_store_n(&at_work, 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT_OF(threads); i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* What the threads that a child of fork does not have had in their caches serves its own. */
CASE_FREESTONE(children_use_the_caches_of_threads_that_are_gone) { be_a_generation(6); }

/* Blocks of all kinds come and go, for longer than it takes until idle memory is looked after. */
static void work_for_a_second(void) {
    for (double until = seconds_now() + 1; seconds_now() < until;) {
        fill_and_free(24 * MIB);
        for (size_t size = 64 * KIB; size <= 16 * MIB; size *= 2) {
            char *block = hide(malloc(size));
            memset(block, 1, size);
            block = hide(realloc(block, size + size / 2));
            free(block);
            free(hide(calloc(1, size)));
        }
        usleep(20000);
    }
}

/* A service that systemd starts with `SystemCallFilter=@system-service ~@privileged`: other calls kill, from the beginning on. */
static void become_service(void) {
    static const int others[] = {SYS_mincore, SYS_pidfd_getfd, SYS_capset, SYS_setresuid, SYS_setresgid, SYS_setgroups};
    struct sock_filter filter[COUNT_OF(others) + 3];
    unsigned n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)others[i], COUNT_OF(others) - i, 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)n, filter};
    setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef", 1);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        skip("no filters for system calls here");
}

static void become_service_of_nobody(void) {
    const char *library = getenv("FREESTONE_LIB");
    if (geteuid() == 0 && (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)) skip("no such user");
    if (library && access(library, R_OK) != 0) skip("the library is root's");
    become_service();
}

INNER(inner_service) { work_for_a_second(); }
INNER(inner_service_of_nobody) {
    start_it();
    work_for_a_second();
}
CASE_FREESTONE(a_service_under_a_filter_that_kills) { run_inner("inner_service", become_service); }
CASE_FREESTONE(a_service_of_nobody_under_a_filter_that_kills) {
    run_inner("inner_service_of_nobody", become_service_of_nobody);
}

static void forbid_thread(void) {
    char conf[256];
    const char *now = getenv("FREESTONE_CONF");
    snprintf(conf, sizeof conf, "%s,background:0", now ? now : "cache:auto");
    setenv("FREESTONE_CONF", conf, 1);
}

INNER(inner_without_thread) { falls_by_calls(); }
CASE_FREESTONE(option_background_0) { run_inner("inner_without_thread", forbid_thread); }

/* Processes that are soon over make none: the filter would kill them. */
INNER(inner_short) {
    for (int i = 0; i < 20; i++) fill_and_free(3 * MIB);
    CHECK(own_thread() == 0);
}
CASE_FREESTONE(short_processes_have_none) {
    for (int i = 0; i < 40; i++) run_inner("inner_short", kill_whoever_clones);
}

static volatile int handled[65], handled_elsewhere;
static pid_t main_thread;

static void handler(int signal) {
    handled[signal]++;
    if (syscall(SYS_gettid) != main_thread) handled_elsewhere++;
}

/* Neither libc's, nor one that cannot be caught, nor one of those that undo each other while they wait. */
static int is_usable(int signal) {
    static const int others[] = {SIGKILL, SIGSTOP, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, 32, 33};
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        if (signal == others[i]) return 0;
    return 1;
}

static void send_all(void) {
    for (int signal = 1; signal <= 64; signal++)
        if (is_usable(signal)) kill(getpid(), signal);
}

static void each_was_handled(int times) {
    for (int signal = 1; signal <= 64; signal++)
        CHECK_THAT(handled[signal] == times * is_usable(signal), "signal %d: %d times", signal, handled[signal]);
    CHECK(handled_elsewhere == 0);
}

CASE_FREESTONE(thread_takes_no_signals) {
    main_thread = (pid_t)syscall(SYS_gettid);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    for (int signal = 1; signal <= 64; signal++)
        if (is_usable(signal)) CHECK(sigaction(signal, &action, NULL) == 0);
    int thread = start_it();
    for (int round = 0; round < 10; round++) {
        fill_and_free(24 * MIB);
        send_all();
    }
    each_was_handled(10);
    /* Blocked by the only thread that takes them, they wait. */
    sigset_t all, old;
    sigfillset(&all);
    CHECK(sigprocmask(SIG_SETMASK, &all, &old) == 0);
    send_all();
    for (int i = 0; i < 10; i++) {
        fill_and_free(24 * MIB);
        sleep_milliseconds(20);
    }
    each_was_handled(10);
    CHECK(own_thread() == thread);
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    each_was_handled(11);
}

/* What a thread may do, from its status: whether a line begins with `text`. */
static int status_has(int thread, const char *text) {
    char path[64], status[4096] = {0};
    snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, status, sizeof status - 1) > 0);
    close(fd);
    return strstr(status, text) != NULL;
}

/* libc's setuid changes the threads that libc knows. No other may keep what the program gives up. */
CASE_FREESTONE(thread_keeps_no_privileges) {
    if (geteuid() != 0) skip("only root has any");
    int thread = start_it(), dumpable = prctl(PR_GET_DUMPABLE);
    sleep_milliseconds(100);
    CHECK(!status_has(thread, "\nUid:\t0\t") && !status_has(thread, "\nGid:\t0\t"));
    CHECK(status_has(thread, "\nCapEff:\t0000000000000000") && status_has(thread, "\nCapPrm:\t0000000000000000"));
    /* The program itself has all it had. */
    CHECK(geteuid() == 0 && status_has(getpid(), "\nUid:\t0\t0\t0\t0"));
    CHECK(prctl(PR_GET_DUMPABLE) == dumpable && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
}

/* A daemon closes what it has and counts on the numbers that it gets. */
static void close_all(void) {
    start_it();
    for (int fd = 0; fd < 1024; fd++) close(fd);
    double until = seconds_now() + 2.5;
    while (seconds_now() < until) {
        fill_and_free(MIB);
        for (int expected = 0; expected < 4; expected++)
            if (open("/dev/null", O_RDWR) != expected) _exit(2);
        for (int fd = 0; fd < 4; fd++)
            if (close(fd) != 0) _exit(3);
    }
}

/* Whether a thread of this process has opened what tells of pressure, in a table of its own. */
static int watches_pressure(void) {
    int thread = own_thread(), found = 0;
    char path[300], target[300];
    snprintf(path, sizeof path, "/proc/self/task/%d/fd", thread);
    DIR *files = thread ? opendir(path) : NULL;
    for (struct dirent *file; files && (file = readdir(files)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%d/fd/%.20s", thread, file->d_name);
        ssize_t len = readlink(path, target, sizeof target - 1);
        if (len > 0) found |= (target[len] = 0, strstr(target, "pressure") != NULL);
    }
    if (files) closedir(files);
    return found;
}

static int comes_to_watch_pressure(void) {
    for (double until = seconds_now() + 3; !watches_pressure();) {
        if (seconds_now() > until) return 0;
        call();
        sleep_milliseconds(20);
    }
    return 1;
}

/* The thread with the user's rights, which serves the control, opens it anew: the other's number for it is another file's in its table. */
INNER(inner_under_pressure) {
    int (*open_control)(void) = SYMBOL(int (*)(void), freestone_control_open);
    REQUIRE(open_control);
    for (int number = 0; number < 20; number++) CHECK(open("/dev/null", O_RDONLY) >= 0);
    int before = start_it();
    if (!comes_to_watch_pressure()) skip("the kernel gives no trigger");
    if (open_control() != 0) skip("no control here");
    for (double until = seconds_now() + 3; own_thread() == before && seconds_now() < until;) sleep_milliseconds(20);
    if (own_thread() == before) skip("the thread stays the same");
    CHECK(comes_to_watch_pressure());
}

static void under_pressure(void) {
    char conf[512];
    const char *now = getenv("FREESTONE_CONF");
    snprintf(conf, sizeof conf, "%s,pressure:1", now ? now : "cache:auto");
    setenv("FREESTONE_CONF", conf, 1);
}

CASE_FREESTONE(pressure_is_watched_by_the_thread_that_takes_over) { run_inner("inner_under_pressure", under_pressure); }

CASE_FREESTONE(daemon_that_closes_all_descriptors) { in_child(close_all); }

INNER(inner_daemon) { in_child(close_all); }
static char report_directory[] = "/tmp/freestone-background-XXXXXX";
static void ask_for_report(void) {
    char conf[256];
    const char *now = getenv("FREESTONE_CONF");
    snprintf(conf, sizeof conf, "%s,report:%s", now ? now : "cache:auto", report_directory);
    setenv("FREESTONE_CONF", conf, 1);
}

static void remove_reports(void) {
    DIR *reports = opendir(report_directory);
    CHECK(reports);
    for (struct dirent *report; (report = readdir(reports)) != NULL;)
        if (report->d_name[0] != '.') unlinkat(dirfd(reports), report->d_name, 0);
    closedir(reports);
    CHECK(rmdir(report_directory) == 0);
}

/* With the history for the report, the thread reads files. */
CASE_FREESTONE(daemon_that_closes_all_descriptors_with_a_report) {
    CHECK(mkdtemp(report_directory));
    run_inner("inner_daemon", ask_for_report);
    remove_reports();
}

static void ask_for_report_but_allow_no_files(void) {
    struct rlimit none = {0, 0};
    ask_for_report();
    setrlimit(RLIMIT_FSIZE, &none);
}
INNER(inner_nothing) { free(hide(malloc(100))); }

static void speak_into_a_file_that_may_not_grow(void) {
    char path[] = "/tmp/freestone-background-XXXXXX";
    struct rlimit none = {0, 0};
    int file = mkstemp(path);
    CHECK(file >= 0 && unlink(path) == 0 && dup2(file, STDERR_FILENO) >= 0);
    setenv("FREESTONE_CONF", "verbose:1,no_such_option:1", 1);
    setrlimit(RLIMIT_FSIZE, &none);
}

/* A file that may not grow is no reason to be killed. */
CASE_FREESTONE(messages_where_files_may_not_be_written) {
    run_inner("inner_nothing", speak_into_a_file_that_may_not_grow);
}
CASE_FREESTONE(report_where_files_may_not_be_written) {
    CHECK(mkdtemp(report_directory));
    run_inner("inner_nothing", ask_for_report_but_allow_no_files);
    remove_reports();
}
