#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <initializer_list>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

std::atomic<bool> forked{false};

// The threads of an OpenMP team do not survive a fork, and starting them again in the child hangs.
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

OpenmpParallel find() noexcept {
    if (void* symbol = dlsym(RTLD_DEFAULT, "GOMP_parallel")) return reinterpret_cast<OpenmpParallel>(symbol);
    for (const char* name : {"libgomp.so.1", "libiomp5.so", "libomp.so"})
        if (void* library = dlopen(name, RTLD_NOW | RTLD_NOLOAD))
            if (void* symbol = dlsym(library, "GOMP_parallel")) return reinterpret_cast<OpenmpParallel>(symbol);
    return nullptr;
}

}  // namespace

bool is_forked_child() noexcept { return registered != 0 || forked; }

OpenmpParallel openmp_parallel() noexcept {
    static std::atomic<OpenmpParallel> found{nullptr};
    // Sought again while absent: torch may be imported later.
    if (!found) found = find();
    return found;
}

}  // namespace lstmkit
