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

/// z = bias + W x, with W [width, inputs] and the bias, or zeros, packed.
template <typename P>
class AffineForward {
public:
    AffineForward(const ScanKernels<P>& kernels, Index lanes, const Real<P>* weight, const Real<P>* bias, Index width, Index inputs)
        : kernels_(kernels), width_(width), inputs_(inputs), block_(gates * lanes), blocks_((width + block_ - 1) / block_),
          weights_(zeros<Real<P>>(blocks_ * block_ * inputs)), bias_(zeros<Real<P>>(blocks_ * block_)) {
        for (Index row = 0; row < width; ++row) {
            Real<P>* const to = weights_.data() + row / block_ * block_ * inputs + row % block_;
            for (Index k = 0; k < inputs; ++k) to[k * block_] = weight[row * inputs + k];
            if (bias) bias_[row] = bias[row];
        }
    }
    Index width() const noexcept { return width_; }
    void multiply(const Real<P>* const* x, Index rows, Real<P>* const* z) const noexcept {
        for (Index block = 0; block < blocks_; ++block)
            kernels_.affine({rows, x, inputs_, weights_.data() + block * block_ * inputs_, bias_.data() + block * block_, z, block * block_,
                             std::min(block_, width_ - block * block_)});
    }

private:
    const ScanKernels<P>& kernels_;
    Index width_, inputs_, block_, blocks_;
    Array<Real<P>> weights_, bias_;  // [blocks][I][4L], [blocks][4L]
};

/// dx = dz W, with W [width, inputs] packed; rows of dz hold zeros from width up to in_row().
template <typename P>
class AffineBackward {
public:
    AffineBackward(const Kernels<P>& kernels, const Real<P>* weight, Index width, Index inputs)
        : kernels_(kernels), matrix_({weight, inputs, inputs, 1, width, 0, gates}, (width + gates * kernels.lanes - 1) / (gates * kernels.lanes), kernels.lanes, gates),
          pack_(matrix_.numbers()) {
        for (Index block = 0; block < matrix_.blocks(); ++block) matrix_.fill(kernels, block, pack_.data());
    }
    Index in_row() const noexcept { return matrix_.blocks() * gates * kernels_.lanes; }
    void multiply(const Real<P>* dz, Index rows, Real<P>* const* dx) const noexcept {
        matrix_.multiply(kernels_, dz, in_row(), gates * kernels_.lanes, rows, pack_.data(), dx);
    }

private:
    const Kernels<P>& kernels_;
    PackedMatrix<P> matrix_;
    Array<Real<P>> pack_;
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
            kernels_.outer({rows, 0, inputs_, x, dz + block * block_, dz_row, gates, sum, nullptr});
            kernels_.outer({rows, 0, 1, ones, dz + block * block_, dz_row, gates, sum + inputs_ * block_, nullptr});
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
