// Some columns of some places of a lookup. Nothing here owns memory.
#pragma once

#include "lstmkit/lookup.h"

namespace lstmkit {

/// They exist once per instruction set and precision, are thread-safe and allocate nothing. `first` and `count` are columns.
template <typename P>
struct LookupKernels {
    Index lanes;
    void (*read)(const Lookup& lookup, const Real<P>* table, Real<P>* out, Index first, Index count) noexcept;
    /// Adds to the rows of `grad_table`.
    void (*write)(const Lookup& lookup, const Sequence<const Real<P>>& grad, Index inner, Real<P>* grad_table, Index first,
                  Index count) noexcept;
};

}  // namespace lstmkit
