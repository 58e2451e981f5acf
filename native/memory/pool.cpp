#include "lstmkit/memory.h"

#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

constexpr std::size_t smallest = 1024;
constexpr std::size_t keep_limit = std::size_t{2} << 30;

struct Pool {
    std::mutex mutex;
    std::map<std::size_t, std::vector<void*>> kept;
    std::size_t kept_bytes = 0;
};

// Never destroyed: blocks may come back while the process ends.
Pool& pool() {
    static Pool* const one = new Pool;
    return *one;
}

/// Sizes of which each is at most an eighth larger than the one before.
std::size_t size_class(std::size_t bytes) {
    std::size_t step = smallest / 8;
    while (step * 16 < bytes) step *= 2;
    return bytes <= smallest ? smallest : (bytes + step - 1) / step * step;
}

}  // namespace

void* take_memory(std::size_t bytes) {
    const std::size_t size = size_class(bytes);
    Pool& p = pool();
    {
        const std::lock_guard<std::mutex> lock(p.mutex);
        auto& blocks = p.kept[size];
        if (!blocks.empty()) {
            void* memory = blocks.back();
            blocks.pop_back();
            p.kept_bytes -= size;
            return memory;
        }
        blocks.reserve(blocks.capacity() + 1);
    }
    return allocate_pages(size);
}

void give_memory(void* memory, std::size_t bytes) noexcept {
    const std::size_t size = size_class(bytes);
    Pool& p = pool();
    {
        const std::lock_guard<std::mutex> lock(p.mutex);
        if (p.kept_bytes + size <= keep_limit) {
            auto& blocks = p.kept[size];
            blocks.push_back(memory);
            p.kept_bytes += size;
            return;
        }
    }
    free_pages(memory);
}

void release_memory() noexcept {
    Pool& p = pool();
    const std::lock_guard<std::mutex> lock(p.mutex);
    for (auto& [size, blocks] : p.kept) {
        for (void* memory : blocks) free_pages(memory);
        blocks.clear();
    }
    p.kept_bytes = 0;
}

}  // namespace lstmkit
