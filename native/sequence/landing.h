// Where the results of products go that are not kept as Real.
#pragma once

#include <type_traits>

#include "lstmkit/dispatch.h"
#include "lstmkit/memory.h"
#include "sequence/walk.h"

namespace lstmkit {

/// Up to `capacity` rows of `columns` numbers which a product adds up as Real and the caller keeps as Stored. Where the two
/// are one type the product writes to the caller's rows itself.
template <typename P>
class Landing {
    static constexpr bool direct = std::is_same_v<Stored<P>, Real<P>>;

public:
    Landing(Index capacity, Index columns) : sums_(direct ? 0 : capacity * columns), rows_(direct ? 0 : capacity) {
        for (Index r = 0; r < (direct ? 0 : capacity); ++r) rows_[r] = &sums_[r * columns];
    }
    /// Where the product writes what belongs to the rows `to`.
    Real<P>* const* rows(Stored<P>* const* to) const noexcept {
        if constexpr (direct) return to;
        else return rows_.data();
    }
    /// Brings `columns` of the first `count` rows where they belong.
    void land(const Kernels<P>& kernels, Stored<P>* const* to, Index count, Range columns) const noexcept {
        if constexpr (!direct)
            for (Index r = 0; r < count; ++r) kernels.round(rows_[r] + columns.first, to[r] + columns.first, columns.size());
    }

private:
    Array<Real<P>> sums_;
    Array<Real<P>*> rows_;
};

}  // namespace lstmkit
