// Compiled once per instruction set, for Float32 and Float64, like simd/kernels.cpp.
#include "scan/mlstm_kernels.h"

#include "scan/mlstm_gates.h"
#include "scan/products.h"

namespace lstmkit {
namespace {

Index padded(Index count) noexcept { return (count + lanes - 1) / lanes * lanes; }

/// Between rows of a panel; an odd number of vectors where there are many, so that the lines of a column share no set of the cache.
Index panel_row(Index columns) noexcept { return padded(columns) + (padded(columns) > gates * lanes ? lanes : 0); }

Index panel_numbers(Index rows, Index columns) noexcept { return padded(rows) * panel_row(columns); }

/// Takes what a piece works on from the room of a call.
class Room {
public:
    explicit Room(Real* from) noexcept : next_(from) {}
    Panel panel(Index rows, Index columns) noexcept { return {numbers(panel_numbers(rows, columns)), panel_row(columns)}; }
    Real* numbers(Index count) noexcept {
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

/// Calls work(t, first column, count of columns) over the vectors of a head's rows.
template <typename Work>
LSTMKIT_INLINE void each_part(Index steps, Index units, Work work) noexcept {
    for (Index t = 0; t < steps; ++t)
        for (Index u = 0; u < units; u += lanes) work(t, u, units - u < lanes ? units - u : lanes);
}

/// One head's side of the products, times a number for each step.
void load_side(const Piece<Precision>& c, Index first, const Real* scale, Panel to) noexcept {
    each_part(c.steps, c.units, [&](Index t, Index u, Index count) noexcept {
        store(to.at(t, u), load_up_to(c.z + t * c.step + first + u, count) * broadcast(scale + t));
    });
}

void load_side(const Piece<Precision>& c, Index first, Panel to) noexcept {
    each_part(c.steps, c.units, [&](Index t, Index u, Index count) noexcept { store(to.at(t, u), load_up_to(c.z + t * c.step + first + u, count)); });
}

Panel memory_of(const HeadMemory<Precision>& state, Index units) noexcept { return {state.memory, panel_row(units)}; }

/// State times `factor`; where that is 0 it may have been anything.
void fade(const HeadMemory<Precision>& state, Index units, Real factor) noexcept {
    const Panel memory = memory_of(state, units);
    const Index P = padded(units);
    for (Index k = 0; k < units; ++k)
        for (Index u = 0; u < P; u += lanes) store(memory.at(k, u), factor == 0 ? Vector{} : load(memory.at(k, u)) * factor);
    for (Index u = 0; u < P; u += lanes) store(state.normaliser + u, factor == 0 ? Vector{} : load(state.normaliser + u) * factor);
}

/// memory += left^T right, normaliser += the rows of left, each times its number.
void collect(const HeadMemory<Precision>& state, Index units, Index steps, Panel left, Panel right, const Real* numbers) noexcept {
    const Index P = padded(units);
    multiply({units, P, turned(left, right, steps), {}, memory_of(state, units), true});
    for (Index u = 0; u < P; u += lanes) {
        Vector sum = load(state.normaliser + u);
        for (Index t = 0; t < steps; ++t) sum += numbers ? load(left.at(t, u)) * broadcast(numbers + t) : load(left.at(t, u));
        store(state.normaliser + u, sum);
    }
}

/// out[t][s] = sum of left[t][:] right[:][s], of s <= t alone by blocks of s.
void multiply_scores(Panel left, Panel right, Index units, Index steps, Panel out) noexcept {
    for (Index s = 0; s < steps; s += lanes)
        multiply({steps - s, lanes, {left.at(s, 0), left.row, 1, right.at(0, s), right.row, units}, {}, {out.at(s, s), out.row}, false});
}

/// Zeros beyond s = t, which are what a triangle of a product takes for granted; visit(t, part) gets and returns vectors of row t.
template <typename Visit>
LSTMKIT_INLINE void each_score(Panel scores, Index steps, Visit visit) noexcept {
    Vector ordinal, nothing = {};
    for (Index lane = 0; lane < lanes; ++lane) ordinal[lane] = Real(lane);
    for (Index t = 0; t < steps; ++t) {
        Index s = 0;
        for (; s + lanes <= t + 1; s += lanes) store(scores.at(t, s), visit(t, load(scores.at(t, s))));
        if (s <= t) {
            store(scores.at(t, s), ordinal <= nothing + Real(t - s) ? visit(t, load(scores.at(t, s))) : nothing);
            s += lanes;
        }
        for (; s < steps; s += lanes) store(scores.at(t, s), nothing);
    }
}

/// What forward and backward both need of a piece.
struct Reading {
    Panel query, key, value, scores;  // weighted; scores [t][s]
    Real *weight, *inverse;           // [t]: what divides before its size is looked at, and one over what divides

    Reading(const Piece<Precision>& c, Room& room) noexcept
        : query(room.panel(c.steps, c.units)), key(room.panel(c.steps, c.units)), value(room.panel(c.steps, c.units)),
          scores(room.panel(c.steps, c.steps)), weight(room.numbers(padded(c.steps))), inverse(room.numbers(padded(c.steps))) {
        const Index P = padded(c.units), L = padded(c.steps);
        load_side(c, 0, c.read, query), load_side(c, c.apart, c.write, key), load_side(c, 2 * c.apart, value);
        Room passing = room;
        const Panel key_turned = passing.panel(c.units, c.steps);
        Real* const parts = passing.numbers(L * lanes);
        transpose(c.kernels, key, L, P, key_turned);
        multiply_scores(query, key_turned, c.units, c.steps, scores);
        fade(c.state, c.units, c.first);
        weigh(c, parts);
    }

private:
    void weigh(const Piece<Precision>& c, Real* parts) noexcept {
        for (Index t = 0; t < c.steps; ++t) {
            Vector part = {};
            for (Index u = 0; u < c.units; u += lanes) part += load(query.at(t, u)) * load(c.state.normaliser + u);
            store(parts + t * lanes, part);
        }
        each_score(scores, c.steps, [](Index, Vector score) noexcept { return score; });
        for (Index t = 0; t < c.steps; ++t) {
            Vector sum = load(parts + t * lanes);
            for (Index s = 0; s <= t; s += lanes) sum += load(scores.at(t, s));
            store(parts + t * lanes, sum);
        }
        add_up(parts, c.steps, weight);
        for (Index t = 0; t < c.steps; t += lanes) {
            const Vector size = magnitude(load(weight + t)), least = load(c.least + t);
            store(inverse + t, one / (size > least ? size : least));
        }
    }
};

void forward(const Piece<Precision>& c, Real* const* y, Index unit, bool streams) noexcept {
    Room room(c.room);
    const Reading now(c, room);
    const Panel memory = memory_of(c.state, c.units), read = room.panel(c.steps, c.units);
    multiply({c.steps, padded(c.units), plain(now.scores, now.value, c.steps, Terms::up_to_row), plain(now.query, memory, c.units), read, false});
    each_part(c.steps, c.units, [&](Index t, Index u, Index count) noexcept {
        const Vector h = sigmoid(load_up_to(c.z + t * c.step + 3 * c.apart + u, count)) * load(read.at(t, u)) * broadcast(now.inverse + t);
        if (streams) stream(y[t] + unit + u, h);
        else store_up_to(y[t] + unit + u, h, count);
    });
    if (streams) finish_streams();
    collect(c.state, c.units, c.steps, now.key, now.value, nullptr);
}

void advance(const Piece<Precision>& c) noexcept {
    Room room(c.room);
    const Panel key = room.panel(c.steps, c.units), value = room.panel(c.steps, c.units);
    load_side(c, c.apart, c.write, key), load_side(c, 2 * c.apart, value);
    fade(c.state, c.units, c.first);
    collect(c.state, c.units, c.steps, key, value, nullptr);
}

/// Through the output gate and the quotient: the gradients of what each step read [t][unit], and of what divides it [t].
struct Reads {
    Panel d_read;
    Real* d_weight;

    Reads(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, Room& room) noexcept
        : d_read(room.panel(c.steps, c.units)), d_weight(room.numbers(padded(c.steps))) {
        Room passing = room;
        Real* const parts = passing.numbers(padded(c.steps) * lanes);
        for (Index t = 0; t < c.steps; ++t) store(parts + t * lanes, step(c, job, t, broadcast(now.inverse + t)));
        add_up(parts, c.steps, d_weight);
        for (Index t = 0; t < c.steps; t += lanes) {
            // What divides is the larger of two; of equal ones each has half of the gradient.
            const Vector sum = load(d_weight + t), weight = load(now.weight + t), size = magnitude(weight), least = load(c.least + t), nothing = {};
            const Vector smaller = size == least ? nothing + Real(0.5) : nothing, share = size > least ? nothing + one : smaller;
            store(d_weight + t, -with_sign(magnitude(share), weight) * sum * load(now.inverse + t));
            store(job.d_read + t, (one - share) * sum);
        }
    }

private:
    LSTMKIT_INLINE Vector step(const Piece<Precision>& c, const PieceBackward<Precision>& job, Index t, Vector inverse) noexcept {
        Vector sum = {};
        for (Index u = 0; u < c.units; u += lanes) {
            const Index count = c.units - u < lanes ? c.units - u : lanes, at = job.unit + u;
            const Vector gate = sigmoid(load_up_to(c.z + t * c.step + 3 * c.apart + u, count));
            const Vector dy = job.grad_y[t] ? load_up_to(job.grad_y[t] + at, count) : Vector{}, part = dy * load_up_to(job.y[t] + at, count);
            store_up_to(job.dz + t * job.dz_step + 3 * c.apart + u, part * (one - gate), count);
            store(d_read.at(t, u), dy * gate * inverse);
            sum += part;
        }
        return sum;
    }
};

/// Writes rows of a head into the columns of dz, times a number for each.
void write_side(const Piece<Precision>& c, const PieceBackward<Precision>& job, Index first, Panel from, const Real* scale) noexcept {
    each_part(c.steps, c.units, [&](Index t, Index u, Index count) noexcept {
        const Vector value = load(from.at(t, u));
        store_up_to(job.dz + t * job.dz_step + first + u, scale ? value * broadcast(scale + t) : value, count);
    });
}

/// Values and keys of what was written: what read it inside the piece, and the state behind the piece.
void backward_writes(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, const Reads& reads, Panel d_scores,
                     Room room) noexcept {
    const Index S = c.units, P = padded(S), n = c.steps;
    const Panel d_memory = memory_of(job.d_state, S), d_turned = room.panel(S, S), d = room.panel(n, S);
    Real* const parts = room.numbers(padded(n) * lanes);
    multiply({n, P, plain(now.key, d_memory, S), {}, d, false});
    for (Index s = 0; s < n; ++s) {
        Vector sum = {};
        for (Index u = 0; u < P; u += lanes) sum += load(d.at(s, u)) * load(now.value.at(s, u)) + load(job.d_state.normaliser + u) * load(now.key.at(s, u));
        store(parts + s * lanes, sum);
    }
    add_up(parts, n, job.d_write);
    // By the scores that forward added up, so that what cancels there cancels here.
    for (Index s = 0; s < n; s += lanes) {
        Vector sum = load(job.d_write + s);
        for (Index t = s; t < n; ++t) sum += load(now.scores.at(t, s)) * load(d_scores.at(t, s));
        store(job.d_write + s, sum);
    }
    multiply({n, P, turned(now.scores, reads.d_read, n, Terms::from_row), {}, d, true});
    write_side(c, job, 2 * c.apart, d, nullptr);
    transpose(c.kernels, d_memory, P, P, d_turned);
    multiply({n, P, turned(d_scores, now.query, n, Terms::from_row), plain(now.value, d_turned, S), d, false});
    for (Index s = 0; s < n; ++s)
        for (Index u = 0; u < P; u += lanes) store(d.at(s, u), load(d.at(s, u)) + load(job.d_state.normaliser + u));
    write_side(c, job, c.apart, d, c.write);
}

void backward_queries(const Piece<Precision>& c, const PieceBackward<Precision>& job, const Reading& now, const Reads& reads, Panel d_scores,
                      Room room) noexcept {
    const Index S = c.units, P = padded(S), n = c.steps;
    const Panel turned_memory = room.panel(S, S), d = room.panel(n, S);
    transpose(c.kernels, memory_of(c.state, S), P, P, turned_memory);
    multiply({n, P, plain(d_scores, now.key, n, Terms::up_to_row), plain(reads.d_read, turned_memory, S), d, false});
    for (Index t = 0; t < n; ++t)
        for (Index u = 0; u < P; u += lanes) store(d.at(t, u), load(d.at(t, u)) + load(c.state.normaliser + u) * broadcast(reads.d_weight + t));
    write_side(c, job, 0, d, c.read);
}

/// <d_state, state>: the gradient of the logarithm of the state's scale.
Real product_of(const HeadMemory<Precision>& a, const HeadMemory<Precision>& b, Index units) noexcept {
    const Panel left = memory_of(a, units), right = memory_of(b, units);
    Vector sum = {};
    for (Index u = 0; u < units; u += lanes) {
        sum += load(a.normaliser + u) * load(b.normaliser + u);
        for (Index k = 0; k < units; ++k) sum += load(left.at(k, u)) * load(right.at(k, u));
    }
    return total_of(sum)[0];
}

void backward(const Piece<Precision>& c, const PieceBackward<Precision>& job) noexcept {
    const Index L = padded(c.steps), P = padded(c.units);
    Room room(c.room);
    const Reading now(c, room);
    const Reads reads(c, job, now, room);
    const Panel d_scores = room.panel(c.steps, c.steps);
    {
        Room passing = room;
        const Panel value_turned = passing.panel(c.units, c.steps);
        transpose(c.kernels, now.value, L, P, value_turned);
        multiply_scores(reads.d_read, value_turned, c.units, c.steps, d_scores);
    }
    each_score(d_scores, c.steps, [&](Index t, Vector d) noexcept { return d + broadcast(reads.d_weight + t); });
    backward_writes(c, job, now, reads, d_scores, room);
    backward_queries(c, job, now, reads, d_scores, room);
    collect(job.d_state, c.units, c.steps, now.query, reads.d_read, reads.d_weight);
    *job.d_state_scale = product_of(job.d_state, c.state, c.units);
    fade(job.d_state, c.units, c.first);
}

constexpr MlstmKernels<Precision> table = {padded, panel_row, room_numbers, gate_room, gates_of, gates_backward, forward, advance, backward};

}  // namespace

namespace LSTMKIT_SET {
const MlstmKernels<Precision>& mlstm_kernels(Precision) noexcept { return table; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
