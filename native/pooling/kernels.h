// What attention over steps does beside its products. L = lanes; hidden units are padded to whole vectors. Nothing here owns
// memory.
#pragma once

#include "lstmkit/attention_pool.h"

namespace lstmkit {

/// Some rows of hidden units, at distance `width`.
template <typename P>
struct HiddenRows {
    Index rows, width, vectors;
    const Real<P>* v;  ///< [vectors][L], packed with zeros
};

template <typename P>
struct HiddenGradient {
    const Real<P>* hidden;
    const Real<P>* dscores;  ///< [rows]
    Stored<P>* dz;           ///< [rows][vectors][L], written
    Real<P>*dv, *dbias;      ///< [vectors][L], added to
};

/// Some steps, by pointers, and a number for each.
template <typename P>
struct Steps {
    Index rows, features;
    const Stored<P>* const* x;
};

/// They exist once per instruction set and precision, are thread-safe and allocate nothing.
template <typename P>
struct PoolKernels {
    /// hidden = tanh(hidden), and each row's product with v.
    void (*score)(const HiddenRows<P>& rows, Real<P>* hidden, Real<P>* scores) noexcept;
    void (*score_backward)(const HiddenRows<P>& rows, const HiddenGradient<P>& grad) noexcept;
    /// out[f] = sum over steps of shares[r] * x[r][f].
    void (*mix)(const Steps<P>& steps, const Real<P>* shares, Real<P>* out) noexcept;
    /// dshares[r] += x[r] grad.
    void (*mix_backward)(const Steps<P>& steps, const Real<P>* grad, Real<P>* dshares) noexcept;
    /// dx[r][f] = more[r * features + f] + shares[r] * grad[f].
    void (*finish)(const Real<P>* more, const Real<P>* shares, const Real<P>* grad, Index rows, Index features, Stored<P>* const* dx) noexcept;
};

}  // namespace lstmkit
