#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

constexpr std::uint64_t flush_to_zero = std::uint64_t{1} << 24;

}  // namespace

FlushDenormals::FlushDenormals() noexcept {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | flush_to_zero));
}

FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

}  // namespace lstmkit
