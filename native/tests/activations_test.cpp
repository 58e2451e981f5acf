// Sigmoid and tanh of floats against double, on every instruction set that this machine can run: every n-th of all 2^32,
// in rising order, for the n of the command line. All of them, n = 1, take minutes.
#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "check.h"
#include "lstmkit/dispatch.h"
#include "ulp.h"

namespace {

using lstmkit::Float32;
using Kernels = lstmkit::Kernels<Float32>;

constexpr std::uint64_t all = std::uint64_t{1} << 32;
constexpr std::size_t block_size = 4096;

/// Float number `index` of all, from the NaNs below -infinity to those above infinity.
float float_number(std::uint64_t index) {
    const auto low = static_cast<std::uint32_t>(index);
    const std::uint32_t bits = low >> 31 ? low ^ 0x80000000u : ~low;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double tanh(double x) { return std::tanh(x); }

struct Function {
    const char* name;
    double (*right)(double);
    void (*Kernels::*kernel)(const float*, float*, std::size_t) noexcept;
    float least;  // the greatest is 1
};

constexpr Function functions[] = {{"sigmoid", sigmoid, &Kernels::sigmoid, 0}, {"tanh", tanh, &Kernels::tanh, -1}};

struct Worst {
    double error = 0.5, drop = 0;  // in ulp, from that of rounding on; the drop is from one float to a greater one
    float at = 0, drop_at = 0;
    bool in_range = true;

    void add(float x, float actual, double expected, float before, float least) {
        if (actual != static_cast<float>(expected)) {
            const double found = ulps(actual, expected);
            if (found > error) error = found, at = x;
        }
        if (actual < least || actual > 1) in_range = false;
        if (before > actual && ulps(actual, double(before)) > drop) drop = ulps(actual, double(before)), drop_at = x;
    }
    void join(const Worst& other) {
        if (other.error > error) error = other.error, at = other.at;
        if (other.drop > drop) drop = other.drop, drop_at = other.drop_at;
        in_range = in_range && other.in_range;
    }
};

using Results = std::vector<Worst>;  // of every set, and in it of every function

/// The floats `first`, `first` + stride, ... of one block; the last of them is the next block's first.
void check_block(std::uint64_t first, std::uint64_t stride, Results& results) {
    static thread_local float x[block_size], actual[block_size];
    static thread_local double expected[block_size];
    std::size_t count = 0;
    for (std::uint64_t index = first; index < all && count < block_size; index += stride) x[count++] = float_number(index);
    std::size_t result = 0;
    for (const Function& function : functions) {
        for (std::size_t k = 0; k < count; ++k) expected[k] = function.right(x[k]);
        for (lstmkit::InstructionSet set : lstmkit::usable_sets()) {
            {
                const lstmkit::FlushDenormals flush;
                (lstmkit::table_of<lstmkit::Kernels<Float32>>(set).*function.kernel)(x, actual, count);
            }
            Worst& worst = results[result++];
            for (std::size_t k = 0; k < count; ++k)
                worst.add(x[k], actual[k], expected[k], actual[k ? k - 1 : 0], function.least);
        }
    }
}

Results check_all(std::uint64_t stride) {
    const std::size_t kinds = std::size(functions) * lstmkit::usable_sets().size();
    Results total(kinds);
    std::atomic<std::uint64_t> next{0};
    std::mutex mutex;
    const auto work = [&] {
        Results own(kinds);
        const std::uint64_t step = stride * (block_size - 1);
        for (std::uint64_t first = next.fetch_add(step); first < all; first = next.fetch_add(step)) check_block(first, stride, own);
        const std::lock_guard<std::mutex> lock(mutex);
        for (std::size_t k = 0; k < kinds; ++k) total[k].join(own[k]);
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < lstmkit::available_threads(); ++thread) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
    return total;
}

void report(const char* function, lstmkit::InstructionSet set, const Worst& worst) {
    const std::string name = std::string(function) + " " + std::string(lstmkit::name_of(set));
    std::printf("%s: at most %.3f ulp, at %.9g; falls by at most %.1f ulp, at %.9g\n", name.c_str(), worst.error, worst.at,
                worst.drop, worst.drop_at);
    check(worst.error <= 2, name + " within 2 ulp");
    check(worst.drop <= 2, name + " rises");
    check(worst.in_range, name + " within its range");
}

void ends_are_exact(lstmkit::InstructionSet set) {
    const float infinity = std::numeric_limits<float>::infinity();
    const float x[] = {-infinity, -0.0f, 0, infinity, NAN};
    float actual[5];
    lstmkit::table_of<lstmkit::Kernels<Float32>>(set).sigmoid(x, actual, 5);
    check(actual[0] < std::numeric_limits<float>::min() && actual[1] == 0.5f && actual[2] == 0.5f && actual[3] == 1 &&
              std::isnan(actual[4]),
          "ends of sigmoid");
    lstmkit::table_of<lstmkit::Kernels<Float32>>(set).tanh(x, actual, 5);
    check(actual[0] == -1 && actual[1] == 0 && std::signbit(actual[1]) && actual[2] == 0 && !std::signbit(actual[2]) &&
              actual[3] == 1 && std::isnan(actual[4]),
          "ends of tanh");
}

}  // namespace

int main(int count, char** arguments) {
    const std::uint64_t stride = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 5003;
    if (stride == 0) return std::fprintf(stderr, "expected a whole number from 1 on: check every so manieth float\n"), EXIT_FAILURE;
    const Results results = check_all(stride);
    std::size_t result = 0;
    for (const Function& function : functions)
        for (lstmkit::InstructionSet set : lstmkit::usable_sets()) report(function.name, set, results[result++]);
    for (lstmkit::InstructionSet set : lstmkit::usable_sets()) ends_are_exact(set);
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
