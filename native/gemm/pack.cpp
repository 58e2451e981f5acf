#include "gemm/pack.h"

namespace lstmkit {
namespace {

// So many vectors of rows of a group of weights stay in the second-level cache while all rows pass: 256 KiB with 16 lanes of float.
constexpr Index resident_vectors = 64;

/// The rows of a weight [sums * H, columns] that belong to one block, and back.
template <typename P>
void pack_share(const Kernels<P>& kernels, const Stored<P>* weight, Index columns, Index sums, const Blocks& sizes, Index block,
                Stored<P>* to) noexcept {
    constexpr Index D = depth<P>;
    const Index L = sizes.lanes;
    each_part(sums, [&](Index first, Index count) {
        Stored<P>* const part = to + first * L * round_up(columns, D);
        for (Index k = 0; k < count; ++k)
            pack_rows(kernels, weight + ((first + k) * sizes.units + sizes.first(block)) * columns, columns, sizes.count(block),
                      part + k * L * D, count * L);
    });
}

template <typename P>
void unpack_share(const Kernels<P>& kernels, const Real<P>* from, Index columns, Index sums, const Blocks& sizes, Index block,
                  Real<P>* weight) noexcept {
    const Index L = sizes.lanes;
    each_part(sums, [&](Index first, Index count) {
        const Real<P>* const part = from + first * L * columns;
        for (Index k = 0; k < count; ++k)
            unpack_rows(kernels, part + k * L, columns, sizes.count(block),
                           weight + ((first + k) * sizes.units + sizes.first(block)) * columns, count * L);
    });
}

}  // namespace

template <typename P>
void pack_rows(const Kernels<P>& kernels, const Stored<P>* from, Index columns, Index count, Stored<P>* to, Index width) noexcept {
    constexpr Index D = depth<P>;
    const Index L = kernels.lanes;
    Index first = 0;
    if (count == L && columns % D == 0)
        for (; first + L * D <= columns; first += L * D)
            kernels.transpose(as_real<P>(from + first), columns / D, as_real<P>(to + first * width), width);
    for (Index l = 0; l < L; ++l)
        for (Index k = first; k < round_up(columns, D); ++k)
            to[(k / D * width + l) * D + k % D] = l < count && k < columns ? from[l * columns + k] : Stored<P>{};
}

template <typename P>
void unpack_rows(const Kernels<P>& kernels, const Real<P>* from, Index columns, Index count, Real<P>* to, Index width) noexcept {
    const Index L = kernels.lanes;
    Index first = 0;
    for (; count == L && first + L <= columns; first += L) kernels.transpose(from + first * width, width, to + first, columns);
    for (Index l = 0; l < count; ++l)
        for (Index k = first; k < columns; ++k) to[l * columns + k] = from[k * width + l];
}

template <typename P>
void pack_block(const Kernels<P>& kernels, const LayerCase<P>& layer, const Blocks& sizes, Index block, Stored<P>* weights,
                Real<P>* bias) noexcept {
    constexpr Index D = depth<P>;
    const Index L = sizes.lanes, count = sizes.count(block);
    const CellShape& shape = sizes.shape;
    pack_share(kernels, layer.weight_input, sizes.inputs, shape.input, sizes, block, weights);
    pack_share(kernels, layer.weight_recurrent, sizes.seen(), shape.recurrent, sizes, block, weights + sizes.packed_input(D));
    pack_share(kernels, layer.weight_middle, sizes.middle(), shape.middle, sizes, block, weights + sizes.packed_outer(D));
    for (Index sum = 0; sum < shape.sums; ++sum) {
        const Index row = sum * sizes.units + sizes.first(block);
        for (Index l = 0; l < L; ++l) {
            const Real<P> one = layer.bias_input && l < count ? Real<P>(layer.bias_input[row + l]) : 0;
            bias[sum * L + l] = layer.bias_recurrent && l < count ? one + layer.bias_recurrent[row + l] : one;
        }
    }
}

template <typename P>
void unpack_block(const Kernels<P>& kernels, const Blocks& sizes, Index block, const Real<P>* weights, const Real<P>* bias,
                  const Gradients<P>& to) noexcept {
    const CellShape& shape = sizes.shape;
    unpack_share(kernels, weights, sizes.inputs, shape.input, sizes, block, to.weight_input);
    unpack_share(kernels, weights + sizes.inputs * sizes.input_sums(), sizes.seen(), shape.recurrent, sizes, block, to.weight_recurrent);
    unpack_share(kernels, weights + sizes.outer_numbers(), sizes.middle(), shape.middle, sizes, block, to.weight_middle);
    for (Index sum = 0; sum < shape.sums; ++sum)
        std::copy_n(bias + sum * sizes.lanes, sizes.count(block), to.bias + sum * sizes.units + sizes.first(block));
}

template <typename P>
void unpack_projection(const Blocks& sizes, Index block, const Real<P>* from, Real<P>* to) noexcept {
    const Index first = block * sizes.gate_vectors(), count = std::min(sizes.gate_vectors(), sizes.units - first);
    for (Index r = 0; r < sizes.outputs; ++r) std::copy_n(from + r * sizes.gate_vectors(), count, to + r * sizes.units + first);
}

template <typename P>
void PackedMatrix<P>::fill(const Kernels<P>& kernels, Index block, Stored<P>* pack, Index first_group, Index last_group) const noexcept {
    constexpr Index D = depth<P>;
    const Index rows = block_rows(), stride = matrix_.column_stride;
    for (Index group = first_group; group < last_group; ++group) {
        const Index first = group * group_vectors_ * lanes_, width = group_size(group) * lanes_;
        const Index count = std::min(width, matrix_.columns - first);
        Stored<P>* to = pack + first * blocks_ * rows + block * rows * width;
        for (Index k = 0; k < rows; k += D, to += D * width) {
            std::fill_n(to, D * width, Stored<P>{});
            const Stored<P>* row = matrix_.at(block, k, first, lanes_);
            const Stored<P>* next = D == 2 ? matrix_.at(block, k + 1, first, lanes_) : nullptr;
            if (!row) continue;
            if (stride != 1)
                for (Index column = 0; column < count; ++column) {
                    to[column * D] = row[column * stride];
                    if (next) to[column * D + 1] = next[column * stride];
                }
            else if constexpr (D == 2)
                kernels.interleave(row, next, to, count);
            else
                std::copy_n(row, count, to);
        }
    }
}

template <typename P>
void PackedMatrix<P>::multiply(const Kernels<P>& kernels, const Stored<P>* in, Index in_row, Index in_block, Index rows,
                               const Stored<P>* pack, Real<P>* const* out, Index first_group, Index last_group,
                               Fetch* fetch, bool streams, bool add, Index first_column) const noexcept {
    const Index resident = resident_vectors / matrix_.vectors;
    for (Index group = first_group; group < last_group; ++group) {
        const Index first = group * group_vectors_ * lanes_, width = group_size(group) * lanes_;
        const Stored<P>* weights = pack + first * blocks_ * block_rows();
        for (Index block = 0; block < blocks_; block += resident)
            kernels.product({rows, in + block * in_block, in_row, in_block, std::min(resident, blocks_ - block), block_rows(),
                             weights + block * block_rows() * width, group_size(group), out, first_column + first,
                             std::min(width, matrix_.columns - first), add || block > 0,
                             streams && block + resident >= blocks_, fetch});
    }
}

#define LSTMKIT_PRECISION(P)                                                                                            \
    template void pack_rows(const Kernels<P>&, const Stored<P>*, Index, Index, Stored<P>*, Index) noexcept;             \
    template void unpack_rows(const Kernels<P>&, const Real<P>*, Index, Index, Real<P>*, Index) noexcept;               \
    template void pack_block(const Kernels<P>&, const LayerCase<P>&, const Blocks&, Index, Stored<P>*, Real<P>*) noexcept;  \
    template void unpack_block(const Kernels<P>&, const Blocks&, Index, const Real<P>*, const Real<P>*,                 \
                               const Gradients<P>&) noexcept;                                                          \
    template void unpack_projection<P>(const Blocks&, Index, const Real<P>*, Real<P>*) noexcept;                        \
    template class PackedMatrix<P>;
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
