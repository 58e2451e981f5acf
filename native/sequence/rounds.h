// The rounds of a Mogrifier LSTM (Melis et al. 2020). v[-1] is the input, v[0] the output before, and round k = 1, 2 ... makes
// v[k] = 2 sigmoid(W[k] v[k-1]) v[k-2]. What changes last of each is what an LSTM reads.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"

namespace lstmkit {

/// Where the parts of all rounds lie, one behind the other. Vectors of units and of inputs are padded to whole ones.
struct RoundSizes {
    Index lanes, inputs, units, rounds;

    explicit RoundSizes(const Blocks& s) noexcept : lanes(s.lanes), inputs(s.inputs), units(s.units), rounds(s.rounds) {}
    Index size(Index k) const noexcept { return k % 2 ? inputs : units; }
    Index vectors(Index k) const noexcept { return (size(k) + lanes - 1) / lanes; }
    Index padded(Index k) const noexcept { return vectors(k) * lanes; }
    /// Numbers of v[0] up to v[k - 1], of the gates of the rounds before k, and of their weights as a product has them.
    Index values(Index k) const noexcept { return k / 2 * inputs + (k + 1) / 2 * units; }
    Index gates(Index k) const noexcept { return k / 2 * padded(1) + (k - 1) / 2 * padded(2); }
    Index packed(Index k, Index depth) const noexcept {
        return k / 2 * padded(1) * round_up(units, depth) + (k - 1) / 2 * padded(2) * round_up(inputs, depth);
    }
    /// The same of all rounds.
    Index all_values() const noexcept { return rounds ? values(rounds + 1) : 0; }
    Index all_gates() const noexcept { return rounds ? gates(rounds + 1) : 0; }
    Index all_packed(Index depth) const noexcept { return rounds ? packed(rounds + 1, depth) : 0; }
    /// Of one round among the weights as they are given: those of odd rounds come first.
    template <typename Number>
    Number* weight(Number* all, Index k) const noexcept {
        return all + (k % 2 ? k / 2 : (rounds + 1) / 2 + k / 2 - 1) * inputs * units;
    }
    /// Of the last two rounds alone, of which each takes the place of the one before the last.
    RoundSizes last() const noexcept {
        RoundSizes sizes = *this;
        sizes.rounds = std::min<Index>(rounds, 2);
        return sizes;
    }
};

/// Where some rows leave what they become.
template <typename P>
struct RoundRoom {
    RoundSizes sizes;   ///< of all rounds, or of the last
    Stored<P>* values;  ///< [rows][all_values]
    Real<P>* gates;     ///< [rows][all_gates]

    Index place(Index k) const noexcept { return k > sizes.rounds ? 2 - k % 2 : k; }
    Stored<P>* value(Index k, Index r) const noexcept { return values + r * sizes.all_values() + sizes.values(place(k)); }
    Real<P>* gate(Index k, Index r) const noexcept { return gates + r * sizes.all_gates() + sizes.gates(place(k)); }
};

/// The rounds of a layer forward: their weights, packed.
template <typename P>
class Rounds {
public:
    const RoundSizes sizes;

    Rounds(const Kernels<P>& kernels, const Blocks& s, const Stored<P>* weight)
        : sizes(s), kernels_(kernels), weight_(weight), pack_(sizes.all_packed(depth<P>)), no_bias_(zeros<Real<P>>(gates * s.lanes)) {}

    void pack(Index k) const noexcept {
        const Index columns = sizes.size(k - 1), L = sizes.lanes;
        const Stored<P>* const weight = sizes.weight(weight_, k);
        each_part(sizes.vectors(k), [&](Index first, Index count) {
            for (Index v = 0; v < count; ++v)
                pack_rows(kernels_, weight + (first + v) * L * columns, columns, std::min(L, sizes.size(k) - (first + v) * L),
                          part(k, first) + v * L * depth<P>, count * L);
        });
    }

    /// x, h: [rows] -> v[-1] and v[0]; in the end to the last of each, in `room`.
    void run(Index rows, const Stored<P>** x, const Stored<P>** h, const RoundRoom<P>& room) const noexcept {
        for (Index k = 1; k <= sizes.rounds; ++k) {
            const Stored<P>** const changed = k % 2 ? x : h;
            sum(k, rows, k % 2 ? h : x, room);
            for (Index r = 0; r < rows; ++r) {
                kernels_.mogrify(changed[r], room.gate(k, r), room.value(k, r), sizes.size(k));
                changed[r] = room.value(k, r);
            }
        }
    }

private:
    Stored<P>* part(Index k, Index first) const noexcept {
        return pack_.data() + sizes.packed(k, depth<P>) + first * sizes.lanes * round_up(sizes.size(k - 1), depth<P>);
    }
    void sum(Index k, Index rows, const Stored<P>* const* in, const RoundRoom<P>& room) const noexcept {
        each_part(sizes.vectors(k), [&](Index first, Index count) {
            kernels_.sum({rows, in, 0, sizes.size(k - 1), part(k, first), count, 0, no_bias_.data(), room.gate(k, 0) + first * sizes.lanes,
                          room.sizes.all_gates()});
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
    Array<Stored<P>> values, d_sums;     // [capacity][all_values] and [capacity][all_gates]
    Array<Real<P>> gates, d_x;           // [rows][all_gates] and [rows][padded I]
    Array<Real<P>*> d_x_rows;            // [rows]
    Array<const Stored<P>*> inputs;      // [rows] -> v[-1]

    RoundMemory(const Blocks& s, Index capacity, Index rows)
        : sizes(s), values(capacity * sizes.all_values()), d_sums(capacity * sizes.all_gates()), gates(rows * sizes.all_gates()),
          d_x(sizes.rounds ? rows * sizes.padded(1) : 0), d_x_rows(sizes.rounds ? rows : 0), inputs(sizes.rounds ? rows : 0) {
        for (Index r = 0; sizes.rounds && r < rows; ++r) d_x_rows[r] = &d_x[r * sizes.padded(1)];
    }
    /// The room of gathered rows from `slot` on.
    RoundRoom<P> room(Index slot) const noexcept { return {sizes, values.data() + slot * sizes.all_values(), gates.data()}; }
    Stored<P>* d_sum(Index k, Index slot) const noexcept { return d_sums.data() + slot * sizes.all_gates() + sizes.gates(k); }
};

/// The rounds of a layer backward: their weights, packed the other way round, and the forward ones, for rounds are run again.
template <typename P>
class RoundsBackward {
public:
    const Rounds<P> forward;

    RoundsBackward(const Kernels<P>& kernels, const Blocks& s, const Stored<P>* weight)
        : forward(kernels, s, weight), sizes_(s), kernels_(kernels), weight_(weight), pack_(sizes_.rounds * turned()) {}

    void pack(Index k) const noexcept {
        forward.pack(k);
        const PackedMatrix<P> own = matrix(k);
        for (Index block = 0; block < own.blocks(); ++block) own.fill(kernels_, block, turned_pack(k));
    }

    /// Runs the rounds of `rows` rows again, gathered from `slot` on: x and h as forward had them.
    void repeat(Index rows, const Stored<P>** x, const Stored<P>** h, const RoundMemory<P>& memory, Index slot) const noexcept {
        const RoundRoom<P> room = memory.room(slot);
        for (Index r = 0; r < rows; ++r) {
            memory.inputs[r] = x[r];
            h[r] = std::copy_n(h[r], sizes_.units, room.value(0, r)) - sizes_.units;
        }
        forward.run(rows, x, h, room);
    }

    /// d_x_rows of the memory and d_h: from the gradients of what the LSTM read to those of v[-1] and v[0].
    void run(Index rows, Real<P>* const* d_h, const RoundMemory<P>& memory, Index slot) const noexcept {
        const RoundRoom<P> room = memory.room(slot);
        for (Index k = sizes_.rounds; k > 0; --k) {
            Real<P>* const* const d_x = memory.d_x_rows.data();
            for (Index r = 0; r < rows; ++r)
                kernels_.mogrify_backward(k == 1 ? memory.inputs[r] : room.value(k - 2, r), room.gate(k, r), (k % 2 ? d_x : d_h)[r],
                                          memory.d_sum(k, slot + r), sizes_.size(k));
            const PackedMatrix<P> own = matrix(k);
            own.multiply(kernels_, memory.d_sum(k, slot), sizes_.all_gates(), sizes_.lanes, rows, turned_pack(k), k % 2 ? d_h : d_x, 0,
                         own.groups(), nullptr, false, true);
        }
    }

private:
    Index turned() const noexcept { return sizes_.padded(1) * sizes_.padded(2); }
    Stored<P>* turned_pack(Index k) const noexcept { return pack_.data() + (k - 1) * turned(); }
    /// From the sums of round k to what it read.
    PackedMatrix<P> matrix(Index k) const noexcept {
        const Index columns = sizes_.size(k - 1);
        return {{sizes_.weight(weight_, k), columns, columns, 1, sizes_.size(k), 0, 1}, sizes_.vectors(k), sizes_.lanes, gates};
    }

    RoundSizes sizes_;
    const Kernels<P>& kernels_;
    const Stored<P>* weight_;
    Array<Stored<P>> pack_;
};

}  // namespace lstmkit
