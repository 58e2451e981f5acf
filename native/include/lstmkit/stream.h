// A stack of LSTM layers answered step by step: one sequence (Stream), or thousands of them as one batch (StreamPool).
// Both keep their state and all buffers; the weights are packed once and shared. I inputs, H units, L layers,
// R = P with a projection, else H; O = R of the last layer. All outside numbers are float32, contiguous.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "lstmkit/dispatch.h"
#include "lstmkit/memory.h"

namespace lstmkit {

/// What the products are computed in; sums, cell state and activations are always float32.
/// int8: weights with a scale per row, inputs with a scale per step.
enum class StreamPrecision { float32, bfloat16, int8 };

/// The weights of one layer, row-major as torch keeps them, gates in the order i f g o. Read while packing only.
struct StreamLayer {
    Index inputs, units, projected;                ///< I, H, and P or 0
    const float *weight_input, *weight_recurrent;  ///< [4H, I], [4H, R]
    const float *bias_input, *bias_recurrent;      ///< [4H] each, or null
    const float* weight_projection;                ///< [P, H], or null
};

struct Experience;
struct Operand;
struct PackedLayer;
struct PrecisionKernels;
struct StreamKernels;
class Helper;

/// The packed weights of a stack; never changes, so any number of threads may read it.
class StreamWeights {
public:
    /// Throws std::invalid_argument if the layers do not fit each other or a weight is not finite.
    StreamWeights(const std::vector<StreamLayer>& layers, StreamPrecision precision, InstructionSet set);
    ~StreamWeights();
    StreamWeights(const StreamWeights&) = delete;
    StreamWeights& operator=(const StreamWeights&) = delete;

    const std::vector<PackedLayer>& layers() const noexcept { return layers_; }
    const StreamKernels& kernels() const noexcept { return kernels_; }
    StreamPrecision precision() const noexcept { return precision_; }
    Index inputs() const noexcept { return inputs_; }
    Index outputs() const noexcept { return outputs_; }
    /// Numbers in the h and the c of one state: [L, R] and [L, H].
    Index h_count() const noexcept { return h_count_; }
    Index c_count() const noexcept { return c_count_; }
    /// Multiply-adds of one step.
    Index work() const noexcept { return work_; }
    /// Processor cycles that one step takes one thread, about.
    double step_cycles() const noexcept { return step_cycles_; }

private:
    const StreamKernels& kernels_;
    StreamPrecision precision_;
    std::vector<PackedLayer> layers_;
    Index inputs_ = 0, outputs_ = 0, h_count_ = 0, c_count_ = 0, work_ = 0;
    double step_cycles_ = 0;
};

/// How a call ended. Anything but `done` leaves state and outputs as they were.
enum class Outcome {
    done,
    busy,        ///< another thread is inside a call of the same object
    not_finite,  ///< an input is NaN or infinite
};

/// One sequence. Distinct streams are independent; one stream serves one thread at a time and says so (`busy`).
class Stream {
public:
    /// threads: 1, or 2 to let a second thread, which this stream owns, take half of each large step.
    Stream(std::shared_ptr<const StreamWeights> weights, int threads);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    /// x: [steps, I] -> y: [steps, O]; they may be the same memory only if steps is 1.
    /// Never allocates, except in the first call of more than one step.
    Outcome run(const float* x, Index steps, float* y);
    Outcome step(const float* x, float* y) { return run(x, 1, y); }

    /// h: [L, R], c: [L, H]; null stands for zeros.
    Outcome write_state(const float* h, const float* c) noexcept;
    Outcome read_state(float* h, float* c) const noexcept;

    const StreamWeights& weights() const noexcept { return *weights_; }

private:
    struct Layer;
    struct Block;

    void run_step(const float* x, float* y) noexcept;
    void run_block(const float* x, Index steps, float* y) noexcept;
    void multiply_inputs(Layer& layer, const float* x, Index steps) noexcept;
    void advance(Layer& layer, const Operand& x, const float* z) noexcept;
    template <typename Work>
    void for_blocks(const Layer& layer, Experience& experience, Work work) noexcept;
    const PrecisionKernels& precision() const noexcept;

    std::shared_ptr<const StreamWeights> weights_;
    std::vector<Layer> layers_;
    std::unique_ptr<Block> block_;
    std::unique_ptr<Helper> helper_;
    bool is_reversed_ = false;
    mutable std::atomic<bool> busy_{false};
};

/// Many sequences of one model, stepped together; any of them, in any order. One thread at a time, like Stream.
class StreamPool {
public:
    /// Throws std::invalid_argument if capacity is below 1.
    StreamPool(std::shared_ptr<const StreamWeights> weights, Index capacity);
    ~StreamPool();
    StreamPool(const StreamPool&) = delete;
    StreamPool& operator=(const StreamPool&) = delete;

    /// Steps the `count` streams of `indices`, distinct and each in 0..capacity, or streams 0..count if null.
    /// x: [count, I] -> y: [count, O], not overlapping. Throws std::invalid_argument on wrong indices.
    /// Allocates only when it first uses so many threads.
    Outcome step(const float* x, const std::int64_t* indices, Index count, float* y, int threads);

    /// One stream's state, as in Stream. Throws std::invalid_argument on a wrong index.
    Outcome write_state(Index index, const float* h, const float* c);
    Outcome read_state(Index index, float* h, float* c) const;

    const StreamWeights& weights() const noexcept { return *weights_; }
    Index capacity() const noexcept { return capacity_; }
    /// Bytes of state per stream.
    Index bytes() const noexcept;

private:
    struct Share;

    void check(const std::int64_t* indices, Index count);
    void expect_index(Index index) const;
    void run_rows(const Share& share, const float* x, const std::int64_t* indices, Index first, Index rows, float* y) noexcept;

    std::shared_ptr<const StreamWeights> weights_;
    Index capacity_;
    std::vector<Array<float>> h_, c_;   // by layer: [capacity][padded]
    std::vector<Share> shares_;          // buffers by thread
    std::vector<std::uint64_t> stamps_;  // the call that each stream was last part of
    std::uint64_t calls_ = 0;
    mutable std::atomic<bool> busy_{false};
};

}  // namespace lstmkit
