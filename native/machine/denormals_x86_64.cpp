#include <xmmintrin.h>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

constexpr unsigned flush_to_zero = 1u << 15, denormals_are_zero = 1u << 6;

}  // namespace

FlushDenormals::FlushDenormals() noexcept : before_(_mm_getcsr()) {
    _mm_setcsr(static_cast<unsigned>(before_) | flush_to_zero | denormals_are_zero);
}

FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<unsigned>(before_)); }

}  // namespace lstmkit
