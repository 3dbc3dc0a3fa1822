// The C++ library on top: containers, polymorphic memory, exceptions, threads.
#include "conformance.h"

#include <algorithm>
#include <array>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

// Builds, changes and checks one of each container, against a plain array as the truth.
void containers(unsigned seed, int rounds) {
    std::mt19937 random(seed);
    std::vector<std::string> truth(500);
    std::map<int, std::string> tree;
    std::unordered_map<int, std::string> table;
    std::list<std::string> chain;
    std::deque<std::vector<int>> queue;
    for (int round = 0; round < rounds; round++) {
        int key = static_cast<int>(random() % truth.size());
        std::string value(random() % 300, static_cast<char>('a' + key % 26));
        truth[static_cast<std::size_t>(key)] = value;
        tree[key] = value;
        table.insert_or_assign(key, value);
        chain.push_back(std::move(value));
        if (chain.size() > 200) chain.pop_front();
        queue.emplace_back(random() % 100, key);
        if (queue.size() > 150) queue.pop_front();
        if (round % 1000 == 999) {
            for (auto &[k, v] : tree) CHECK(truth[static_cast<std::size_t>(k)] == v);
            for (auto &[k, v] : table) CHECK(truth[static_cast<std::size_t>(k)] == v);
            for (auto &numbers : queue)
                CHECK(numbers.empty() || std::count(numbers.begin(), numbers.end(), numbers[0]) ==
                                             static_cast<long>(numbers.size()));
            tree.clear();
            table.clear();
            truth.assign(500, "");
        }
    }
}

}  // namespace

CASE(containers_in_one_thread) { containers(1, 60000); }

CASE(containers_in_eight_threads) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 8; i++) threads.emplace_back(containers, i, 15000);
    for (auto &thread : threads) thread.join();
}

CASE(vectors_that_grow_to_many_megabytes) {
    std::vector<long> numbers;
    for (long i = 0; i < 4000000; i++) numbers.push_back(i * 3);
    for (long i = 0; i < 4000000; i += 997) CHECK(numbers[static_cast<std::size_t>(i)] == i * 3);
    numbers.resize(10);
    numbers.shrink_to_fit();
    CHECK(numbers[9] == 27);
    std::string text;
    for (int i = 0; i < 3000000; i++) text += static_cast<char>('a' + i % 26);
    CHECK(text.size() == 3000000 && text[2999999] == 'a' + 2999999 % 26);
}

CASE(polymorphic_memory_resources) {
    std::pmr::unsynchronized_pool_resource pool(std::pmr::new_delete_resource());
    std::pmr::monotonic_buffer_resource bump(100, std::pmr::new_delete_resource());
    std::pmr::synchronized_pool_resource shared;
    for (int round = 0; round < 10; round++) {
        std::pmr::map<int, std::pmr::string> first(&pool);
        std::pmr::vector<std::pmr::string> second(&bump);
        std::pmr::unordered_map<int, int> third(&shared);
        for (int i = 0; i < 3000; i++) {
            first.emplace(i, std::pmr::string(static_cast<std::size_t>(i % 100), 'x'));
            second.emplace_back(static_cast<std::size_t>(i % 50), 'y');
            third[i] = i * 2;
        }
        for (int i = 0; i < 3000; i++)
            CHECK(first[i].size() == static_cast<std::size_t>(i % 100) && third[i] == i * 2);
    }
    for (std::size_t align = 1; align <= 4096; align *= 2) {
        void *p = std::pmr::new_delete_resource()->allocate(1000, align);
        CHECK(aligned_to(hide(p), align));
        std::pmr::new_delete_resource()->deallocate(p, 1000, align);
    }
}

CASE(shared_pointers_released_in_other_threads) {
    for (int round = 0; round < 50; round++) {
        std::vector<std::shared_ptr<std::string>> owners;
        for (int i = 0; i < 500; i++) owners.push_back(std::make_shared<std::string>(100, 'o'));
        std::vector<std::weak_ptr<std::string>> watchers(owners.begin(), owners.end());
        std::thread other([copy = std::move(owners)]() mutable { copy.clear(); });
        other.join();
        for (auto &watcher : watchers) CHECK(watcher.expired());
    }
}

// The exception object itself, and __cxa_get_globals, allocate in each thread.
CASE(exceptions_in_many_threads) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([i] {
            for (int j = 0; j < 2000; j++) {
                std::vector<std::string> local(static_cast<std::size_t>(j % 20), std::string(100, 'e'));
                try {
                    throw std::runtime_error(std::string(200, static_cast<char>('a' + i)));
                } catch (const std::exception &error) {
                    CHECK(error.what()[199] == 'a' + i);
                }
            }
        });
    for (auto &thread : threads) thread.join();
}

CASE(exceptions_carried_between_threads) {
    for (int i = 0; i < 300; i++) {
        auto result = std::async(std::launch::async, [i]() -> int {
            if (i % 2) throw std::out_of_range(std::string(500, 'r'));
            return i;
        });
        try {
            CHECK(result.get() == i && i % 2 == 0);
        } catch (const std::out_of_range &error) {
            CHECK(i % 2 == 1 && strlen(error.what()) == 500);
        }
    }
}

// bad_alloc thrown while a container is half way: the container stays as it was.
CASE(bad_alloc_leaves_containers_whole) {
    std::vector<std::string> many(100, std::string(50, 'w'));
    for (int i = 0; i < 20; i++) {
        bool caught = false;
        try {
            many.reserve(opaque(static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(std::string)));
        } catch (const std::bad_alloc &) {
            caught = true;
        } catch (const std::length_error &) {
            caught = true;
        }
        CHECK(caught && many.size() == 100 && many[99].size() == 50);
    }
}

CASE(bad_alloc_in_many_threads_at_once) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([] {
            for (int j = 0; j < 500; j++) {
                bool caught = false;
                try {
                    std::unique_ptr<char[]> p(new char[opaque(static_cast<std::size_t>(PTRDIFF_MAX))]);
                } catch (const std::bad_alloc &) {
                    caught = true;
                }
                CHECK(caught);
            }
        });
    for (auto &thread : threads) thread.join();
}

CASE(streams_locales_and_functions) {
    for (int i = 0; i < 2000; i++) {
        std::ostringstream stream;
        stream << i << ' ' << std::string(static_cast<std::size_t>(i % 700), 's') << 1.5;
        CHECK(stream.str().size() > static_cast<std::size_t>(i % 700));
        std::function<std::size_t()> call = [text = stream.str(), pad = std::array<char, 100>{}] {
            return text.size() + pad.size();
        };
        CHECK(call() == stream.str().size() + 100);
    }
    std::locale mine(std::locale::classic(), new std::numpunct<char>);
    CHECK(std::use_facet<std::numpunct<char>>(mine).decimal_point() == '.');
}
