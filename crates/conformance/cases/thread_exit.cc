// Threads that end, in every order, with destructors that allocate and free.
#include "conformance.h"

#include <climits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/syscall.h>

namespace {

// Allocates and frees in every size range, as the last act of many a thread.
void last_words(unsigned seed) {
    for (unsigned i = 0; i < 20; i++) {
        std::size_t size = (i * 137 + seed) % 3000 + 1 + (i == 7 ? 100 * KIB : 0);
        void *p = hide(i % 2 ? malloc(size) : calloc(1, size));
        CHECK(p);
        fill(p, size, i);
        p = hide(realloc(p, size * 2));
        CHECK(p && whole(p, size, i));
        free(p);
    }
}

pthread_key_t keys[8];

// POSIX runs the destructors again while values are set: four rounds at most.
void on_key(void *value) {
    auto *rounds = static_cast<unsigned *>(value);
    last_words(*rounds);
    unsigned left = *rounds - 1;
    free(rounds);
    if (left > 0) {
        auto *again = static_cast<unsigned *>(malloc(sizeof(unsigned)));
        *again = left;
        for (pthread_key_t key : keys)
            if (!pthread_getspecific(key)) {
                pthread_setspecific(key, again);
                return;
            }
        free(again);
    }
}

void *set_keys(void *argument) {
    unsigned seed = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(argument));
    last_words(seed);
    for (unsigned i = 0; i < 8; i++) {
        auto *rounds = static_cast<unsigned *>(malloc(sizeof(unsigned)));
        *rounds = 1 + (seed + i) % PTHREAD_DESTRUCTOR_ITERATIONS;
        CHECK(pthread_setspecific(keys[(seed + i) % 8], rounds) == 0);
    }
    return nullptr;
}

struct Local {
    std::string text = std::string(500, 'l');
    std::vector<std::unique_ptr<int>> numbers;
    Local() {
        for (int i = 0; i < 50; i++) numbers.push_back(std::make_unique<int>(i));
    }
    ~Local() {
        CHECK(text.size() == 500 && *numbers[49] == 49);
        last_words(3);
        text += std::string(5000, 'm');
    }
};

thread_local Local first_local, second_local;

}  // namespace

CASE(bug02_key_destructors_allocate_in_several_rounds) {
    for (pthread_key_t &key : keys) CHECK(pthread_key_create(&key, on_key) == 0);
    for (std::uintptr_t i = 0; i < 300; i++) join(spawn(set_keys, reinterpret_cast<void *>(i), 0));
    pthread_t threads[32];
    for (std::uintptr_t i = 0; i < 32; i++) threads[i] = spawn(set_keys, reinterpret_cast<void *>(i), 0);
    for (pthread_t thread : threads) join(thread);
}

CASE(bug02_thread_local_destructors_allocate) {
    for (int round = 0; round < 40; round++) {
        std::vector<std::thread> threads;
        for (int i = 0; i < 8; i++)
            threads.emplace_back([i] {
                if (i % 2) last_words(1);
                CHECK(first_local.text.size() + second_local.text.size() == 1000);
            });
        for (auto &thread : threads) thread.join();
    }
}

namespace {
pthread_key_t late_key;

// Runs in the last round: after any clean-up that an allocator does by a key of its own.
void very_late(void *value) {
    auto *round = static_cast<int *>(value);
    if (++*round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(late_key, value);
        return;
    }
    last_words(9);
    free(round);
}

void *prepare_very_late(void *) {
    auto *round = static_cast<int *>(calloc(1, sizeof(int)));
    pthread_setspecific(late_key, round);
    return nullptr;
}

// The first use of the allocator by the thread is in its destructor.
void *prepare_only(void *value) {
    pthread_setspecific(late_key, value);
    return nullptr;
}
void first_use_in_destructor(void *value) {
    free(value);
    last_words(2);
}
}  // namespace

CASE(bug02_free_in_the_last_destructor_round) {
    CHECK(pthread_key_create(&late_key, very_late) == 0);
    for (int i = 0; i < 500; i++) join(spawn(prepare_very_late, nullptr, 0));
}

CASE(bug02_first_use_is_in_a_destructor) {
    CHECK(pthread_key_create(&late_key, first_use_in_destructor) == 0);
    for (int i = 0; i < 500; i++) join(spawn(prepare_only, malloc(200), 0));
}

namespace {
void *leave_by_exit(void *) {
    std::string local(1000, 'x');
    last_words(static_cast<unsigned>(first_local.text.size()));
    pthread_exit(nullptr);
}

void *wait_for_cancel(void *) {
    std::vector<std::string> locals(100, std::string(100, 'c'));
    for (;;) {
        last_words(static_cast<unsigned>(second_local.text.size() + locals.size()));
        pthread_testcancel();
    }
    return nullptr;
}
}  // namespace

CASE(threads_that_end_by_pthread_exit) {
    for (int i = 0; i < 200; i++) join(spawn(leave_by_exit, nullptr, 0));
}

CASE(threads_that_are_cancelled) {
    for (int i = 0; i < 100; i++) {
        pthread_t thread = spawn(wait_for_cancel, nullptr, 0);
        if (i % 3 == 0) sleep_milliseconds(1);
        pthread_cancel(thread);
        join(thread);
    }
}

// None of these calls is a place where a thread ends that is to be cancelled, though some of them write and open files.
namespace {
void *work_while_cancelled(void *argument) {
    auto *meeting = static_cast<pthread_barrier_t *>(argument);
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    pthread_barrier_wait(meeting);
    pthread_barrier_wait(meeting);
    pthread_setcancelstate(state, &state);
    void *p = hide(malloc(100));
    p = hide(realloc(p, 40 * MIB));
    free(p);
    free(hide(calloc(300, KIB)));
    free(hide(memalign(2 * MIB, 2 * MIB)));
    malloc_trim(0);
    struct mallinfo2 info = mallinfo2();
    malloc_stats();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return hide(info.arena + 1 ? meeting : nullptr);
}
}  // namespace

CASE(no_call_ends_a_thread_that_is_cancelled) {
    CHECK(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
    pthread_barrier_t meeting;
    pthread_barrier_init(&meeting, nullptr, 2);
    for (int i = 0; i < 3; i++) {
        pthread_t thread = spawn(work_while_cancelled, &meeting, 0);
        pthread_barrier_wait(&meeting);
        CHECK(pthread_cancel(thread) == 0);
        pthread_barrier_wait(&meeting);
        void *result = nullptr;
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == &meeting);
    }
}

// Detached threads are still ending while main leaves: exit must neither crash nor hang.
CASE(bug02_detached_threads_end_during_exit) {
    auto leave = [] {
        for (int i = 0; i < 16; i++)
            std::thread([] {
                for (int j = 0; j < 1000; j++) last_words(static_cast<unsigned>(first_local.text.size()));
            }).detach();
        sleep_milliseconds(1);
        exit(0);
    };
    for (int i = 0; i < 30; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) leave();
        reap(child);
    }
}

// The main thread ends first and the others go on.
CASE(main_ends_by_pthread_exit_before_the_others) {
    in_child([] {
        std::thread([] {
            sleep_milliseconds(20);
            for (int i = 0; i < 100; i++) last_words(4);
            _exit(0);
        }).detach();
        CHECK(first_local.text.size() == 500);
        pthread_exit(nullptr);
    });
}

// Blocks of ended threads stay whole, and their memory is not lost for the others.
CASE(bug14_blocks_outlive_their_thread) {
    static void *blocks[2000];
    for (int round = 0; round < 20; round++) {
        for (unsigned part = 0; part < 20; part++)
            std::thread([part] {
                for (unsigned i = part * 100; i < part * 100 + 100; i++) {
                    blocks[i] = hide(malloc(i % 1000 + 1));
                    fill(blocks[i], i % 1000 + 1, i);
                }
            }).join();
        for (unsigned i = 0; i < 2000; i++) {
            CHECK_THAT(whole(blocks[i], i % 1000 + 1, i), "block %u", i);
            free(blocks[i]);
        }
    }
}

// Threads one after the other, each with 1 MiB in small blocks that main frees afterwards: an
// allocator that forgets what ended threads leave behind grows by a gibibyte here.
CASE(bug14_memory_of_ended_threads_is_used_again) {
    std::size_t before = 0;
    for (int round = 0; round < 1000; round++) {
        static void *blocks[4096];
        std::thread([] {
            for (unsigned i = 0; i < 4096; i++) {
                blocks[i] = hide(malloc(200 + i % 100));
                memset(blocks[i], 1, 200);
            }
            for (unsigned i = 0; i < 4096; i += 2) free(blocks[i]);
        }).join();
        for (unsigned i = 1; i < 4096; i += 2) free(blocks[i]);
        if (round == 50) before = resident_kib();
    }
    CHECK_THAT(resident_kib() < before + 16 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

// A thread that is cancelled in the middle of `syscall` unwinds through it.
static volatile int waiting, unwound;

struct Unwound {
    ~Unwound() { unwound = 1; }
};

// Not by name: the compiler knows that it does not throw.
static long (*volatile call_system)(long, ...) = syscall;

static __attribute__((noinline)) void wait_for_ever() {
    for (waiting = 1;;) call_system(SYS_ppoll, 0L, 0L, 0L, 0L, 0L);
}

static void *wait_to_be_cancelled(void *) {
    int before;
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before) == 0);
    Unwound unwound_in_the_end;
    wait_for_ever();
    return nullptr;
}

CASE(cancelled_in_a_system_call_a_thread_unwinds) {
    pthread_t thread = spawn(wait_to_be_cancelled, nullptr, 0);
    while (!waiting) sleep_milliseconds(1);
    sleep_milliseconds(20);
    CHECK(pthread_cancel(thread) == 0);
    join(thread);
    CHECK(unwound);
}
