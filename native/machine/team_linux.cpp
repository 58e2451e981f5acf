#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <initializer_list>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

std::atomic<bool> forked{false};

// The threads of an OpenMP team do not survive a fork, and starting them again in the child hangs.
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

template <typename Function>
bool find(void* library, const char* name, Function& function) noexcept {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

bool find_all(void* library, Openmp& all) noexcept {
    return find(library, "GOMP_parallel", all.parallel) && find(library, "omp_get_num_threads", all.team_size) &&
           find(library, "omp_get_thread_num", all.thread_number);
}

Openmp find_openmp() noexcept {
    Openmp all{};
    if (find_all(RTLD_DEFAULT, all)) return all;
    for (const char* name : {"libgomp.so.1", "libiomp5.so", "libomp.so"})
        if (void* library = dlopen(name, RTLD_NOW | RTLD_NOLOAD))
            if (find_all(library, all)) return all;
    return {};
}

/// Grows with every library that is loaded.
unsigned long long loaded_libraries() noexcept {
    unsigned long long count = 0;
    dl_iterate_phdr([](dl_phdr_info* info, std::size_t, void* found) {
        *static_cast<unsigned long long*>(found) = info->dlpi_adds;
        return 1;
    }, &count);
    return count;
}

}  // namespace

bool is_forked_child() noexcept { return registered != 0 || forked; }

void around_fork(void (*before)(), void (*after)()) noexcept { pthread_atfork(before, after, after); }

const Openmp* openmp() noexcept {
    static std::atomic<const Openmp*> known{nullptr};
    if (const Openmp* found = known) return found;
    // Sought again after each library that is loaded, torch perhaps: to seek takes 50 microseconds.
    static std::atomic<unsigned long long> sought{0};
    const unsigned long long loaded = loaded_libraries();
    if (loaded == sought) return nullptr;
    const Openmp found = find_openmp();
    if (!found.parallel) {
        sought = loaded;
        return nullptr;
    }
    static const Openmp first = found;
    known = &first;
    return &first;
}

}  // namespace lstmkit
