// The steps of cells, compiled once per instruction set and precision like kernels.cpp.
#include "cell_steps.h"

#include "lstmkit/tiles.h"
#include "norm_backward.h"
#include "norm_forward.h"
#include "on_lstm.h"
#include "phased.h"
#include "slstm.h"
#include "two_products.h"

namespace lstmkit {
namespace {

template <void (*step)(const ForwardRow&, const Units&) noexcept>
LSTMKIT_FLATTEN void forward_rows(const ForwardRow* rows, Index count) noexcept {
    for (Index r = 0; r < count; ++r) {
        const ForwardRow row = rows[r];  // of its own: what is written could not be a part of it
        each_units(row.units, [&](const Units& units) noexcept { step(row, units); });
    }
}

template <void (*step)(const BackwardRow&, const Units&) noexcept>
LSTMKIT_FLATTEN void backward_rows(const BackwardRow* rows, Index count) noexcept {
    for (Index r = 0; r < count; ++r) {
        const BackwardRow row = rows[r];
        each_units(row.units, [&](const Units& units) noexcept { step(row, units); });
    }
}

bool is_whole(const Options& o) noexcept { return o.norm != Norm::none || o.cell_norm != CellNorm::none; }

void any_lstm_forward(const ForwardRow* rows, Index count) noexcept {
    if (!is_whole(*rows[0].options)) return forward_rows<lstm_forward>(rows, count);
    with_known_options(rows[0], [&](auto known) noexcept { norm_forward<decltype(known)>(rows, count); });
}
void any_lstm_backward(const BackwardRow* rows, Index count) noexcept {
    if (!is_whole(*rows[0].options)) return backward_rows<lstm_backward>(rows, count);
    with_known_options(rows[0], [&](auto known) noexcept { norm_backward<decltype(known)>(rows, count); });
}

}  // namespace

namespace LSTMKIT_SET {

// In the order of Cell.
template <>
void (*const CellSteps<Precision>::forward[most_cells])(const ForwardRow* rows, Index count) noexcept = {
    any_lstm_forward, forward_rows<gru_forward>, forward_rows<rnn_forward>, forward_rows<janet_forward>, forward_rows<slstm_forward>,
    forward_rows<gru_before_forward>, forward_rows<multiplicative_forward>, forward_rows<time_aware_forward>,
    forward_rows<phased_forward>, on_lstm_forward};
template <>
void (*const CellSteps<Precision>::backward[most_cells])(const BackwardRow* rows, Index count) noexcept = {
    any_lstm_backward, backward_rows<gru_backward>, backward_rows<rnn_backward>, backward_rows<janet_backward>,
    backward_rows<slstm_backward>, backward_rows<gru_before_backward>, backward_rows<multiplicative_backward>,
    backward_rows<time_aware_backward>, backward_rows<phased_backward>, on_lstm_backward};
template <>
void (*const CellSteps<Precision>::middle[most_cells])(const ForwardRow* rows, Index count) noexcept = {
    forward_rows<lstm_middle>, nullptr, nullptr, nullptr, nullptr,
    forward_rows<gru_before_middle>, forward_rows<multiplicative_middle>, forward_rows<time_aware_middle>,
    nullptr, nullptr};
template <>
void (*const CellSteps<Precision>::middle_backward[most_cells])(const BackwardRow* rows, Index count) noexcept = {
    backward_rows<lstm_middle_backward>, nullptr, nullptr, nullptr, nullptr,
    backward_rows<gru_before_middle_backward>, backward_rows<multiplicative_middle_backward>, backward_rows<time_aware_middle_backward>,
    nullptr, nullptr};

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
