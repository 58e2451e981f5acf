// One direction of a layer, forward and backward, against the equations in double.
#include "lstmkit/layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "check.h"
#include "equations.h"

namespace {

using equations::Doubles;
using lstmkit::Index;
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
struct Case : equations::Sizes {
    using Number = lstmkit::Real<P>;
    StoredNumbers<P> x, h, wi, wh, bi, bh, wr, gy;
    RealNumbers<P> c, gh, gc;
    std::vector<std::int64_t> lengths;
    std::vector<std::uint8_t> resets;

    explicit Case(const Sizes& sizes) : Sizes(sizes) {
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
    equations::Layer wide() const {
        const auto all = [](const auto& values) { return Doubles(values.begin(), values.end()); };
        return {*this, all(x), all(h), all(c), all(wi), all(wh), all(bi), all(bh), all(wr), all(gy), all(gh), all(gc), lengths, resets};
    }
};

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
void layer_matches(const equations::Found& right, const Case<P>& k, int threads, lstmkit::InstructionSet set) {
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
    const equations::Found right = equations::run(k.wide());
    for (lstmkit::InstructionSet set : sets)
        for (int threads : all_threads) layer_matches(right, k, threads, set);
}

// tests/ops compares projections with the equations; here the sanitizer's memory shows what is read before it is written.
template <typename P>
void projection_is_finite(Index T, Index B, Index I, Index H, Index R, int threads, lstmkit::InstructionSet set) {
    const Case<P> k({T, B, I, H, true, false});
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
            for (Index H : {1, 3, 4, 8, 15, 16, 17, 33}) layer_matches_double(Case<P>({5, 7, 3, H, masks, backwards}), {1}, sets);
            for (Index rounds : {1, 2, 5})
                for (Index rank : {0, 3, 20}) layer_matches_double(Case<P>({5, 7, 11, 18, masks, backwards, rounds, rank}), {2}, sets);
            if (!masks) layer_matches_double(Case<P>({3, 200, 70, 33, masks, backwards, 4}), {2}, sets);
            for (Index I : {1, 16, 50, 66}) layer_matches_double(Case<P>({4, 13, I, 5, masks, backwards}), {2}, sets);
            layer_matches_double(Case<P>({1, 1, 1, 1, masks, backwards}), {2}, sets);
            layer_matches_double(Case<P>({12, 230, 8, 20, masks, backwards}), {3}, sets);
            // Too much for the caches: the trace goes past them, and backward fetches it ahead.
            if (masks) layer_matches_double(Case<P>({70, 80, 3, 32, masks, backwards}), {2}, sets);
            // Few rows and many units: the units are divided among the threads.
            layer_matches_double(Case<P>({12, 3, 70, 131, masks, backwards}), {2, 3, 5}, sets);
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
