// What the kernels of a plain LSTM take beside their products, each alone with its data in the caches: no layer can be faster.
// lstmkit_kernel_times_test [inputs units rows], 64 64 66 by default; the rows are those of a step in one block.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "lstmkit/dispatch.h"
#include "lstmkit/memory.h"
#include "lstmkit/peak.h"

using lstmkit::Array;
using lstmkit::Float32;
using lstmkit::gates;
using lstmkit::Index;

namespace {

/// Numbers that no kernel finds slow.
Array<float> numbers(Index count) {
    Array<float> all(count);
    for (Index k = 0; k < count; ++k) all[k] = 0.02f * static_cast<float>(k % 13 - 6);
    return all;
}

std::vector<float*> rows_of(const Array<float>& all, Index count, Index width) {
    std::vector<float*> rows;
    for (Index r = 0; r < count; ++r) rows.push_back(&all[r * width]);
    return rows;
}

std::vector<const float*> readable(const std::vector<float*>& rows) { return {rows.begin(), rows.end()}; }

/// The least of many runs.
template <typename Run>
double seconds_of(Run run) {
    using Clock = std::chrono::steady_clock;
    double least = 1e9;
    for (int n = 0; n < 200; ++n) {
        const Clock::time_point start = Clock::now();
        run();
        least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return least;
}

/// One step of some rows of a layer, and of its way back.
struct Step {
    const lstmkit::Kernels<Float32>& kernels;
    Index I, H, rows, L = kernels.lanes, blocks = (H + L - 1) / L, wide = std::max(blocks, gates) * L, spare = 7, dz_block = (rows + spare) * gates * L;
    Array<float> x = numbers(rows * I), h = numbers(rows * H), y = numbers(rows * H), c = numbers(rows * blocks * L), cells = numbers(rows * H),
                 trace = numbers(rows * gates * H), weights = numbers(blocks * (I + H) * gates * L), bias = numbers(blocks * gates * L),
                 dz = numbers(blocks * dz_block), dh = numbers(rows * wide), dc = numbers(rows * blocks * L),
                 back = numbers(blocks * gates * L * gates * L), sums = numbers(blocks * (I + H + 6) * gates * L);
    std::vector<float*> y_rows = rows_of(y, rows, H), cell_rows = rows_of(cells, rows, H), trace_rows = rows_of(trace, rows, gates * H),
                        dh_rows = rows_of(dh, rows, wide);
    std::vector<const float*> x_rows = readable(rows_of(x, rows, I)), h_rows = readable(rows_of(h, rows, H));

    void forward(bool keeps) {
        for (Index b = 0; b < blocks; ++b)
            kernels.forward({rows, x_rows.data(), I, h_rows.data(), H, &weights[b * (I + H) * gates * L], &bias[b * gates * L], nullptr, 0, &c[b * L],
                             blocks * L, b * L, std::min(L, H - b * L), y_rows.data(), keeps ? cell_rows.data() : nullptr,
                             keeps ? trace_rows.data() : nullptr, H, 0, 0, 0, false, nullptr});
    }
    void gradients() {
        for (Index r = 0; r < rows; ++r)
            kernels.cell_backward({trace_rows[r], cell_rows[r], cell_rows[(r + 1) % rows], y_rows[r], nullptr, nullptr, dh_rows[r], &dc[r * blocks * L],
                                   &dz[r * gates * L], nullptr, H, H, 0, dz_block});
    }
    /// To so many columns, of the output before or of the input.
    void product(Index columns) {
        for (Index first = 0; first < columns; first += gates * L) {
            const Index count = std::min(columns - first, gates * L);
            kernels.product({rows, dz.data(), gates * L, dz_block, blocks, gates * L, back.data(), (count + L - 1) / L, dh_rows.data(), 0, count, false,
                             false, nullptr});
        }
    }
    void outer() {
        for (Index b = 0; b < blocks; ++b) {
            float* const sum = &sums[b * (I + H) * gates * L];
            kernels.outer({rows, 0, I, x_rows.data(), &dz[b * dz_block], gates * L, gates, sum, nullptr});
            kernels.outer({rows, 0, H, h_rows.data(), &dz[b * dz_block], gates * L, gates, sum + I * gates * L, nullptr});
        }
    }
};

}  // namespace

int main(int count, char** words) {
    const auto word = [&](int n, Index otherwise) { return n < count ? std::max<Index>(1, std::atol(words[n])) : otherwise; };
    const lstmkit::InstructionSet set = lstmkit::default_set();
    Step step{lstmkit::table_of<lstmkit::Kernels<Float32>>(set), word(1, 64), word(2, 64), word(3, 66)};
    const double peak = lstmkit::measure_peak(set, "float32", 0.2);
    std::printf("I = %td, H = %td, %td rows of a step, %s, one thread, peak %.0f GF/s\n%-28s %12s %10s\n", step.I, step.H, step.rows,
                std::string(lstmkit::name_of(set)).c_str(), peak / 1e9, "", "microseconds", "of peak");
    double operations = 0, seconds = 0;
    const auto show = [](const char* name, double its_operations, double its_seconds, double its_peak) {
        std::printf("%-28s %12.1f", name, 1e6 * its_seconds);
        its_operations > 0 ? std::printf(" %8.0f %%\n", 100 * its_operations / its_seconds / its_peak) : std::printf("\n");
    };
    const auto add = [&](const char* name, Index terms, auto run) {
        const double own = 2.0 * static_cast<double>(step.rows * terms * gates * step.H), took = seconds_of(run);
        show(name, own, took, peak);
        operations += own, seconds += took;
    };
    show("forward, nothing kept", 2.0 * static_cast<double>(step.rows * (step.I + step.H) * gates * step.H), seconds_of([&] { step.forward(false); }), peak);
    add("forward", step.I + step.H, [&] { step.forward(true); });
    add("gradients of the gates", 0, [&] { step.gradients(); });
    add("product to the output before", step.H, [&] { step.product(step.H); });
    add("product to the input", step.I, [&] { step.product(step.I); });
    add("gradient of the weights", step.I + step.H, [&] { step.outer(); });
    show("all of a training step", operations, seconds, peak);
}
