// A library that allocates while it is loaded, in its thread-locals, and while it is unloaded.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Local {
    std::vector<std::string> words;
    Local() : words(20, std::string(100, 'p')) {}
    ~Local() { words.assign(5, std::string(3000, 'q')); }
};

thread_local Local local;
// Dynamic TLS large enough that the loader must allocate it.
thread_local char pad[20000];

std::vector<std::string> loaded(200, std::string(300, 'g'));
void *from_constructor;

__attribute__((constructor)) void on_load() { from_constructor = std::calloc(7, 1000); }
__attribute__((destructor)) void on_unload() {
    std::free(from_constructor);
    std::free(std::malloc(70000));
}

}  // namespace

extern "C" int plugin_work(int value) {
    pad[value % 20000] = static_cast<char>(value);
    local.words.push_back(std::string(static_cast<std::size_t>(value % 500), 'r'));
    return static_cast<int>(local.words[0].size() + loaded[199].size());
}

extern "C" void *plugin_allocate(std::size_t size) { return std::malloc(size); }

extern "C" void plugin_throw() { throw std::string(1000, 't'); }
