// The products of the layers that read nothing but their input: z = W x for some steps at once, and its gradients.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"

namespace lstmkit {

// So many multiply-adds are worth another thread.
inline constexpr double work_of_a_thread = 200'000;

/// Threads that share the rows of a layer.
inline int row_shares(const Course& layer, Index width, int threads) noexcept {
    const double work = double(layer.steps) * double(layer.batch) * double(layer.inputs + 16) * double(width);
    const double most = std::min(double(layer.batch), 1 + work / work_of_a_thread);
    return static_cast<int>(std::clamp<double>(threads, 1, std::max(1.0, most)));
}

/// The weight [width, inputs] of a layer, packed to multiply rows with.
template <typename P>
class Affine {
public:
    /// The product with inputs: rows of `in` hold x, and zeros up to in_row().
    static Affine forward(const Kernels<P>& kernels, const Real<P>* weight, Index width, Index inputs) {
        return {kernels, {weight, width, 1, inputs, inputs, 0}, inputs};
    }
    /// The product with gradients of z: likewise.
    static Affine backward(const Kernels<P>& kernels, const Real<P>* weight, Index width, Index inputs) {
        return {kernels, {weight, inputs, inputs, 1, width, 0}, width};
    }
    Index in_row() const noexcept { return matrix_.blocks() * gates * kernels_.lanes; }
    void multiply(const Real<P>* in, Index rows, Real<P>* const* out) const noexcept {
        if (matrix_.blocks() == 0)
            for (Index r = 0; r < rows; ++r) std::fill_n(out[r], columns_, Real<P>{});
        matrix_.multiply(kernels_, in, in_row(), gates * kernels_.lanes, rows, pack_.data(), out);
    }

private:
    Affine(const Kernels<P>& kernels, const Matrix<Real<P>>& matrix, Index terms)
        : kernels_(kernels), matrix_(matrix, (terms + gates * kernels.lanes - 1) / (gates * kernels.lanes), kernels.lanes, gates),
          pack_(matrix_.numbers()), columns_(matrix.columns) {
        for (Index block = 0; block < matrix_.blocks(); ++block) matrix_.fill(kernels, block, pack_.data());
    }

    const Kernels<P>& kernels_;
    PackedMatrix<P> matrix_;
    Array<Real<P>> pack_;
    Index columns_;
};

/// The gradients of weight and bias, of which every share of the rows adds up its own.
template <typename P>
class AffineSums {
public:
    AffineSums(const Kernels<P>& kernels, Index width, Index inputs, int shares)
        : kernels_(kernels), width_(width), inputs_(inputs), block_(gates * kernels.lanes), blocks_((width + block_ - 1) / block_),
          shares_(shares), sums_(zeros<Real<P>>(shares * share_numbers())) {}

    /// Adds `rows` rows of dz at distance dz_row, which is whole blocks, and of x; ones are as many pointers to a 1.
    void add(int share, Index rows, const Real<P>* const* x, const Real<P>* const* ones, const Real<P>* dz, Index dz_row) const noexcept {
        for (Index block = 0; block < blocks_; ++block) {
            Real<P>* const sum = sums_.data() + share * share_numbers() + block * (inputs_ + 1) * block_;
            kernels_.outer({rows, inputs_, x, dz + block * block_, dz_row, sum, nullptr});
            kernels_.outer({rows, 1, ones, dz + block * block_, dz_row, sum + inputs_ * block_, nullptr});
        }
    }
    /// Adds the shares in their order, so that the result does not depend on which finished first.
    void join(Real<P>* weight, Real<P>* bias) const noexcept {
        for (Index row = 0; row < width_; ++row)
            for (Index k = 0; k <= inputs_; ++k) {
                const Real<P>* at = sums_.data() + (row / block_ * (inputs_ + 1) + k) * block_ + row % block_;
                Real<P> total = 0;
                for (int share = 0; share < shares_; ++share) total += at[share * share_numbers()];
                (k < inputs_ ? weight[row * inputs_ + k] : bias[row]) = total;
            }
    }

private:
    Index share_numbers() const noexcept { return blocks_ * (inputs_ + 1) * block_; }

    const Kernels<P>& kernels_;
    Index width_, inputs_, block_, blocks_;
    int shares_;
    Array<Real<P>> sums_;  // [shares][blocks][I + 1][4L], the bias last
};

}  // namespace lstmkit
