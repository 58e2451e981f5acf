// The products of the layers that read nothing but their input: z = W x for some steps at once, and its gradients.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "scan/kernels.h"

namespace lstmkit {

// So many multiply-adds are worth another thread.
inline constexpr double work_of_a_thread = 200'000;

/// Threads that share the rows of a layer.
inline int row_shares(const Course& layer, Index width, int threads) noexcept {
    const double work = double(layer.steps) * double(layer.batch) * double(layer.inputs + 16) * double(width);
    const double most = std::min(double(layer.batch), 1 + work / work_of_a_thread);
    return static_cast<int>(std::clamp<double>(threads, 1, std::max(1.0, most)));
}

/// The `width` numbers of a row of products in blocks of 4L, of which the last is as many vectors as it needs.
struct Columns {
    Index width, lanes;

    Index block() const noexcept { return gates * lanes; }
    Index blocks() const noexcept { return (width + block() - 1) / block(); }
    Index count(Index n) const noexcept { return std::min(block(), width - n * block()); }
    Index vectors(Index n) const noexcept { return (count(n) + lanes - 1) / lanes; }
    Index padded() const noexcept { return round_up(width, lanes); }
};

/// z = bias + W x, with W [width, inputs] and the bias, or zeros, packed.
template <typename P>
class AffineForward {
public:
    AffineForward(const ScanKernels<P>& kernels, Index lanes, const Real<P>* weight, const Real<P>* bias, Index width, Index inputs)
        : kernels_(kernels), columns_{width, lanes}, inputs_(inputs), weights_(zeros<Real<P>>(columns_.padded() * inputs)),
          bias_(zeros<Real<P>>(columns_.padded())) {
        const Index block = columns_.block();
        for (Index row = 0; row < width; ++row) {
            Real<P>* const to = weights_.data() + row / block * block * inputs + row % block;
            for (Index k = 0; k < inputs; ++k) to[k * columns_.vectors(row / block) * lanes] = weight[row * inputs + k];
            if (bias) bias_[row] = bias[row];
        }
    }
    Index width() const noexcept { return columns_.width; }
    void multiply(const Real<P>* const* x, Index rows, Real<P>* const* z) const noexcept {
        for (Index n = 0, first = 0; n < columns_.blocks(); ++n, first += columns_.block())
            kernels_.affine({rows, x, inputs_, weights_.data() + first * inputs_, bias_.data() + first, z, first, columns_.count(n)});
    }

private:
    const ScanKernels<P>& kernels_;
    Columns columns_;
    Index inputs_;
    Array<Real<P>> weights_, bias_;  // [blocks][I][VL], [blocks][VL]
};

/// dx = dz W, with W [width, inputs] packed; rows of dz hold zeros from width up to in_row().
template <typename P>
class AffineBackward {
public:
    AffineBackward(const Kernels<P>& kernels, const Real<P>* weight, Index width, Index inputs)
        : kernels_(kernels), vectors_(vectors_of_block(Columns{width, kernels.lanes}.padded() / kernels.lanes)),
          matrix_({weight, inputs, inputs, 1, width, 0, vectors_}, round_up(width, kernels.lanes) / (vectors_ * kernels.lanes), kernels.lanes, gates),
          pack_(matrix_.numbers()) {
        for (Index block = 0; block < matrix_.blocks(); ++block) matrix_.fill(kernels, block, pack_.data());
    }
    Index in_row() const noexcept { return matrix_.blocks() * vectors_ * kernels_.lanes; }
    void multiply(const Real<P>* dz, Index rows, Real<P>* const* dx, Fetch* fetch = nullptr) const noexcept {
        matrix_.multiply(kernels_, dz, in_row(), vectors_ * kernels_.lanes, rows, pack_.data(), dx, 0, matrix_.groups(), fetch);
    }
    Index halts(Index rows) const noexcept { return matrix_.halts(rows, kernels_.tile_rows, 0, matrix_.groups()); }

private:
    /// So many that no block multiplies padding.
    static Index vectors_of_block(Index all) noexcept { return all % 4 == 0 ? 4 : all % 2 == 0 ? 2 : 1; }

    const Kernels<P>& kernels_;
    Index vectors_;
    PackedMatrix<P> matrix_;
    Array<Real<P>> pack_;
};

/// The gradients of weight and bias, of which every share of the rows adds up its own.
template <typename P>
class AffineSums {
public:
    AffineSums(const Kernels<P>& kernels, Index width, Index inputs, int shares)
        : kernels_(kernels), columns_{width, kernels.lanes}, inputs_(inputs), shares_(shares), sums_(zeros<Real<P>>(shares * share_numbers())) {}

    /// Adds `rows` rows of dz at distance dz_row, which is whole vectors, and of x; ones are as many pointers to a 1.
    void add(int share, Index rows, const Real<P>* const* x, const Real<P>* const* ones, const Real<P>* dz, Index dz_row,
             Fetch* fetch = nullptr) const noexcept {
        for (Index n = 0, first = 0; n < columns_.blocks(); ++n, first += columns_.block()) {
            Real<P>* const sum = sums_.data() + share * share_numbers() + first * (inputs_ + 1);
            const Index vectors = columns_.vectors(n);
            kernels_.outer({rows, 0, inputs_, x, dz + first, dz_row, vectors, sum, fetch});
            kernels_.outer({rows, 0, 1, ones, dz + first, dz_row, vectors, sum + inputs_ * vectors * columns_.lanes, nullptr});
        }
    }
    Index halts() const noexcept { return columns_.blocks() * (inputs_ / kernels_.tile_rows); }
    /// Adds the shares in their order, so that the result does not depend on which finished first.
    void join(Real<P>* weight, Real<P>* bias) const noexcept {
        const Index block = columns_.block();
        for (Index row = 0; row < columns_.width; ++row)
            for (Index k = 0; k <= inputs_; ++k) {
                const Index n = row / block;
                const Real<P>* at = sums_.data() + n * block * (inputs_ + 1) + k * columns_.vectors(n) * columns_.lanes + row % block;
                Real<P> total = 0;
                for (int share = 0; share < shares_; ++share) total += at[share * share_numbers()];
                (k < inputs_ ? weight[row * inputs_ + k] : bias[row]) = total;
            }
    }

private:
    Index share_numbers() const noexcept { return columns_.padded() * (inputs_ + 1); }

    const Kernels<P>& kernels_;
    Columns columns_;
    Index inputs_;
    int shares_;
    Array<Real<P>> sums_;  // [shares][blocks][I + 1][VL], the bias last
};

}  // namespace lstmkit
