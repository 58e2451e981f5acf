// The steps of cells, compiled once per instruction set and precision like kernels.cpp.
#include "cell_steps.h"

#include "lstmkit/tiles.h"
#include "norm.h"
#include "slstm.h"

namespace lstmkit {
namespace {

template <void (*step)(const ForwardRow&, const Units&) noexcept>
void forward_row(const ForwardRow& row) noexcept {
    each_units(row.units, [&row](const Units& units) noexcept { step(row, units); });
    if (row.streams) finish_streams();
}

template <void (*step)(const BackwardRow&, const Units&) noexcept>
void backward_row(const BackwardRow& row) noexcept {
    each_units(row.units, [&row](const Units& units) noexcept { step(row, units); });
}

bool is_whole(const Options& o) noexcept { return o.norm != Norm::none || o.cell_norm != CellNorm::none; }

void any_lstm_forward(const ForwardRow& row) noexcept { is_whole(row.options) ? norm_forward(row) : forward_row<lstm_forward>(row); }
void any_lstm_backward(const BackwardRow& row) noexcept {
    is_whole(row.options) ? NormBackward(row).run() : backward_row<lstm_backward>(row);
}

}  // namespace

namespace LSTMKIT_SET {

// In the order of Cell.
template <>
void (*const CellSteps<Precision>::forward[most_cells])(const ForwardRow& row) noexcept = {
    any_lstm_forward, forward_row<gru_forward>, forward_row<rnn_forward>, forward_row<janet_forward>, forward_row<slstm_forward>};
template <>
void (*const CellSteps<Precision>::backward[most_cells])(const BackwardRow& row) noexcept = {
    any_lstm_backward, backward_row<gru_backward>, backward_row<rnn_backward>, backward_row<janet_backward>,
    backward_row<slstm_backward>};

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
