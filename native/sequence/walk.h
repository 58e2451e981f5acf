// How a batch is cut: rows in the order of falling lengths, in shares for threads and blocks for caches; and how one
// block walks through time. At each step the rows that take part are the first ones of their block.
#pragma once

#include <vector>

#include "lstmkit/layer.h"

namespace lstmkit {

/// Rows first..last of the order.
struct Range {
    Index first, last;
};

/// Throws std::invalid_argument unless the sizes and lengths of `layer` can be.
template <typename P>
void check_case(const LayerCase<P>& layer);

/// Rows of the batch, longest first.
std::vector<Index> order_rows(const Course& layer);

/// Shares of about equal work, at most `threads`, fewer where there is too little to do.
std::vector<Range> cut_shares(const Course& layer, const std::vector<Index>& order, int threads, Index tile_rows);

/// Blocks of at most `limit` rows and nearly one size, whole tiles where possible.
std::vector<Range> cut_blocks(Range share, Index limit, Index tile_rows);

/// One block of rows on its way through time, in the layer's direction.
class Walk {
public:
    Walk(const Course& layer, const std::vector<Index>& order, Range rows) noexcept
        : layer_(layer), rows_(order.data() + rows.first), count_(rows.last - rows.first) {}

    Index rows() const noexcept { return count_; }
    /// The batch's row for row r of this block.
    Index row(Index r) const noexcept { return rows_[r]; }
    Index length(Index r) const noexcept { return layer_.lengths ? layer_.lengths[row(r)] : layer_.steps; }
    Index steps() const noexcept { return length(0); }
    /// The time of the n-th step that is taken.
    Index time(Index n) const noexcept { return layer_.backwards ? steps() - 1 - n : n; }
    /// How many rows take part at time t.
    Index active(Index t) const noexcept {
        Index count = count_;
        while (layer_.lengths && length(count - 1) <= t) --count;
        return count;
    }
    /// Whether the state of row r is zeroed before the step at time t.
    bool is_reset(Index t, Index r) const noexcept {
        const Index border = layer_.backwards ? t + 1 : t;
        return layer_.resets && border < length(r) && layer_.resets[border * layer_.batch + row(r)];
    }
    /// Whether the step at time t is the first of row r.
    bool is_first(Index t, Index r) const noexcept { return t == (layer_.backwards ? length(r) - 1 : 0); }
    Index last_time(Index r) const noexcept { return layer_.backwards ? 0 : length(r) - 1; }

    /// What `values` held before the step at time t: the neighbour's, `initial`, or `zeros`.
    template <typename Number>
    const Number* before(Index t, Index r, const Sequence<const Number>& values, const State<const Number>& initial,
                         const Number* zeros) const noexcept {
        if (is_reset(t, r)) return zeros;
        if (is_first(t, r)) return initial ? initial.at(row(r)) : zeros;
        return values.at(layer_.backwards ? t + 1 : t - 1, row(r));
    }

private:
    const Course& layer_;
    const Index* rows_;
    Index count_;
};

/// Zeroes `width` numbers of every step of every row beyond its length.
template <typename Number>
void zero_padding(const Course& layer, const Walk& walk, const Sequence<Number>& values, Index width) noexcept;

}  // namespace lstmkit
