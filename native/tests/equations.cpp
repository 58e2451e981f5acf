#include "equations.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace equations {
namespace {

using std::size_t;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// What the rounds of a Mogrifier LSTM make of an input and an output: v[n + 1] is what round n leaves.
struct Rounds {
    std::vector<Doubles> v, gates;

    const Doubles& x() const { return v[v.size() - 2 + v.size() % 2]; }
    const Doubles& h() const { return v[v.size() - 1 - v.size() % 2]; }
};

Rounds run_rounds(const Layer& k, const Doubles& x, const Doubles& h) {
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
void run_rounds_back(const Layer& k, const Rounds& all, Doubles& dx, Doubles& dh, Doubles& dwr) {
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
void run_row(const Layer& k, Index b, Found& f) {
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
        const double* x = &k.x[size_t((time(n) * k.B + b) * I)];
        read.push_back(run_rounds(k, Doubles(x, x + I), is_reset(n) ? none : h));
        Doubles z(static_cast<size_t>(4 * H));
        for (Index r = 0; r < 4 * H; ++r) {
            // The rounding of each sum is put right (Neumaier 1974), so that this one has none of its own.
            double total = k.bi[size_t(r)] + k.bh[size_t(r)], lost = 0;
            const auto add = [&](double term) {
                const double sum = total + term;
                lost += std::fabs(total) >= std::fabs(term) ? (total - sum) + term : (term - sum) + total;
                total = sum;
            };
            for (Index m = 0; m < I; ++m) add(k.wi[size_t(r * I + m)] * read[size_t(n)].x()[size_t(m)]);
            for (Index m = 0; m < H; ++m) add(k.wh[size_t(r * H + m)] * read[size_t(n)].h()[size_t(m)]);
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

}  // namespace

Found run(const Layer& k) {
    auto zeros = [](Index count) { return Doubles(static_cast<size_t>(count), 0.0); };
    const Index n = k.T * k.B, H = k.H;
    Found f{zeros(n * H), zeros(k.B * H), zeros(k.B * H), zeros(4 * n * H), zeros(n * k.I), zeros(k.B * H), zeros(k.B * H),
            zeros(4 * H * k.I), zeros(4 * H * H), zeros(4 * H), zeros(k.rounds * k.round_weights())};
    for (Index b = 0; b < k.B; ++b) run_row(k, b, f);
    return f;
}

}  // namespace equations
