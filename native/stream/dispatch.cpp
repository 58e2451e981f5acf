#include <stdexcept>
#include <string>

#include "lstmkit/dispatch.h"
#include "stream/kernels.h"

namespace lstmkit {

#define LSTMKIT_COMPILED(set)                   \
    namespace set {                             \
    extern const StreamKernels& stream_kernels; \
    }
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED

const StreamKernels& stream_kernels_of(InstructionSet set) {
    if (machine_has(set)) switch (set) {
#define LSTMKIT_COMPILED(name) \
    case InstructionSet::name: return name::stream_kernels;
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
            default: break;
        }
    throw std::invalid_argument("no kernels for " + std::string(name_of(set)) + " here");
}

}  // namespace lstmkit
