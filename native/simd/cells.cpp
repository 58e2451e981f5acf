// The steps of cells, compiled once per instruction set and precision like kernels.cpp.
#include "cell_steps.h"

#include "lstmkit/tiles.h"
#include "norm.h"
#include "slstm.h"

namespace lstmkit {
namespace {

template <template <Index> class Step, typename Row>
void run(const Row& row) noexcept {
    run_units<Step>(row);
}

bool is_whole(const Options& o) noexcept { return o.norm != Norm::none || o.cell_norm != CellNorm::none; }

void lstm_forward(const ForwardRow& row) noexcept { is_whole(row.options) ? norm_forward(row) : run_units<LstmForward>(row); }
void lstm_backward(const BackwardRow& row) noexcept {
    is_whole(row.options) ? NormBackward(row).run() : run_units<LstmBackward>(row);
}

}  // namespace

namespace LSTMKIT_SET {

// In the order of Cell.
template <>
void (*const CellSteps<Precision>::forward[most_cells])(const ForwardRow& row) noexcept = {
    lstm_forward, run<GruForward, ForwardRow>, run<RnnForward, ForwardRow>, run<JanetForward, ForwardRow>, run<SlstmForward, ForwardRow>};
template <>
void (*const CellSteps<Precision>::backward[most_cells])(const BackwardRow& row) noexcept = {
    lstm_backward, run<GruBackward, BackwardRow>, run<RnnBackward, BackwardRow>, run<JanetBackward, BackwardRow>, run<SlstmBackward, BackwardRow>};

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
