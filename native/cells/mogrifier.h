// A round of a Mogrifier LSTM; the equations are those of docs/explanation/relatives.md.
#pragma once

#include "units.h"

namespace lstmkit {
namespace {

void mogrify(const Factor* from, Real* gates, Factor* to, Index count) noexcept {
    each_units(count, [&](const Units& units) noexcept {
        const Vector gate = 2 * sigmoid(units.load_vector(gates));
        units.store_vector(gates, gate);
        units.store(to, gate * units.load(from));
    });
}

void mogrify_backward(const Factor* from, const Real* gates, Real* d, Factor* d_sums, Index count) noexcept {
    each_units(count, [&](const Units& units) noexcept {
        const Vector gate = units.load_vector(gates), own = units.load(d), through = own * gate;
        units.store_vector(d_sums, through * units.load(from) * (one - gate / 2));
        units.store(d, through);
    });
}

}  // namespace
}  // namespace lstmkit
