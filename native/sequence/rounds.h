// The rounds of a Mogrifier LSTM (Melis et al. 2020). v[-1] is the input, v[0] the output before, and round k = 1, 2 ... makes
// v[k] = 2 sigmoid(W[k] v[k-1]) v[k-2]. What changes last of each is what an LSTM reads.
//
// W[k] is one matrix, or the product of two of a low rank. All are numbered m = 1, 2 ...; each reads what the one before it left,
// and those that end a round gate with it.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"

namespace lstmkit {

/// Which numbers each matrix takes and gives, and where what belongs to it lies behind that of those before it.
struct RoundSizes {
    Index lanes, inputs, units, rounds, rank;

    explicit RoundSizes(const Blocks& s) noexcept : lanes(s.lanes), inputs(s.inputs), units(s.units), rounds(s.rounds), rank(s.rank) {}
    /// Matrices of a round, and of all.
    Index factors() const noexcept { return rank ? 2 : 1; }
    Index matrices() const noexcept { return rounds * factors(); }
    Index round(Index m) const noexcept { return (m - 1) / factors() + 1; }
    bool begins(Index m) const noexcept { return (m - 1) % factors() == 0; }
    bool ends(Index m) const noexcept { return m % factors() == 0; }
    /// Whether the round of m changes the input; else it changes the output before.
    bool changes_input(Index m) const noexcept { return round(m) % 2; }
    Index columns(Index m) const noexcept { return !begins(m) ? rank : changes_input(m) ? units : inputs; }
    Index rows(Index m) const noexcept { return !ends(m) ? rank : changes_input(m) ? inputs : units; }
    Index widest() const noexcept { return rounds ? std::max({inputs, units, rank}) : 0; }
    Index vectors(Index m) const noexcept { return padded(rows(m)) / lanes; }
    Index padded(Index count) const noexcept { return round_up(count, lanes); }

    /// The numbers that are left: v[0] and then those of each matrix.
    Index values_before(Index m) const noexcept {
        return m ? units + before(m, [&](Index n) { return rows(n); }) : 0;
    }
    /// Sums, in whole vectors.
    Index sums_before(Index m) const noexcept {
        return before(m, [&](Index n) { return padded(rows(n)); });
    }
    /// Weights as a product has them.
    Index packed_before(Index m, Index depth) const noexcept {
        return before(m, [&](Index n) { return padded(rows(n)) * round_up(columns(n), depth); });
    }
    Index turned_before(Index m) const noexcept {
        return before(m, [&](Index n) { return padded(rows(n)) * padded(columns(n)); });
    }
    Index all_values() const noexcept { return rounds ? values_before(matrices() + 1) : 0; }
    Index all_sums() const noexcept { return sums_before(matrices() + 1); }
    Index all_packed(Index depth) const noexcept { return packed_before(matrices() + 1, depth); }
    Index all_turned() const noexcept { return turned_before(matrices() + 1); }
    /// One matrix among the weights as they are given: odd rounds come first, of a round what reads.
    template <typename Number>
    Number* weight(Number* all, Index m) const noexcept {
        const Index k = round(m), place = k % 2 ? k / 2 : (rounds + 1) / 2 + k / 2 - 1, each = rank ? rank * (inputs + units) : inputs * units;
        return all + place * each + (begins(m) ? 0 : rank * columns(m - 1));
    }
    /// Of the last two rounds alone, each in the place of the one before the last.
    RoundSizes last() const noexcept {
        RoundSizes sizes = *this;
        sizes.rounds = std::min<Index>(rounds, 2);
        return sizes;
    }
    Index place(Index m) const noexcept { return m > matrices() ? (m - 1) % (2 * factors()) + 1 : m; }

private:
    /// The sum of count(n) for n < m, which is the same again after two rounds.
    template <typename Count>
    Index before(Index m, Count count) const noexcept {
        const Index period = 2 * factors();
        Index all = 0, begun = 0;
        for (Index n = 0; n < period; ++n) {
            all += count(n + 1);
            if (n < (m - 1) % period) begun += count(n + 1);
        }
        return (m - 1) / period * all + begun;
    }
};

/// Where some rows leave what they become.
template <typename P>
struct RoundRoom {
    RoundSizes sizes;   ///< of all rounds, or of the last
    Stored<P>* values;  ///< [rows][all_values]
    Real<P>* sums;      ///< [rows][all_sums], in the end the gates
    const Stored<P>** within;  ///< [rows] -> what is read within a round

    /// Those of one matrix.
    State<Stored<P>> values_of(Index m) const noexcept { return {values + sizes.values_before(sizes.place(m)), sizes.all_values()}; }
    State<Real<P>> sums_of(Index m) const noexcept { return {sums + sizes.sums_before(sizes.place(m)), sizes.all_sums()}; }
};

/// The rounds of a layer forward: their weights, packed.
template <typename P>
class Rounds {
public:
    const RoundSizes sizes;

    Rounds(const Kernels<P>& kernels, const Blocks& s, const Stored<P>* weight)
        : sizes(s), kernels_(kernels), weight_(weight), pack_(sizes.all_packed(depth<P>)), no_bias_(zeros<Real<P>>(gates * s.lanes)) {}

    void pack(Index m) const noexcept {
        const Index columns = sizes.columns(m), L = sizes.lanes;
        const Stored<P>* const weight = sizes.weight(weight_, m);
        each_part(sizes.vectors(m), [&](Index first, Index count) {
            for (Index v = 0; v < count; ++v)
                pack_rows(kernels_, weight + (first + v) * L * columns, columns, std::min(L, sizes.rows(m) - (first + v) * L),
                          part(m, first) + v * L * depth<P>, count * L);
        });
    }

    /// x, h: [rows] -> v[-1] and v[0]; in the end to the last of each, in `room`.
    void run(Index rows, const Stored<P>** x, const Stored<P>** h, const RoundRoom<P>& room) const noexcept {
        for (Index m = 1; m <= sizes.matrices(); ++m) {
            const bool of_input = sizes.changes_input(m), ends = sizes.ends(m);
            const Stored<P>** const changed = !ends ? room.within : of_input ? x : h;
            const State<Stored<P>> values = room.values_of(m);
            const State<Real<P>> sums = room.sums_of(m);
            const Index count = sizes.rows(m);
            sum_up(m, rows, !sizes.begins(m) ? room.within : of_input ? h : x, sums);
            for (Index r = 0; r < rows; ++r) {
                if (ends) kernels_.mogrify(changed[r], sums.at(r), values.at(r), count);
                else kernels_.round(sums.at(r), values.at(r), count);
                changed[r] = values.at(r);
            }
        }
    }

private:
    Stored<P>* part(Index m, Index first) const noexcept {
        return pack_.data() + sizes.packed_before(m, depth<P>) + first * sizes.lanes * round_up(sizes.columns(m), depth<P>);
    }
    void sum_up(Index m, Index rows, const Stored<P>* const* in, const State<Real<P>>& sums) const noexcept {
        each_part(sizes.vectors(m), [&](Index first, Index count) {
            kernels_.sum({rows, in, 0, sizes.columns(m), part(m, first), count, 0, no_bias_.data(), sums.data + first * sizes.lanes, sums.row});
        });
    }

    const Kernels<P>& kernels_;
    const Stored<P>* weight_;
    Array<Stored<P>> pack_;
    Array<Real<P>> no_bias_;
};

/// What backward knows of gathered rows and of the rows of one step.
template <typename P>
struct RoundMemory {
    RoundSizes sizes;
    Array<Stored<P>> values, d_sums;                 // [capacity][all_values] and [capacity][all_sums]
    Array<Real<P>> sums, d_x, d_within;              // [rows][all_sums], [rows][padded I] and [rows][padded rank]
    Array<Real<P>*> d_x_rows, d_within_rows;         // [rows]
    Array<const Stored<P>*> inputs, within;          // [rows] -> v[-1], and a RoundRoom's

    RoundMemory(const Blocks& s, Index capacity, Index rows)
        : sizes(s), values(capacity * sizes.all_values()), d_sums(capacity * sizes.all_sums()), sums(rows * sizes.all_sums()),
          d_x((sizes.rounds ? rows : 0) * sizes.padded(s.inputs)), d_within(zeros<Real<P>>(rows * sizes.padded(s.rank))),
          d_x_rows(sizes.rounds ? rows : 0), d_within_rows(s.rank ? rows : 0), inputs(used(rows)), within(used(rows)) {
        for (Index r = 0; r < used(rows); ++r) d_x_rows[r] = &d_x[r * sizes.padded(s.inputs)];
        for (Index r = 0; s.rank && r < rows; ++r) d_within_rows[r] = &d_within[r * sizes.padded(s.rank)];
    }
    /// The room of gathered rows from `slot` on.
    RoundRoom<P> room(Index slot) const noexcept {
        return {sizes, values.data() + slot * sizes.all_values(), sums.data(), within.data()};
    }
    State<Stored<P>> d_sums_of(Index m, Index slot) const noexcept {
        const Index row = sizes.all_sums();
        return {d_sums.data() + slot * row + sizes.sums_before(m), row};
    }

private:
    Index used(Index rows) const noexcept { return sizes.rounds ? rows : 0; }
};

/// The rounds of a layer backward: their weights, packed the other way round, and the forward ones, for rounds are run again.
template <typename P>
class RoundsBackward {
public:
    const Rounds<P> forward;

    RoundsBackward(const Kernels<P>& kernels, const Blocks& s, const Stored<P>* weight)
        : forward(kernels, s, weight), sizes_(s), kernels_(kernels), weight_(weight), turned_(sizes_.all_turned()) {}

    void pack(Index m) const noexcept {
        forward.pack(m);
        const PackedMatrix<P> own = matrix(m);
        for (Index block = 0; block < own.blocks(); ++block) own.fill(kernels_, block, turned(m));
    }

    /// Runs the rounds of `rows` rows again, gathered from `slot` on: x and h as forward had them.
    void repeat(Index rows, const Stored<P>** x, const Stored<P>** h, const RoundMemory<P>& memory, Index slot) const noexcept {
        const RoundRoom<P> room = memory.room(slot);
        const State<Stored<P>> before = room.values_of(0);
        for (Index r = 0; r < rows; ++r) {
            memory.inputs[r] = x[r];
            std::copy_n(h[r], sizes_.units, before.at(r));
            h[r] = before.at(r);
        }
        forward.run(rows, x, h, room);
    }

    /// d_x_rows of the memory and d_h: from the gradients of what the LSTM read to those of v[-1] and v[0].
    void run(Index rows, Real<P>* const* d_h, const RoundMemory<P>& memory, Index slot) const noexcept {
        Real<P>* const *const d_x = memory.d_x_rows.data(), *const *const d_within = memory.d_within_rows.data();
        for (Index m = sizes_.matrices(); m > 0; --m) {
            const bool of_input = sizes_.changes_input(m), begins = sizes_.begins(m);
            const State<Stored<P>> d_sums = memory.d_sums_of(m, slot);
            into_sums(m, rows, !sizes_.ends(m) ? d_within : of_input ? d_x : d_h, memory, slot, d_sums);
            const PackedMatrix<P> own = matrix(m);
            own.multiply(kernels_, d_sums.data, d_sums.row, sizes_.lanes, rows, turned(m),
                         !begins ? d_within : of_input ? d_h : d_x, 0, own.groups(), nullptr, false, begins);
        }
    }

private:
    /// From the gradients of what a matrix left to those of its sums; of what a round changed, on to what that was before.
    void into_sums(Index m, Index rows, Real<P>* const* d, const RoundMemory<P>& memory, Index slot, const State<Stored<P>>& d_sums) const noexcept {
        const Index count = sizes_.rows(m), before = m - 2 * sizes_.factors();
        if (!sizes_.ends(m)) {
            for (Index r = 0; r < rows; ++r) kernels_.round(d[r], d_sums.at(r), sizes_.padded(count));
            return;
        }
        const RoundRoom<P> room = memory.room(slot);
        const State<Stored<P>> changed = room.values_of(std::max<Index>(before, 0));
        const State<Real<P>> gates_of_rows = room.sums_of(m);
        for (Index r = 0; r < rows; ++r)
            kernels_.mogrify_backward(before < 0 ? memory.inputs[r] : changed.at(r), gates_of_rows.at(r), d[r], d_sums.at(r), count);
    }
    Stored<P>* turned(Index m) const noexcept { return turned_.data() + sizes_.turned_before(m); }
    /// From the sums of a matrix to what it read.
    PackedMatrix<P> matrix(Index m) const noexcept {
        const Index columns = sizes_.columns(m);
        return {{sizes_.weight(weight_, m), columns, columns, 1, sizes_.rows(m), 0, 1}, sizes_.vectors(m), sizes_.lanes, gates};
    }

    RoundSizes sizes_;
    const Kernels<P>& kernels_;
    const Stored<P>* weight_;
    Array<Stored<P>> turned_;
};

}  // namespace lstmkit
