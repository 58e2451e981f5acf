// One direction of a layer and its way back, by the equations in double, for layer_test.cpp to compare with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace equations {

using Index = std::ptrdiff_t;
using Doubles = std::vector<double>;

/// Masks are lengths and resets; rounds are those of a Mogrifier LSTM, of full rank where it is 0.
struct Sizes {
    Index T, B, I, H;
    bool masks, backwards;
    Index rounds = 0, rank = 0;

    /// Numbers that round n reads and changes, and where its weights begin.
    Index read(Index n) const { return n % 2 ? H : I; }
    Index changed(Index n) const { return n % 2 ? I : H; }
    Index round_weights() const { return rank ? rank * (I + H) : I * H; }
    Index round(Index n) const { return (n % 2 ? n / 2 : (rounds + 1) / 2 + n / 2 - 1) * round_weights(); }
};

struct Layer : Sizes {
    Doubles x, h, c, wi, wh, bi, bh, wr, gy, gh, gc;
    std::vector<std::int64_t> lengths;
    std::vector<std::uint8_t> resets;

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

struct Found {
    Doubles y, h, c, gates, dx, dh, dc, dwi, dwh, db, dwr;
};

Found run(const Layer& layer);

}  // namespace equations
