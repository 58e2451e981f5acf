// The precisions that a layer runs in: one type per role, so that no kernel and no driver is written twice.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lstmkit {

// Never a function of its own: the linker could keep a copy that the machine cannot run.
#if defined(__GNUC__)
#define LSTMKIT_ALWAYS_INLINE __attribute__((always_inline))
#else
#define LSTMKIT_ALWAYS_INLINE
#endif

/// The upper half of a float: its range, and 8 bits of precision.
struct bfloat16 {
    std::uint16_t bits;

    bfloat16() = default;
    /// Rounds to the nearest, ties to even; NaN stays NaN.
    LSTMKIT_ALWAYS_INLINE bfloat16(float value) noexcept {
        std::uint32_t all;
        __builtin_memcpy(&all, &value, sizeof all);
        const std::uint32_t rounded = all + 0x7fff + (all >> 16 & 1);
        bits = static_cast<std::uint16_t>(value == value ? rounded >> 16 : all >> 16 | 0x40);
    }
    LSTMKIT_ALWAYS_INLINE operator float() const noexcept {
        const std::uint32_t all = std::uint32_t{bits} << 16;
        float value;
        __builtin_memcpy(&value, &all, sizeof value);
        return value;
    }
};

/// A gate's activation, -1 to 1, in 16 bits: as precise beside either 1, where its derivative is what is missing to it, as beside 0.
/// Beyond a half it is what is missing, in units that make it larger than any activation.
struct activation16 {
    static constexpr float units = 0x1p64f, least = 16;

    bfloat16 folded;

    activation16() = default;
    LSTMKIT_ALWAYS_INLINE activation16(float value) noexcept : folded(fold(value)) {}
    LSTMKIT_ALWAYS_INLINE operator float() const noexcept {
        const float value = folded, size = __builtin_fabsf(value);
        return size >= least ? __builtin_copysignf(1 - size / units, value) : value;
    }

private:
    LSTMKIT_ALWAYS_INLINE static float fold(float value) noexcept {
        const float size = __builtin_fabsf(value), missing = (1 - size) * units;
        return size > 0.5f ? __builtin_copysignf(missing > least ? missing : least, value) : value;
    }
};

struct Float32 {
    using Stored = float;  ///< what the caller's x, h, y, weights and their like are kept in, and what is multiplied
    using Real = float;    ///< what products are added up in, and cell states and gradients of weights kept in
    using Saved = float;   ///< what the gates' activations are kept in for backward
};

struct Float64 {
    using Stored = double;
    using Real = double;
    using Saved = double;
};

struct BFloat16 {
    using Stored = bfloat16;
    using Real = float;
    using Saved = activation16;
};

/// Float32 but for what backward needs of the gates, in half the memory.
struct Float32SavedInBFloat16 {
    using Stored = float;
    using Real = float;
    using Saved = activation16;
};

/// Calls LSTMKIT_PRECISION, which a file defines for itself, on each of them.
#define LSTMKIT_EVERY_PRECISION                     \
    LSTMKIT_PRECISION(Float32)                      \
    LSTMKIT_PRECISION(Float64)                      \
    LSTMKIT_PRECISION(BFloat16)                     \
    LSTMKIT_PRECISION(Float32SavedInBFloat16)

template <typename P>
using Stored = typename P::Stored;
template <typename P>
using Real = typename P::Real;
template <typename P>
using Saved = typename P::Saved;

/// Whether a layer may be more than a plain LSTM. What other cells keep are no activations alone, so in the same memory they keep
/// what is stored.
template <typename P>
inline constexpr bool has_cells = sizeof(Saved<P>) == sizeof(Stored<P>);

template <typename P>
Stored<P>* kept_by_cell(Saved<P>* kept) noexcept { return reinterpret_cast<Stored<P>*>(kept); }
template <typename P>
const Stored<P>* kept_by_cell(const Saved<P>* kept) noexcept { return reinterpret_cast<const Stored<P>*>(kept); }

/// Stored numbers in the space of one Real: products take that many terms of a sum at a time.
template <typename P>
inline constexpr std::ptrdiff_t depth = sizeof(Real<P>) / sizeof(Stored<P>);

}  // namespace lstmkit
