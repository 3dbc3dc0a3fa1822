// Replaces the two basic operators only. By the standard all others call these: an allocator that takes a block of theirs
// for one of its own gives it back in the wrong place.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <vector>

static long live = 0, made = 0;

void *operator new(std::size_t size) {
    live++;
    made++;
    char *block = static_cast<char *>(std::malloc(size + 64));
    if (!block) throw std::bad_alloc();
    return block + 64;
}

void operator delete(void *block) noexcept {
    if (!block) return;
    live--;
    std::free(static_cast<char *>(block) - 64);
}

struct Counted {
    int value[10] = {1};
    ~Counted() { value[0] = 0; }
};

int main() {
    long sum = 0;
    for (int round = 0; round < 50000; round++) {
        Counted *one = new Counted;
        Counted *many = new Counted[round % 7 + 1];
        Counted *quiet = new (std::nothrow) Counted;
        sum += one->value[0] + many[round % 7].value[0] + quiet->value[0];
        delete quiet;
        delete[] many;
        delete one;
        std::vector<std::string> words(round % 50, std::string(40 + round % 100, 'x'));
        std::map<int, int> map;
        for (int n = 0; n < round % 20; n++) map[n * 7 % 13] += n;
        sum += static_cast<long>(words.size() + map.size());
    }
    std::printf("%ld made, %ld live, sum %ld\n", made, live, sum);
    return live == 0 ? 0 : 1;
}
