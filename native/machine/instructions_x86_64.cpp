#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

bool has_avx2() noexcept { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() noexcept {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

bool machine_has(InstructionSet set) noexcept {
    __builtin_cpu_init();
    switch (set) {
        case InstructionSet::baseline: return true;
        case InstructionSet::avx2: return has_avx2();
        case InstructionSet::avx512: return has_avx512();
        case InstructionSet::avx512_bf16:
            return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
        case InstructionSet::neon: return false;
    }
    return false;
}

void pause_briefly() noexcept { __builtin_ia32_pause(); }

}  // namespace lstmkit
