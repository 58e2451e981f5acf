#include "lstmkit/adamw.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "adamw/kernels.h"
#include "lstmkit/memory.h"
#include "threads/team.h"

namespace lstmkit {

namespace {

// Sums are those of pieces of so many numbers, so that they do not depend on the threads.
constexpr Index piece = 1 << 14;

/// Some numbers of one of the weights.
struct Piece {
    Index weight, first, count;
};

void check(const AdamwWeights* weights, Index count) {
    for (Index n = 0; n < count; ++n) {
        const AdamwWeights& w = weights[n];
        const bool has_memory = !w.grad || (w.mean && w.square && w.steps);
        if (w.count < 0 || (w.count > 0 && (!w.weights || !has_memory)))
            throw std::invalid_argument("expected weights, and for a gradient the optimizer's memory");
    }
}

Index count_pieces(const AdamwWeights* weights, Index count) noexcept {
    Index pieces = 0;
    for (Index n = 0; n < count; ++n) pieces += (weights[n].count + piece - 1) / piece;
    return pieces;
}

Array<Piece> cut(const AdamwWeights* weights, Index count) {
    Array<Piece> pieces(count_pieces(weights, count));
    Piece* next = pieces.data();
    for (Index n = 0; n < count; ++n)
        for (Index first = 0; first < weights[n].count; first += piece) *next++ = {n, first, std::min(piece, weights[n].count - first)};
    return pieces;
}

AdamwFactors factors_of(const AdamwWeights& weights, const AdamwStep& step, double scale) noexcept {
    const double steps = weights.steps ? double(*weights.steps) : 0;
    const double bias1 = 1 - std::pow(step.beta1, steps), bias2 = 1 - std::pow(step.beta2, steps);
    return {float(scale), float(1 - step.rate * weights.decay), float(1 - step.beta1), float(step.beta2), float(1 - step.beta2),
            float(step.epsilon), float(step.rate / bias1), float(1 / std::sqrt(bias2)), float(step.average_share)};
}

AdamwWeights part_of(const AdamwWeights& w, const Piece& part) noexcept {
    const auto at = [&part](auto* numbers) noexcept { return numbers ? numbers + part.first : numbers; };
    return {part.count, at(w.weights), at(w.grad), at(w.mean), at(w.square), w.steps, at(w.average), w.decay};
}

}  // namespace

bool run_adamw(const AdamwWeights* weights, Index count, const AdamwStep& step, double loss, int threads, InstructionSet set) {
    const AdamwKernels& kernels = table_of<AdamwKernels>(set);
    check(weights, count);
    const Array<Piece> pieces = cut(weights, count);
    const int last = static_cast<int>(count_pieces(weights, count));
    const Array<double> squares(last);
    run_shares(last, threads, [&](int n) {
        const AdamwWeights own = part_of(weights[pieces[n].weight], pieces[n]);
        squares[n] = own.grad ? kernels.square(own.grad, own.count) : 0;
    });
    double total = 0;
    for (int n = 0; n < last; ++n) total += squares[n];
    const double norm = std::sqrt(total);
    const bool is_taken = std::isfinite(norm + loss);
    const Array<AdamwFactors> factors(count);
    for (Index n = 0; n < count; ++n) {
        if (is_taken && weights[n].grad) ++*weights[n].steps;
        factors[n] = factors_of(weights[n], step, 1 / std::max(1.0, (norm + 1e-6) / step.clip));
    }
    run_shares(last, threads, [&](int n) {
        const AdamwWeights own = part_of(weights[pieces[n].weight], pieces[n]);
        if (is_taken && own.grad)
            kernels.step(own, factors[pieces[n].weight]);
        else if (own.average)
            kernels.follow(own.weights, own.average, own.count, float(step.average_share));
    });
    return is_taken;
}

}  // namespace lstmkit
