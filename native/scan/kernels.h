// The pointwise part of a scan: one step of one row. Nothing here owns memory.
#pragma once

#include "lstmkit/machine.h"
#include "lstmkit/scan.h"

namespace lstmkit {

/// Columns first..first + count of z[r] = bias + W x[r]; L = lanes.
template <typename P>
struct AffineTile {
    Index rows;
    const Real<P>* const* x;  ///< [rows] -> [inputs]
    Index inputs;
    const Real<P>*weights, *bias;  ///< [inputs][VL] and [VL] of the V vectors that hold `count` columns, 1..4; packed
    Real<P>* const* z;             ///< [rows]
    Index first, count;
    Fetch* fetch;  ///< or null
};

/// Rows whose columns are summed up side by side: as many as hide the latency of a multiply-add.
inline constexpr Index narrow_rows = 12;

/// out[r][k] = sum of in[r][:] weights[k][:] over the parts of a sum, for k < count <= L / 2: so few that two columns share a vector.
template <typename P>
struct NarrowTile {
    Index rows;
    const Real<P>* in;  ///< row r at in + r * in_row
    Index in_row, columns;  ///< whole vectors
    const Real<P>* weights;  ///< [columns / 2][L], two columns in turn, zeros beyond `count`
    Real<P>* sums;           ///< [rows][L], those of even and odd columns in turn, from part to part
    bool add;                ///< to what they hold
    Real<P>* const* out;     ///< where the last part leaves them; or null
    Index count;
    Fetch* fetch;  ///< or null
};

template <typename P>
struct ScanRow {
    Index units;
    const Real<P>* z;  ///< [G][units], the gates before their activation
    Real<P>* h;        ///< [units], updated
    Real<P>* y;        ///< [units], written
    Real<P>* kept;     ///< [G][units], written with z; or null
    bool streams;      ///< whether y and what is kept go past the caches: whole vectors at multiples of their size
};

template <typename P>
struct ScanRowBackward {
    Index units;
    const Real<P>*z, *h_before;
    const Real<P>* grad_y;  ///< [units] or null
    Real<P>* dh;            ///< [units], the gradient of this step's state, and then of that before
    Real<P>* dz;            ///< [G][units], written
};

/// By cell; they exist once per instruction set and precision, are thread-safe and allocate nothing.
template <typename P>
struct ScanKernels {
    void (*affine)(const AffineTile<P>& tile) noexcept;
    void (*narrow)(const NarrowTile<P>& tile) noexcept;
    void (*forward[2])(const ScanRow<P>& row) noexcept;
    void (*backward[2])(const ScanRowBackward<P>& row) noexcept;
    /// After it other threads see what went past the caches.
    void (*finish)() noexcept;
};

}  // namespace lstmkit
