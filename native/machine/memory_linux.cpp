#include <sys/mman.h>

#include <cstdlib>
#include <new>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

}  // namespace

void* allocate_pages(std::size_t bytes) {
    const std::size_t alignment = bytes < huge_page ? 64 : huge_page;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
    if (bytes >= huge_page) madvise(memory, bytes / huge_page * huge_page, MADV_HUGEPAGE);
    return memory;
}

void free_pages(void* memory) noexcept { std::free(memory); }

}  // namespace lstmkit
