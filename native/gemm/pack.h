// Weights in the order in which the tiles read them. Units and columns are padded with zeros to whole vectors of L.
#pragma once

#include <algorithm>
#include <type_traits>

#include "lstmkit/layer.h"

namespace lstmkit {

inline Index round_up(Index count, Index depth) noexcept { return (count + depth - 1) / depth * depth; }

/// Sizes of a layer in blocks of L units.
struct Blocks {
    Index lanes, blocks, units, inputs, outputs, heads, rounds, rank;
    CellShape shape;

    Blocks(const Course& layer, Index lanes) noexcept
        : lanes(lanes), blocks((layer.units + lanes - 1) / lanes), units(layer.units), inputs(layer.inputs), outputs(layer.outputs),
          heads(layer.heads), rounds(layer.rounds), rank(layer.rank), shape(layer.shape) {}
    Index padded() const noexcept { return blocks * lanes; }
    /// The sums of a row in one block, and those that the input and the output before add to.
    Index sums() const noexcept { return shape.sums * lanes; }
    Index input_sums() const noexcept { return shape.input * lanes; }
    Index recurrent_sums() const noexcept { return shape.recurrent * lanes; }
    Index middle_sums() const noexcept { return shape.middle * lanes; }
    /// Numbers of a row's middle.
    Index middle() const noexcept { return shape.middle_vectors * units; }
    /// Outputs that a unit's recurrent sums read, and the first of them for a block: those of its head.
    Index seen() const noexcept { return outputs / heads; }
    Index first_seen(Index block) const noexcept { return heads == 1 ? 0 : first(block) / seen() * seen(); }
    Index gate_vectors() const noexcept { return gates * lanes; }
    Index first(Index block) const noexcept { return block * lanes; }
    Index count(Index block) const noexcept { return units - first(block) < lanes ? units - first(block) : lanes; }
    /// Numbers of one block's weights, the shares of input, recurrence and middle one behind the other, and in a pack, where
    /// columns are rounded up to groups of `depth`.
    Index outer_numbers() const noexcept { return inputs * input_sums() + seen() * recurrent_sums(); }
    Index weight_numbers() const noexcept { return outer_numbers() + middle() * middle_sums(); }
    Index packed_input(Index depth) const noexcept { return round_up(inputs, depth) * input_sums(); }
    Index packed_outer(Index depth) const noexcept { return packed_input(depth) + round_up(seen(), depth) * recurrent_sums(); }
    Index packed_numbers(Index depth) const noexcept { return packed_outer(depth) + round_up(middle(), depth) * middle_sums(); }
    /// Blocks of 4L columns that hold `columns`, as the right side of a product has them.
    Index wide_blocks(Index columns) const noexcept { return (columns + gate_vectors() - 1) / gate_vectors(); }
    Index padded_outputs() const noexcept { return (outputs + lanes - 1) / lanes * lanes; }
    Index projection_numbers() const noexcept { return wide_blocks(units) * outputs * gate_vectors(); }
    Index wide(Index columns) const noexcept { return wide_blocks(columns) * gate_vectors(); }
};

/// Calls work(first, count) for parts of `sums` that a tile can take, of nearly one size. What belongs to the sums of a part
/// lies together, [columns][count][L], the parts one behind the other.
template <typename Work>
void each_part(Index sums, Work work) {
    const Index parts = (sums + gates - 1) / gates;
    for (Index first = 0, part = 0; part < parts; ++part) {
        const Index count = (sums - first + parts - part - 1) / (parts - part);
        work(first, count);
        first += count;
    }
}

/// D numbers side by side, to be moved as one Real without a look at them.
template <typename P, typename Number>
auto* as_real(Number* numbers) noexcept {
    using To = std::conditional_t<std::is_const_v<Number>, const Real<P>, Real<P>>;
    return reinterpret_cast<To*>(numbers);
}

/// L rows side by side: to[k / D][l][k % D] at distance `width` * D = from[l][k] for l < count and k < columns; zero beyond both.
template <typename P>
void pack_rows(const Kernels<P>& kernels, const Stored<P>* from, Index columns, Index count, Stored<P>* to, Index width) noexcept;

/// The inverse for gradients, of D = 1.
template <typename P>
void unpack_rows(const Kernels<P>& kernels, const Real<P>* from, Index columns, Index count, Real<P>* to, Index width) noexcept;

/// One block as tiles have it: weights, the input's share first, and bias [G][L].
template <typename P>
void pack_block(const Kernels<P>& kernels, const LayerCase<P>& layer, const Blocks& sizes, Index block, Stored<P>* weights,
                Real<P>* bias) noexcept;

/// The inverse for gradients: one block of [I][input][L], [R][recurrent][L], [V][middle][L] and [G][L] into its rows of the layer's weights.
template <typename P>
void unpack_block(const Kernels<P>& kernels, const Blocks& sizes, Index block, const Real<P>* weights, const Real<P>* bias,
                  const Gradients<P>& to) noexcept;

/// One block of [R][4L] into its columns of the projection's weight [R, H].
template <typename P>
void unpack_projection(const Blocks& sizes, Index block, const Real<P>* from, Real<P>* to) noexcept;

/// A matrix to multiply with from the right. Its rows come in blocks of NL, as the left side has them: dz [blocks][N][L]
/// of the rows of N gates, or [blocks][NL] of plain numbers.
template <typename Number>
struct Matrix {
    const Number* data;
    Index columns, row_stride, column_stride;
    Index rows;         ///< of one gate, or of all
    Index gate_stride;  ///< rows from gate to gate; 0: there are none
    Index vectors;      ///< N

    /// Row `k` of block `block` from `column` on, or null where padding is.
    const Number* at(Index block, Index k, Index column, Index lanes) const noexcept {
        const Index gate = k / lanes, lane = k % lanes;
        const Index within = gate_stride ? block * lanes + lane : block * vectors * lanes + k;
        return within < rows ? data + (gate * gate_stride + within) * row_stride + column * column_stride : nullptr;
    }
};

/// A Matrix in groups of up to `group_vectors` vectors of columns, each [blocks][NL / D][vectors * L][D].
template <typename P>
class PackedMatrix {
public:
    PackedMatrix(const Matrix<Stored<P>>& matrix, Index blocks, Index lanes, Index group_vectors) noexcept
        : matrix_(matrix), blocks_(blocks), lanes_(lanes), group_vectors_(group_vectors),
          vectors_((matrix.columns + lanes - 1) / lanes) {}
    Index groups() const noexcept { return (vectors_ + group_vectors_ - 1) / group_vectors_; }
    Index numbers() const noexcept { return vectors_ * lanes_ * blocks_ * block_rows(); }
    Index blocks() const noexcept { return blocks_; }
    Index group_vectors() const noexcept { return group_vectors_; }
    /// The columns of the groups first..last.
    Index first_column(Index group) const noexcept { return std::min(matrix_.columns, group * group_vectors_ * lanes_); }
    /// How often a product of so many rows halts for a Fetch.
    Index halts(Index rows, Index tile_rows, Index first_group, Index last_group) const noexcept {
        Index count = 0;
        for (Index group = first_group; group < last_group; ++group) {
            const Index most = product_rows(tile_rows, group_size(group));
            count += (rows + most - 1) / most * blocks_;
        }
        return count;
    }
    /// Packs the rows of one block: all columns, or those of the groups first..last.
    void fill(const Kernels<P>& kernels, Index block, Stored<P>* pack, Index first_group, Index last_group) const noexcept;
    void fill(const Kernels<P>& kernels, Index block, Stored<P>* pack) const noexcept { fill(kernels, block, pack, 0, groups()); }
    /// Columns of the groups first..last of out[r] (+)= in[r] * matrix, from the column `first` of `out` on; rows and blocks of
    /// `in` as ProductTile has them.
    void multiply(const Kernels<P>& kernels, const Stored<P>* in, Index in_row, Index in_block, Index rows, const Stored<P>* pack,
                  Real<P>* const* out, Index first_group, Index last_group, Fetch* fetch = nullptr, bool streams = false,
                  bool add = false, Index first = 0) const noexcept;
    void multiply(const Kernels<P>& kernels, const Stored<P>* in, Index in_row, Index in_block, Index rows, const Stored<P>* pack,
                  Real<P>* const* out) const noexcept {
        multiply(kernels, in, in_row, in_block, rows, pack, out, 0, groups());
    }

private:
    Index block_rows() const noexcept { return matrix_.vectors * lanes_; }
    Index group_size(Index group) const noexcept { return std::min(group_vectors_, vectors_ - group * group_vectors_); }

    Matrix<Stored<P>> matrix_;
    Index blocks_, lanes_, group_vectors_, vectors_;
};

}  // namespace lstmkit
