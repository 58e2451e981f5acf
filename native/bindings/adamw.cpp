#include "adamw.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <vector>

#include "addresses.h"
#include "chosen.h"
#include "lstmkit/adamw.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

namespace {

// count; weights, grad, mean, square, steps, average; decay
using WeightsAt = std::tuple<Index, Address, Address, Address, Address, Address, Address, double>;
// rate, beta1, beta2, epsilon, clip, average_share
using StepAt = std::tuple<double, double, double, double, double, double>;

bool run(const std::vector<WeightsAt>& every, const StepAt& at, double loss, int threads, const std::string& instruction_set) {
    std::vector<lstmkit::AdamwWeights> weights;
    double numbers = 0;
    for (const auto& [count, own, grad, mean, square, steps, average, decay] : every) {
        weights.push_back({count, pointer<float>(own), pointer<const float>(grad), pointer<float>(mean), pointer<float>(square),
                           pointer<float>(steps), pointer<float>(average), decay});
        numbers += double(count);
    }
    const auto& [rate, beta1, beta2, epsilon, clip, share] = at;
    const Unlocked unlocked(numbers);
    return lstmkit::run_adamw(weights.data(), static_cast<Index>(weights.size()), {rate, beta1, beta2, epsilon, clip, share}, loss, threads,
                              set_called(instruction_set));
}

}  // namespace

void bind_adamw(nb::module_& module) {
    module.def("adamw", &run, nb::arg("weights"), nb::arg("step"), nb::arg("loss"), nb::arg("threads"), nb::arg("instruction_set") = "");
}
