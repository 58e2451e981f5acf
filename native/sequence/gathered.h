// What backward keeps between steps: the gradients that flow back in time, and those of several steps that wait until the
// weights' gradient takes them together.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"

namespace lstmkit {

// Rows between the last of one block and the first of the next: without them blocks lie a multiple of 4 KiB apart and
// fight for the same few lines of the caches.
inline constexpr Index spare_rows = 7;

/// The gradients of the pre-activations of up to `capacity` rows of several steps, shared by a team.
template <typename P>
struct Gathered {
    Index capacity, dz_block;
    Array<Real<P>> dz;                // [blocks][capacity + spare_rows][4][L]
    Array<Real<P>> d_output, hidden;  // [capacity][wide(R)] and [capacity][wide(H)] where there is a projection

    Gathered(const Blocks& s, bool projected, Index capacity)
        : capacity(capacity), dz_block((capacity + spare_rows) * s.gate_vectors()), dz(s.blocks * dz_block),
          d_output(projected ? capacity * s.wide(s.outputs) : 0), hidden(projected ? capacity * s.wide(s.units) : 0) {
        std::fill_n(d_output.data(), projected ? capacity * s.wide(s.outputs) : 0, Real<P>{});
        std::fill_n(hidden.data(), projected ? capacity * s.wide(s.units) : 0, Real<P>{});
    }
};

/// Where the gathered rows came from and where their gradients go; each member of a team has its own.
template <typename P>
struct Sources {
    const Stored<P> **x, **h, **ones;
    const Real<P>** d_output;
    Real<P>** dx;
};

template <typename P>
class SourceMemory {
public:
    SourceMemory(int members, Index capacity)
        : capacity_(capacity), rows_(members * capacity), stored_(3 * rows_), d_output_(rows_), dx_(rows_), one_(1) {
        one_[0] = Stored<P>{1};
        std::fill_n(&stored_[2 * rows_], rows_, one_.data());
    }
    Sources<P> of(int member) const noexcept {
        const Index first = member * capacity_;
        return {&stored_[first], &stored_[rows_ + first], &stored_[2 * rows_ + first], &d_output_[first], &dx_[first]};
    }

private:
    Index capacity_, rows_;
    Array<const Stored<P>*> stored_;
    Array<const Real<P>*> d_output_;
    Array<Real<P>*> dx_;
    Array<Stored<P>> one_;
};

/// What flows from step to step.
template <typename P>
struct Flow {
    Array<Real<P>> d_output, dc;      // [rows][padded R] and [rows][padded H]
    Array<Real<P>> d_hidden;          // [rows][padded H], before a projection
    Array<Real<P>*> d_output_rows, d_hidden_rows;

    Flow(const Blocks& s, bool projected, Index rows)
        : d_output(rows * s.padded_outputs()), dc(rows * s.padded()), d_hidden(projected ? rows * s.padded() : 0),
          d_output_rows(rows), d_hidden_rows(rows) {
        // What pads a row is multiplied by zeros, and must not be NaN.
        std::fill_n(d_hidden.data(), projected ? rows * s.padded() : 0, Real<P>{});
        for (Index r = 0; r < rows; ++r) {
            d_output_rows[r] = &d_output[r * s.padded_outputs()];
            d_hidden_rows[r] = &d_hidden[projected ? r * s.padded() : 0];
        }
    }
};

/// The packed gradient of the weights that one share of the rows adds up.
template <typename P>
struct WeightSums {
    Real<P> *weights, *bias;  ///< [blocks][I + R][4][L], [blocks][4][L]
    Real<P>* projection;      ///< [wide blocks of H][R][4L] where there is one
};

template <typename P>
class SumMemory {
public:
    SumMemory(const Blocks& s, bool projected, int shares)
        : weights_(s.blocks * s.weight_numbers()), bias_(s.blocks * s.gate_vectors()),
          numbers_(weights_ + bias_ + (projected ? s.projection_numbers() : 0)), all_(shares * numbers_) {}
    void zero(int share) const noexcept { std::fill_n(&all_[share * numbers_], numbers_, Real<P>{}); }
    WeightSums<P> of(int share) const noexcept {
        Real<P>* const first = &all_[share * numbers_];
        return {first, first + weights_, first + weights_ + bias_};
    }

private:
    Index weights_, bias_, numbers_;
    Array<Real<P>> all_;
};

}  // namespace lstmkit
