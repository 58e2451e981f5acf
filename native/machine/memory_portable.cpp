#include <new>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

constexpr std::align_val_t alignment{64};

}  // namespace

void* allocate_pages(std::size_t bytes) { return ::operator new(bytes, alignment); }

void free_pages(void* memory) noexcept { ::operator delete(memory, alignment); }

}  // namespace lstmkit
