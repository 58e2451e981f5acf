// A vector of LSTMKIT_LANES floats. Included only by kernels.cpp, once per instruction set; no standard library inline
// functions may be used there, or the linker could keep a copy that the machine cannot run.
#pragma once

#include <cstddef>

namespace lstmkit {
namespace LSTMKIT_SET {

inline constexpr std::size_t lanes = LSTMKIT_LANES;

typedef float Vector __attribute__((vector_size(LSTMKIT_LANES * sizeof(float))));

/// lanes floats from any address.
inline Vector load(const float* from) noexcept {
    Vector value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

inline float sum(Vector value) noexcept {
    float total = 0;
    for (std::size_t lane = 0; lane < lanes; ++lane) total += value[lane];
    return total;
}

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
