// Several threads that call the core at once, each with threads of its own, while others use and empty the pool of memory:
// everyone's numbers are those of a quiet process. For the thread sanitizer above all.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"
#include "lstmkit/layer.h"
#include "lstmkit/memory.h"
#include "random_case.h"

namespace {

struct Kind {
    const char* name;
    Shape shape;
    int threads;
};

// Large enough that the plan divides them.
constexpr Kind kinds[] = {{"rows", {12, 40, 20, 33}, 3},
                          {"units", {12, 2, 90, 120}, 2},
                          {"units in both directions", {10, 2, 90, 120, 0, 2}, 3},
                          {"two directions", {12, 20, 20, 40, 0, 2}, 2},
                          {"projected", {12, 30, 20, 40, 12, 2}, 4},
                          {"units of a GRU", {12, 2, 90, 120, 0, 1, true, true, CellKind::gru}, 2},
                          {"units with peepholes", {12, 2, 90, 120, 0, 2, true, true, CellKind::coupled}, 2},
                          {"normalised rows", {12, 30, 20, 40, 0, 2, true, true, CellKind::normed_products}, 4},
                          {"rows with a second product", {12, 30, 20, 40, 0, 2, true, true, CellKind::gru_before}, 3},
                          {"masked rows", {12, 30, 20, 40, 12, 1, true, true, CellKind::masked}, 3}};

/// Calls again and again until told to stop, but at least once; whether the numbers were always the same.
template <typename P>
bool repeats(const Kind& kind, const std::vector<double>& expected, const std::atomic<bool>& stop) {
    const RandomCase<P> layer(kind.shape);
    bool are_same = true;
    do {
        layer.run(kind.threads, lstmkit::usable_sets().back());
        are_same = are_same && layer.outputs() == expected;
    } while (!stop);
    return are_same;
}

void use_pool(const std::atomic<bool>& stop) {
    for (std::ptrdiff_t round = 0; !stop; ++round) {
        const lstmkit::Array<char> array(1 + 1777 * (round % 37));
        array[0] = 1;
        if (round % 64 == 0) lstmkit::release_memory();
        std::this_thread::yield();
    }
}

template <typename P>
std::vector<double> quiet_outputs(const Kind& kind) {
    const RandomCase<P> layer(kind.shape);
    layer.run(kind.threads, lstmkit::usable_sets().back());
    return layer.outputs();
}

template <typename P>
void callers_never_disturb_each_other(std::chrono::milliseconds time) {
    std::vector<std::vector<double>> expected;
    for (const Kind& kind : kinds) expected.push_back(quiet_outputs<P>(kind));
    std::atomic<bool> stop{false};
    std::atomic<int> right[std::size(kinds)] = {};
    std::vector<std::thread> threads;
    for (std::size_t k = 0; k < std::size(kinds); ++k)
        threads.emplace_back([&, k] { right[k] = repeats<P>(kinds[k], expected[k], stop); });
    threads.emplace_back([&] { use_pool(stop); });
    std::this_thread::sleep_for(time);
    stop = true;
    for (std::thread& thread : threads) thread.join();
    for (std::size_t k = 0; k < std::size(kinds); ++k) check(right[k] == 1, std::string(kinds[k].name) + " among other callers");
}

}  // namespace

int main() {
    callers_never_disturb_each_other<lstmkit::Float32>(std::chrono::milliseconds(1500));
    callers_never_disturb_each_other<lstmkit::Float64>(std::chrono::milliseconds(1500));
    callers_never_disturb_each_other<lstmkit::BFloat16>(std::chrono::milliseconds(1500));
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
