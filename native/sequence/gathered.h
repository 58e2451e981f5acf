// What backward keeps between steps: the gradients that flow back in time, and those of several steps that wait until the
// weights' gradient takes them together.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "sequence/landing.h"
#include "sequence/rounds.h"

namespace lstmkit {

// Rows between the last of one block and the first of the next: without them blocks lie a multiple of 4 KiB apart and
// fight for the same few lines of the caches.
inline constexpr Index spare_rows = 7;

/// The gradients of the pre-activations of up to `capacity` rows of several steps, shared by a team.
template <typename P>
struct Gathered {
    Index capacity, dz_block;
    Array<Stored<P>> dz;                // [blocks][capacity + spare_rows][G][L]
    Array<Stored<P>> d_output, hidden;  // [capacity][wide(R)] and [capacity][wide(H)] where there is a projection
    Array<Stored<P>> masked;            // [capacity][R], the outputs before, where they are masked
    Array<Stored<P>> middle;            // [capacity][V]
    RoundMemory<P> rounds;
    Landing<P> dx;

    /// `rows`: of a step.
    Gathered(const Blocks& s, bool projected, bool wants_x, bool is_masked, Index capacity, Index rows)
        : capacity(capacity), dz_block((capacity + spare_rows) * s.sums()), dz(s.blocks * dz_block),
          d_output(zeros<Stored<P>>(projected ? capacity * s.wide(s.outputs) : 0)),
          hidden(zeros<Stored<P>>(projected ? capacity * s.wide(s.units) : 0)), masked(is_masked ? capacity * s.outputs : 0),
          middle(capacity * s.middle()), rounds(s, capacity, rows), dx(wants_x ? capacity : 0, s.inputs) {}
};

/// Where the gathered rows came from and where their gradients go; each member of a team has its own.
template <typename P>
struct Sources {
    const Stored<P> **x, **h, **d_output, **middle, **ones;
    Stored<P>** dx;
    Stored<P> *x_groups, *h_groups, *d_output_groups, *middle_groups, *right_groups;  ///< room for them in groups of D
};

template <typename P>
class SourceMemory {
public:
    SourceMemory(const Blocks& s, int members, Index capacity)
        : capacity_(capacity), rows_(members * capacity), stored_(5 * rows_), dx_(rows_), one_(depth<P>), inputs_(room(s.inputs)),
          outputs_(room(s.outputs)), middle_(room(std::max(s.middle(), RoundSizes(s).widest()))), right_(room(std::max(s.sums(), s.gate_vectors()))),
          groups_(members * numbers()) {
        std::fill_n(one_.data(), depth<P>, Stored<P>{1});
        std::fill_n(&stored_[4 * rows_], rows_, one_.data());
    }
    Sources<P> of(int member) const noexcept {
        const Index first = member * capacity_;
        Stored<P>* const x = &groups_[member * numbers()];
        Stored<P> *const h = x + inputs_, *const d_output = h + outputs_, *const middle = d_output + outputs_;
        return {&stored_[first], &stored_[rows_ + first], &stored_[2 * rows_ + first], &stored_[3 * rows_ + first],
                &stored_[4 * rows_ + first], &dx_[first], x, h, d_output, middle, middle + middle_};
    }

private:
    Index numbers() const noexcept { return inputs_ + 2 * outputs_ + middle_ + right_; }
    Index room(Index columns) const noexcept { return depth<P> == 1 ? 0 : round_up(capacity_, depth<P>) * columns; }

    Index capacity_, rows_;
    Array<const Stored<P>*> stored_;
    Array<Stored<P>*> dx_;
    Array<Stored<P>> one_;
    Index inputs_, outputs_, middle_, right_;
    Array<Stored<P>> groups_;
};

/// Puts `count` rows into `room`, two by two with their numbers in turn as the outer product takes them, and points to the
/// pairs instead; a missing row is zeros. Where D is 1 the rows stay what they are.
template <typename P>
void group_rows(const Kernels<P>& kernels, const Stored<P>** rows, Index count, Index columns, Stored<P>* room) noexcept {
    if constexpr (depth<P> == 2)
        for (Index g = 0; 2 * g < count; ++g, room += 2 * columns) {
            kernels.interleave(rows[2 * g], 2 * g + 1 < count ? rows[2 * g + 1] : nullptr, room, columns);
            rows[g] = room;
        }
}

/// Rows in a regular distance.
template <typename P>
struct Right {
    const Stored<P>* data;
    Index row;
};

/// The same for rows in a regular distance.
template <typename P>
Right<P> group_right(const Kernels<P>& kernels, Right<P> right, Index count, Index columns, Stored<P>* room) noexcept {
    if constexpr (depth<P> == 1) return right;
    for (Index r = 0; r < count; r += 2) {
        const Stored<P>* const even = right.data + r * right.row;
        kernels.interleave(even, r + 1 < count ? even + right.row : nullptr, room + r * columns, columns);
    }
    return {room, 2 * columns};
}

/// What flows from step to step.
template <typename P>
struct Flow {
    Array<Real<P>> d_output, d_states;  // [rows][padded R] and [rows][S][padded H]
    Array<Real<P>> d_hidden;            // [rows][padded H], before a projection
    Array<Real<P>> unmasked;            // [rows][padded R], of the outputs before as the sums read them
    Array<Real<P>> d_middle;            // [rows][V]
    Array<Real<P>*> d_output_rows, d_hidden_rows, unmasked_rows, d_middle_rows;

    Flow(const Blocks& s, bool projected, bool is_masked, Index rows)
        : d_output(rows * s.padded_outputs()), d_states(rows * s.shape.states * s.padded()),
          // What pads a row is multiplied by zeros, and must not be NaN.
          d_hidden(zeros<Real<P>>(projected ? rows * s.padded() : 0)), unmasked(is_masked ? rows * s.padded_outputs() : 0),
          d_middle(rows * s.middle()), d_output_rows(rows), d_hidden_rows(rows), unmasked_rows(rows), d_middle_rows(rows) {
        for (Index r = 0; r < rows; ++r) {
            d_middle_rows[r] = d_middle.data() + r * s.middle();
            d_output_rows[r] = &d_output[r * s.padded_outputs()];
            d_hidden_rows[r] = &d_hidden[projected ? r * s.padded() : 0];
            unmasked_rows[r] = &unmasked[is_masked ? r * s.padded_outputs() : 0];
        }
    }
};

}  // namespace lstmkit
