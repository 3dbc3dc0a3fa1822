// operator new and delete in all their forms: sizes, alignments, failure, new handlers.
#include "conformance.h"

#include <new>
#include <utility>

namespace {

constexpr std::size_t kHuge = static_cast<std::size_t>(PTRDIFF_MAX);
constexpr std::size_t kMost = SIZE_MAX;

// Objects alive: shows whether unwinding ran the destructors.
int alive = 0;
struct Counted {
    Counted() { ++alive; }
    ~Counted() { --alive; }
};

template <class Call> bool throws_bad_alloc(Call call) {
    Counted local;
    try {
        Counted inner;
        hide(call());
    } catch (const std::bad_alloc &error) {
        CHECK(error.what() != nullptr);
        CHECK(alive == 1);
        return true;
    }
    return false;
}

struct alignas(256) Wide {
    unsigned char bytes[300];
};

}  // namespace

CASE(new_of_zero_bytes_is_unique) {
    void *a = hide(::operator new(0)), *b = hide(::operator new(0)), *c = hide(::operator new[](0));
    CHECK(a && b && c && a != b && b != c && a != c);
    ::operator delete(a);
    ::operator delete(b);
    ::operator delete[](c);
    int *empty = static_cast<int *>(hide(new int[opaque(0)]));
    CHECK(empty);
    delete[] empty;
}

CASE(delete_of_null_does_nothing) {
    void *null = hide(nullptr);
    ::operator delete(null);
    ::operator delete[](null);
    ::operator delete(null, std::nothrow);
    ::operator delete[](null, std::nothrow);
    ::operator delete(null, std::size_t{8});
    ::operator delete[](null, std::size_t{8});
    ::operator delete(null, std::align_val_t{64});
    ::operator delete[](null, std::align_val_t{64});
    ::operator delete(null, std::align_val_t{64}, std::nothrow);
    ::operator delete[](null, std::align_val_t{64}, std::nothrow);
    ::operator delete(null, std::size_t{8}, std::align_val_t{64});
    ::operator delete[](null, std::size_t{8}, std::align_val_t{64});
}

// Every pair of new and delete that the standard allows.
CASE(new_and_delete_in_all_pairs) {
    for (std::size_t size = 0; size < 3 * MIB; size = size * 2 + 1) {
        auto take = [size](void *p) {
            p = hide(p);
            CHECK(p && aligned_to(p, size >= 16 ? 16 : 8) && malloc_usable_size(p) >= size);
            fill_sparse(p, size, 64, 1);
            return p;
        };
        ::operator delete(take(::operator new(size)));
        ::operator delete(take(::operator new(size)), size);
        ::operator delete(take(::operator new(size)), std::nothrow);
        ::operator delete[](take(::operator new[](size)));
        ::operator delete[](take(::operator new[](size)), size);
        ::operator delete[](take(::operator new[](size)), std::nothrow);
        ::operator delete(take(::operator new(size, std::nothrow)));
        ::operator delete(take(::operator new(size, std::nothrow)), size);
        ::operator delete[](take(::operator new[](size, std::nothrow)));
        ::operator delete[](take(::operator new[](size, std::nothrow)), size);
    }
}

CASE(aligned_new_and_delete_in_all_pairs) {
    for (std::size_t align = 1; align <= 64 * KIB; align *= 2) {
        const std::align_val_t value{align};
        for (std::size_t size = 0; size < 300 * KIB; size = size * 3 + 1) {
            auto take = [align, size](void *p) {
                p = hide(p);
                CHECK_THAT(p && aligned_to(p, align), "align %zu, size %zu: %p", align, size, p);
                CHECK(malloc_usable_size(p) >= size);
                fill_sparse(p, size, 64, 1);
                return p;
            };
            ::operator delete(take(::operator new(size, value)), value);
            ::operator delete(take(::operator new(size, value)), size, value);
            ::operator delete(take(::operator new(size, value)), value, std::nothrow);
            ::operator delete[](take(::operator new[](size, value)), value);
            ::operator delete[](take(::operator new[](size, value)), size, value);
            ::operator delete[](take(::operator new[](size, value)), value, std::nothrow);
            ::operator delete(take(::operator new(size, value, std::nothrow)), value);
            ::operator delete[](take(::operator new[](size, value, std::nothrow)), size, value);
        }
    }
}

CASE(over_aligned_types) {
    for (int i = 0; i < 100; i++) {
        Wide *one = new Wide, *many = new Wide[7];
        CHECK(aligned_to(hide(one), 256) && aligned_to(hide(many), 256));
        fill(many, 7 * sizeof(Wide), 1);
        fill(one, sizeof(Wide), 2);
        CHECK(whole(many, 7 * sizeof(Wide), 1));
        delete one;
        delete[] many;
    }
}

CASE(sized_delete_returns_the_block) {
    std::size_t before = 0;
    for (int i = 0; i < 300000; i++) {
        std::size_t size = static_cast<std::size_t>(i) % 3000;
        void *p = hide(::operator new(size));
        fill_sparse(p, size, 512, 1);
        ::operator delete(p, size);
        if (i == 3000) before = resident_kib();
    }
    CHECK_THAT(resident_kib() < before + 8 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

CASE(new_of_too_much_throws_bad_alloc) {
    static const std::size_t sizes[] = {kHuge, kHuge + 1, kMost, kMost - 15, kMost - 4095, kHuge / 2};
    for (std::size_t size : sizes) {
        size = opaque(size);
        CHECK(throws_bad_alloc([=] { return ::operator new(size); }));
        CHECK(throws_bad_alloc([=] { return ::operator new[](size); }));
    }
    static const std::size_t aligned_sizes[] = {kHuge - 8192, kHuge + 1, kHuge / 2};
    for (std::size_t size : aligned_sizes) {
        size = opaque(size);
        const std::align_val_t align{64}, large{4096};
        CHECK(throws_bad_alloc([=] { return ::operator new(size, align); }));
        CHECK(throws_bad_alloc([=] { return ::operator new[](size, align); }));
        CHECK(throws_bad_alloc([=] { return ::operator new(size, large); }));
    }
    CHECK(alive == 0);
}

// libstdc++ rounds the size up to the alignment and wraps to zero.
CASE_FREESTONE(bug08_aligned_new_near_the_end_of_the_space) {
    for (std::size_t align = 32; align <= GIB; align *= 8) {
        const std::align_val_t value{align};
        for (std::size_t less = 0; less < align; less = less * 4 + 1) {
            const std::size_t size = opaque(kMost - less);
            CHECK(throws_bad_alloc([=] { return ::operator new(size, value); }));
            CHECK(throws_bad_alloc([=] { return ::operator new[](size, value); }));
            CHECK(hide(::operator new(size, value, std::nothrow)) == nullptr);
            CHECK(hide(::operator new[](size, value, std::nothrow)) == nullptr);
        }
    }
}

CASE(nothrow_new_of_too_much_gives_null) {
    static const std::size_t sizes[] = {kHuge, kHuge + 1, kMost, kMost - 15, kMost - 4095};
    for (std::size_t size : sizes) {
        size = opaque(size);
        CHECK(hide(::operator new(size, std::nothrow)) == nullptr);
        CHECK(hide(::operator new[](size, std::nothrow)) == nullptr);
    }
    CHECK(hide(::operator new(opaque(kHuge + 1), std::align_val_t{4096}, std::nothrow)) == nullptr);
    CHECK(hide(::operator new[](opaque(kHuge + 1), std::align_val_t{4096}, std::nothrow)) == nullptr);
}

CASE(bug08_array_new_overflow_throws) {
    std::size_t count = opaque(kMost / 4);
    bool caught = false;
    try {
        hide(new long[count]);
    } catch (const std::bad_array_new_length &) {
        caught = true;
    }
    CHECK(caught);
    caught = false;
    try {
        hide(new Wide[opaque(kHuge / sizeof(Wide) + 1)]);
    } catch (const std::bad_alloc &) {
        caught = true;
    }
    CHECK(caught);
    caught = false;
    try {
        hide(new (std::nothrow) char[opaque(kHuge)]);
        caught = true;
    } catch (const std::bad_alloc &) {
    }
    CHECK(caught);
}

namespace {
int handler_calls = 0;

void handler_gives_up_after_five() {
    if (++handler_calls == 5) std::set_new_handler(nullptr);
}

struct Refusal {};
void handler_throws() {
    ++handler_calls;
    throw Refusal{};
}
void handler_throws_bad_alloc() {
    ++handler_calls;
    throw std::bad_alloc{};
}

void *reserve_block = nullptr;
void handler_frees_the_reserve() {
    ++handler_calls;
    if (!reserve_block) FAIL("the handler was called again after memory was freed");
    free(std::exchange(reserve_block, nullptr));
}
}  // namespace

CASE(new_handler_is_called_until_it_is_unset) {
    const std::size_t size = opaque(kHuge);
    for (int form = 0; form < 4; form++) {
        handler_calls = 0;
        std::set_new_handler(handler_gives_up_after_five);
        CHECK(throws_bad_alloc([=] {
            switch (form) {
            case 0: return ::operator new(size);
            case 1: return ::operator new[](size);
            case 2: return ::operator new(size, std::align_val_t{128});
            default: return ::operator new[](size, std::align_val_t{128});
            }
        }));
        CHECK_THAT(handler_calls == 5, "form %d: %d calls", form, handler_calls);
        CHECK(std::get_new_handler() == nullptr);
    }
}

CASE(new_handler_is_called_by_nothrow_new_too) {
    const std::size_t size = opaque(kHuge);
    handler_calls = 0;
    std::set_new_handler(handler_gives_up_after_five);
    CHECK(hide(::operator new(size, std::nothrow)) == nullptr);
    CHECK(handler_calls == 5);
    handler_calls = 0;
    std::set_new_handler(handler_gives_up_after_five);
    CHECK(hide(::operator new[](size, std::align_val_t{64}, std::nothrow)) == nullptr);
    CHECK(handler_calls == 5);
}

CASE(new_handler_may_throw) {
    std::set_new_handler(handler_throws);
    handler_calls = 0;
    for (int i = 0; i < 100; i++) {
        Counted local;
        bool caught = false;
        try {
            Counted inner;
            hide(::operator new(opaque(kHuge)));
        } catch (const Refusal &) {
            caught = alive == 1;
        }
        CHECK(caught);
    }
    CHECK(handler_calls == 100 && alive == 0);
    std::set_new_handler(nullptr);
}

CASE(new_handler_that_throws_bad_alloc_makes_nothrow_new_null) {
    std::set_new_handler(handler_throws_bad_alloc);
    handler_calls = 0;
    CHECK(hide(::operator new(opaque(kHuge), std::nothrow)) == nullptr);
    CHECK(hide(::operator new[](opaque(kHuge), std::nothrow)) == nullptr);
    CHECK(hide(::operator new(opaque(kHuge), std::align_val_t{64}, std::nothrow)) == nullptr);
    CHECK(handler_calls == 3);
    std::set_new_handler(nullptr);
}

// Address space for the reserve and little more: only what the handler frees makes room.
CASE(new_succeeds_after_the_handler_freed_memory) {
    reserve_block = hide(malloc(400 * MIB));
    CHECK(reserve_block);
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = virtual_kib() * KIB + 64 * MIB;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    std::set_new_handler(handler_frees_the_reserve);
    handler_calls = 0;
    void *p = hide(::operator new(300 * MIB));
    CHECK(p && handler_calls == 1);
    fill_sparse(p, 300 * MIB, 64 * MIB, 1);
    ::operator delete(p);
}

// The handler is only for new: malloc has no business calling it.
CASE(malloc_does_not_call_the_new_handler) {
    std::set_new_handler(handler_throws);
    handler_calls = 0;
    CHECK(hide(malloc(opaque(kHuge))) == nullptr && hide(calloc(opaque(kHuge), 2)) == nullptr);
    CHECK(handler_calls == 0);
    std::set_new_handler(nullptr);
}

CASE(new_and_malloc_share_the_heap_where_programs_mix_them) {
    for (std::size_t size = 1; size < 200 * KIB; size = size * 2 + 1) {
        free(hide(::operator new(size)));
        ::operator delete(hide(malloc(size)));
    }
}

namespace {
struct Thrower {
    explicit Thrower(bool fail) {
        if (fail) throw Refusal{};
    }
    unsigned char bytes[1000];
};
}  // namespace

// A constructor that throws: the block must come back by the matching delete.
CASE(throwing_constructors_leak_nothing) {
    std::size_t before = 0;
    for (int i = 0; i < 100000; i++) {
        try {
            hide(new Thrower(opaque(1)));
            FAIL("the constructor did not throw");
        } catch (const Refusal &) {
        }
        if (i == 1000) before = resident_kib();
    }
    CHECK_THAT(resident_kib() < before + 8 * KIB, "%zu KiB, before %zu", resident_kib(), before);
}

namespace {
struct rlimit usual_space, no_space;

void handler_lifts_the_limit() {
    ++handler_calls;
    CHECK(setrlimit(RLIMIT_AS, &usual_space) == 0);
}

struct Link {
    Link *next;
};
static_assert(sizeof(Link) == 8, "blocks of the smallest size carry the list");
}  // namespace

// What new gives after its handler made room must be a block of the same kind as at the first try: a
// sized delete gives it back by its size alone.
CASE(sized_delete_of_blocks_got_through_the_handler) {
    ::operator delete(hide(::operator new(sizeof(Link))), sizeof(Link));
    CHECK(getrlimit(RLIMIT_AS, &usual_space) == 0);
    no_space = usual_space;
    no_space.rlim_cur = 1;
    std::set_new_handler(handler_lifts_the_limit);
    handler_calls = 0;
    for (int round = 0; round < 2; round++) {
        CHECK(setrlimit(RLIMIT_AS, &no_space) == 0);
        Link *list = nullptr;
        const int enough = handler_calls + 5;
        for (int i = 0; i < 2000000 && handler_calls < enough; i++) {
            const int before = handler_calls;
            Link *one = static_cast<Link *>(hide(::operator new(sizeof(Link))));
            one->next = list;
            list = one;
            if (handler_calls > before) CHECK(setrlimit(RLIMIT_AS, &no_space) == 0);
        }
        CHECK(setrlimit(RLIMIT_AS, &usual_space) == 0);
        if (round == 0) CHECK(handler_calls > 0);
        while (list) {
            Link *next = list->next;
            ::operator delete(list, sizeof(Link));
            list = next;
        }
    }
    std::set_new_handler(nullptr);
    free(hide(malloc(100)));
}
