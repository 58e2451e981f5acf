// Every table of functions that exists once per instruction set: each set's namespace has a function `table` for each.
#include <stdexcept>
#include <string>

#include "adamw/kernels.h"
#include "lookup/kernels.h"
#include "loss/kernels.h"
#include "lstmkit/dispatch.h"
#include "pooling/kernels.h"
#include "scan/kernels.h"
#include "scan/mlstm_kernels.h"
#include "simd/peak_set.h"
#include "stream/kernels.h"

namespace lstmkit {

#define LSTMKIT_EVERY_TABLE                            \
    LSTMKIT_TABLE(AdamwKernels)                        \
    LSTMKIT_TABLE(Kernels<Float32>)                    \
    LSTMKIT_TABLE(Kernels<Float64>)                    \
    LSTMKIT_TABLE(Kernels<BFloat16>)                   \
    LSTMKIT_TABLE(Kernels<Float32SavedInBFloat16>)     \
    LSTMKIT_TABLE(LookupKernels<Float32>)              \
    LSTMKIT_TABLE(LookupKernels<Float64>)              \
    LSTMKIT_TABLE(LossKernels<Float32>)                \
    LSTMKIT_TABLE(LossKernels<Float64>)                \
    LSTMKIT_TABLE(LossKernels<BFloat16>)               \
    LSTMKIT_TABLE(MlstmKernels<Float32>)               \
    LSTMKIT_TABLE(MlstmKernels<Float64>)               \
    LSTMKIT_TABLE(PeakLoops)                           \
    LSTMKIT_TABLE(PoolKernels<Float32>)                \
    LSTMKIT_TABLE(PoolKernels<Float64>)                \
    LSTMKIT_TABLE(PoolKernels<BFloat16>)               \
    LSTMKIT_TABLE(ScanKernels<Float32>)                \
    LSTMKIT_TABLE(ScanKernels<Float64>)                \
    LSTMKIT_TABLE(StreamKernels)

#define LSTMKIT_TABLE(Table) const Table& table(const Table*) noexcept;
#define LSTMKIT_COMPILED(set) \
    namespace set {           \
    LSTMKIT_EVERY_TABLE       \
    }
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
#undef LSTMKIT_TABLE

template <typename Table>
const Table& table_of(InstructionSet set) {
    if (machine_has(set)) switch (set) {
#define LSTMKIT_COMPILED(name) \
    case InstructionSet::name: return name::table(static_cast<const Table*>(nullptr));
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
            default: break;
        }
    throw std::invalid_argument("nothing for " + std::string(name_of(set)) + " here; usable: " + names_of(usable_sets()));
}

#define LSTMKIT_TABLE(Table) template const Table& table_of(InstructionSet);
LSTMKIT_EVERY_TABLE

}  // namespace lstmkit
