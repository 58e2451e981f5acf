// What this machine is: its instruction sets and its threads.
#pragma once

namespace lstmkit {

/// Instruction sets in rising order of preference. `baseline` is what the compiler's target always has;
/// `avx2` comes with fma; `avx512` is f, bw, cd, dq and vl;
/// `avx512_bf16` adds the bf16 and int8 (vnni) dot products.
enum class InstructionSet { baseline, neon, avx2, avx512, avx512_bf16 };

inline constexpr InstructionSet all_instruction_sets[] = {
    InstructionSet::baseline, InstructionSet::neon, InstructionSet::avx2,
    InstructionSet::avx512,   InstructionSet::avx512_bf16,
};

/// Whether processor and operating system both carry `set`. Thread-safe.
bool machine_has(InstructionSet set) noexcept;

/// Threads that this process may use: the processors in its affinity mask, at least 1.
int available_threads() noexcept;

}  // namespace lstmkit
