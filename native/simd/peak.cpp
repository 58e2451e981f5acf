#include "lstmkit/peak.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

#include "lstmkit/dispatch.h"
#include "peak_set.h"

namespace lstmkit {

namespace {

PeakLoop loop_of(InstructionSet set, std::string_view number) {
    const PeakLoops& loops = table_of<PeakLoops>(set);
    PeakLoop loop = nullptr;
    if (number == "float32") loop = loops.float32;
    else if (number == "float64") loop = loops.float64;
    else if (number == "bfloat16") loop = loops.bfloat16;
    else throw std::invalid_argument("expected float32, float64 or bfloat16, got '" + std::string(number) + "'");
    if (!loop)
        throw std::invalid_argument(std::string(name_of(set)) + " has no multiply-add of " + std::string(number));
    return loop;
}

}  // namespace

double measure_peak(InstructionSet set, std::string_view number, double seconds) {
    using Clock = std::chrono::steady_clock;
    const PeakLoop loop = loop_of(set, number);
    constexpr long rounds = 20000;  // a fraction of a millisecond: the best of many escapes interruptions
    const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    double best = 0;
    do {
        const Clock::time_point start = Clock::now();
        const double operations = loop(rounds);
        best = std::max(best, operations / std::chrono::duration<double>(Clock::now() - start).count());
    } while (Clock::now() < end);
    return best;
}

}  // namespace lstmkit
