// The precisions that a layer runs in: one type per role, so that no kernel and no driver is written twice.
#pragma once

namespace lstmkit {

struct Float32 {
    using Stored = float;  ///< what the caller's x, h, y, weights and their like are kept in
    using Real = float;    ///< what is computed in: products, cell states, packed weights and the sums of their gradients
    using Saved = float;   ///< what the gates' activations are kept in for backward
};

struct Float64 {
    using Stored = double;
    using Real = double;
    using Saved = double;
};

/// Calls LSTMKIT_PRECISION, which a file defines for itself, on each of them.
#define LSTMKIT_EVERY_PRECISION LSTMKIT_PRECISION(Float32) LSTMKIT_PRECISION(Float64)

template <typename P>
using Stored = typename P::Stored;
template <typename P>
using Real = typename P::Real;
template <typename P>
using Saved = typename P::Saved;

}  // namespace lstmkit
