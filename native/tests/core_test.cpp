// Checks every kernel on every instruction set that this machine can run. Exit code 0 means all passed.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "lstmkit/dispatch.h"

namespace {

int failures = 0;

void check(bool passed, const std::string& what) {
    if (passed) return;
    ++failures;
    std::fprintf(stderr, "failed: %s\n", what.c_str());
}

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
    const float actual = lstmkit::kernels_of(set).dot(a.data() + offset, b.data() + offset, count);
    check(std::fabs(actual - expected) <= 1e-6 * scale,
          "dot " + std::string(lstmkit::name_of(set)) + " count " + std::to_string(count) + " offset " + std::to_string(offset));
}

template <typename Call>
bool rejects(Call call) {
    try {
        call();
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

}  // namespace

int main() {
    for (lstmkit::InstructionSet set : lstmkit::usable_sets()) {
        for (std::size_t count : {0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 127, 1001})
            for (std::size_t offset : {0, 1, 3}) dot_matches_double(set, count, offset);
        check(lstmkit::choose_set(lstmkit::name_of(set)) == set, "choose_set by name");
    }
    check(lstmkit::choose_set("") == lstmkit::usable_sets().back(), "choose_set prefers the best");
    check(lstmkit::usable_sets().front() == lstmkit::InstructionSet::baseline, "baseline is always usable");
    check(rejects([] { lstmkit::choose_set("mmx"); }), "choose_set rejects an unknown name");
    for (lstmkit::InstructionSet set : lstmkit::all_instruction_sets)
        if (!lstmkit::machine_has(set)) {
            check(rejects([&] { lstmkit::choose_set(lstmkit::name_of(set)); }), "choose_set rejects what is not there");
            check(rejects([&] { lstmkit::kernels_of(set); }), "kernels_of rejects what is not there");
        }
    check(lstmkit::available_threads() >= 1, "at least one thread");
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
