#include <stdexcept>
#include <string>

#include "lstmkit/dispatch.h"
#include "scan/kernels.h"
#include "scan/mlstm_kernels.h"

namespace lstmkit {

#define LSTMKIT_COMPILED(set)                                    \
    namespace set {                                              \
    const ScanKernels<Float32>& scan_kernels(Float32) noexcept;   \
    const ScanKernels<Float64>& scan_kernels(Float64) noexcept;   \
    const MlstmKernels<Float32>& mlstm_kernels(Float32) noexcept; \
    const MlstmKernels<Float64>& mlstm_kernels(Float64) noexcept; \
    }
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED

namespace {

[[noreturn]] void refuse(InstructionSet set) { throw std::invalid_argument("no kernels for " + std::string(name_of(set)) + " here"); }

}  // namespace

template <typename P>
const ScanKernels<P>& scan_kernels_of(InstructionSet set) {
    if (machine_has(set)) switch (set) {
#define LSTMKIT_COMPILED(name) \
    case InstructionSet::name: return name::scan_kernels(P{});
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
            default: break;
        }
    refuse(set);
}

template <typename P>
const MlstmKernels<P>& mlstm_kernels_of(InstructionSet set) {
    if (machine_has(set)) switch (set) {
#define LSTMKIT_COMPILED(name) \
    case InstructionSet::name: return name::mlstm_kernels(P{});
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
            default: break;
        }
    refuse(set);
}

template const ScanKernels<Float32>& scan_kernels_of(InstructionSet);
template const ScanKernels<Float64>& scan_kernels_of(InstructionSet);
template const MlstmKernels<Float32>& mlstm_kernels_of(InstructionSet);
template const MlstmKernels<Float64>& mlstm_kernels_of(InstructionSet);

}  // namespace lstmkit
