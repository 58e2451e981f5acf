#include "lstmkit/machine.h"

namespace lstmkit {

// Every 64-bit Arm processor has NEON.
bool machine_has(InstructionSet set) noexcept { return set == InstructionSet::baseline || set == InstructionSet::neon; }

void relax_processor() noexcept { asm volatile("yield"); }

}  // namespace lstmkit
