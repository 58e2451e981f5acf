#include "lstmkit/machine.h"

namespace lstmkit {

bool machine_has(InstructionSet set) noexcept { return set == InstructionSet::baseline; }

void relax_processor() noexcept {}

}  // namespace lstmkit
