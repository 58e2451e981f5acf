// Checks every kernel on every instruction set that this machine can run. Exit code 0 means all passed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "lstmkit/dispatch.h"

namespace {

// The allocation ends exactly at the last element, so that a sanitizer sees a read beyond it.
void dot_matches_double(lstmkit::InstructionSet set, std::size_t count, std::size_t offset) {
    std::mt19937 random(static_cast<unsigned>(7 * count + offset));
    std::normal_distribution<float> normal;
    std::vector<float> a(count + offset), b(count + offset);
    double expected = 0, scale = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
        a[k] = normal(random);
        b[k] = normal(random);
        if (k < offset) continue;
        expected += double(a[k]) * b[k];
        scale += std::fabs(double(a[k]) * b[k]);
    }
    const float actual = lstmkit::kernels_of<lstmkit::Float32>(set).dot(a.data() + offset, b.data() + offset, count);
    check(std::fabs(actual - expected) <= 1e-6 * scale,
          "dot " + std::string(lstmkit::name_of(set)) + " count " + std::to_string(count) + " offset " + std::to_string(offset));
}

// Distance in units of the last place of the expected number; below the smallest normal number zero is right too.
double ulps(float actual, double expected) {
    const float nearest = static_cast<float>(expected);
    if (std::isnan(expected)) return std::isnan(actual) ? 0 : HUGE_VAL;
    const double unit = std::max(std::fabs(double(std::nextafter(nearest, HUGE_VALF)) - nearest), std::ldexp(1.0, -126));
    return std::fabs(actual - expected) / unit;
}

void activations_match_double(lstmkit::InstructionSet set) {
    const lstmkit::Kernels<lstmkit::Float32>& kernels = lstmkit::kernels_of<lstmkit::Float32>(set);
    std::vector<float> x = {0.0f, -0.0f, 1e-40f, 88.7f, -88.7f, 104.0f, -104.0f, 1e30f, -1e30f, HUGE_VALF, -HUGE_VALF, NAN};
    std::mt19937 random(1);
    std::uniform_real_distribution<float> exponent(-30, 7);
    while (x.size() < 20'003) x.push_back(std::exp2(exponent(random)) * (x.size() % 2 ? -1.0f : 1.0f));
    std::vector<float> sigmoid(x.size()), tanh(x.size());
    kernels.sigmoid(x.data(), sigmoid.data(), x.size());
    kernels.tanh(x.data(), tanh.data(), x.size());
    double worst_sigmoid = 0, worst_tanh = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
        worst_sigmoid = std::max(worst_sigmoid, ulps(sigmoid[k], 1 / (1 + std::exp(-double(x[k])))));
        worst_tanh = std::max(worst_tanh, ulps(tanh[k], std::tanh(double(x[k]))));
    }
    const std::string name(lstmkit::name_of(set));
    check(worst_sigmoid <= 2, "sigmoid " + name + " ulp " + std::to_string(worst_sigmoid));
    check(worst_tanh <= 2, "tanh " + name + " ulp " + std::to_string(worst_tanh));
    std::printf("%s: sigmoid %.2f ulp, tanh %.2f ulp\n", name.c_str(), worst_sigmoid, worst_tanh);
}

}  // namespace

int main() {
    for (lstmkit::InstructionSet set : lstmkit::usable_sets()) {
        for (std::size_t count : {0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 127, 1001})
            for (std::size_t offset : {0, 1, 3}) dot_matches_double(set, count, offset);
        activations_match_double(set);
        check(lstmkit::choose_set(lstmkit::name_of(set)) == set, "choose_set by name");
    }
    check(lstmkit::choose_set("") == lstmkit::usable_sets().back(), "choose_set prefers the best");
    check(lstmkit::usable_sets().front() == lstmkit::InstructionSet::baseline, "baseline is always usable");
    check(rejects([] { lstmkit::choose_set("mmx"); }), "choose_set rejects an unknown name");
    for (lstmkit::InstructionSet set : lstmkit::all_instruction_sets)
        if (!lstmkit::machine_has(set)) {
            check(rejects([&] { lstmkit::choose_set(lstmkit::name_of(set)); }), "choose_set rejects what is not there");
            check(rejects([&] { lstmkit::kernels_of<lstmkit::Float32>(set); }), "kernels_of rejects what is not there");
        }
    check(lstmkit::available_threads() >= 1, "at least one thread");
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
