#include "lstmkit/machine.h"

namespace lstmkit {

bool machine_has(InstructionSet set) noexcept { return set == InstructionSet::baseline; }

void pause_briefly() noexcept {}

}  // namespace lstmkit
