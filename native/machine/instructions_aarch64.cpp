#include "lstmkit/machine.h"

namespace lstmkit {

// Every 64-bit Arm processor has it, so there is no baseline without.
bool machine_has(InstructionSet set) noexcept { return set == InstructionSet::neon; }

// Waits longer than `yield`, which most processors ignore.
void pause_briefly() noexcept { asm volatile("isb"); }

}  // namespace lstmkit
