// A layer of random numbers with all its buffers, for tests of how it is called.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "lstmkit/layer.h"

/// What a cell can be; their options are smooth, so that rounding never decides.
enum class CellKind {
    plain, coupled, normed_products, normed_gates, masked, truncated, recurrent_gates, normed_recurrent_gates,
    gru, curved_gru, rnn, curved_rnn, janet, slstm, gru_before, multiplicative, time_aware, phased, on_lstm, mogrifier
};
inline constexpr int cell_kinds = 20;

struct Shape {
    lstmkit::Index steps, batch, inputs, units, projection = 0;  // 0: none
    int directions = 1;
    bool has_lengths = true, has_resets = true;
    CellKind kind = CellKind::plain;

    lstmkit::Index outputs() const { return projection ? projection : units; }
    lstmkit::Index heads() const { return kind == CellKind::slstm && units % 32 == 0 ? 2 : 1; }
    lstmkit::Index rounds() const { return kind == CellKind::mogrifier ? 1 + units % 4 : 0; }
    lstmkit::Index rank() const { return kind == CellKind::mogrifier && units % 3 ? units % 7 : 0; }
    lstmkit::Index round_weights() const { return rounds() * (rank() ? rank() * (inputs + units) : inputs * units); }
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
            append(all, d.d_totals, d.d_projection_bias, d.d_middle, d.d_rounds);
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
        lstmkit::CellOptions<P> options;
        Real vectors, d_totals, d_projection_bias;
        Stored candidate, state_mask;
        std::vector<std::uint8_t> keeps_h, keeps_c;
        Stored x, h, weight_input, weight_recurrent, bias_input, bias_recurrent, weight_projection, weight_middle, weight_rounds, gy;
        Real c, gh, gc, g_cells;
        Stored g_gates, y, h_last;
        Real c_last, cells, dh, dc, d_input, d_recurrent, d_bias, d_projection, d_middle, d_rounds;
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
    /// No sum of these is negative, that of the time among them.
    template <typename... Numbers>
    static void forbid_the_past(Numbers&... numbers) {
        const auto turn = [](auto& own) {
            for (auto& value : own) value = static_cast<std::remove_reference_t<decltype(value)>>(std::fabs(float(value)));
        };
        (turn(numbers), ...);
    }
    template <typename... Numbers>
    static void append(std::vector<double>& all, const Numbers&... more) {
        (std::for_each(more.begin(), more.end(), [&](auto value) { all.push_back(double(value)); }), ...);
    }

    Direction draw_direction() {
        Direction d;
        const auto [T, B, I, H, projection, count, has_lengths, has_resets, kind] = shape_;
        const Index R = shape_.outputs(), n = T * B;
        const double scale = 1 / std::sqrt(double(I + R));
        draw_options(d);
        const lstmkit::CellShape cell = lstmkit::shape_of(d.options);
        const Index G = cell.sums, S = cell.states, K = cell.kept, seen = R / shape_.heads();
        draw(d.x, n * I, 1), draw(d.h, B * R, 1), draw(d.c, B * S * H, 1);
        if (kind == CellKind::slstm)  // what divides is positive
            for (auto& c : d.c) c = std::fabs(c) + 1;
        draw(d.weight_input, cell.input * H * I, scale), draw(d.weight_recurrent, cell.recurrent * H * seen, scale);
        draw(d.bias_input, G * H, 1), draw(d.bias_recurrent, G * H, 1), draw(d.weight_projection, projection * H, scale);
        const Index middle = cell.middle * H * cell.middle_vectors * H;
        draw(d.weight_middle, middle, scale), poison(d.d_middle, middle);
        draw(d.weight_rounds, shape_.round_weights(), scale), poison(d.d_rounds, shape_.round_weights());
        if (kind == CellKind::time_aware) forbid_the_past(d.x, d.weight_input, d.bias_input, d.bias_recurrent);
        draw(d.gy, n * R, 1), draw(d.gh, B * R, 1), draw(d.gc, B * S * H, 1), draw(d.g_cells, n * S * H, 1), draw(d.g_gates, K * n * H, 1);
        poison(d.y, n * R), poison(d.h_last, B * R), poison(d.c_last, B * S * H), poison(d.cells, n * S * H), poison(d.gates, K * n * H);
        poison(d.dx, n * I), poison(d.dh, B * R), poison(d.dc, B * S * H), poison(d.d_input, cell.input * H * I);
        poison(d.d_recurrent, cell.recurrent * H * seen), poison(d.d_bias, G * H), poison(d.d_projection, projection * H);
        poison(d.d_totals, lstmkit::totals_of(d.options) * H), poison(d.d_projection_bias, d.options.projection_bias ? R : 0);
        for (Index b = 0; b < B && has_lengths; ++b)
            for (Index t = lengths_[std::size_t(b)]; t < T; ++t)
                std::fill_n(&d.x[std::size_t((t * B + b) * I)], I, static_cast<lstmkit::Stored<P>>(NAN));
        return d;
    }

    /// The options of a kind; their vectors point into one array.
    void draw_options(Direction& d) {
        const Index H = shape_.units, n = shape_.steps * shape_.batch;
        lstmkit::CellOptions<P>& o = d.options;
        draw(d.vectors, 25 * H, 1);
        const auto vector = [&](Index k) { return &d.vectors[std::size_t(k * H)]; };
        switch (shape_.kind) {
            case CellKind::plain: return;
            case CellKind::coupled:
                o.forget_gate = lstmkit::Gate::coupled, o.peepholes[0] = vector(0), o.peepholes[2] = vector(1);
                o.zoneout_h = o.zoneout_c = lstmkit::Real<P>(0.25), o.gate.curve = lstmkit::Curve::softsign;
                break;
            case CellKind::recurrent_gates:
                o.gates_recur = true, o.input_gate = lstmkit::Gate::coupled, o.peepholes[1] = vector(0);
                break;
            case CellKind::normed_recurrent_gates: o.gates_recur = true; [[fallthrough]];
            case CellKind::normed_products:
                o.norm = lstmkit::Norm::products, o.cell_norm = lstmkit::CellNorm::read, o.epsilon = lstmkit::Real<P>(1e-3);
                o.gain_input = vector(0), o.gain_recurrent = vector(4), o.bias = vector(8), o.gain_cell = vector(12), o.bias_cell = vector(13);
                break;
            case CellKind::normed_gates:
                // A cell state that is normalised and fed back lets rounding grow, the more so the smaller this is.
                o.norm = lstmkit::Norm::gates, o.cell_norm = lstmkit::CellNorm::fed_back, o.epsilon = lstmkit::Real<P>(1e-1);
                o.gain_gates = vector(0), o.gain_cell = vector(4), o.peepholes[1] = vector(5), o.peepholes[2] = vector(6);
                break;
            case CellKind::masked:
                draw(d.candidate, n * H, 1), draw(d.state_mask, shape_.batch * shape_.outputs(), 1);
                for (Index k = 0; k < n * shape_.outputs(); ++k) d.keeps_h.push_back(random_() % 3 == 0);
                for (Index k = 0; k < n * H; ++k) d.keeps_c.push_back(random_() % 3 == 0);
                if (shape_.projection) o.projection_bias = vector(0);
                break;
            case CellKind::truncated: o.truncates = true, o.forget_gate = lstmkit::Gate::one, o.output.beta = 0.5; break;
            case CellKind::gru: o.cell = lstmkit::Cell::gru; break;
            case CellKind::curved_gru:
                o.cell = lstmkit::Cell::gru, o.gate.curve = lstmkit::Curve::softsign, o.candidate.alpha = 1.5, o.candidate.beta = 0.5;
                break;
            case CellKind::rnn: o.cell = lstmkit::Cell::rnn; break;
            case CellKind::curved_rnn: o.cell = lstmkit::Cell::rnn, o.candidate.curve = lstmkit::Curve::softsign; break;
            case CellKind::janet: o.cell = lstmkit::Cell::janet, o.shift = 1; break;
            case CellKind::slstm: o.cell = lstmkit::Cell::slstm; break;
            case CellKind::gru_before: o.cell = lstmkit::Cell::gru_before, o.gate_clip = 2; break;
            case CellKind::multiplicative: o.cell = lstmkit::Cell::multiplicative; break;
            case CellKind::phased:
                o.cell = lstmkit::Cell::phased, o.leak = lstmkit::Real<P>(0.1), o.ratio = vector(0);
                for (auto& ratio : d.vectors) ratio = std::min(std::fabs(ratio) / 2 + lstmkit::Real<P>(0.1), lstmkit::Real<P>(1));
                break;
            case CellKind::on_lstm: o.cell = lstmkit::Cell::on_lstm, o.chunk = H % 2 ? 1 : 2; break;
            case CellKind::time_aware: o.cell = lstmkit::Cell::time_aware; break;
            case CellKind::mogrifier: break;
        }
    }

    void fill_jobs(int index) {
        Direction& d = directions_[std::size_t(index)];
        const auto [T, B, I, H, projection, count, has_lengths, has_resets, kind] = shape_;
        const Index R = shape_.outputs();
        const lstmkit::CellShape cell = lstmkit::shape_of(d.options);
        const Index S = cell.states, K = cell.kept;
        const bool masked = kind == CellKind::masked;
        auto* const projected = projection ? d.weight_projection.data() : nullptr;
        const lstmkit::LayerCase<P> layer{
            {T, B, I, H, R, projection > 0, has_lengths ? lengths_.data() : nullptr, has_resets ? resets_.data() : nullptr, index == 1, cell, shape_.heads(), shape_.rounds(), shape_.rank()},
            {d.x.data(), B * I, I}, {d.h.data(), R}, {d.c.data(), S * H}, d.weight_input.data(), d.weight_recurrent.data(),
            d.bias_input.data(), d.bias_recurrent.data(), projected, kind == CellKind::plain || kind == CellKind::mogrifier ? nullptr : &d.options,
            {{masked ? d.state_mask.data() : nullptr, R}, {masked ? d.candidate.data() : nullptr, B * H, H},
             {masked ? d.keeps_h.data() : nullptr, B * R, R}, {masked ? d.keeps_c.data() : nullptr, B * H, H}},
            cell.middle ? d.weight_middle.data() : nullptr, shape_.rounds() ? d.weight_rounds.data() : nullptr};
        const auto trace = [&](auto* cells, auto* gates) {
            return lstmkit::Trace<std::remove_pointer_t<decltype(cells)>, std::remove_pointer_t<decltype(gates)>>{
                {cells, B * S * H, S * H}, {gates, K * B * H, K * H}, H, H};
        };
        forward_.push_back({layer, {{d.y.data(), B * R, R}, {d.h_last.data(), R}, {d.c_last.data(), S * H}, trace(d.cells.data(), d.gates.data())}});
        backward_.push_back({layer, {d.y.data(), B * R, R}, trace(std::as_const(d.cells).data(), std::as_const(d.gates).data()),
                             {{d.gy.data(), B * R, R}, {d.gh.data(), R}, {d.gc.data(), S * H},
                              trace(std::as_const(d.g_cells).data(), std::as_const(d.g_gates).data())},
                             {{d.dx.data(), B * I, I}, {d.dh.data(), R}, {d.dc.data(), S * H}, d.d_input.data(), d.d_recurrent.data(),
                              d.d_bias.data(), projection ? d.d_projection.data() : nullptr,
                              lstmkit::totals_of(d.options) ? d.d_totals.data() : nullptr,
                              d.options.projection_bias ? d.d_projection_bias.data() : nullptr, cell.middle ? d.d_middle.data() : nullptr,
                              shape_.rounds() ? d.d_rounds.data() : nullptr}});
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
