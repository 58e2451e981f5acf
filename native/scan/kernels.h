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
};

template <typename P>
struct ScanRow {
    Index units;
    const Real<P>* z;         ///< [G][units], the gates before their activation
    const Real<P>* h_before;  ///< [units]
    Real<P>* y;               ///< [units], written
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
    void (*forward[2])(const ScanRow<P>& row) noexcept;
    void (*backward[2])(const ScanRowBackward<P>& row) noexcept;
};

/// Of a usable set.
template <typename P>
const ScanKernels<P>& scan_kernels_of(InstructionSet set);

}  // namespace lstmkit
