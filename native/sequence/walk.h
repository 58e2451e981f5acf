// How a batch is cut: rows in the order of falling lengths, in shares for threads and blocks for caches; and how one
// block walks through time. At each step the rows that take part are the first ones of their block.
#pragma once

#include <algorithm>

#include "lstmkit/layer.h"

namespace lstmkit {

/// first..last of something that is counted.
struct Range {
    Index first, last;

    Index size() const noexcept { return last - first; }
};

/// Writes the rows of the batch to `order` [B], longest first. Allocates nothing.
void order_rows(const Course& layer, Index* order) noexcept;

/// One of `count` shares of about equal work; may be empty.
Range cut_share(const Course& layer, const Index* order, int share, int count, Index tile_rows) noexcept;

/// Calls run(Range) for blocks of at most `limit` rows and nearly one size, whole tiles where possible.
template <typename Run>
void for_each_block(Range share, Index limit, Index tile_rows, Run run) {
    const Index rows = share.last - share.first, count = (rows + limit - 1) / limit;
    if (rows == 0) return;
    Index size = (rows + count - 1) / count;
    if (count > 1) size = (size + tile_rows - 1) / tile_rows * tile_rows;
    for (Index first = share.first; first < share.last; first += size) run(Range{first, std::min(share.last, first + size)});
}

/// The time after the last step.
inline constexpr Index no_step = -1;

/// One block of rows on its way through time, in the layer's direction.
class Walk {
public:
    Walk(const Course& layer, const Index* order, Range rows) noexcept
        : layer_(layer), rows_(order + rows.first), count_(rows.last - rows.first) {}

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
    LSTMKIT_ALWAYS_INLINE const Number* before(Index t, Index r, const Sequence<const Number>& values, const State<const Number>& initial,
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

/// Zeroes `columns` of every step of every row beyond its length.
template <typename Number>
void zero_padding(const Course& layer, const Walk& walk, const Sequence<Number>& values, Range columns) noexcept {
    if (!values || !layer.lengths) return;
    for (Index r = 0; r < walk.rows(); ++r)
        for (Index t = walk.length(r); t < layer.steps; ++t)
            std::fill_n(values.at(t, walk.row(r)) + columns.first, columns.size(), Number{});
}

}  // namespace lstmkit
