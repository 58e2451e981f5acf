// The steps of cells, one table per instruction set and precision. Included where LSTMKIT_SET is known.
#pragma once

#include "lstmkit/cell.h"

namespace lstmkit {
namespace LSTMKIT_SET {

template <typename P>
struct CellSteps {
    static void (*const forward[most_cells])(const CellForward<P>* rows, Index count) noexcept;
    static void (*const backward[most_cells])(const CellBackward<P>* rows, Index count) noexcept;
    static void (*const middle[most_cells])(const CellForward<P>* rows, Index count) noexcept;
    static void (*const middle_backward[most_cells])(const CellBackward<P>* rows, Index count) noexcept;
};

// Defined where has_cells says so.
template <>
void (*const CellSteps<LSTMKIT_PRECISION>::forward[most_cells])(const CellForward<LSTMKIT_PRECISION>* rows, Index count) noexcept;
template <>
void (*const CellSteps<LSTMKIT_PRECISION>::backward[most_cells])(const CellBackward<LSTMKIT_PRECISION>* rows, Index count) noexcept;
template <>
void (*const CellSteps<LSTMKIT_PRECISION>::middle[most_cells])(const CellForward<LSTMKIT_PRECISION>* rows, Index count) noexcept;
template <>
void (*const CellSteps<LSTMKIT_PRECISION>::middle_backward[most_cells])(const CellBackward<LSTMKIT_PRECISION>* rows, Index count) noexcept;

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
