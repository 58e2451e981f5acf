// The pointwise part of the loss. Nothing here owns memory.
#pragma once

#include "lstmkit/loss.h"

namespace lstmkit {

/// One block of classes of some rows.
template <typename P>
struct ShareTile {
    Index rows;
    const Real<P>* scores;  ///< [rows][loss_block]
    Stored<P>* shares;      ///< [rows][loss_block], e^(score - highest); or null
    Real<P>*highest, *sums; ///< [rows], of the scores and of the shares
};

/// Brings the blocks of some rows together.
template <typename P>
struct JoinTile {
    Index rows, blocks, distance;
    Real<P>* highest;     ///< [blocks][distance], replaced by the factors that make a softmax of the shares
    const Real<P>* sums;  ///< [blocks][distance]
    Real<P>*top, *total;  ///< [rows], the highest of all and the sum relative to it
};

/// The gradient of one block of classes but for what belongs to the targets.
template <typename P>
struct GradientTile {
    Index rows;
    const Stored<P>* shares;  ///< [rows][loss_block]
    const Real<P>*factors, *upstream;  ///< [rows]
    Stored<P>* out;                    ///< [rows][loss_block], shares * factors * upstream
    Real<P>* totals;                   ///< [loss_block], added to: the sums over the rows
};

/// They exist once per instruction set and precision, are thread-safe and allocate nothing.
template <typename P>
struct LossKernels {
    void (*share)(const ShareTile<P>& tile) noexcept;
    void (*join)(const JoinTile<P>& tile) noexcept;
    void (*gradient)(const GradientTile<P>& tile) noexcept;
};

}  // namespace lstmkit
