/* Option strings: each input is FREESTONE_CONF of a process of its own (options_child.c), since options are read once, at the start.
 * What the child covered comes back through a shared file, as libFuzzer's extra counters. A child that dies, hangs, fails or
 * says anything but the allocator's own sentences is a find. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNTERS = 1 << 17, SHARED = 100, SECONDS = 20 };

/* Read by libFuzzer only: were it static, the compiler would leave out all that is written to it. */

__attribute__((used, section("__libfuzzer_extra_counters"))) uint8_t counters[COUNTERS];
static uint8_t *shared;
static int said;

static void find(const char *what, const char *conf) {
    fprintf(stderr, "%s: FREESTONE_CONF=%s\n", what, conf);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    int file = memfd_create("covered", 0);
    said = memfd_create("said", MFD_CLOEXEC);
    if (file < 0 || said < 0 || ftruncate(file, COUNTERS) != 0 || dup2(file, SHARED) != SHARED) abort();
    shared = mmap(NULL, COUNTERS, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) abort();
    /* Nothing of anybody's lies there: it is made here. */
    char folder[] = "options-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) abort();
    close(file);
    return 0;
}

/* Every line is a sentence of the allocator's, or a part of one of its reports. */
static int is_ours(void) {
    static char text[1 << 16];
    ssize_t got = pread(said, text, sizeof text - 1, 0);
    text[got < 0 ? 0 : got] = 0;
    return got <= 0 || strncmp(text, "freestone", 9) == 0;
}

/* What the child wrote: reports, profiles, traces. */
static void sweep(void) {
    DIR *here = opendir(".");
    for (struct dirent *entry; here && (entry = readdir(here));)
        if (unlink(entry->d_name) != 0) rmdir(entry->d_name);
    if (here) closedir(here);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static char conf[4096] = "FREESTONE_CONF=";
    const size_t from = strlen("FREESTONE_CONF=");
    /* Reports and traces stay in the folder that this runs in. */
    if (len > sizeof conf - from - 1 || memchr(data, 0, len) || memchr(data, '/', len)) return -1;
    memcpy(conf + from, data, len);
    conf[from + len] = 0;
    memset(shared, 0, COUNTERS);
    if (ftruncate(said, 0) != 0 || lseek(said, 0, SEEK_SET) != 0) abort();
    char *const arguments[] = {"options_child", NULL}, *const environment[] = {conf, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1, 0);
    pid_t child;
    int failed = posix_spawn(&child, getenv("OPTIONS_CHILD"), &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) find("cannot start OPTIONS_CHILD", "");
    int handle = (int)syscall(SYS_pidfd_open, child, 0), status = 0;
    struct pollfd ended = {handle, POLLIN, 0};
    /* libFuzzer's own timer interrupts it now and then. */
    int in_time;
    while ((in_time = poll(&ended, 1, SECONDS * 1000)) < 0 && errno == EINTR) {}
    in_time = in_time == 1;
    if (!in_time) kill(child, SIGKILL);
    waitpid(child, &status, 0);
    close(handle);
    if (!in_time) find("hangs", conf + from);
    if (status != 0) find("fails", conf + from);
    if (!is_ours()) find("says something else", conf + from);
    memcpy(counters, shared, COUNTERS);
    sweep();
    return 0;
}
