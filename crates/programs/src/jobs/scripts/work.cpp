// Much of the standard library, for the compiler; containers and threads, for the program it makes.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

#ifndef VARIANT
#define VARIANT 0
#endif

struct alignas(64) Line { std::uint64_t words[8]; };
struct alignas(4096) Sheet { char bytes[4096]; };

struct Node {
    virtual ~Node() = default;
    virtual std::uint64_t value() const = 0;
};
struct Leaf : Node {
    explicit Leaf(std::uint64_t n) : number(n) {}
    std::uint64_t value() const override { return number; }
    std::uint64_t number;
};
struct Branch : Node {
    std::uint64_t value() const override {
        std::uint64_t sum = 1;
        for (auto const& child : children) sum += child->value();
        return sum;
    }
    std::vector<std::unique_ptr<Node>> children;
};

template <int Depth, typename Key, typename Value>
struct Nested {
    std::map<Key, Nested<Depth - 1, Key, Value>> inner;
    void put(Key key, Value value) { inner[key % (Depth + 3)].put(key / 3, value); }
    std::size_t size() const {
        std::size_t sum = 0;
        for (auto const& [key, nested] : inner) sum += nested.size();
        return sum;
    }
};
template <typename Key, typename Value>
struct Nested<0, Key, Value> {
    std::unordered_map<Key, std::variant<Value, std::string, std::vector<Value>>> items;
    void put(Key key, Value value) {
        if (value % 3 == 0) items[key] = value;
        else if (value % 3 == 1) items[key] = std::string(value % 200, 'v');
        else items[key] = std::vector<Value>(value % 50, value);
    }
    std::size_t size() const { return items.size(); }
};

std::unique_ptr<Node> grow(std::mt19937& random, int depth) {
    if (depth == 0) return std::make_unique<Leaf>(random() % 100);
    auto branch = std::make_unique<Branch>();
    for (unsigned n = random() % 5 + 1; n > 0; --n) branch->children.push_back(grow(random, depth - 1));
    return branch;
}

std::uint64_t work(unsigned seed) {
    std::mt19937 random(seed + VARIANT);
    std::uint64_t sum = 0;
    Nested<4, unsigned, unsigned> nested;
    std::map<std::string, std::list<std::string>> lists;
    std::set<std::tuple<int, std::string>> ordered;
    std::deque<std::shared_ptr<std::string>> queue;
    for (unsigned step = 0; step < 40000; ++step) {
        nested.put(random() % 100000, random() % 1000);
        auto& list = lists["key " + std::to_string(random() % 700)];
        list.push_back(std::string(random() % 90, 'a' + step % 26));
        if (list.size() > 20) list.pop_front();
        ordered.emplace(random() % 5000, "entry");
        queue.push_back(std::make_shared<std::string>(random() % 300, 'q'));
        if (queue.size() > 500) { sum += queue.front()->size(); queue.pop_front(); }
        if (step % 100 == 0) {
            auto line = std::make_unique<Line[]>(random() % 50 + 1);
            auto sheet = std::make_unique<Sheet>();
            sum += reinterpret_cast<std::uintptr_t>(line.get()) % alignof(Line);
            sum += reinterpret_cast<std::uintptr_t>(sheet.get()) % alignof(Sheet);
        }
    }
    std::regex pattern("([a-z]+) ([0-9]+)");
    for (auto const& [key, list] : lists) {
        std::smatch match;
        if (std::regex_match(key, match, pattern)) sum += std::stoul(match[2]) * list.size();
    }
    std::ostringstream stream;
    for (auto const& [number, text] : ordered) stream << number << text;
    sum += stream.str().size() + nested.size() + grow(random, 8)->value();
    std::vector<std::function<std::uint64_t(std::uint64_t)>> calls;
    for (unsigned n = 0; n < 1000; ++n) calls.push_back([n, text = std::string(n % 70, 'c')](std::uint64_t x) { return x + n + text.size(); });
    for (auto const& call : calls) sum = call(sum);
    return sum;
}

// More than any allocator can give.
int refusal() {
    try {
        volatile std::size_t most = PTRDIFF_MAX - 64;
        std::cout << std::vector<char>(most).size() << '\n';
    } catch (std::exception const&) {
        std::cout << "refused\n";
    }
    volatile std::size_t most = PTRDIFF_MAX - 64;
    std::cout << (new (std::nothrow) char[most] == nullptr) << '\n';
    return 0;
}

int main(int count, char**) {
    if (count > 1) return refusal();
    std::vector<std::future<std::uint64_t>> futures;
    for (unsigned seed = 0; seed < 8; ++seed) futures.push_back(std::async(std::launch::async, work, seed));
    for (auto& future : futures) std::cout << future.get() << '\n';
    // Blocks made by one thread and freed by another.
    std::vector<std::unique_ptr<std::string>> blocks(50000);
    for (int round = 0; round < 4; ++round) {
        std::thread maker([&] { for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = std::make_unique<std::string>(i % 120, 'm'); });
        maker.join();
        std::thread taker([&] { for (auto& block : blocks) block.reset(); });
        taker.join();
    }
}
