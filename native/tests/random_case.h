// A layer of random numbers with all its buffers, for tests of how it is called.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lstmkit/layer.h"

struct Shape {
    lstmkit::Index steps, batch, inputs, units, projection = 0;  // 0: none
    int directions = 1;
    bool has_lengths = true, has_resets = true;

    lstmkit::Index outputs() const { return projection ? projection : units; }
};

/// Buffers are exactly as long as needed, so that a sanitizer sees a step beyond; outputs are NaN at first, and padding too.
template <typename P>
class RandomCase {
public:
    explicit RandomCase(const Shape& shape, unsigned seed = 1) : shape_(shape), random_(seed) {
        for (Index b = 0; b < shape.batch; ++b) lengths_.push_back(Index(random_() % unsigned(shape.steps + 1)));
        for (Index k = 0; k < shape.steps * shape.batch; ++k) resets_.push_back(random_() % 4 == 0);
        for (int d = 0; d < shape.directions; ++d) directions_.push_back(draw_direction());
        for (int d = 0; d < shape.directions; ++d) fill_jobs(d);
    }
    RandomCase(const RandomCase&) = delete;
    RandomCase& operator=(const RandomCase&) = delete;

    void run_forward(int threads, lstmkit::InstructionSet set) const {
        lstmkit::run_forward(forward_.data(), shape_.directions, threads, set);
    }
    void run_backward(int threads, lstmkit::InstructionSet set) const {
        lstmkit::run_backward(backward_.data(), shape_.directions, threads, set);
    }
    void run(int threads, lstmkit::InstructionSet set) const { run_forward(threads, set), run_backward(threads, set); }

    /// All that was written, one output after the other.
    std::vector<double> outputs() const {
        std::vector<double> all;
        for (const Direction& d : directions_) {
            append(all, d.y, d.h_last, d.cells, d.c_last, d.dh, d.dc, d.d_input, d.d_recurrent, d.d_bias, d.d_projection);
            append(all, d.gates, d.dx);
        }
        return all;
    }

    std::vector<lstmkit::ForwardJob<P>>& forward_jobs() { return forward_; }
    std::vector<lstmkit::BackwardJob<P>>& backward_jobs() { return backward_; }
    std::vector<std::int64_t>& lengths() { return lengths_; }

private:
    using Index = lstmkit::Index;
    using Stored = std::vector<lstmkit::Stored<P>>;
    using Real = std::vector<lstmkit::Real<P>>;
    using Saved = std::vector<lstmkit::Saved<P>>;
    using InputGradient = std::vector<std::remove_pointer_t<decltype(lstmkit::Gradients<P>{}.x.data)>>;

    struct Direction {
        Stored x, h, weight_input, weight_recurrent, bias_input, bias_recurrent, weight_projection, gy;
        Real c, gh, gc, g_cells;
        Saved g_gates;
        Stored y, h_last;
        Real c_last, cells, dh, dc, d_input, d_recurrent, d_bias, d_projection;
        Saved gates;
        InputGradient dx;
    };

    template <typename Numbers>
    void draw(Numbers& to, Index count, double scale) {
        std::normal_distribution<double> normal;
        for (Index k = 0; k < count; ++k) to.push_back(static_cast<typename Numbers::value_type>(float(scale * normal(random_))));
    }
    template <typename Numbers>
    static void poison(Numbers& to, Index count) {
        to.assign(static_cast<std::size_t>(count), static_cast<typename Numbers::value_type>(NAN));
    }
    template <typename... Numbers>
    static void append(std::vector<double>& all, const Numbers&... more) {
        (std::for_each(more.begin(), more.end(), [&](auto value) { all.push_back(double(value)); }), ...);
    }

    Direction draw_direction() {
        Direction d;
        const auto [T, B, I, H, projection, count, has_lengths, has_resets] = shape_;
        const Index R = shape_.outputs(), n = T * B;
        const double scale = 1 / std::sqrt(double(I + R));
        draw(d.x, n * I, 1), draw(d.h, B * R, 1), draw(d.c, B * H, 1);
        draw(d.weight_input, 4 * H * I, scale), draw(d.weight_recurrent, 4 * H * R, scale);
        draw(d.bias_input, 4 * H, 1), draw(d.bias_recurrent, 4 * H, 1), draw(d.weight_projection, projection * H, scale);
        draw(d.gy, n * R, 1), draw(d.gh, B * R, 1), draw(d.gc, B * H, 1), draw(d.g_cells, n * H, 1), draw(d.g_gates, 4 * n * H, 1);
        poison(d.y, n * R), poison(d.h_last, B * R), poison(d.c_last, B * H), poison(d.cells, n * H), poison(d.gates, 4 * n * H);
        poison(d.dx, n * I), poison(d.dh, B * R), poison(d.dc, B * H), poison(d.d_input, 4 * H * I);
        poison(d.d_recurrent, 4 * H * R), poison(d.d_bias, 4 * H), poison(d.d_projection, projection * H);
        for (Index b = 0; b < B && has_lengths; ++b)
            for (Index t = lengths_[std::size_t(b)]; t < T; ++t)
                std::fill_n(&d.x[std::size_t((t * B + b) * I)], I, static_cast<lstmkit::Stored<P>>(NAN));
        return d;
    }

    void fill_jobs(int index) {
        Direction& d = directions_[std::size_t(index)];
        const auto [T, B, I, H, projection, count, has_lengths, has_resets] = shape_;
        const Index R = shape_.outputs();
        auto* const projected = projection ? d.weight_projection.data() : nullptr;
        const lstmkit::LayerCase<P> layer{
            {T, B, I, H, R, projection > 0, has_lengths ? lengths_.data() : nullptr, has_resets ? resets_.data() : nullptr, index == 1},
            {d.x.data(), B * I, I}, {d.h.data(), R}, {d.c.data(), H}, d.weight_input.data(), d.weight_recurrent.data(),
            d.bias_input.data(), d.bias_recurrent.data(), projected};
        forward_.push_back({layer, {{d.y.data(), B * R, R}, {d.h_last.data(), R}, {d.c_last.data(), H},
                                    {{d.cells.data(), B * H, H}, {d.gates.data(), 4 * B * H, 4 * H}, H}}});
        backward_.push_back({layer, {d.y.data(), B * R, R}, {{d.cells.data(), B * H, H}, {d.gates.data(), 4 * B * H, 4 * H}, H},
                             {{d.gy.data(), B * R, R}, {d.gh.data(), R}, {d.gc.data(), H},
                              {{d.g_cells.data(), B * H, H}, {d.g_gates.data(), 4 * B * H, 4 * H}, H}},
                             {{d.dx.data(), B * I, I}, {d.dh.data(), R}, {d.dc.data(), H}, d.d_input.data(), d.d_recurrent.data(),
                              d.d_bias.data(), projection ? d.d_projection.data() : nullptr}});
    }

    Shape shape_;
    std::mt19937 random_;
    std::vector<std::int64_t> lengths_;
    std::vector<std::uint8_t> resets_;
    std::vector<Direction> directions_;
    std::vector<lstmkit::ForwardJob<P>> forward_;
    std::vector<lstmkit::BackwardJob<P>> backward_;
};

/// The largest difference, by the largest number of `right` or 1; NaN where there is one.
inline double distance(const std::vector<double>& actual, const std::vector<double>& right) {
    double worst = 0, scale = 1;
    for (std::size_t k = 0; k < right.size(); ++k) {
        const double error = std::fabs(actual[k] - right[k]);
        scale = std::max(scale, std::fabs(right[k]));
        worst = error <= worst ? worst : error;  // a NaN stays
    }
    return worst / scale;
}
