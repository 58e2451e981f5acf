// Weights in the order in which the tiles read them. Units and columns are padded with zeros to whole vectors of L.
#pragma once

#include "lstmkit/layer.h"

namespace lstmkit {

/// Sizes of a layer in blocks of L units.
struct Blocks {
    Index lanes, blocks, units, inputs;

    Blocks(const Course& layer, Index lanes) noexcept
        : lanes(lanes), blocks((layer.units + lanes - 1) / lanes), units(layer.units), inputs(layer.inputs) {}
    Index padded() const noexcept { return blocks * lanes; }
    Index gate_vectors() const noexcept { return gates * lanes; }
    Index first(Index block) const noexcept { return block * lanes; }
    Index count(Index block) const noexcept { return units - first(block) < lanes ? units - first(block) : lanes; }
    /// Numbers of one block in the packed [I + H][4][L].
    Index weight_numbers() const noexcept { return (inputs + units) * gate_vectors(); }
};

/// One block: weights [I + H][4][L], the input's share first, and bias [4][L].
template <typename P>
void pack_block(const LayerCase<P>& layer, const Blocks& sizes, Index block, Real<P>* weights, Real<P>* bias) noexcept;

/// The inverse for gradients: one block of [I + H][4][L] and [4][L] into its rows of the layer's weights.
template <typename P>
void unpack_block(const Blocks& sizes, Index block, const Real<P>* weights, const Real<P>* bias, const Gradients<P>& to) noexcept;

/// A matrix [4H, columns] for products with dz: groups of up to four vectors of columns, each [blocks][4][L][vectors * L].
template <typename P>
class TransposedPack {
public:
    static constexpr Index group_vectors = 4;

    TransposedPack(const Blocks& sizes, Index columns) noexcept
        : sizes_(sizes), columns_(columns), vectors_((columns + sizes.lanes - 1) / sizes.lanes) {}
    Index numbers() const noexcept { return vectors_ * sizes_.lanes * sizes_.blocks * sizes_.gate_vectors(); }
    /// Packs the rows of one block out of `matrix` into `pack`.
    void fill(const Stored<P>* matrix, Index block, Real<P>* pack) const noexcept;
    /// out[r] = dz[r] * matrix, for rows of dz at distance 4L within a block and dz_block between blocks.
    void multiply(const Kernels<P>& kernels, const Real<P>* dz, Index dz_block, Index rows, const Real<P>* pack,
                  Real<P>* const* out) const noexcept;

private:
    Index group_size(Index group) const noexcept;

    Blocks sizes_;
    Index columns_, vectors_;
};

}  // namespace lstmkit
