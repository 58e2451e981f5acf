#include "gemm/pack.h"

#include <algorithm>

namespace lstmkit {
namespace {

// So many blocks of a group of weights stay in the second-level cache while all rows pass: 256 KiB with 16 lanes of float.
constexpr Index resident_blocks = 16;

/// to[k][l] at distance 4L = from[l][k] for l < count, zero beyond.
template <typename From, typename To>
void transpose(const From* from, Index columns, Index count, Index lanes, To* to) noexcept {
    for (Index k = 0; k < columns; ++k, to += gates * lanes) {
        for (Index l = 0; l < count; ++l) to[l] = from[l * columns + k];
        std::fill(to + count, to + lanes, To{});
    }
}

template <typename Number>
void transpose_back(const Number* from, Index columns, Index count, Index lanes, Number* to) noexcept {
    for (Index l = 0; l < count; ++l)
        for (Index k = 0; k < columns; ++k) to[l * columns + k] = from[k * gates * lanes + l];
}

}  // namespace

template <typename P>
void pack_block(const LayerCase<P>& layer, const Blocks& sizes, Index block, Real<P>* weights, Real<P>* bias) noexcept {
    const Index I = sizes.inputs, H = sizes.units, L = sizes.lanes, count = sizes.count(block);
    for (Index gate = 0; gate < gates; ++gate) {
        const Index row = gate * H + sizes.first(block);
        Real<P>* to = weights + gate * L;
        transpose(layer.weight_input + row * I, I, count, L, to);
        transpose(layer.weight_recurrent + row * H, H, count, L, to + I * sizes.gate_vectors());
        for (Index l = 0; l < L; ++l)
            bias[gate * L + l] = layer.bias_input && l < count ? layer.bias_input[row + l] + layer.bias_recurrent[row + l] : 0;
    }
}

template <typename P>
void unpack_block(const Blocks& sizes, Index block, const Real<P>* weights, const Real<P>* bias, const Gradients<P>& to) noexcept {
    const Index I = sizes.inputs, H = sizes.units, L = sizes.lanes, count = sizes.count(block);
    for (Index gate = 0; gate < gates; ++gate) {
        const Index row = gate * H + sizes.first(block);
        const Real<P>* from = weights + gate * L;
        transpose_back(from, I, count, L, to.weight_input + row * I);
        transpose_back(from + I * sizes.gate_vectors(), H, count, L, to.weight_recurrent + row * H);
        std::copy(bias + gate * L, bias + gate * L + count, to.bias + row);
    }
}

template <typename P>
Index TransposedPack<P>::group_size(Index group) const noexcept {
    return std::min(group_vectors, vectors_ - group * group_vectors);
}

template <typename P>
void TransposedPack<P>::fill(const Stored<P>* matrix, Index block, Real<P>* pack) const noexcept {
    const Index L = sizes_.lanes, rows = sizes_.blocks * sizes_.gate_vectors();
    for (Index group = 0; group * group_vectors < vectors_; ++group) {
        const Index first = group * group_vectors * L, width = group_size(group) * L;
        const Index count = std::min(width, columns_ - first);
        Real<P>* to = pack + first * rows + block * sizes_.gate_vectors() * width;
        for (Index gate = 0; gate < gates; ++gate)
            for (Index l = 0; l < L; ++l, to += width) {
                const Index real = l < sizes_.count(block) ? count : 0;
                const Stored<P>* from = matrix + (gate * sizes_.units + sizes_.first(block) + l) * columns_ + first;
                if (real) std::copy(from, from + real, to);
                std::fill(to + real, to + width, Real<P>{});
            }
    }
}

template <typename P>
void TransposedPack<P>::multiply(const Kernels<P>& kernels, const Real<P>* dz, Index dz_block, Index rows, const Real<P>* pack,
                                 Real<P>* const* out) const noexcept {
    for (Index group = 0; group * group_vectors < vectors_; ++group) {
        const Index first = group * group_vectors * sizes_.lanes, width = group_size(group) * sizes_.lanes;
        const Real<P>* weights = pack + first * sizes_.blocks * sizes_.gate_vectors();
        for (Index block = 0; block < sizes_.blocks; block += resident_blocks)
            kernels.product({rows, dz + block * dz_block, dz_block, std::min(resident_blocks, sizes_.blocks - block),
                             weights + block * sizes_.gate_vectors() * width, group_size(group), out, first,
                             std::min(width, columns_ - first), block > 0});
    }
}

#define LSTMKIT_PRECISION(P)                                                                              \
    template void pack_block(const LayerCase<P>&, const Blocks&, Index, Real<P>*, Real<P>*) noexcept;     \
    template void unpack_block(const Blocks&, Index, const Real<P>*, const Real<P>*, const Gradients<P>&) noexcept; \
    template class TransposedPack<P>;
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
