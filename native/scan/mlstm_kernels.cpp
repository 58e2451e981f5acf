// Compiled once per instruction set, for Float32 and Float64, like simd/kernels.cpp.
#include "scan/mlstm_kernels.h"

#include "activation.h"

namespace lstmkit {
namespace {

constexpr Index width = gates * lanes;  // of a block of columns, as the outer product has it
constexpr Index padded_steps = (chunk_steps + width - 1) / width * width;

Index padded(Index units) noexcept { return (units + width - 1) / width * width; }

/// A matrix in blocks of columns: [blocks][rows][width]. Rows are room; how many count is said where it is used.
struct Blocked {
    Real* data;
    Index rows;

    LSTMKIT_INLINE Real* at(Index row, Index column) const noexcept { return data + (column / width * rows + row) * width + column % width; }
};

LSTMKIT_INLINE void fill(Real* to, Index count, Real value) noexcept {
    for (Index k = 0; k < count; ++k) to[k] = value;
}

/// sum[a][b] += sum over r < count of left[r][a] * right[r][b].
void add_product(const Kernels<Precision>& kernels, Blocked left, Index left_columns, Blocked right, Index right_columns, Index count, Blocked sum) noexcept {
    constexpr Index most = 64;
    const Real* rows[most];
    for (Index from = 0; from < count; from += most) {
        const Index taken = count - from < most ? count - from : most;
        for (Index a = 0; a < left_columns; a += width) {
            for (Index r = 0; r < taken; ++r) rows[r] = left.at(from + r, a);
            for (Index b = 0; b < right_columns; b += width)
                kernels.outer({taken, 0, left_columns - a < width ? left_columns - a : width, rows, right.at(from, b), width, gates, sum.at(a, b), nullptr});
        }
    }
}

/// The steps r that a step a has to do with.
enum class Side { before, behind };

/// The same of steps a and r, r <= a or r >= a alone: beyond them `left` is zeros.
template <Side side>
void add_triangle(const Kernels<Precision>& kernels, Blocked left, Blocked right, Index right_columns, Index steps, Blocked sum) noexcept {
    constexpr Index piece = width < 16 ? width : 16;
    const Real* rows[chunk_steps];
    for (Index a = 0; a < steps; a += piece) {
        const Index end = a + piece < steps ? a + piece : steps, first = side == Side::before ? 0 : a, last = side == Side::before ? end : steps;
        for (Index r = first; r < last; ++r) rows[r - first] = left.at(r, a);
        for (Index b = 0; b < right_columns; b += width)
            kernels.outer({last - first, 0, end - a, rows, right.at(first, b), width, gates, sum.at(a, b), nullptr});
    }
}

void transpose(const Kernels<Precision>& kernels, Blocked from, Index rows, Index columns, Blocked to) noexcept {
    for (Index r = 0; r < rows; r += lanes)
        for (Index c = 0; c < columns; c += lanes) kernels.transpose(from.at(r, c), width, to.at(c, r), width);
}

/// to[r][:] = from[r][:] * scale[r].
void scale_rows(Blocked from, Index rows, Index columns, const Real* scale, Blocked to) noexcept {
    for (Index c = 0; c < columns; c += width)
        for (Index r = 0; r < rows; ++r) {
            const Vector factor = broadcast(scale + r);
            for (Index v = 0; v < width; v += lanes) store(to.at(r, c + v), load(from.at(r, c + v)) * factor);
        }
}

/// to[:][c] = from[:][c] * scale[c]; scale has padded_steps numbers.
void scale_columns(Blocked from, Index rows, const Real* scale, Blocked to) noexcept {
    for (Index c = 0; c < padded_steps; c += lanes) {
        const Vector factor = load(scale + c);
        for (Index r = 0; r < rows; ++r) store(to.at(r, c), load(from.at(r, c)) * factor);
    }
}

void scale_all(Blocked values, Index rows, Index columns, Real factor) noexcept {
    for (Index c = 0; c < columns; c += width)
        for (Index r = 0; r < rows; ++r)
            for (Index v = 0; v < width; v += lanes) store(values.at(r, c + v), load(values.at(r, c + v)) * factor);
}

void add_row(Blocked to, Index row, Index columns, const Real* values, Real factor) noexcept {
    for (Index c = 0; c < columns; c += lanes) {
        Real* const at = to.at(row, c);
        store(at, load(at) + load(values + c) * factor);
    }
}

LSTMKIT_INLINE Real dot(Blocked a, Index row, const Real* b, Index columns) noexcept {
    Vector sum = {};
    for (Index c = 0; c < columns; c += lanes) sum += load(a.at(row, c)) * load(b + c);
    return total_of(sum)[0];
}

Real dot_all(Blocked a, Blocked b, Index rows, Index columns) noexcept {
    Vector sum = {};
    for (Index c = 0; c < columns; c += width)
        for (Index r = 0; r < rows; ++r)
            for (Index v = 0; v < width; v += lanes) sum += load(a.at(r, c + v)) * load(b.at(r, c + v));
    return total_of(sum)[0];
}

/// Rows z[t][first..], zero in the padding of both axes.
void load_side(const Real* const* z, Index first, Index steps, Index units, Blocked to) noexcept {
    for (Index t = 0; t < padded_steps; ++t)
        for (Index c = 0; c < padded(units); c += lanes) {
            const Index count = units - c < lanes ? units - c : lanes;
            Vector value = {};
            if (t < steps && count > 0) value = load_up_to(z[t] + first + c, count);
            store(to.at(t, c), value);
        }
}

/// Takes matrices from the room of a call.
struct Room {
    Real* next;
    Index units;

    Blocked of_steps() noexcept { return take(padded_steps, padded_steps); }            // [s][t]
    Blocked time_major() noexcept { return take(padded_steps, padded(units)); }         // [t][unit]
    Blocked unit_major() noexcept { return take(padded(units), padded_steps); }         // [unit][t]
    Blocked square() noexcept { return take(padded(units), padded(units)); }
    Real* numbers(Index count) noexcept {
        Real* const first = next;
        next += count;
        return first;
    }

private:
    Blocked take(Index rows, Index columns) noexcept { return {numbers(rows * columns), rows}; }
};

Index room_numbers(Index units) noexcept {
    const Index S = padded(units);
    return 4 * padded_steps * padded_steps + 11 * padded_steps * S + S * S + 2 * padded_steps;
}

/// What forward and backward both need of a chunk.
struct Scores {
    Blocked query, key, value;      // [t][unit]
    Blocked query_turned, key_turned;  // [unit][t]
    Blocked weights, scores;        // [s][t]: how much of s is left at t, and that times q_t k_s
    Real* weight;                   // [t], the normaliser's share of each step

    template <typename Chunk>
    Scores(const Chunk& c, Room& room) noexcept
        : query(room.time_major()), key(room.time_major()), value(room.time_major()), query_turned(room.unit_major()),
          key_turned(room.unit_major()), weights(room.of_steps()), scores(room.of_steps()), weight(room.numbers(padded_steps)) {
        const Index S = c.at.units, P = padded(S);
        load_side(c.z, c.at.query, c.steps, S, query);
        load_side(c.z, c.at.key, c.steps, S, key);
        load_side(c.z, c.at.value, c.steps, S, value);
        transpose(c.kernels, query, padded_steps, P, query_turned);
        transpose(c.kernels, key, padded_steps, P, key_turned);
        fill(scores.data, padded_steps * padded_steps, 0);
        add_product(c.kernels, key_turned, c.steps, query_turned, c.steps, S, scores);
        weigh(c.scales, c.steps);
    }

private:
    void weigh(const ChunkScales<Precision>& scales, Index steps) noexcept {
        fill(weight, padded_steps, 0);
        Vector ordinal;
        for (Index lane = 0; lane < lanes; ++lane) ordinal[lane] = Real(lane);
        for (Index s = 0; s < padded_steps; ++s)
            for (Index t = 0; t < padded_steps; t += lanes) {
                Vector left = {}, score = {};
                if (s < steps && t < steps && t + lanes > s) {
                    const Vector power = at_most((load(scales.decay + t) - scales.decay[s]) + scales.input[s] - load(scales.m + t), Format<Real>::most);
                    const Exponential<Vector> e = exponential(at_least(power, -Format<Real>::most));
                    const Vector time = ordinal + Real(t), nothing = {};
                    left = e.m * e.scale + e.scale;
                    left = power > nothing - Format<Real>::most ? left : nothing;
                    left = time >= nothing + Real(s) ? left : nothing;
                    left = time < nothing + Real(steps) ? left : nothing;
                    left = load(scales.wall + t) == nothing + scales.wall[s] ? left : nothing;
                    score = load(scores.at(s, t)) * left;
                }
                store(weights.at(s, t), left);
                store(scores.at(s, t), score);
                store(weight + t, load(weight + t) + score);
            }
    }
};

/// Adds the state's share of each step's normaliser; returns the queries as they read the state, [unit][t].
Blocked read_first(const Scores& now, const ChunkScales<Precision>& scales, const Real* normaliser, Index units, Room& room) noexcept {
    const Blocked reading = room.unit_major();
    scale_columns(now.query_turned, units, scales.from_first, reading);
    for (Index d = 0; d < units; ++d)
        for (Index t = 0; t < padded_steps; t += lanes)
            store(now.weight + t, load(now.weight + t) + load(reading.at(d, t)) * normaliser[d]);
    return reading;
}

LSTMKIT_INLINE Real divisor(Real weight, Real least) noexcept {
    const Real size = weight < 0 ? -weight : weight;
    return size > least ? size : least;
}

void forward(const ChunkForward<Precision>& c) noexcept {
    const Index S = c.at.units, P = padded(S);
    Room room{c.room, S};
    const Scores now(c, room);
    const Blocked memory{c.state.memory, P}, reading = read_first(now, c.scales, c.state.normaliser, S, room), read = room.time_major();
    fill(read.data, padded_steps * P, 0);
    add_triangle<Side::before>(c.kernels, now.scores, now.value, S, c.steps, read);
    add_product(c.kernels, reading, c.steps, memory, S, S, read);
    for (Index t = 0; t < c.steps; ++t) {
        const Real inverse = 1 / divisor(now.weight[t], c.scales.least[t]);
        for (Index u = 0; u < S; u += lanes) {
            const Index count = S - u < lanes ? S - u : lanes;
            const Vector raw = load(read.at(t, u)) * inverse;
            const Vector gate = sigmoid(load_up_to(c.z[t] + c.at.output + u, count));
            if (c.raw) store_up_to(c.raw[t] + c.at.query + u, raw, count);
            store_up_to(c.y[t] + c.at.query + u, gate * raw, count);
        }
    }
    scale_rows(now.value, c.steps, P, c.scales.to_last, read);
    scale_all(memory, S, P, c.scales.kept);
    add_product(c.kernels, now.key, S, read, S, c.steps, memory);
    for (Index d = 0; d < P; d += lanes) {
        Vector sum = load(c.state.normaliser + d) * c.scales.kept;
        for (Index s = 0; s < c.steps; ++s) sum += load(now.key.at(s, d)) * c.scales.to_last[s];
        store(c.state.normaliser + d, sum);
    }
}

/// Through the output gate and the quotient: the gradients of what each step read [t][unit] and of its normaliser's share.
struct Reads {
    Blocked d_read;
    Real* d_weight;

    Reads(const ChunkBackward<Precision>& c, const Real* weight, Room& room) noexcept
        : d_read(room.time_major()), d_weight(room.numbers(padded_steps)) {
        fill(d_read.data, padded_steps * padded(c.at.units), 0);
        fill(d_weight, padded_steps, 0);
        for (Index t = 0; t < c.steps; ++t) step(c, t, weight[t]);
    }

private:
    void step(const ChunkBackward<Precision>& c, Index t, Real weight) noexcept {
        const Real size = weight < 0 ? -weight : weight, least = c.scales.least[t], by = divisor(weight, least), inverse = 1 / by;
        Vector sum = {};
        for (Index u = 0; u < c.at.units; u += lanes) {
            const Index count = c.at.units - u < lanes ? c.at.units - u : lanes, at = c.at.query + u;
            const Vector gate = sigmoid(load_up_to(c.z[t] + c.at.output + u, count));
            const Vector raw = load_up_to(c.raw[t] + at, count), dy = c.grad_y[t] ? load_up_to(c.grad_y[t] + at, count) : Vector{};
            store_up_to(c.dz[t] + c.at.output + u, dy * raw * gate * (one - gate), count);
            const Vector d = count == lanes ? dy * gate * inverse : only_first(dy * gate * inverse, count);
            store(d_read.at(t, u), d);
            sum += d * raw;
        }
        // What divides is the larger of two; of equal ones each has half of the gradient.
        const Real d_by = -total_of(sum)[0], share = size > least ? Real(1) : size < least ? Real(0) : Real(0.5);
        d_weight[t] = share * (weight < 0 ? -d_by : d_by);
        c.d_decay[t] = (share - 1) * d_by * by;
    }

    static LSTMKIT_INLINE Vector only_first(Vector value, Index count) noexcept {
        for (Index lane = count; lane < lanes; ++lane) value[lane] = 0;
        return value;
    }
};

/// Writes rows [t][unit] of the head into the columns of dz.
void write_side(const ChunkBackward<Precision>& c, Blocked from, Index first) noexcept {
    for (Index t = 0; t < c.steps; ++t)
        for (Index u = 0; u < c.at.units; u += lanes) {
            const Index count = c.at.units - u < lanes ? c.at.units - u : lanes;
            store_up_to(c.dz[t] + first + u, load(from.at(t, u)), count);
        }
}

/// d_scores[s][t] becomes the gradient of q_t k_s; log i_s and the decays have theirs of the weights.
void through_weights(const ChunkBackward<Precision>& c, const Scores& now, const Real* d_weight, Blocked d_scores) noexcept {
    for (Index s = 0; s < c.steps; ++s) {
        Vector sum = {};
        for (Index t = s / lanes * lanes; t < c.steps; t += lanes) {
            const Vector d = load(d_scores.at(s, t)) + load(d_weight + t);
            sum += d * load(now.scores.at(s, t));
            store(d_scores.at(s, t), d * load(now.weights.at(s, t)));
        }
        for (Index t = 0; t < s / lanes * lanes; t += lanes) store(d_scores.at(s, t), Vector{});
        c.d_input[s] = total_of(sum)[0];
        c.d_decay[s] -= c.d_input[s];
    }
}

/// Values and keys of what was written: what read it inside the chunk, and the state behind the chunk.
void backward_writes(const ChunkBackward<Precision>& c, const Scores& now, const Reads& reads, Blocked d_scores, Blocked value_turned,
                     Room room) noexcept {
    const Index S = c.at.units, P = padded(S), n = c.steps;
    const Blocked d_memory{c.d_state.memory, P}, turned = room.square(), side = room.unit_major(), sum = room.time_major(), steps = room.of_steps();
    // The state's share first: its product with the values is the gradient of their weights.
    fill(sum.data, padded_steps * P, 0);
    scale_columns(now.key_turned, S, c.scales.to_last, side);
    add_product(c.kernels, side, n, d_memory, S, S, sum);
    Real all = 0;
    for (Index s = 0; s < n; ++s) {
        Real d = c.scales.to_last[s] * dot(now.key, s, c.d_state.normaliser, P);
        for (Index u = 0; u < P; u += width) {
            Vector part = {};
            for (Index v = 0; v < width; v += lanes) part += load(sum.at(s, u + v)) * load(now.value.at(s, u + v));
            d += total_of(part)[0];
        }
        c.d_input[s] += d, c.d_decay[s] -= d, all += d;
    }
    c.d_decay[n - 1] += all;
    transpose(c.kernels, now.scores, padded_steps, padded_steps, steps);
    add_triangle<Side::behind>(c.kernels, steps, reads.d_read, S, n, sum);
    write_side(c, sum, c.at.value);

    fill(sum.data, padded_steps * P, 0);
    transpose(c.kernels, d_scores, padded_steps, padded_steps, steps);
    add_triangle<Side::behind>(c.kernels, steps, now.query, S, n, sum);
    scale_columns(value_turned, S, c.scales.to_last, side);
    transpose(c.kernels, d_memory, P, P, turned);
    add_product(c.kernels, side, n, turned, S, S, sum);
    for (Index s = 0; s < n; ++s) add_row(sum, s, P, c.d_state.normaliser, c.scales.to_last[s]);
    write_side(c, sum, c.at.key);
}

void backward_queries(const ChunkBackward<Precision>& c, const Scores& now, const Reads& reads, Blocked d_scores, Blocked d_read_turned,
                      Room room) noexcept {
    const Index S = c.at.units, P = padded(S), n = c.steps;
    const Blocked memory{c.state.memory, P}, turned = room.square(), side = room.unit_major(), sum = room.time_major();
    fill(sum.data, padded_steps * P, 0);
    add_triangle<Side::before>(c.kernels, d_scores, now.key, S, n, sum);
    scale_columns(d_read_turned, S, c.scales.from_first, side);
    transpose(c.kernels, memory, P, P, turned);
    add_product(c.kernels, side, n, turned, S, S, sum);
    for (Index t = 0; t < n; ++t) add_row(sum, t, P, c.state.normaliser, c.scales.from_first[t] * reads.d_weight[t]);
    write_side(c, sum, c.at.query);
}

/// The state before the chunk, and what was kept of it.
void backward_state(const ChunkBackward<Precision>& c, const Scores& now, const Reads& reads, Room room) noexcept {
    const Index S = c.at.units, P = padded(S), n = c.steps;
    const Blocked d_memory{c.d_state.memory, P}, memory{c.state.memory, P}, side = room.time_major();
    Real* const d_normaliser = c.d_state.normaliser;
    Real d_kept = dot_all(d_memory, memory, S, P);
    for (Index d = 0; d < S; ++d) d_kept += d_normaliser[d] * c.state.normaliser[d];
    c.d_decay[n - 1] += c.scales.kept * d_kept;
    scale_all(d_memory, S, P, c.scales.kept);
    scale_rows(now.query, n, P, c.scales.from_first, side);
    add_product(c.kernels, side, S, reads.d_read, S, n, d_memory);
    for (Index d = 0; d < P; d += lanes) {
        Vector sum = load(d_normaliser + d) * c.scales.kept;
        for (Index t = 0; t < n; ++t) sum += load(side.at(t, d)) * reads.d_weight[t];
        store(d_normaliser + d, sum);
    }
}

void backward(const ChunkBackward<Precision>& c) noexcept {
    const Index S = c.at.units, P = padded(S);
    Room room{c.room, S};
    const Scores now(c, room);
    read_first(now, c.scales, c.state.normaliser, S, room);
    const Reads reads(c, now.weight, room);
    const Blocked d_read_turned = room.unit_major(), value_turned = room.unit_major(), d_scores = room.of_steps();
    transpose(c.kernels, reads.d_read, padded_steps, P, d_read_turned);
    transpose(c.kernels, now.value, padded_steps, P, value_turned);
    fill(d_scores.data, padded_steps * padded_steps, 0);
    add_product(c.kernels, value_turned, c.steps, d_read_turned, c.steps, S, d_scores);
    through_weights(c, now, reads.d_weight, d_scores);
    backward_writes(c, now, reads, d_scores, value_turned, room);
    backward_queries(c, now, reads, d_scores, d_read_turned, room);
    backward_state(c, now, reads, room);
}

void unpack(const Real* from, Index units, Real* memory) noexcept {
    const Blocked to{memory, padded(units)};
    for (Index r = 0; r < to.rows; ++r)
        for (Index c = 0; c < to.rows; c += lanes) {
            const Index count = r < units ? (units - c < lanes ? units - c : lanes) : 0;
            store(to.at(r, c), count > 0 ? load_up_to(from + r * units + c, count) : Vector{});
        }
}

void pack(const Real* memory, Index units, Real* to) noexcept {
    const Blocked from{const_cast<Real*>(memory), padded(units)};
    for (Index r = 0; r < units; ++r)
        for (Index c = 0; c < units; c += lanes) store_up_to(to + r * units + c, load(from.at(r, c)), units - c < lanes ? units - c : lanes);
}

constexpr MlstmKernels<Precision> table = {padded, room_numbers, unpack, pack, forward, backward};

}  // namespace

namespace LSTMKIT_SET {
const MlstmKernels<Precision>& mlstm_kernels(Precision) noexcept { return table; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
