// Streams and pools of them for Python.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <utility>

#include "lstmkit/stream.h"
#include "unlocked.h"

/// A stream, and the Python functions that take every call of step() and run() but those of plain arrays.
struct BoundStream {
    std::shared_ptr<const lstmkit::StreamWeights> weights;
    lstmkit::Stream stream;
    nanobind::object step_fallback, run_fallback;

    BoundStream(std::shared_ptr<const lstmkit::StreamWeights> given, int threads, nanobind::object step, nanobind::object run)
        : weights(std::move(given)), stream(weights, threads), step_fallback(std::move(step)), run_fallback(std::move(run)) {}
};

/// BoundStream.step(x, out=None) and run(x, out=None) without the cost of a general binding.
extern PyType_Slot step_slots[];

/// Must be called before the first step; throws nanobind::python_error without NumPy.
void import_numpy();

/// False if an input was not finite. Throws an EngineError if another thread is inside the stream.
bool is_done(lstmkit::Outcome outcome);

/// call(), while other Python threads run if so many steps are worth that.
template <typename Call>
lstmkit::Outcome without_lock(lstmkit::Index steps, const lstmkit::StreamWeights& weights, Call call) {
    constexpr double ten_microseconds = 40'000;  // in cycles
    const Unlocked unlocked(static_cast<double>(steps) * weights.step_cycles() > ten_microseconds);
    return call();
}

void bind_stream(nanobind::module_& module);
