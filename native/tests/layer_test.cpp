// One direction of a layer, forward and backward, against the equations written out in double.
#include "lstmkit/layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "check.h"

namespace {

using lstmkit::Index;
using Doubles = std::vector<double>;
template <typename P>
using StoredNumbers = std::vector<lstmkit::Stored<P>>;
template <typename P>
using RealNumbers = std::vector<lstmkit::Real<P>>;
using lstmkit::BFloat16;
using lstmkit::Float32;
using lstmkit::Float32SavedInBFloat16;
using lstmkit::Float64;

// How far values and gradients may be off, relative to their scale. A gate that is kept in 16 bits, and its derivative, are off
// by 2^-9 of themselves; the short sums here average little of that. The other gates' limits are those
// of tests/ops/test_native_fuzz.py.
template <typename P>
struct Tolerance;
template <>
struct Tolerance<Float32> {
    static constexpr const char* name = "f32";
    static constexpr double values = 1e-6, gradients = 1e-5, gates = 2e-6;
};
template <>
struct Tolerance<Float64> {
    static constexpr const char* name = "f64";
    static constexpr double values = 1e-15, gradients = 1e-14, gates = 5e-15;
};
template <>
struct Tolerance<BFloat16> {
    static constexpr const char* name = "bf16";
    static constexpr double values = 1e-2, gradients = 1.5e-2, gates = 2e-2;
};
template <>
struct Tolerance<Float32SavedInBFloat16> {
    static constexpr const char* name = "f32 saved in bf16";
    static constexpr double values = 1e-6, gradients = 8e-3, gates = 1.0 / 1024 + 1e-6;
};

// Exactly as long as needed, so that a sanitizer sees a step beyond.
template <typename P>
struct Case {
    using Number = lstmkit::Real<P>;
    Index T, B, I, H;
    bool masks, backwards;
    Index rounds, rank;
    StoredNumbers<P> x, h, wi, wh, bi, bh, wr, gy;
    RealNumbers<P> c, gh, gc;
    std::vector<std::int64_t> lengths;
    std::vector<std::uint8_t> resets;

    Case(Index T, Index B, Index I, Index H, bool masks, bool backwards, Index rounds = 0, Index rank = 0)
        : T(T), B(B), I(I), H(H), masks(masks), backwards(backwards), rounds(rounds), rank(rank) {
        std::mt19937 random(static_cast<unsigned>(T + 10 * B + 100 * I + 1000 * H));
        std::normal_distribution<Number> normal;
        auto draw = [&](auto& values, Index count, Number scale) {
            values.resize(static_cast<std::size_t>(count));
            for (auto& value : values) value = scale * normal(random);
        };
        const Number scale = 1 / std::sqrt(Number(I + H));
        draw(x, T * B * I, 1), draw(h, B * H, 1), draw(c, B * H, 1);
        draw(wi, 4 * H * I, scale), draw(wh, 4 * H * H, scale), draw(bi, 4 * H, 1), draw(bh, 4 * H, 1);
        draw(wr, rounds * round_weights(), rank ? std::sqrt(2 * scale / std::sqrt(Number(rank))) : 2 * scale), draw(gy, T * B * H, 1), draw(gh, B * H, 1), draw(gc, B * H, 1);
        for (Index b = 0; b < B; ++b) lengths.push_back(masks ? Index(random() % unsigned(T + 1)) : T);
        for (Index k = 0; k < T * B; ++k) resets.push_back(masks && random() % 3 == 0);
        for (Index b = 0; b < B; ++b)
            for (Index t = lengths[size_t(b)]; t < T; ++t) std::fill_n(&x[size_t((t * B + b) * I)], I, NAN);
    }
    lstmkit::LayerCase<P> view() const {
        return {{T, B, I, H, H, false, masks ? lengths.data() : nullptr, masks ? resets.data() : nullptr, backwards, {}, 1, rounds, rank},
                {x.data(), B * I, I}, {h.data(), H}, {c.data(), H}, wi.data(), wh.data(), bi.data(), bh.data(), nullptr, nullptr, {}, nullptr,
                rounds ? wr.data() : nullptr};
    }
    /// Numbers that round n reads and changes, and where its weights begin.
    Index read(Index n) const { return n % 2 ? H : I; }
    Index changed(Index n) const { return n % 2 ? I : H; }
    Index round_weights() const { return rank ? rank * (I + H) : I * H; }
    Index round(Index n) const { return (n % 2 ? n / 2 : (rounds + 1) / 2 + n / 2 - 1) * round_weights(); }
    /// Of a rank: number q of what reads, of column m; number u of what changes, of q.
    double right(Index n, Index q, Index m) const { return wr[size_t(round(n) + q * read(n) + m)]; }
    double left(Index n, Index u, Index q) const { return wr[size_t(round(n) + rank * read(n) + u * rank + q)]; }
    double matrix(Index n, Index u, Index m) const {
        if (!rank) return wr[size_t(round(n) + u * read(n) + m)];
        double sum = 0;
        for (Index q = 0; q < rank; ++q) sum += left(n, u, q) * right(n, q, m);
        return sum;
    }
    /// Adds what the gradient of a number of a round's matrix means for the weights.
    void add_gradient(Index n, Index u, Index m, double d, Doubles& to) const {
        if (!rank) to[size_t(round(n) + u * read(n) + m)] += d;
        for (Index q = 0; q < rank; ++q) {
            to[size_t(round(n) + q * read(n) + m)] += d * left(n, u, q);
            to[size_t(round(n) + rank * read(n) + u * rank + q)] += d * right(n, q, m);
        }
    }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Found {
    Doubles y, h, c, gates, dx, dh, dc, dwi, dwh, db, dwr;
};

/// What the rounds of a Mogrifier LSTM make of an input and an output: v[n + 1] is what round n leaves.
struct Rounds {
    std::vector<Doubles> v, gates;

    const Doubles& x() const { return v[v.size() - 2 + v.size() % 2]; }
    const Doubles& h() const { return v[v.size() - 1 - v.size() % 2]; }
};

template <typename P>
Rounds run_rounds(const Case<P>& k, const Doubles& x, const Doubles& h) {
    Rounds all{{x, h}, {{}, {}}};
    for (Index n = 1; n <= k.rounds; ++n) {
        const Doubles &read = all.v[size_t(n)], &before = all.v[size_t(n - 1)];
        Doubles gate, next;
        for (Index u = 0; u < k.changed(n); ++u) {
            double sum = 0;
            for (Index m = 0; m < k.read(n); ++m) sum += k.matrix(n, u, m) * read[size_t(m)];
            gate.push_back(2 * sigmoid(sum)), next.push_back(gate.back() * before[size_t(u)]);
        }
        all.gates.push_back(gate), all.v.push_back(next);
    }
    return all;
}

/// From the gradients of what they left back to those of the input and the output.
template <typename P>
void run_rounds_back(const Case<P>& k, const Rounds& all, Doubles& dx, Doubles& dh, Doubles& dwr) {
    for (Index n = k.rounds; n > 0; --n) {
        Doubles &changed = n % 2 ? dx : dh, &read = n % 2 ? dh : dx;
        const Doubles& in = all.v[size_t(n)];
        for (Index u = 0; u < k.changed(n); ++u) {
            double& own = changed[size_t(u)];
            const double gate = all.gates[size_t(n + 1)][size_t(u)], d = own * all.v[size_t(n - 1)][size_t(u)] * gate * (1 - gate / 2);
            own *= gate;
            for (Index m = 0; m < k.read(n); ++m) {
                k.add_gradient(n, u, m, d * in[size_t(m)], dwr);
                read[size_t(m)] += d * k.matrix(n, u, m);
            }
        }
    }
}

/// One row through time and back, as the equations say it.
template <typename P>
void run_row(const Case<P>& k, Index b, Found& f) {
    const Index H = k.H, I = k.I, length = k.lengths[size_t(b)];
    const Doubles none(static_cast<size_t>(H), 0.0);
    Doubles h(&k.h[size_t(b * H)], &k.h[size_t(b * H)] + H), c(&k.c[size_t(b * H)], &k.c[size_t(b * H)] + H);
    std::vector<Doubles> c_before, c_after, zs;
    std::vector<Rounds> read;
    auto time = [&](Index n) { return k.backwards ? length - 1 - n : n; };
    auto is_reset = [&](Index n) {
        const Index border = k.backwards ? time(n) + 1 : n;
        return k.masks && border < length && k.resets[size_t(border * k.B + b)];
    };
    for (Index n = 0; n < length; ++n) {
        c_before.push_back(is_reset(n) ? none : c);
        const auto* x = &k.x[size_t((time(n) * k.B + b) * I)];
        read.push_back(run_rounds(k, Doubles(x, x + I), is_reset(n) ? none : h));
        Doubles z(static_cast<size_t>(4 * H));
        for (Index r = 0; r < 4 * H; ++r) {
            // The rounding of each sum is put right (Neumaier 1974), so that this one has none of its own.
            double total = double(k.bi[size_t(r)]) + k.bh[size_t(r)], lost = 0;
            const auto add = [&](double term) {
                const double sum = total + term;
                lost += std::fabs(total) >= std::fabs(term) ? (total - sum) + term : (term - sum) + total;
                total = sum;
            };
            for (Index m = 0; m < I; ++m) add(double(k.wi[size_t(r * I + m)]) * read[size_t(n)].x()[size_t(m)]);
            for (Index m = 0; m < H; ++m) add(double(k.wh[size_t(r * H + m)]) * read[size_t(n)].h()[size_t(m)]);
            total += lost;
            z[size_t(r)] = r / H == 2 ? std::tanh(total) : sigmoid(total);
        }
        for (Index u = 0; u < H; ++u) {
            c[size_t(u)] = z[size_t(H + u)] * c_before[size_t(n)][size_t(u)] + z[size_t(u)] * z[size_t(2 * H + u)];
            h[size_t(u)] = z[size_t(3 * H + u)] * std::tanh(c[size_t(u)]);
            f.y[size_t((time(n) * k.B + b) * H + u)] = h[size_t(u)];
            for (Index gate = 0; gate < 4; ++gate)
                f.gates[size_t(((time(n) * k.B + b) * 4 + gate) * H + u)] = z[size_t(gate * H + u)];
        }
        c_after.push_back(c), zs.push_back(z);
    }
    std::copy(h.begin(), h.end(), &f.h[size_t(b * H)]);
    std::copy(c.begin(), c.end(), &f.c[size_t(b * H)]);
    Doubles dh(&k.gh[size_t(b * H)], &k.gh[size_t(b * H)] + H), dc(&k.gc[size_t(b * H)], &k.gc[size_t(b * H)] + H);
    for (Index n = length; n-- > 0;) {
        const Doubles& z = zs[size_t(n)];
        const Rounds& before = read[size_t(n)];
        Doubles dz(static_cast<size_t>(4 * H)), dx(static_cast<size_t>(I), 0), dh_before(static_cast<size_t>(H), 0);
        const Index at = time(n) * k.B + b;
        for (Index u = 0; u < H; ++u) {
            const double i = z[size_t(u)], fg = z[size_t(H + u)], g = z[size_t(2 * H + u)], o = z[size_t(3 * H + u)];
            const double tanh_c = std::tanh(c_after[size_t(n)][size_t(u)]), d = dh[size_t(u)] + k.gy[size_t(at * H + u)];
            const double e = dc[size_t(u)] + d * o * (1 - tanh_c * tanh_c);
            dz[size_t(u)] = e * g * i * (1 - i), dz[size_t(H + u)] = e * c_before[size_t(n)][size_t(u)] * fg * (1 - fg);
            dz[size_t(2 * H + u)] = e * i * (1 - g * g), dz[size_t(3 * H + u)] = d * tanh_c * o * (1 - o);
            dc[size_t(u)] = is_reset(n) ? 0 : e * fg;
        }
        for (Index r = 0; r < 4 * H; ++r) {
            f.db[size_t(r)] += dz[size_t(r)];
            for (Index m = 0; m < I; ++m) {
                f.dwi[size_t(r * I + m)] += dz[size_t(r)] * before.x()[size_t(m)];
                dx[size_t(m)] += dz[size_t(r)] * k.wi[size_t(r * I + m)];
            }
            for (Index m = 0; m < H; ++m) {
                f.dwh[size_t(r * H + m)] += dz[size_t(r)] * before.h()[size_t(m)];
                dh_before[size_t(m)] += dz[size_t(r)] * k.wh[size_t(r * H + m)];
            }
        }
        run_rounds_back(k, before, dx, dh_before, f.dwr);
        std::copy(dx.begin(), dx.end(), &f.dx[size_t(at * I)]);
        dh = is_reset(n) ? none : dh_before;
    }
    std::copy(dh.begin(), dh.end(), &f.dh[size_t(b * H)]);
    std::copy(dc.begin(), dc.end(), &f.dc[size_t(b * H)]);
}

template <typename P>
Found expected(const Case<P>& k) {
    auto zeros = [](Index count) { return Doubles(static_cast<size_t>(count), 0.0); };
    const Index n = k.T * k.B, H = k.H;
    Found f{zeros(n * H), zeros(k.B * H), zeros(k.B * H), zeros(4 * n * H), zeros(n * k.I), zeros(k.B * H), zeros(k.B * H),
            zeros(4 * H * k.I), zeros(4 * H * H), zeros(4 * H), zeros(k.rounds * k.round_weights())};
    for (Index b = 0; b < k.B; ++b) run_row(k, b, f);
    return f;
}

/// Begins where a vector that goes past the caches may begin, and ends exactly at the last number.
template <typename Number>
struct AlignedAllocator {
    using value_type = Number;
    static constexpr std::align_val_t alignment{64};

    AlignedAllocator() = default;
    template <typename Other>
    AlignedAllocator(const AlignedAllocator<Other>&) {}
    Number* allocate(std::size_t count) { return static_cast<Number*>(::operator new(count * sizeof(Number), alignment)); }
    void deallocate(Number* numbers, std::size_t) { ::operator delete(numbers, alignment); }
    friend bool operator==(AlignedAllocator, AlignedAllocator) { return true; }
    friend bool operator!=(AlignedAllocator, AlignedAllocator) { return false; }
};

template <typename Number>
using Numbers = std::vector<Number, AlignedAllocator<Number>>;

template <typename Number>
void near(const Numbers<Number>& actual, const Doubles& right, double tolerance, const std::string& what) {
    double scale = 1, worst = 0;
    for (double value : right) scale = std::max(scale, std::fabs(value));
    for (std::size_t k = 0; k < right.size(); ++k) {
        const double error = std::fabs(double(actual[k]) - right[k]);
        worst = error <= worst ? worst : error;  // a NaN stays
    }
    check(worst <= tolerance * scale, what + " off by " + std::to_string(worst / scale));
}

template <typename Number>
Numbers<Number> poison(Index count) {
    return Numbers<Number>(static_cast<size_t>(count), Number(NAN));
}

template <typename P>
void layer_matches(const Found& right, const Case<P>& k, int threads, lstmkit::InstructionSet set) {
    const Index n = k.T * k.B, H = k.H, I = k.I;
    auto y = poison<lstmkit::Stored<P>>(n * H), h = poison<lstmkit::Stored<P>>(k.B * H), dx = poison<lstmkit::Stored<P>>(n * I);
    auto c = poison<lstmkit::Real<P>>(k.B * H), cells = poison<lstmkit::Real<P>>(n * H), dh = c, dc = c;
    auto dwi = poison<lstmkit::Real<P>>(4 * H * I), dwh = poison<lstmkit::Real<P>>(4 * H * H), db = poison<lstmkit::Real<P>>(4 * H), dwr = poison<lstmkit::Real<P>>(k.rounds * k.round_weights());
    auto gates = poison<lstmkit::Saved<P>>(4 * n * H);
    const lstmkit::Sequence<lstmkit::Real<P>> all_cells{cells.data(), k.B * H, H};
    const lstmkit::Sequence<lstmkit::Saved<P>> all_gates{gates.data(), 4 * k.B * H, 4 * H};
    const lstmkit::ForwardJob<P> forward{k.view(), {{y.data(), k.B * H, H}, {h.data(), H}, {c.data(), H}, {all_cells, all_gates, H}}};
    lstmkit::run_forward<P>(&forward, 1, threads, set);
    const lstmkit::BackwardJob<P> backward{k.view(), {y.data(), k.B * H, H}, {{cells.data(), k.B * H, H}, {gates.data(), 4 * k.B * H, 4 * H}, H},
                                           {{k.gy.data(), k.B * H, H}, {k.gh.data(), H}, {k.gc.data(), H}, {}},
                                           {{dx.data(), k.B * I, I}, {dh.data(), H}, {dc.data(), H}, dwi.data(), dwh.data(), db.data(), nullptr, nullptr, nullptr, nullptr,
                                            k.rounds ? dwr.data() : nullptr}};
    lstmkit::run_backward<P>(&backward, 1, threads, set);
    constexpr double values = Tolerance<P>::values, gradients = Tolerance<P>::gradients;
    const std::string name = std::string(lstmkit::name_of(set)) + " " + Tolerance<P>::name + " T" + std::to_string(k.T) + " B" + std::to_string(k.B) + " I" +
                             std::to_string(I) + " H" + std::to_string(H) + (k.masks ? " masks" : "") + (k.rounds ? " rounds " + std::to_string(k.rounds) + " of rank " + std::to_string(k.rank) : "") + (k.backwards ? " backwards " : " ");
    near(y, right.y, values, name + "y"), near(h, right.h, values, name + "h"), near(c, right.c, values, name + "c");
    near(gates, right.gates, Tolerance<P>::gates, name + "gates");
    near(dx, right.dx, gradients, name + "dx"), near(dh, right.dh, gradients, name + "dh"), near(dc, right.dc, gradients, name + "dc");
    near(dwi, right.dwi, gradients, name + "dwi"), near(dwh, right.dwh, gradients, name + "dwh"), near(db, right.db, gradients, name + "db");
    near(dwr, right.dwr, gradients, name + "dwr");
}

using InstructionSets = std::vector<lstmkit::InstructionSet>;

template <typename P>
void layer_matches_double(const Case<P>& k, const std::vector<int>& all_threads, const InstructionSets& sets) {
    const Found right = expected(k);
    for (lstmkit::InstructionSet set : sets)
        for (int threads : all_threads) layer_matches(right, k, threads, set);
}

// tests/ops compares projections with the equations; here the sanitizer's memory shows what is read before it is written.
template <typename P>
void projection_is_finite(Index T, Index B, Index I, Index H, Index R, int threads, lstmkit::InstructionSet set) {
    const Case<P> k(T, B, I, H, true, false);
    const Index n = T * B;
    const StoredNumbers<P> wp(static_cast<size_t>(R * H), lstmkit::Stored<P>(0.1f));
    auto y = poison<lstmkit::Stored<P>>(n * R), h = poison<lstmkit::Stored<P>>(B * R), dx = poison<lstmkit::Stored<P>>(n * I);
    auto c = poison<lstmkit::Real<P>>(B * H), cells = poison<lstmkit::Real<P>>(n * H), dc = c, dh = poison<lstmkit::Real<P>>(B * R);
    auto dwi = poison<lstmkit::Real<P>>(4 * H * I), dwh = poison<lstmkit::Real<P>>(4 * H * R), db = poison<lstmkit::Real<P>>(4 * H);
    auto dwp = poison<lstmkit::Real<P>>(R * H);
    auto gates = poison<lstmkit::Saved<P>>(4 * n * H);
    lstmkit::LayerCase<P> layer = k.view();
    layer.outputs = R, layer.projected = true, layer.weight_projection = wp.data();
    const lstmkit::TraceOut<P> kept{{cells.data(), B * H, H}, {gates.data(), 4 * B * H, 4 * H}, H};
    const lstmkit::ForwardJob<P> forward{layer, {{y.data(), B * R, R}, {h.data(), R}, {c.data(), H}, kept}};
    lstmkit::run_forward<P>(&forward, 1, threads, set);
    const lstmkit::BackwardJob<P> backward{layer, {y.data(), B * R, R}, {{cells.data(), B * H, H}, {gates.data(), 4 * B * H, 4 * H}, H},
                                           {{y.data(), B * R, R}, {k.gh.data(), R}, {k.gc.data(), H}, {}},
                                           {{dx.data(), B * I, I}, {dh.data(), R}, {dc.data(), H}, dwi.data(), dwh.data(), db.data(), dwp.data()}};
    lstmkit::run_backward<P>(&backward, 1, threads, set);
    auto expect_finite = [&](const auto&... values) {
        const bool finite = (std::all_of(values.begin(), values.end(), [](auto value) { return std::isfinite(double(value)); }) && ...);
        check(finite, "a projection of H" + std::to_string(H) + " to " + std::to_string(R) + " is finite");
    };
    expect_finite(y, h, c, dx, dh, dc, dwi, dwh, db, dwp);
}

template <typename P>
void every_layer_matches_double() {
#if defined(__SANITIZE_THREAD__)
    // Threads meet in the same places whatever the set, and ten times as slowly here.
    const InstructionSets sets{lstmkit::usable_sets().back()};
#else
    const InstructionSets& sets = lstmkit::usable_sets();
#endif
    for (bool masks : {false, true})
        for (bool backwards : {false, true}) {
            for (Index H : {1, 3, 4, 8, 15, 16, 17, 33}) layer_matches_double(Case<P>(5, 7, 3, H, masks, backwards), {1}, sets);
            for (Index rounds : {1, 2, 5})
                for (Index rank : {0, 3, 20}) layer_matches_double(Case<P>(5, 7, 11, 18, masks, backwards, rounds, rank), {2}, sets);
            if (!masks) layer_matches_double(Case<P>(3, 200, 70, 33, masks, backwards, 4), {2}, sets);
            for (Index I : {1, 16, 50, 66}) layer_matches_double(Case<P>(4, 13, I, 5, masks, backwards), {2}, sets);
            layer_matches_double(Case<P>(1, 1, 1, 1, masks, backwards), {2}, sets);
            layer_matches_double(Case<P>(12, 230, 8, 20, masks, backwards), {3}, sets);
            // Too much for the caches: the trace goes past them, and backward fetches it ahead.
            if (masks) layer_matches_double(Case<P>(70, 80, 3, 32, masks, backwards), {2}, sets);
            // Few rows and many units: the units are divided among the threads.
            layer_matches_double(Case<P>(12, 3, 70, 131, masks, backwards), {2, 3, 5}, sets);
            if (backwards) continue;
            for (lstmkit::InstructionSet set : sets) projection_is_finite<P>(4, 7, 3, 37, masks ? 5 : 21, 2, set);
        }
}

}  // namespace

int main() {
    every_layer_matches_double<Float32>();
    every_layer_matches_double<Float64>();
    every_layer_matches_double<BFloat16>();
    every_layer_matches_double<Float32SavedInBFloat16>();
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
