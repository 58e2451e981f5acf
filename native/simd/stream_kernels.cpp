// The kernels of streams, compiled once per instruction set like those of kernels.cpp.
#include "stream/kernels.h"
#include "stream_cell.h"
#include "stream_product.h"
#include "tile.h"
#include "vector.h"

namespace lstmkit {
namespace {

// One row has few sums: two blocks at once hide the latency of a multiply-add.
constexpr Index blocks_at_once = 2;

template <class P>
struct Layer {
    static constexpr Index constants = (P::is_scaled ? constant_count : 1) * gates * lanes;

    static LSTMKIT_INLINE const Word* constant(const LayerView& layer, Index block, Constant which) noexcept {
        return layer.constants + block * constants + which * gates * lanes;
    }

    template <Index R, Index B>
    static LSTMKIT_INLINE void start(Vector (&z)[R][B * gates], const LayerView& layer, Index block) noexcept {
#pragma GCC unroll 16
        for (Index v = 0; v < B * gates; ++v) {
            const Vector value = load_as<Vector>(constant(layer, block + v / gates, bias) + v % gates * lanes);
#pragma GCC unroll 6
            for (Index r = 0; r < R; ++r) z[r][v] = value;
        }
    }

    template <Index B>
    static LSTMKIT_INLINE Factors<B> input(const LayerView& layer, Index block) noexcept {
        return factors<B>(layer, block, 0, input_scale, input_offset);
    }

    template <Index B>
    static LSTMKIT_INLINE Factors<B> state(const LayerView& layer, Index block) noexcept {
        return factors<B>(layer, block, layer.input_words, state_scale, state_offset);
    }

private:
    template <Index B>
    static LSTMKIT_INLINE Factors<B> factors(const LayerView& layer, Index block, Index word, Constant scale,
                                             Constant offset) noexcept {
        const Index words = layer.input_words + layer.state_words;
        Factors<B> found;
#pragma GCC unroll 4
        for (Index b = 0; b < B; ++b) {
            found.weights[b] = layer.weights + ((block + b) * words + word) * gates * lanes;
            if constexpr (P::is_scaled) {
                found.scale[b] = constant(layer, block + b, scale);
                found.offset[b] = constant(layer, block + b, offset);
            }
        }
        return found;
    }
};

LSTMKIT_INLINE void finish(const Vector* z, float* c, float* out) noexcept {
    const StreamStep step = stream_step(z[0], z[1], z[2], z[3], load(c));
    store(c, step.c);
    store(out, step.h);
}

template <class P, Index B>
LSTMKIT_INLINE void step_blocks(const StepTile& t, Index block) noexcept {
    const LayerView& layer = *t.layer;
    Vector z[1][B * gates];
    if (t.z) {
#pragma GCC unroll 16
        for (Index v = 0; v < B * gates; ++v) z[0][v] = load(t.z + (block * gates + v) * lanes);
    } else {
        Layer<P>::template start<1, B>(z, layer, block);
        const Word* const x[1] = {t.x.words};
        add_product<P, 1, B>(z, x, {t.x.unit}, layer.input_words, Layer<P>::template input<B>(layer, block));
    }
    const Word* const h[1] = {t.h.words};
    add_product<P, 1, B>(z, h, {t.h.unit}, layer.state_words, Layer<P>::template state<B>(layer, block));
#pragma GCC unroll 4
    for (Index b = 0; b < B; ++b) finish(z[0] + b * gates, t.c + (block + b) * lanes, t.out + (block + b) * lanes);
}

template <class P>
void step(const StepTile& tile) noexcept {
    const Index pairs = (tile.last - tile.first) / blocks_at_once, alone = tile.first + pairs * blocks_at_once;
    for (Index n = 0; n < pairs; ++n) {
        const Index pair = tile.is_reversed ? pairs - 1 - n : n;
        step_blocks<P, blocks_at_once>(tile, tile.first + pair * blocks_at_once);
    }
    if (alone < tile.last) step_blocks<P, 1>(tile, alone);
}

template <Index R>
struct Rows {
    const Word* words[R];
    float units[R];

    LSTMKIT_INLINE Rows(const Word* first, Index stride, const float* first_unit) noexcept {
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) {
            words[r] = first + r * stride;
            units[r] = first_unit[r];
        }
    }
};

template <class P>
struct Several {
    template <Index R>
    struct Step {
        static void run(const RowsTile& t, Index first) noexcept {
            const LayerView& layer = *t.layer;
            Vector z[R][gates];
            Layer<P>::template start<R, 1>(z, layer, t.block);
            const Rows<R> x(t.x + first * layer.input_stride, layer.input_stride, t.x_units + first);
            add_product<P, R, 1>(z, x.words, x.units, layer.input_words, Layer<P>::template input<1>(layer, t.block));
            const Rows<R> h(t.h + first * layer.state_stride, layer.state_stride, t.h_units + first);
            add_product<P, R, 1>(z, h.words, h.units, layer.state_words, Layer<P>::template state<1>(layer, t.block));
#pragma GCC unroll 6
            for (Index r = 0; r < R; ++r) finish(z[r], t.c[first + r] + t.block * lanes, t.out[first + r] + t.block * lanes);
        }
    };

    template <Index R>
    struct Inputs {
        static void run(const InputsTile& t, Index first) noexcept {
            const LayerView& layer = *t.layer;
            Vector z[R][gates];
            Layer<P>::template start<R, 1>(z, layer, t.block);
            const Rows<R> x(t.x + first * layer.input_stride, layer.input_stride, t.x_units + first);
            add_product<P, R, 1>(z, x.words, x.units, layer.input_words, Layer<P>::template input<1>(layer, t.block));
#pragma GCC unroll 6
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index gate = 0; gate < gates; ++gate)
                    store(t.z + (((first + r) * layer.blocks + t.block) * gates + gate) * lanes, z[r][gate]);
        }
    };

    static void step(const RowsTile& tile) noexcept {
        run_tiles<Step>(tile.rows, tile);
    }

    static void inputs(const InputsTile& tile) noexcept {
        run_tiles<Inputs>(tile.rows, tile);
    }
};

template <Index R>
struct Projection {
    static void run(const ProjectionTile& t, Index first) noexcept {
        const Word* in[R];
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) in[r] = reinterpret_cast<const Word*>(t.in[first + r]);
        for (Index group = 0; group < t.groups; ++group) {
            Vector sums[R][gates] = {};
            const Word* const weights[1] = {t.weights + group * t.units * gates * lanes};
            accumulate_words<FloatWords, R, 1>(sums, in, t.units, weights);
#pragma GCC unroll 6
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < gates; ++v) store(t.out[first + r] + (group * gates + v) * lanes, sums[r][v]);
        }
    }
};

void project(const ProjectionTile& tile) noexcept {
    run_tiles<Projection>(tile.rows, tile);
}

bool is_finite(const float* in, Index count) noexcept { return largest_bits(in, count) < infinity_bits; }

template <class P>
constexpr PrecisionKernels precision() noexcept {
    return {P::ways, P::cycles_per_vector, P::prepare, step<P>, Several<P>::step, Several<P>::inputs};
}

constexpr StreamKernels kernels = {
    lanes, {precision<FloatWords>(), precision<HalfWords>(), precision<ByteWords>()}, is_finite, project};

}  // namespace

namespace LSTMKIT_SET {
const StreamKernels& table(const StreamKernels*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
