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

/// The parameters of a product, or of `groups` products of the same width one behind the other: W [groups, width, inputs] and a
/// bias [groups, width], or null.
template <typename P>
struct AffineWeight {
    const Real<P>*weight, *bias;
    Index width, inputs, groups = 1;
};

/// z = bias + W x of one group, with W and the bias, or zeros, packed.
template <typename P>
class AffineForward {
public:
    AffineForward(const ScanKernels<P>& kernels, Index lanes, Index tile_rows, const AffineWeight<P>& from)
        : kernels_(kernels), columns_{from.width, lanes}, inputs_(from.inputs), tile_rows_(tile_rows),
          weights_(zeros<Real<P>>(from.groups * columns_.padded() * inputs_)), bias_(zeros<Real<P>>(from.groups * columns_.padded())) {
        const Index block = columns_.block();
        for (Index group = 0; group < from.groups; ++group)
            for (Index row = 0; row < from.width; ++row) {
                const Index given = group * from.width + row, next = columns_.vectors(row / block) * lanes;
                Real<P>* const to = weights_of(group) + row / block * block * inputs_ + row % block;
                for (Index k = 0; k < inputs_; ++k) to[k * next] = from.weight[given * inputs_ + k];
                if (from.bias) bias_[group * columns_.padded() + row] = from.bias[given];
            }
    }
    void multiply(const Real<P>* const* x, Index rows, Real<P>* const* z, Fetch* fetch = nullptr, Index group = 0) const noexcept {
        const Real<P>* const bias = bias_.data() + group * columns_.padded();
        for (Index n = 0, first = 0; n < columns_.blocks(); ++n, first += columns_.block())
            kernels_.affine({rows, x, inputs_, weights_of(group) + first * inputs_, bias + first, z, first, columns_.count(n), fetch});
    }
    Index halts(Index rows) const noexcept { return columns_.blocks() * (rows / tile_rows_); }

private:
    Real<P>* weights_of(Index group) const noexcept { return weights_.data() + group * columns_.padded() * inputs_; }

    const ScanKernels<P>& kernels_;
    Columns columns_;
    Index inputs_, tile_rows_;
    Array<Real<P>> weights_, bias_;  // [groups][blocks][I][VL], [groups][blocks][VL]
};

/// dx of some rows, to which products are added one after the other.
template <typename P>
struct InputGradient {
    Index rows;
    Real<P>* const* dx;
    Real<P>* sums;  // [rows][L], room until the last product; not needed for one alone
    bool is_begun = false;
};

/// dx += dz W of one group, with W packed; rows of dz hold zeros from width up to in_row() at least. `streams`, for whole vectors at
/// multiples of their size: past the caches.
template <typename P>
class AffineBackward {
public:
    AffineBackward(const Kernels<P>& kernels, const ScanKernels<P>& scans, const AffineWeight<P>& from)
        : kernels_(kernels), scans_(scans), inputs_(from.inputs),
          vectors_(vectors_of_block(Columns{from.width, kernels.lanes}.padded() / kernels.lanes)),
          matrix_(group_of(from, 0)), pack_(zeros<Real<P>>(from.groups * numbers())) {
        for (Index group = 0; group < from.groups; ++group) fill(from, group);
    }
    /// An odd number of lines where it is many, so that the lines of a column do not all share a set of the cache.
    Index in_row() const noexcept { return columns() + (columns() > gates * kernels_.lanes ? 16 : 0); }
    void multiply(const Real<P>* dz, Index group, InputGradient<P>& to, bool is_last, Fetch* fetch = nullptr, bool streams = false) const noexcept {
        const Real<P>* const weights = pack_.data() + group * numbers();
        if (is_narrow())
            scans_.narrow({to.rows, dz, in_row(), columns(), weights, to.sums, to.is_begun, is_last ? to.dx : nullptr, inputs_, fetch});
        else
            matrix_.multiply(kernels_, dz, in_row(), vectors_ * kernels_.lanes, to.rows, weights, to.dx, 0, matrix_.groups(), fetch, streams && is_last,
                             to.is_begun);
        to.is_begun = true;
    }
    Index halts(Index rows) const noexcept {
        return is_narrow() ? (rows + narrow_rows - 1) / narrow_rows * (columns() / kernels_.lanes)
                           : matrix_.halts(rows, kernels_.tile_rows, 0, matrix_.groups());
    }

private:
    Index columns() const noexcept { return matrix_.blocks() * vectors_ * kernels_.lanes; }
    bool is_narrow() const noexcept { return 2 * inputs_ <= kernels_.lanes; }
    Index numbers() const noexcept { return is_narrow() ? kernels_.lanes / 2 * columns() : matrix_.numbers(); }
    /// So many that no block multiplies padding.
    static Index vectors_of_block(Index all) noexcept { return all % 4 == 0 ? 4 : all % 2 == 0 ? 2 : 1; }

    PackedMatrix<P> group_of(const AffineWeight<P>& from, Index group) const noexcept {
        const Real<P>* const weight = from.weight + group * from.width * from.inputs;
        const Index block = vectors_ * kernels_.lanes;
        return {{weight, from.inputs, from.inputs, 1, from.width, 0, vectors_}, round_up(from.width, kernels_.lanes) / block, kernels_.lanes, gates};
    }
    void fill(const AffineWeight<P>& from, Index group) noexcept {
        Real<P>* const pack = pack_.data() + group * numbers();
        const PackedMatrix<P> matrix = group_of(from, group);
        for (Index block = 0; block < matrix.blocks() && !is_narrow(); ++block) matrix.fill(kernels_, block, pack);
        for (Index row = 0; row < from.width && is_narrow(); ++row)
            for (Index k = 0; k < inputs_; ++k) pack[row / 2 * kernels_.lanes + 2 * k + row % 2] = from.weight[(group * from.width + row) * inputs_ + k];
    }

    const Kernels<P>& kernels_;
    const ScanKernels<P>& scans_;
    Index inputs_, vectors_;
    PackedMatrix<P> matrix_;
    Array<Real<P>> pack_;
};

/// The gradients of weight and bias, of which every share of the rows adds up its own.
template <typename P>
class AffineSums {
public:
    AffineSums(const Kernels<P>& kernels, Index width, Index inputs, int shares, Index groups = 1)
        : kernels_(kernels), columns_{width, kernels.lanes}, inputs_(inputs), groups_(groups), shares_(shares),
          sums_(zeros<Real<P>>(shares * groups * group_numbers())) {}

    /// Adds `rows` rows of dz at distance dz_row, which is whole vectors, and of x, with a 1 behind each; or ones are as many pointers
    /// to a 1.
    void add(int share, Index rows, const Real<P>* const* x, const Real<P>* const* ones, const Real<P>* dz, Index dz_row,
             Fetch* fetch = nullptr, Index group = 0) const noexcept {
        for (Index n = 0, first = 0; n < columns_.blocks(); ++n, first += columns_.block()) {
            Real<P>* const sum = at(share, group) + first * (inputs_ + 1);
            const Index vectors = columns_.vectors(n);
            kernels_.outer({rows, 0, ones ? inputs_ : inputs_ + 1, x, dz + first, dz_row, vectors, sum, fetch});
            if (ones) kernels_.outer({rows, 0, 1, ones, dz + first, dz_row, vectors, sum + inputs_ * vectors * columns_.lanes, nullptr});
        }
    }
    Index halts() const noexcept { return columns_.blocks() * (inputs_ / kernels_.tile_rows); }
    /// Adds the shares in their order, so that the result does not depend on which finished first; `place` says which of the
    /// caller's rows a row is.
    template <typename Place>
    void join(Real<P>* weight, Real<P>* bias, Place place) const noexcept {
        const Index block = columns_.block();
        for (Index row = 0; row < groups_ * columns_.width; ++row) {
            const Index group = row / columns_.width, own = row % columns_.width, n = own / block, to = place(row);
            const Index first = n * block * (inputs_ + 1) + own % block, next = columns_.vectors(n) * columns_.lanes;
            for (Index k = 0; k <= inputs_; ++k) {
                Real<P> total = 0;
                for (int share = 0; share < shares_; ++share) total += at(share, group)[first + k * next];
                (k < inputs_ ? weight[to * inputs_ + k] : bias[to]) = total;
            }
        }
    }
    void join(Real<P>* weight, Real<P>* bias) const noexcept {
        join(weight, bias, [](Index row) { return row; });
    }

private:
    Index group_numbers() const noexcept { return columns_.padded() * (inputs_ + 1); }
    Real<P>* at(int share, Index group) const noexcept { return sums_.data() + (share * groups_ + group) * group_numbers(); }

    const Kernels<P>& kernels_;
    Columns columns_;
    Index inputs_, groups_;
    int shares_;
    Array<Real<P>> sums_;  // [shares][groups][blocks][I + 1][VL], the bias last
};

}  // namespace lstmkit
