// Compiled once per instruction set, for Float32 and Float64, like simd/kernels.cpp.
#include "scan/mlstm_kernels.h"

#include "scan/mlstm_gates.h"
#include "scan/passes.h"
#include "scan/totals.h"

namespace lstmkit {
namespace {

constexpr Index padded(Index count) noexcept { return (count + lanes - 1) / lanes * lanes; }

/// Between rows of a panel; an odd number of vectors where there are many, so that the lines of a column share no set of the cache.
constexpr Index panel_row(Index columns) noexcept { return padded(columns) + (padded(columns) > gates * lanes ? lanes : 0); }

constexpr Index panel_numbers(Index rows, Index columns) noexcept { return padded(rows) * panel_row(columns); }

/// Takes what a piece works on from the room of a call.
class Room {
public:
    explicit Room(Real* from) noexcept : next_(from) {}
    LSTMKIT_INLINE Panel panel(Index rows, Index columns) noexcept { return {numbers(panel_numbers(rows, columns)), panel_row(columns)}; }
    LSTMKIT_INLINE Real* numbers(Index count) noexcept {
        Real* const first = next_;
        next_ += count;
        return first;
    }

private:
    Real* next_;
};

Index room_numbers(Index units) noexcept {
    const Index L = padded(chunk_steps);
    return 7 * panel_numbers(L, units) + 2 * panel_numbers(units, units) + (lanes + 8) * L;
}

/// Groups of so many units, at most two vectors; or of any number where none is known. One head, or G heads in one vector.
template <Index known, Index G = 1>
struct Group {
    static constexpr Index V = (known + lanes - 1) / lanes;
    static constexpr bool is_whole = known > 0 && known % lanes == 0;

    static LSTMKIT_INLINE Index units(const Piece<Precision>& c) noexcept { return known > 0 ? known : c.units; }
    static LSTMKIT_INLINE Vector broadcast(const Real* from) noexcept { return broadcast_some<G>(from); }

    /// Units as rows of the caller have them, head after head.
    static LSTMKIT_INLINE Vector load_row(const Real* from, Index count) noexcept {
        const Vector row = load_up_to(from, count);
        if constexpr (G == 1) return row;
        Integers which;
        for (Index lane = 0; lane < lanes; ++lane) which[lane] = lane % G * (lanes / G) + lane / G;
        return shuffle(row, row, which);
    }
    static LSTMKIT_INLINE Vector as_row(Vector units) noexcept {
        if constexpr (G == 1) return units;
        Integers which;
        for (Index lane = 0; lane < lanes; ++lane) which[lane] = lane % (lanes / G) * G + lane / (lanes / G);
        return shuffle(units, units, which);
    }

    static constexpr Real ones[] = {1, 1};

    /// Calls work(first column, count of columns) over the vectors of a row.
    template <typename Work>
    static LSTMKIT_INLINE void each_vector(Index units, Work work) noexcept {
        if constexpr (V > 0) {
            work(Index{0}, known < lanes ? known : lanes);
            if constexpr (V == 2) work(lanes, known - lanes);
        } else
            for (Index u = 0; u < units; u += lanes) work(u, units - u < lanes ? units - u : lanes);
    }
    template <typename Work>
    static LSTMKIT_INLINE void each_part(const Piece<Precision>& c, Work work) noexcept {
        for (Index t = 0; t < c.steps; ++t) each_vector(units(c), [&](Index u, Index count) noexcept { work(t, u, count); });
    }
    /// A normaliser on its way through steps, in registers where its size is known.
    class Held {
    public:
        LSTMKIT_INLINE Held(Real* at, Index units) noexcept : at_(at) {
            if constexpr (V > 0) each_vector(units, [&](Index u, Index) noexcept { parts_[u / lanes] = load(at_ + u); });
        }
        LSTMKIT_INLINE Vector add(Index u, Vector more) noexcept {
            if constexpr (V > 0) return parts_[u / lanes] += more;
            more += load(at_ + u);
            store(at_ + u, more);
            return more;
        }
        LSTMKIT_INLINE void leave() const noexcept {
            if constexpr (V > 0) each_vector(known, [&](Index u, Index) noexcept { store(at_ + u, parts_[u / lanes]); });
        }

    private:
        Real* at_;
        Vector parts_[V > 0 ? V : 1];
    };

    static LSTMKIT_INLINE Panel memory_of(const HeadMemory<Precision>& state, Index units) noexcept { return {state.memory, panel_row(units)}; }
    static LSTMKIT_INLINE Vector read(const Piece<Precision>& c, Index side, Index t, Index u, Index count) noexcept {
        return load_up_to(c.z + t * c.step + side * units(c) + u, count);
    }
    static LSTMKIT_INLINE void turn(Panel from, Index units, Panel to) noexcept {
        for (Index r = 0; r < units; r += lanes)
            for (Index c = 0; c < units; c += lanes) transpose<G>(from.at(r, c), from.row, to.at(c, r), to.row);
    }

    /// Calls take(t, first column, count of columns, sigma of the output gates) at each step; four vectors side by side, for one alone would
    /// wait for each of its operations.
    template <typename Take>
    static LSTMKIT_INLINE void each_gate(const Piece<Precision>& c, Take take) noexcept {
        constexpr Index columns = V == 2 ? 2 : 1, steps = 4 / columns;
        for (Index t = 0; t < c.steps; t += steps)
            for (Index first = 0; first < units(c); first += columns * lanes) {
                const auto u = [first](Index n) noexcept { return first + n % columns * lanes; };
                const auto count = [&](Index n) noexcept { return is_whole || units(c) - u(n) >= lanes ? lanes : units(c) - u(n); };
                const Index last = c.steps - t < steps ? c.steps - t - 1 : steps - 1;
                Bundle<4> gates;
#pragma GCC unroll 4
                for (Index n = 0; n < 4; ++n) gates.part[n] = read(c, 3, t + (n / columns < last ? n / columns : last), u(n), count(n));
                gates = sigmoid(gates);
#pragma GCC unroll 4
                for (Index n = 0; n < 4; ++n)
                    if (n / columns <= last) take(t + n / columns, u(n), count(n), gates.part[n]);
            }
    }

    /// Calls take(t, first column, count of columns, vector of out) at each step of a pass, in its order; where the size is known that goes
    /// on beside the products of the last rows.
    template <typename Take>
    static LSTMKIT_INLINE void walk_through(const Pass& pass, Take take) noexcept {
        if constexpr (known > 0) {
            constexpr Index rows = known / G, at_once = rows < pass_rows(V) ? rows : pass_rows(V);
            static_assert(rows % at_once == 0);
            using Block = typename PassBlock<V>::template Rows<at_once>;
            for (Index first = 0; first < rows - at_once; first += at_once) Block::run({pass, 0}, first);
            Block::template take_all<G>(pass, rows - at_once, 0, [&](Index t, Index u, Vector sum) noexcept {
                take(t, u, known - u < lanes ? known - u : lanes, sum);
            });
        } else {
            walk(pass);
            for (Index step = 0; step < pass.steps; ++step) {
                const Index t = pass.backwards ? pass.steps - 1 - step : step;
                each_vector(pass.rows, [&](Index u, Index count) noexcept { take(t, u, count, load(pass.out.at(t, u))); });
            }
        }
    }

    /// to = state times `factor` [G]; where that is 0 it may have been anything.
    static void fade(const HeadMemory<Precision>& state, Index units, const Real* factor, const HeadMemory<Precision>& to) noexcept {
        const Panel memory = memory_of(state, units), faded = memory_of(to, units);
        const Vector by = broadcast(factor), nothing = {};
        const auto times = [&](const Real* from) noexcept { return by == nothing ? nothing : load(from) * by; };
        for (Index k = 0; k < units / G; ++k)
            each_vector(units, [&](Index u, Index) noexcept { store(faded.at(k, u), times(memory.at(k, u))); });
        each_vector(units, [&](Index u, Index) noexcept { store(to.normaliser + u, times(state.normaliser + u)); });
    }

    /// What forward and backward both need of a piece. The state has faded then, and its normaliser is that behind the piece.
    struct Reading {
        Panel query, key, value;  // weighted; the values are the products themselves where these are whole vectors
        Real *weight, *inverse;   // [t][G]: what divides before its size is looked at, and one over what divides

        LSTMKIT_INLINE Reading(const Piece<Precision>& c, Room& room) noexcept
            : query(room.panel(c.steps, units(c))), key(room.panel(c.steps, units(c))),
              value(is_whole ? Panel{const_cast<Real*>(c.z) + 2 * known, c.step} : room.panel(c.steps, units(c))),
              weight(room.numbers(padded(G * c.steps))), inverse(room.numbers(padded(G * c.steps))) {
            fade(c.state, units(c), c.first, c.state);
            constexpr Index at_once = lanes / G;
            Held normaliser(c.state.normaliser, units(c));
            for (Index first = 0; first < c.steps; first += at_once) {
                Vector parts[at_once] = {};
#pragma GCC unroll 16
                for (Index n = 0; n < at_once; ++n)
                    if (first + n < c.steps) parts[n] = weigh(c, first + n, normaliser);
                store(weight + first * G, totals<G>(parts));
            }
            normaliser.leave();
            for (Index t = 0; t < G * c.steps; t += lanes) {
                const Vector size = magnitude(load(weight + t)), least = load(c.least + t);
                store(inverse + t, one / (size > least ? size : least));
            }
        }

    private:
        /// One step; the sum of what is returned divides what it reads.
        LSTMKIT_INLINE Vector weigh(const Piece<Precision>& c, Index t, Held& normaliser) const noexcept {
            Vector part = {};
            each_vector(units(c), [&](Index u, Index count) noexcept {
                const Vector q = read(c, 0, t, u, count) * broadcast(c.read + t * G), k = read(c, 1, t, u, count) * broadcast(c.write + t * G);
                part += q * normaliser.add(u, k);
                store(query.at(t, u), q), store(key.at(t, u), k);
                if constexpr (!is_whole) store(value.at(t, u), read(c, 2, t, u, count));
            });
            return part;
        }
    };

    // Each of the three copies what it is given: what is written might otherwise be a part of it.
    static void forward(const Piece<Precision>& piece, Real* const* y, Index unit, bool streams) noexcept {
        const Piece<Precision> c = piece;
        Room room(c.room);
        const Reading now(c, room);
        const Index S = units(c);
        const Panel gates = room.panel(c.steps, S), out = room.panel(c.steps, S);
        each_gate(c, [&](Index t, Index u, Index, Vector gate) noexcept { store(gates.at(t, u), gate); });
        walk_through({S / G, padded(S), c.steps, now.key, now.value, now.query, memory_of(c.state, S), out, false},
                     [&](Index t, Index u, Index count, Vector sum) noexcept {
                         const Vector h = as_row(load(gates.at(t, u)) * sum * broadcast(now.inverse + t * G));
                         if (streams) stream(y[t] + unit + u, h);
                         else store_up_to(y[t] + unit + u, h, count);
                     });
    }

    static void advance(const Piece<Precision>& piece, const HeadMemory<Precision>& to) noexcept {
        Piece<Precision> c = piece;
        fade(c.state, units(c), c.first, to);
        c.state = to, c.first = ones;
        Room room(c.room);
        const Reading now(c, room);
        const Index S = units(c);
        walk_through({S / G, padded(S), c.steps, now.key, now.value, now.query, memory_of(to, S), room.panel(c.steps, S), false},
                     [](Index, Index, Index, Vector) noexcept {});
    }

    /// Through the output gate and the quotient: the gradients of what each step read [t][unit], and of what divides it [t][G].
    struct Reads {
        Panel d_read;
        Real* d_weight;

        LSTMKIT_INLINE Reads(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, Room& room) noexcept
            : d_read(room.panel(c.steps, units(c))), d_weight(room.numbers(padded(G * c.steps))) {
            Real* const parts = Room(room).numbers(padded(c.steps) * lanes);
            each_gate(c, [&](Index t, Index u, Index count, Vector gate) noexcept {
                if (u == 0) halt(job, t);
                const Vector dy = job.grad_y[t] ? load_row(job.grad_y[t] + job.unit + u, count) : Vector{};
                const Vector part = dy * load_row(job.y[t] + job.unit + u, count);
                store_up_to(job.dz + t * job.dz_step + 3 * units(c) + u, part * (one - gate), count);
                store(d_read.at(t, u), dy * gate * broadcast(now.inverse + t * G));
                add_part(parts + t * lanes, u, part);
            });
            add_up<G>(parts, c.steps, d_weight);
            for (Index t = 0; t < G * c.steps; t += lanes) {
                // What divides is the larger of two; of equal ones each has half of the gradient.
                const Vector sum = load(d_weight + t), weight = load(now.weight + t), size = magnitude(weight), least = load(c.least + t), nothing = {};
                const Vector smaller = size == least ? nothing + Real(0.5) : nothing, share = size > least ? nothing + one : smaller;
                store(d_weight + t, -with_sign(share, weight) * sum * load(now.inverse + t));
                store_up_to(job.d_read + t, (one - share) * sum, G * c.steps - t < lanes ? G * c.steps - t : lanes);
            }
        }
    };

    /// Of four loops through the steps each has a quarter of the halts: many lines at once would wait for each other.
    static LSTMKIT_INLINE void halt(const PieceBackward<Precision>& job, Index t) noexcept {
        if (t % 4 == 0) fetch_some(job.fetch);
    }

    /// Of a sum over the vectors of a row, by its lanes.
    static LSTMKIT_INLINE void add_part(Real* sum, Index u, Vector part) noexcept { store(sum, u > 0 ? load(sum) + part : part); }

    /// Values and keys of what was written, and with them the state's gradient, from behind the piece to before it.
    static LSTMKIT_INLINE void backward_writes(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, const Reads& reads,
                                               Room room) noexcept {
        const Index S = units(c), P = padded(S), n = c.steps;
        const Panel memory = memory_of(job.d_state, S), turned = room.panel(S, S), d = room.panel(n, S);
        Real *const parts = room.numbers(padded(n) * lanes), *const d_write = room.numbers(padded(G * n));
        turn(memory, P, turned);
        Held normaliser(job.d_state.normaliser, S);
        walk_through({S / G, P, n, reads.d_read, now.query, now.value, turned, d, true}, [&](Index s, Index u, Index count, Vector sum) noexcept {
            if (u == 0) halt(job, s);
            const Vector d_normaliser = normaliser.add(u, load(now.query.at(s, u)) * broadcast(reads.d_weight + s * G));
            const Vector d_key = sum + d_normaliser;
            store_up_to(job.dz + s * job.dz_step + S + u, d_key * broadcast(c.write + s * G), count);
            add_part(parts + s * lanes, u, d_key * load(now.key.at(s, u)));
        });
        walk_through({S / G, P, n, now.query, reads.d_read, now.key, memory, d, true}, [&](Index s, Index u, Index count, Vector sum) noexcept {
            if (u == 0) halt(job, s);
            store_up_to(job.dz + s * job.dz_step + 2 * S + u, sum, count);
        });
        normaliser.leave();
        add_up<G>(parts, n, d_write);
        for (Index s = 0; s < G * n; s += lanes) store_up_to(job.d_write + s, load(d_write + s), G * n - s < lanes ? G * n - s : lanes);
    }

    /// `before` is the normaliser before the piece; changed.
    static LSTMKIT_INLINE void backward_queries(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, const Reads& reads,
                                                Real* before, Room room) noexcept {
        const Index S = units(c), P = padded(S);
        const Panel turned = room.panel(S, S), d = room.panel(c.steps, S);
        turn(memory_of(c.state, S), P, turned);
        Held normaliser(before, S);
        walk_through({S / G, P, c.steps, now.value, now.key, reads.d_read, turned, d, false}, [&](Index t, Index u, Index count, Vector sum) noexcept {
            if (u == 0) halt(job, t);
            const Vector value = sum + normaliser.add(u, load(now.key.at(t, u))) * broadcast(reads.d_weight + t * G);
            store_up_to(job.dz + t * job.dz_step + u, value * broadcast(c.read + t * G), count);
        });
    }

    /// to [G] = <a, b>: of a state and its gradient the gradient of the logarithm of the state's scale.
    static LSTMKIT_INLINE void multiply(const HeadMemory<Precision>& a, const HeadMemory<Precision>& b, Index units, Real* to) noexcept {
        const Panel left = memory_of(a, units), right = memory_of(b, units);
        Vector sum = {};
        each_vector(units, [&](Index u, Index) noexcept { sum += load(a.normaliser + u) * load(b.normaliser + u); });
        for (Index k = 0; k < units / G; ++k)
            each_vector(units, [&](Index u, Index) noexcept { sum += load(left.at(k, u)) * load(right.at(k, u)); });
        for (Index n = 0; n < G; ++n) {
            Vector own = sum;
            for (Index lane = 0; lane < lanes; ++lane)
                if (lane % G != n) own[lane] = 0;
            to[n] = total_of(own)[0];
        }
    }

    static void backward(const Piece<Precision>& piece, const PieceBackward<Precision>& given) noexcept {
        Piece<Precision> c = piece;
        const PieceBackward<Precision> job = given;
        const Index S = units(c);
        Room room(c.room);
        Real *const before = room.numbers(padded(S)), *const passing = room.numbers(padded(S));
        fade(c.state, S, c.first, c.state);
        each_vector(S, [&](Index u, Index) noexcept {
            const Vector normaliser = load(c.state.normaliser + u);
            store(before + u, normaliser), store(passing + u, normaliser);
        });
        c.first = ones;
        const Reading now(c, room);
        const Reads reads(c, job, now, room);
        backward_queries(c, job, now, reads, passing, room);
        backward_writes(c, job, now, reads, room);
        multiply(job.d_state, {c.state.memory, before}, S, job.d_state_scale);
        fade(job.d_state, S, piece.first, job.d_state);
    }
};

Index together(Index units, Index heads) noexcept { return most_together * units == lanes && heads % most_together == 0 ? most_together : 1; }

/// Calls work(Group) of the group's size.
template <typename Work>
LSTMKIT_INLINE void of_size(const Piece<Precision>& c, Work work) noexcept {
    if (c.together == most_together && most_together > 1) work(Group<lanes, most_together>{});
    else if (c.units == lanes) work(Group<lanes>{});
    else if (2 * c.units == lanes) work(Group<lanes / 2>{});
    else if (c.units == 2 * lanes) work(Group<2 * lanes>{});
    else work(Group<0>{});
}

void forward(const Piece<Precision>& c, Real* const* y, Index unit, bool streams) noexcept {
    of_size(c, [&](auto group) noexcept { group.forward(c, y, unit, streams); });
}
void advance(const Piece<Precision>& c, const HeadMemory<Precision>& to) noexcept {
    of_size(c, [&](auto group) noexcept { group.advance(c, to); });
}
void backward(const Piece<Precision>& c, const PieceBackward<Precision>& job) noexcept {
    of_size(c, [&](auto group) noexcept { group.backward(c, job); });
}
void finish() noexcept { finish_streams(); }

void leave(const Real* from, Index count, Real* to) noexcept {
    const bool streams = reinterpret_cast<std::uintptr_t>(to) % sizeof(Vector) == 0;
    for (Index k = 0; k < count; k += lanes) {
        if (streams) stream(to + k, load(from + k));
        else store(to + k, load(from + k));
    }
}

Index memory_row(Index units) noexcept { return panel_row(units); }
Index padded_units(Index units) noexcept { return padded(units); }

constexpr MlstmKernels<Precision> kernels = {together, padded_units, memory_row, room_numbers, given_numbers, gates_of, gates_backward,
                                          forward,      finish,     leave,        advance,   backward};

}  // namespace

namespace LSTMKIT_SET {
const MlstmKernels<Precision>& table(const MlstmKernels<Precision>*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
