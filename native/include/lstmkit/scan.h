// Layers of cells whose gates see the input alone, so that h_t = f_t * h_{t-1} + new_t and all gates come out of one product.
// Float32 and Float64. G = gates of the cell, in the order of its weight's rows.
#pragma once

#include "lstmkit/layer.h"

namespace lstmkit {

enum class ScanCell {
    minlstm,  ///< gates i f g: h_t = f/(f+i) h_{t-1} + i/(f+i) g
    mingru,   ///< gates z g: h_t = (1-z) h_{t-1} + z g
};

constexpr Index scan_gates(ScanCell cell) noexcept { return cell == ScanCell::minlstm ? 3 : 2; }

/// What a layer is given; its outputs are its units.
template <typename P>
struct ScanCase : Course {
    ScanCell cell;
    Sequence<const Real<P>> x;  ///< [T, B, I]
    State<const Real<P>> h;     ///< [B, H], before the first step
    const Real<P>* weight;      ///< [GH, I], contiguous
    const Real<P>* bias;        ///< [GH], or null
};

template <typename P>
struct ScanForward {
    ScanCase<P> layer;
    Sequence<Real<P>> y;  ///< [T, B, H], zero beyond a row's length
    State<Real<P>> h;     ///< [B, H], after each row's last step
    Sequence<Real<P>> z;  ///< [T, B, GH], the gates before their activation for backward, of real steps alone; or null
};

/// `y` and `z` are what forward wrote; without `z` backward multiplies again. Upstream: gradients of output and last state; null is zero. Gradients: null is not
/// wanted; weight and bias come together.
template <typename P>
struct ScanBackward {
    ScanCase<P> layer;
    Sequence<const Real<P>> y, z, grad_y;
    State<const Real<P>> grad_h;
    Sequence<Real<P>> dx;  ///< [T, B, I], zero beyond a row's length
    State<Real<P>> dh;     ///< [B, H]
    Real<P>*dweight, *dbias;
};

/// Run one direction on up to `threads` threads. Throw std::invalid_argument, before anything is written, for a call that
/// cannot be.
template <typename P>
void run_scan(const ScanForward<P>& job, int threads, InstructionSet set);

template <typename P>
void run_scan(const ScanBackward<P>& job, int threads, InstructionSet set);

}  // namespace lstmkit
