// Work that takes the same time wherever it is compiled and runs.
#pragma once

/// A chain of multiplications and additions in registers. Through memory the same loop took up to three times as long in
/// one place as in another.
inline void work_steadily(int steps) noexcept {
    double value = 0;
    for (int k = 0; k < steps; ++k) value = 0.5 * value + 1;
    volatile double seen = value;
    static_cast<void>(seen);
}
