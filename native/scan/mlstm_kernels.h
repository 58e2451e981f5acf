// A piece of an mLSTM: some steps of one row's chunk, first the gates of all its heads, then head by head passes of the memory through
// the steps. docs/explanation/relatives.md has the equations.
// Heads of half a vector go two by two where their number is even: a group, whose numbers take turns in the lanes, unit by unit. Else a
// group is one head.
// Legend: s is the step that wrote, t the step that reads; N heads, G of them together, L lanes; `wide` is N rounded up to L.
#pragma once

#include "lstmkit/dispatch.h"
#include "lstmkit/mlstm.h"

namespace lstmkit {

/// Numbers of a head's series of steps: those of a chunk, and room for a vector behind the last.
inline constexpr Index series_steps = chunk_steps + 16;

/// Gates of all heads, as products leave them: row t at z + t * step, log i [N] and then f before its sigmoid [N].
template <typename P>
struct GateColumns {
    const Real<P>* z;
    Index step, heads, together;
};

/// What the gates make of a piece, a series of each group [wide / G][series_steps][G]: with what weight a step writes, with what weight it
/// reads, whose product is that of D, and e^-m, the least that divides. `first` [wide] is the weight of the state before the piece.
/// `own`, a series where it is not null: how much of a gradient of m goes to the step's log i, not to the state before: 0, 1 or 1/2.
template <typename P>
struct GateSeries {
    Real<P>*write, *read, *least, *first, *own;
};

template <typename P>
struct GatesForward {
    GateColumns<P> at;
    Index steps;  ///< at most
    /// [wide]: the stabiliser, -infinity where a head is empty, and how far the logarithm of what its memory is divided by lies below
    /// it; updated.
    Real<P>*m, *lag;
    GateSeries<P> to;
    Real<P>* given;  ///< given_numbers: log i and f before its sigmoid as series, written
};

template <typename P>
struct GatesBackward {
    Index heads, together, steps;
    const Real<P>*d_write, *d_read;  ///< series: of the logarithms of both weights
    const Real<P>* d_state;          ///< [wide], of the logarithm of the state's scale behind the piece
    const Real<P>* own;
    Real<P>* d_m;                    ///< [wide], what the stabiliser's gradient has beyond the state's; updated
    Real<P>* given;                  ///< as gates left it; what it holds is lost
    Real<P>* dz;                     ///< like GateColumns' z
    Index dz_step;
};

/// A group's memory [keys][values][G] and its normaliser [keys][G] in the kernels' own order, padded with zeros.
template <typename P>
struct HeadMemory {
    Real<P>*memory, *normaliser;
};

/// One group of a piece.
template <typename P>
struct Piece {
    Index steps, units, together;  ///< units of all its heads
    const Real<P>* z;  ///< row t at z + t * step: query, key, value and output gate, [units] each
    Index step;
    const Real<P>*write, *read, *least;  ///< [steps][G]
    const Real<P>* first;                ///< [G]
    HeadMemory<P> state;  ///< before the piece; updated by forward, faded by backward
    Real<P>* room;        ///< room_numbers
};

template <typename P>
struct PieceBackward {
    Index unit;                            ///< of the row, the group's first
    const Real<P>* const* y;               ///< [steps] -> [H]
    const Real<P>* const* grad_y;          ///< likewise, or null
    HeadMemory<P> d_state;                 ///< the gradient of the state behind the piece, and then of that before it
    Real<P>*d_write, *d_read;              ///< [steps][G], written: of the logarithms of both weights
    Real<P>* d_state_scale;                ///< [G], written: of the logarithm of the scale of the state before the piece
    Real<P>* dz;                           ///< like z
    Index dz_step;
    Fetch* fetch;  ///< a halt for each step; or null
};

/// They exist once per instruction set and precision, are thread-safe and allocate nothing.
template <typename P>
struct MlstmKernels {
    /// Heads of a group.
    Index (*together)(Index units, Index heads) noexcept;
    /// Of a group of so many units: numbers of a normaliser, and of a row of a memory, which has a row for every G of these.
    Index (*padded)(Index units) noexcept;
    Index (*memory_row)(Index units) noexcept;
    Index (*room_numbers)(Index units) noexcept;
    Index (*given_numbers)(Index heads) noexcept;
    /// Returns how many steps it took: fewer where weights would leave the numbers' range.
    Index (*gates)(const GatesForward<P>& piece) noexcept;
    void (*gates_backward)(const GatesBackward<P>& piece) noexcept;
    /// y[t] -> [H], its units from `unit` on written; `streams`: past the caches, and other threads see it after finish.
    void (*forward)(const Piece<P>& piece, Real<P>* const* y, Index unit, bool streams) noexcept;
    void (*finish)() noexcept;
    /// Copies whole vectors, past the caches where they go to multiples of their size.
    void (*leave)(const Real<P>* from, Index count, Real<P>* to) noexcept;
    /// What forward does to the state alone, which goes to `to`, another or itself.
    void (*advance)(const Piece<P>& piece, const HeadMemory<P>& to) noexcept;
    void (*backward)(const Piece<P>& piece, const PieceBackward<P>& job) noexcept;
};

}  // namespace lstmkit
