// Once a layer of some size has run, running it again asks the system for nothing: no allocation, no fresh page. Nor does a
// stream or a pool of them. Also built with OpenMP.
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "check.h"
#include "lstmkit/layer.h"
#include "lstmkit/memory.h"
#include "lstmkit/stream.h"
#include "random_case.h"

namespace {
std::atomic<long> allocations{0};
}

// The C library's own functions go by other names too; elsewhere only C++'s are counted.
#if defined(__GLIBC__)
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t bytes) { return ++allocations, __libc_malloc(bytes); }
void* calloc(std::size_t count, std::size_t bytes) { return ++allocations, __libc_calloc(count, bytes); }
void* realloc(void* memory, std::size_t bytes) { return ++allocations, __libc_realloc(memory, bytes); }
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return ++allocations, __libc_memalign(alignment, bytes); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
    *memory = aligned_alloc(alignment, bytes);
    return *memory ? 0 : 12;
}
}
#else
void* operator new(std::size_t bytes) {
    ++allocations;
    if (void* memory = std::malloc(bytes)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace {

#if defined(_OPENMP)
const int most_threads = omp_get_max_threads() > 0 ? 2 : 1;  // asked so that the linker keeps OpenMP
#else
constexpr int most_threads = 2;
#endif
constexpr int calls = 20;

long page_faults() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/// Counts the calls that did not ask. A few may, long after the first: where shares happen to overlap in time as they never
/// did before, they need more memory at once.
template <typename Call>
void asks_for_nothing(const std::string& name, int threads, lstmkit::InstructionSet set, Call run) {
    for (int call = 0; call < 5; ++call) run();
    int without_allocation = 0, without_fault = 0;
    for (int call = 0; call < calls; ++call) {
        const long allocated = allocations, faults = page_faults();
        run();
        without_allocation += allocations == allocated;
        without_fault += page_faults() == faults;
    }
    const int enough = threads == 1 ? calls : calls * 3 / 4;
    const std::string what = name + " on " + std::to_string(threads) + " threads, " + std::string(lstmkit::name_of(set));
    check(without_allocation >= enough, what + ": " + std::to_string(calls - without_allocation) + " calls allocate");
    // The system moves pages for reasons of its own, too.
    check(without_fault >= calls * 3 / 4, what + ": " + std::to_string(calls - without_fault) + " calls touch fresh pages");
}

template <typename P>
void asks_for_nothing(const char* name, const Shape& shape, int threads, lstmkit::InstructionSet set) {
    const RandomCase<P> layer(shape);
    asks_for_nothing(name, threads, set, [&] { layer.run(threads, set); });
}

void streams_ask_for_nothing() {
    constexpr std::ptrdiff_t size = 128, streams = 1000;
    const std::vector<float> matrix(4 * size * size, 0.01f), bias(4 * size, 0.1f), x(streams * size, 0.5f);
    std::vector<float> y(streams * size);
    const lstmkit::StreamLayer layer{size, size, 0, matrix.data(), matrix.data(), bias.data(), bias.data(), nullptr};
    for (lstmkit::InstructionSet set : {lstmkit::usable_sets().front(), lstmkit::usable_sets().back()})
        for (auto precision : {lstmkit::StreamPrecision::float32, lstmkit::StreamPrecision::int8}) {
            const auto weights = std::make_shared<const lstmkit::StreamWeights>(std::vector{layer}, precision, set);
            for (int threads = 1; threads <= most_threads; ++threads) {
                lstmkit::Stream stream(weights, threads);
                lstmkit::StreamPool pool(weights, streams);
                asks_for_nothing("a stream's step", threads, set, [&] { stream.step(x.data(), y.data()); });
                asks_for_nothing("a stream's block", threads, set, [&] { stream.run(x.data(), 50, y.data()); });
                asks_for_nothing("a pool", threads, set, [&] { pool.step(x.data(), nullptr, streams, y.data(), threads); });
            }
        }
}

template <typename P>
void layers_ask_for_nothing() {
    for (lstmkit::InstructionSet set : {lstmkit::usable_sets().front(), lstmkit::usable_sets().back()})
        for (int threads = 1; threads <= most_threads; ++threads) {
            asks_for_nothing<P>("one step", {1, 1, 8, 20}, threads, set);
            asks_for_nothing<P>("rows", {10, 230, 8, 30}, threads, set);
            asks_for_nothing<P>("units", {10, 2, 100, 150}, threads, set);
            asks_for_nothing<P>("two directions", {10, 30, 20, 33, 0, 2}, threads, set);
            asks_for_nothing<P>("projected", {10, 40, 20, 50, 17, 2}, threads, set);
            for (int kind = 1; kind < (lstmkit::has_cells<P> ? cell_kinds : 1); ++kind) {
                const Shape shape{10, 30, 20, 64, 0, 2, true, true, static_cast<CellKind>(kind)};
                asks_for_nothing<P>(("kind " + std::to_string(kind)).c_str(), shape, threads, set);
            }
        }
}

void it_would_be_seen() {
    const long allocated = allocations, faults = page_faults();
    constexpr std::ptrdiff_t bytes = 3'000'001;  // a size that nothing else has
    const lstmkit::Array<char> fresh(bytes);
    for (std::ptrdiff_t k = 0; k < bytes; k += 1000) fresh[k] = 1;
    check(allocations > allocated, "an allocation is seen");
    check(page_faults() > faults, "a page fault is seen");
    lstmkit::release_memory();
}

}  // namespace

int main() {
    it_would_be_seen();
    streams_ask_for_nothing();
    layers_ask_for_nothing<lstmkit::Float32>();
    layers_ask_for_nothing<lstmkit::Float64>();
    layers_ask_for_nothing<lstmkit::BFloat16>();
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
