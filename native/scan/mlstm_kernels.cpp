// Compiled once per instruction set, for Float32 and Float64, like simd/kernels.cpp.
#include "scan/mlstm_kernels.h"

#include "scan/mlstm_gates.h"
#include "scan/products.h"

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
    return 6 * panel_numbers(L, units) + 2 * panel_numbers(units, L) + 2 * panel_numbers(L, L) + 2 * panel_numbers(units, units) + (lanes + 8) * L;
}

void transpose(const Kernels<Precision>& kernels, Panel from, Index rows, Index columns, Panel to) noexcept {
    for (Index r = 0; r < rows; r += lanes)
        for (Index c = 0; c < columns; c += lanes) kernels.transpose(from.at(r, c), from.row, to.at(c, r), to.row);
}

/// out[t][s] = sum of left[t][:] right[:][s], of s <= t alone by blocks of s.
void multiply_scores(Panel left, Panel right, Index units, Index steps, Panel out) noexcept {
    for (Index s = 0; s < steps; s += lanes)
        multiply({steps - s, lanes, {left.at(s, 0), left.row, 1, right.at(0, s), right.row, units}, {}, {out.at(s, s), out.row}, false});
}

/// Puts zeros beyond s = t, which a triangle of a product takes for granted, and visit(row, vector) elsewhere; row is called
/// first for each t, and gives what visit gets.
template <typename Row, typename Visit>
LSTMKIT_INLINE void each_score(Panel scores, Index steps, Row row, Visit visit) noexcept {
    Vector ordinal, nothing = {};
    for (Index lane = 0; lane < lanes; ++lane) ordinal[lane] = Real(lane);
    for (Index t = 0; t < steps; ++t) {
        Vector value = row(t);
        Index s = 0;
        for (; s + lanes <= t; s += lanes) store(scores.at(t, s), visit(value, load(scores.at(t, s))));
        const Vector last = visit(value, ordinal <= nothing + Real(t - s) ? load(scores.at(t, s)) : nothing);
        store(scores.at(t, s), ordinal <= nothing + Real(t - s) ? last : nothing);
        for (s += lanes; s < steps; s += lanes) store(scores.at(t, s), nothing);
    }
}

/// Heads of V vectors of units, or of any number where V is 0.
template <Index V>
struct Head {
    static LSTMKIT_INLINE Index units(const Piece<Precision>& c) noexcept { return V > 0 ? V * lanes : c.units; }

    /// Calls work(first column, count of columns) over the vectors of a row.
    template <typename Work>
    static LSTMKIT_INLINE void each_vector(Index units, Work work) noexcept {
        if constexpr (V > 0)
#pragma GCC unroll 4
            for (Index v = 0; v < V; ++v) work(v * lanes, lanes);
        else
            for (Index u = 0; u < units; u += lanes) work(u, units - u < lanes ? units - u : lanes);
    }
    template <typename Work>
    static LSTMKIT_INLINE void each_part(const Piece<Precision>& c, Work work) noexcept {
        for (Index t = 0; t < c.steps; ++t) each_vector(units(c), [&](Index u, Index count) noexcept { work(t, u, count); });
    }
    static LSTMKIT_INLINE Panel memory_of(const HeadMemory<Precision>& state, Index units) noexcept { return {state.memory, panel_row(units)}; }
    static LSTMKIT_INLINE Vector read(const Piece<Precision>& c, Index side, Index t, Index u, Index count) noexcept {
        return load_up_to(c.z + t * c.step + side * units(c) + u, count);
    }

    /// to = state times `factor`; where that is 0 it may have been anything.
    static void fade(const HeadMemory<Precision>& state, Index units, Real factor, const HeadMemory<Precision>& to) noexcept {
        const Panel memory = memory_of(state, units), faded = memory_of(to, units);
        const Vector by = Vector{} + factor;
        const bool forgets = factor == 0;
        for (Index k = 0; k < units; ++k)
            each_vector(units, [&](Index u, Index) noexcept { store(faded.at(k, u), forgets ? Vector{} : load(memory.at(k, u)) * by); });
        each_vector(units, [&](Index u, Index) noexcept { store(to.normaliser + u, forgets ? Vector{} : load(state.normaliser + u) * by); });
    }

    /// memory += left^T right, normaliser += the rows of left, each times its number.
    static LSTMKIT_INLINE void collect(const HeadMemory<Precision>& state, Index units, Index steps, Panel left, Panel right, const Real* numbers) noexcept {
        multiply({units, padded(units), turned(left, right, steps), {}, memory_of(state, units), true});
        each_vector(units, [&](Index u, Index) noexcept {
            Vector sum = load(state.normaliser + u);
            for (Index t = 0; t < steps; ++t) sum += numbers ? load(left.at(t, u)) * broadcast(numbers + t) : load(left.at(t, u));
            store(state.normaliser + u, sum);
        });
    }

    /// What forward and backward both need of a piece.
    struct Reading {
        Panel query, key, value, scores;  // weighted; scores [t][s]
        Real *weight, *inverse;           // [t]: what divides before its size is looked at, and one over what divides

        LSTMKIT_INLINE Reading(const Piece<Precision>& c, Room& room) noexcept
            : query(room.panel(c.steps, units(c))), key(room.panel(c.steps, units(c))), value(room.panel(c.steps, units(c))),
              scores(room.panel(c.steps, c.steps)), weight(room.numbers(padded(c.steps))), inverse(room.numbers(padded(c.steps))) {
            Room passing = room;
            const Panel key_turned = passing.panel(units(c), c.steps);
            Real* const parts = passing.numbers(padded(c.steps) * lanes);
            fade(c.state, units(c), c.first, c.state);
            for (Index t = 0; t < c.steps; ++t) {
                Vector part = {};
                each_vector(units(c), [&](Index u, Index count) noexcept {
                    const Vector q = read(c, 0, t, u, count) * broadcast(c.read + t);
                    part += q * load(c.state.normaliser + u);
                    store(query.at(t, u), q), store(key.at(t, u), read(c, 1, t, u, count) * broadcast(c.write + t));
                    store(value.at(t, u), read(c, 2, t, u, count));
                });
                store(parts + t * lanes, part);
            }
            transpose(c.kernels, key, padded(c.steps), padded(units(c)), key_turned);
            multiply_scores(query, key_turned, units(c), c.steps, scores);
            weigh(c, parts);
        }

    private:
        LSTMKIT_INLINE void weigh(const Piece<Precision>& c, Real* parts) noexcept {
            Vector* sum = nullptr;
            each_score(scores, c.steps, [&](Index t) noexcept { sum = reinterpret_cast<Vector*>(parts + t * lanes); return Vector{}; },
                       [&](Vector, Vector score) noexcept { *sum += score; return score; });
            add_up(parts, c.steps, weight);
            for (Index t = 0; t < c.steps; t += lanes) {
                const Vector size = magnitude(load(weight + t)), least = load(c.least + t);
                store(inverse + t, one / (size > least ? size : least));
            }
        }
    };

    // Each of the three copies what it is given: what is written might otherwise be a part of it.
    static void forward(const Piece<Precision>& piece, Real* const* y, Index unit, bool streams) noexcept {
        const Piece<Precision> c = piece;
        Room room(c.room);
        const Reading now(c, room);
        const Index S = units(c);
        const Panel out = room.panel(c.steps, S);
        multiply({c.steps, padded(S), plain(now.scores, now.value, c.steps, Terms::up_to_row), plain(now.query, memory_of(c.state, S), S), out, false});
        each_part(c, [&](Index t, Index u, Index count) noexcept {
            const Vector h = sigmoid(read(c, 3, t, u, count)) * load(out.at(t, u)) * broadcast(now.inverse + t);
            if (streams) stream(y[t] + unit + u, h);
            else store_up_to(y[t] + unit + u, h, count);
        });
        collect(c.state, S, c.steps, now.key, now.value, nullptr);
    }

    static void advance(const Piece<Precision>& piece, const HeadMemory<Precision>& to) noexcept {
        const Piece<Precision> c = piece;
        Room room(c.room);
        const Panel key = room.panel(c.steps, units(c)), value = room.panel(c.steps, units(c));
        each_part(c, [&](Index t, Index u, Index count) noexcept {
            store(key.at(t, u), read(c, 1, t, u, count) * broadcast(c.write + t)), store(value.at(t, u), read(c, 2, t, u, count));
        });
        fade(c.state, units(c), c.first, to);
        collect(to, units(c), c.steps, key, value, nullptr);
    }

    /// Through the output gate and the quotient: the gradients of what each step read [t][unit], and of what divides it [t].
    struct Reads {
        Panel d_read;
        Real* d_weight;

        LSTMKIT_INLINE Reads(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, Room& room) noexcept
            : d_read(room.panel(c.steps, units(c))), d_weight(room.numbers(padded(c.steps))) {
            Room passing = room;
            Real* const parts = passing.numbers(padded(c.steps) * lanes);
            for (Index t = 0; t < c.steps; ++t) store(parts + t * lanes, step(c, job, t, broadcast(now.inverse + t)));
            add_up(parts, c.steps, d_weight);
            for (Index t = 0; t < c.steps; t += lanes) {
                // What divides is the larger of two; of equal ones each has half of the gradient.
                const Vector sum = load(d_weight + t), weight = load(now.weight + t), size = magnitude(weight), least = load(c.least + t), nothing = {};
                const Vector smaller = size == least ? nothing + Real(0.5) : nothing, share = size > least ? nothing + one : smaller;
                store(d_weight + t, -with_sign(share, weight) * sum * load(now.inverse + t));
                store_up_to(job.d_read + t, (one - share) * sum, c.steps - t < lanes ? c.steps - t : lanes);
            }
        }

    private:
        LSTMKIT_INLINE Vector step(const Piece<Precision>& c, const PieceBackward<Precision>& job, Index t, Vector inverse) noexcept {
            fetch_some(job.fetch);
            Vector sum = {};
            const Real *const grad_y = job.grad_y[t], *const y = job.y[t];
            Real* const dz = job.dz + t * job.dz_step + 3 * units(c);
            each_vector(units(c), [&](Index u, Index count) noexcept {
                const Vector gate = sigmoid(read(c, 3, t, u, count));
                const Vector dy = grad_y ? load_up_to(grad_y + job.unit + u, count) : Vector{}, part = dy * load_up_to(y + job.unit + u, count);
                store_up_to(dz + u, part * (one - gate), count);
                store(d_read.at(t, u), dy * gate * inverse);
                sum += part;
            });
            return sum;
        }
    };

    /// Values and keys of what was written: what read it inside the piece, and the state behind the piece.
    static LSTMKIT_INLINE void backward_writes(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, const Reads& reads,
                                               Panel d_scores, Room room) noexcept {
        const Index S = units(c), P = padded(S), n = c.steps;
        const Panel d_memory = memory_of(job.d_state, S), d_turned = room.panel(S, S), d = room.panel(n, S);
        Real* const parts = room.numbers(padded(n) * lanes);
        multiply({n, P, plain(now.key, d_memory, S), {}, d, false});
        for (Index s = 0; s < n; ++s) {
            Vector sum = {};
            each_vector(S, [&](Index u, Index) noexcept {
                sum += load(d.at(s, u)) * load(now.value.at(s, u)) + load(job.d_state.normaliser + u) * load(now.key.at(s, u));
            });
            store(parts + s * lanes, sum);
        }
        Real* const d_write = room.numbers(padded(n));
        add_up(parts, n, d_write);
        // By the scores that forward added up, so that what cancels there cancels here.
        for (Index s = 0; s < n; s += lanes) {
            Vector sum = load(d_write + s);
            for (Index t = s; t < n; ++t) sum += load(now.scores.at(t, s)) * load(d_scores.at(t, s));
            store_up_to(job.d_write + s, sum, n - s < lanes ? n - s : lanes);
        }
        multiply({n, P, turned(now.scores, reads.d_read, n, Terms::from_row), {}, d, true});
        each_part(c, [&](Index t, Index u, Index count) noexcept { store_up_to(job.dz + t * job.dz_step + 2 * S + u, load(d.at(t, u)), count); });
        transpose(c.kernels, d_memory, P, P, d_turned);
        multiply({n, P, turned(d_scores, now.query, n, Terms::from_row), plain(now.value, d_turned, S), d, false});
        each_part(c, [&](Index t, Index u, Index count) noexcept {
            store_up_to(job.dz + t * job.dz_step + S + u, (load(d.at(t, u)) + load(job.d_state.normaliser + u)) * broadcast(c.write + t), count);
        });
    }

    static LSTMKIT_INLINE void backward_queries(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, const Reads& reads,
                                                Panel d_scores, Room room) noexcept {
        const Index S = units(c), P = padded(S), n = c.steps;
        const Panel turned_memory = room.panel(S, S), d = room.panel(n, S);
        transpose(c.kernels, memory_of(c.state, S), P, P, turned_memory);
        multiply({n, P, plain(d_scores, now.key, n, Terms::up_to_row), plain(reads.d_read, turned_memory, S), d, false});
        each_part(c, [&](Index t, Index u, Index count) noexcept {
            const Vector value = load(d.at(t, u)) + load(c.state.normaliser + u) * broadcast(reads.d_weight + t);
            store_up_to(job.dz + t * job.dz_step + u, value * broadcast(c.read + t), count);
        });
    }

    /// <a, b>: of a state and its gradient the gradient of the logarithm of the state's scale.
    static LSTMKIT_INLINE Real product_of(const HeadMemory<Precision>& a, const HeadMemory<Precision>& b, Index units) noexcept {
        const Panel left = memory_of(a, units), right = memory_of(b, units);
        Vector sum = {};
        each_vector(units, [&](Index u, Index) noexcept { sum += load(a.normaliser + u) * load(b.normaliser + u); });
        for (Index k = 0; k < units; ++k) each_vector(units, [&](Index u, Index) noexcept { sum += load(left.at(k, u)) * load(right.at(k, u)); });
        return total_of(sum)[0];
    }

    static void backward(const Piece<Precision>& piece, const PieceBackward<Precision>& given) noexcept {
        const Piece<Precision> c = piece;
        const PieceBackward<Precision> job = given;
        const Index S = units(c);
        Room room(c.room);
        const Reading now(c, room);
        const Reads reads(c, job, now, room);
        const Panel d_scores = room.panel(c.steps, c.steps);
        Room passing = room;
        const Panel value_turned = passing.panel(S, c.steps);
        transpose(c.kernels, now.value, padded(c.steps), padded(S), value_turned);
        multiply_scores(reads.d_read, value_turned, S, c.steps, d_scores);
        each_score(d_scores, c.steps, [&](Index t) noexcept { return broadcast(reads.d_weight + t); }, [](Vector weight, Vector d) noexcept { return d + weight; });
        backward_writes(c, job, now, reads, d_scores, room);
        backward_queries(c, job, now, reads, d_scores, room);
        collect(job.d_state, S, c.steps, now.query, reads.d_read, reads.d_weight);
        *job.d_state_scale = product_of(job.d_state, c.state, S);
        fade(job.d_state, S, c.first, job.d_state);
    }
};

/// Calls work(Head) of the head's size.
template <typename Work>
LSTMKIT_INLINE void of_size(Index units, Work work) noexcept {
    if (units == lanes) work(Head<1>{});
    else if (units == 2 * lanes) work(Head<2>{});
    else work(Head<0>{});
}

void forward(const Piece<Precision>& c, Real* const* y, Index unit, bool streams) noexcept {
    of_size(c.units, [&](auto head) noexcept { head.forward(c, y, unit, streams); });
}
void advance(const Piece<Precision>& c, const HeadMemory<Precision>& to) noexcept {
    of_size(c.units, [&](auto head) noexcept { head.advance(c, to); });
}
void backward(const Piece<Precision>& c, const PieceBackward<Precision>& job) noexcept {
    of_size(c.units, [&](auto head) noexcept { head.backward(c, job); });
}
void finish() noexcept { finish_streams(); }

Index memory_row(Index units) noexcept { return panel_row(units); }
Index padded_units(Index units) noexcept { return padded(units); }

constexpr MlstmKernels<Precision> table = {padded_units, memory_row, room_numbers, gate_room, gates_of, gates_backward, forward, finish, advance, backward};

}  // namespace

namespace LSTMKIT_SET {
const MlstmKernels<Precision>& mlstm_kernels(Precision) noexcept { return table; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
