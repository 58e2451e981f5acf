// Checks every kernel on every instruction set that this machine can run. Exit code 0 means all passed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "lstmkit/dispatch.h"
#include "ulp.h"

namespace {

using Wide = long double;

template <typename P>
std::string named(const char* subject, lstmkit::InstructionSet set) {
    return std::string(subject) + " " + std::string(lstmkit::name_of(set)) + (sizeof(lstmkit::Real<P>) == 4 ? " f32" : " f64");
}

// The allocation ends exactly at the last element, so that a sanitizer sees an access beyond it.
template <typename P>
void activations_match_wide(lstmkit::InstructionSet set, std::size_t count, std::size_t offset) {
    using Real = lstmkit::Real<P>;
    std::mt19937 random(static_cast<unsigned>(7 * count + offset));
    std::normal_distribution<Real> normal;
    std::vector<Real> x(count + offset), sigmoid(x.size()), tanh(x.size());
    for (Real& value : x) value = normal(random);
    lstmkit::table_of<lstmkit::Kernels<P>>(set).sigmoid(x.data() + offset, sigmoid.data() + offset, count);
    lstmkit::table_of<lstmkit::Kernels<P>>(set).tanh(x.data() + offset, tanh.data() + offset, count);
    double worst = 0;
    for (std::size_t k = offset; k < x.size(); ++k)
        worst = std::max({worst, ulps(sigmoid[k], 1 / (1 + std::exp(-Wide(x[k])))), ulps(tanh[k], std::tanh(Wide(x[k])))});
    check(worst <= 2, named<P>("activations", set) + " count " + std::to_string(count) + " offset " + std::to_string(offset));
}

template <typename P>
void activations_match_wide(lstmkit::InstructionSet set) {
    using Real = lstmkit::Real<P>;
    const lstmkit::Kernels<P>& kernels = lstmkit::table_of<lstmkit::Kernels<P>>(set);
    std::vector<Real> x;
    for (double value : {0.0, 1e-40, 1e-310, 9.0, 10.0, 19.0, 20.0, 88.7, 104.0, 707.9, 708.1, 745.0, 1e30, HUGE_VAL, double(NAN)})
        for (int sign : {1, -1}) x.push_back(static_cast<Real>(sign * value));
    std::mt19937 random(1);
    std::uniform_real_distribution<Real> exponent(-60, 10);
    while (x.size() < 40'003) x.push_back(std::exp2(exponent(random)) * (x.size() % 2 ? -1 : 1));
    std::vector<Real> sigmoid(x.size()), tanh(x.size());
    kernels.sigmoid(x.data(), sigmoid.data(), x.size());
    kernels.tanh(x.data(), tanh.data(), x.size());
    double worst_sigmoid = 0, worst_tanh = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
        worst_sigmoid = std::max(worst_sigmoid, ulps(sigmoid[k], 1 / (1 + std::exp(-Wide(x[k])))));
        worst_tanh = std::max(worst_tanh, ulps(tanh[k], std::tanh(Wide(x[k]))));
    }
    check(worst_sigmoid <= 2, named<P>("sigmoid", set) + " ulp " + std::to_string(worst_sigmoid));
    check(worst_tanh <= 2, named<P>("tanh", set) + " ulp " + std::to_string(worst_tanh));
    std::printf("%s: sigmoid %.2f ulp, tanh %.2f ulp\n", named<P>("", set).c_str(), worst_sigmoid, worst_tanh);
}

template <typename P>
void kernels_match_wide(lstmkit::InstructionSet set) {
    for (std::size_t count : {0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 127, 1001})
        for (std::size_t offset : {0, 1, 3}) activations_match_wide<P>(set, count, offset);
    activations_match_wide<P>(set);
}

}  // namespace

int main() {
    for (lstmkit::InstructionSet set : lstmkit::usable_sets()) {
        kernels_match_wide<lstmkit::Float32>(set);
        kernels_match_wide<lstmkit::Float64>(set);
        check(lstmkit::choose_set(lstmkit::name_of(set)) == set, "choose_set by name");
    }
    check(lstmkit::choose_set("") == lstmkit::usable_sets().back(), "choose_set prefers the best");
#if defined(__aarch64__)
    constexpr lstmkit::InstructionSet least = lstmkit::InstructionSet::neon;
#else
    constexpr lstmkit::InstructionSet least = lstmkit::InstructionSet::baseline;
#endif
    check(lstmkit::usable_sets().front() == least, "the least set is always usable");
    check(rejects([] { lstmkit::choose_set("mmx"); }), "choose_set rejects an unknown name");
    for (lstmkit::InstructionSet set : lstmkit::all_instruction_sets)
        if (!lstmkit::machine_has(set)) {
            check(rejects([&] { lstmkit::choose_set(lstmkit::name_of(set)); }), "choose_set rejects what is not there");
            check(rejects([&] { lstmkit::table_of<lstmkit::Kernels<lstmkit::Float32>>(set); }), "table_of rejects what is not there");
        }
    check(lstmkit::available_threads() >= 1, "at least one thread");
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
