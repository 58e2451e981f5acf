#include "gemm/pack.h"

#include <algorithm>

namespace lstmkit {
namespace {

// So many blocks of a group of weights stay in the second-level cache while all rows pass: 256 KiB with 16 lanes of float.
constexpr Index resident_blocks = 16;

// Columns at a time: what is read along the rows and written across them stays in the first-level cache.
constexpr Index strip = 16;

/// Calls run(first, last) for strips of columns.
template <typename Run>
void for_each_strip(Index columns, Run run) noexcept {
    for (Index first = 0; first < columns; first += strip) run(first, std::min(columns, first + strip));
}

/// to[k / D][l][k % D] at distance 4L * D = from[l][k] for l < count and k < columns; zero beyond both.
template <Index D, typename Number>
void transpose(const Number* from, Index columns, Index count, Index lanes, Number* to) noexcept {
    for_each_strip(round_up(columns, D), [=](Index first, Index last) noexcept {
        for (Index l = 0; l < lanes; ++l)
            for (Index k = first; k < last; ++k)
                to[(k / D * gates * lanes + l) * D + k % D] = l < count && k < columns ? from[l * columns + k] : Number{};
    });
}

template <typename Number>
void transpose_back(const Number* from, Index columns, Index count, Index lanes, Number* to) noexcept {
    for_each_strip(columns, [=](Index first, Index last) noexcept {
        for (Index l = 0; l < count; ++l)
            for (Index k = first; k < last; ++k) to[l * columns + k] = from[k * gates * lanes + l];
    });
}

}  // namespace

template <typename P>
void pack_block(const LayerCase<P>& layer, const Blocks& sizes, Index block, Stored<P>* weights, Real<P>* bias) noexcept {
    constexpr Index D = depth<P>;
    const Index I = sizes.inputs, H = sizes.units, R = sizes.outputs, L = sizes.lanes, count = sizes.count(block);
    for (Index gate = 0; gate < gates; ++gate) {
        const Index row = gate * H + sizes.first(block);
        Stored<P>* to = weights + gate * L * D;
        transpose<D>(layer.weight_input + row * I, I, count, L, to);
        transpose<D>(layer.weight_recurrent + row * R, R, count, L, to + round_up(I, D) * sizes.gate_vectors());
        for (Index l = 0; l < L; ++l)
            bias[gate * L + l] = layer.bias_input && l < count ? layer.bias_input[row + l] + layer.bias_recurrent[row + l] : 0;
    }
}

template <typename P>
void unpack_block(const Blocks& sizes, Index block, const Real<P>* weights, const Real<P>* bias, const Gradients<P>& to) noexcept {
    const Index I = sizes.inputs, H = sizes.units, R = sizes.outputs, L = sizes.lanes, count = sizes.count(block);
    for (Index gate = 0; gate < gates; ++gate) {
        const Index row = gate * H + sizes.first(block);
        const Real<P>* from = weights + gate * L;
        transpose_back(from, I, count, L, to.weight_input + row * I);
        transpose_back(from + I * sizes.gate_vectors(), R, count, L, to.weight_recurrent + row * R);
        std::copy(bias + gate * L, bias + gate * L + count, to.bias + row);
    }
}

template <typename P>
void unpack_projection(const Blocks& sizes, Index block, const Real<P>* from, Real<P>* to) noexcept {
    const Index first = block * sizes.gate_vectors(), count = std::min(sizes.gate_vectors(), sizes.units - first);
    for (Index r = 0; r < sizes.outputs; ++r) std::copy_n(from + r * sizes.gate_vectors(), count, to + r * sizes.units + first);
}

template <typename P>
void PackedMatrix<P>::fill(Index block, Stored<P>* pack) const noexcept {
    constexpr Index D = depth<P>;
    const Index rows = gates * lanes_;
    for (Index group = 0; group < groups(); ++group) {
        const Index first = group * group_vectors_ * lanes_, width = group_size(group) * lanes_;
        const Index count = std::min(width, matrix_.columns - first);
        Stored<P>* to = pack + first * blocks_ * rows + block * rows * width;
        for (Index k = 0; k < rows; ++k) {
            const Stored<P>* from = matrix_.row(block, k, lanes_);
            const Index real = from ? count : 0;
            Stored<P>* row = to + k / D * D * width + k % D;
            for (Index column = 0; column < real; ++column) row[column * D] = from[(first + column) * matrix_.column_stride];
            for (Index column = real; column < width; ++column) row[column * D] = Stored<P>{};
        }
    }
}

template <typename P>
void PackedMatrix<P>::multiply(const Kernels<P>& kernels, const Stored<P>* in, Index in_row, Index in_block, Index rows,
                               const Stored<P>* pack, Real<P>* const* out, Index first_group, Index last_group) const noexcept {
    const Index block_rows = gates * lanes_;
    for (Index group = first_group; group < last_group; ++group) {
        const Index first = group * group_vectors_ * lanes_, width = group_size(group) * lanes_;
        const Stored<P>* weights = pack + first * blocks_ * block_rows;
        for (Index block = 0; block < blocks_; block += resident_blocks)
            kernels.product({rows, in + block * in_block, in_row, in_block, std::min(resident_blocks, blocks_ - block),
                             weights + block * block_rows * width, group_size(group), out, first,
                             std::min(width, matrix_.columns - first), block > 0});
    }
}

#define LSTMKIT_PRECISION(P)                                                                              \
    template void pack_block(const LayerCase<P>&, const Blocks&, Index, Stored<P>*, Real<P>*) noexcept;   \
    template void unpack_block(const Blocks&, Index, const Real<P>*, const Real<P>*, const Gradients<P>&) noexcept; \
    template void unpack_projection<P>(const Blocks&, Index, const Real<P>*, Real<P>*) noexcept;           \
    template class PackedMatrix<P>;
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
