#include <stdexcept>
#include <string>

#include "lstmkit/dispatch.h"
#include "loss/kernels.h"

namespace lstmkit {

#define LSTMKIT_COMPILED(set)                                     \
    namespace set {                                               \
    const LossKernels<Float32>& loss_kernels(Float32) noexcept;   \
    const LossKernels<Float64>& loss_kernels(Float64) noexcept;   \
    const LossKernels<BFloat16>& loss_kernels(BFloat16) noexcept; \
    }
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED

template <typename P>
const LossKernels<P>& loss_kernels_of(InstructionSet set) {
    if (machine_has(set)) switch (set) {
#define LSTMKIT_COMPILED(name) \
    case InstructionSet::name: return name::loss_kernels(P{});
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
            default: break;
        }
    throw std::invalid_argument("no kernels for " + std::string(name_of(set)) + " here");
}

template const LossKernels<Float32>& loss_kernels_of(InstructionSet);
template const LossKernels<Float64>& loss_kernels_of(InstructionSet);
template const LossKernels<BFloat16>& loss_kernels_of(InstructionSet);

}  // namespace lstmkit
