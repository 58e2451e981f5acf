// What this machine is: its instruction sets, its threads, its memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lstmkit {

/// Instruction sets in rising order of preference. `baseline` is what the compiler's target always has, called
/// `neon` on 64-bit Arm; `avx2` comes with fma; `avx512` is f, bw, cd, dq and vl;
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

/// Whether this process was forked after this library was loaded: threads of before are gone.
bool is_forked_child() noexcept;

/// Calls `before` before each fork of this process, and `after` after it in parent and child.
void around_fork(void (*before)(), void (*after)()) noexcept;

/// What is needed of an OpenMP runtime.
struct Openmp {
    void (*parallel)(void (*work)(void*), void* data, unsigned threads, unsigned flags);  ///< GOMP_parallel
    int (*team_size)();
    int (*thread_number)();
};

/// The OpenMP runtime that is already in this process, or null; nothing is loaded for it.
const Openmp* openmp() noexcept;

/// Tells the processor that this thread spins.
void pause_briefly() noexcept;

/// Sleeps until woken, or not at all where `word` is no longer `value`; may also return for no reason.
void sleep_while(const std::atomic<unsigned>& word, unsigned value) noexcept;

/// Wakes all who sleep on `word`.
void wake_all(const std::atomic<unsigned>& word) noexcept;

/// Fresh memory at a multiple of 64 bytes, in large pages where the system has them. Throws std::bad_alloc.
void* allocate_pages(std::size_t bytes);

void free_pages(void* memory) noexcept;

/// While it lives, denormal numbers are zero in this thread: they would cost a hundred times the time of others.
class FlushDenormals {
public:
    FlushDenormals() noexcept;
    ~FlushDenormals();
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
    std::uint64_t before_;
};

}  // namespace lstmkit
