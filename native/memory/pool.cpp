#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <new>

#include "lstmkit/machine.h"
#include "lstmkit/memory.h"

namespace lstmkit {
namespace {

constexpr std::size_t smallest = 1024;
constexpr std::size_t keep_limit = std::size_t{2} << 30;
constexpr std::size_t largest = std::numeric_limits<std::size_t>::max() / 4;

// Sizes of which each is at most an eighth larger than the one before: eight to every doubling.
struct SizeClass {
    std::size_t bytes, number;
};

SizeClass class_of(std::size_t bytes) noexcept {
    std::size_t step = smallest / 8, doublings = 0;
    while (step * 16 < bytes) step *= 2, ++doublings;
    const std::size_t steps = bytes <= smallest ? 8 : (bytes + step - 1) / step;
    return {steps * step, 8 * doublings + steps - 8};
}

constexpr std::size_t bytes_of_class(std::size_t number) noexcept { return (number % 8 + 8) * (smallest / 8 << number / 8); }

// A block up to so many classes larger is taken rather than fresh pages: at most three eighths more than was asked for.
constexpr std::size_t larger_classes = 3;

/// A block that nobody uses holds the address of the next.
struct Free {
    Free* next;
};

struct Pool {
    std::mutex mutex;
    std::array<Free*, 8 * std::numeric_limits<std::size_t>::digits> kept{};
    std::size_t kept_bytes = 0;

    Free* take(SizeClass& size) noexcept {
        const std::lock_guard<std::mutex> lock(mutex);
        const std::size_t last = std::min(size.number + larger_classes, kept.size() - 1);
        for (std::size_t number = size.number; number <= last; ++number)
            if (Free* const block = kept[number]) {
                size = {bytes_of_class(number), number};
                kept[number] = block->next;
                kept_bytes -= size.bytes;
                return block;
            }
        return nullptr;
    }

    bool keep(Free* block, SizeClass size) noexcept {
        const std::lock_guard<std::mutex> lock(mutex);
        if (kept_bytes + size.bytes > keep_limit) return false;
        block->next = kept[size.number];
        kept[size.number] = block;
        kept_bytes += size.bytes;
        return true;
    }
};

Pool& pool();

// A child would inherit the lock but not the thread that holds it.
void lock_pool() { pool().mutex.lock(); }
void unlock_pool() { pool().mutex.unlock(); }

// Never destroyed: blocks may come back while the process ends.
Pool& pool() {
    static Pool* const one = [] {
        around_fork(lock_pool, unlock_pool);
        return new Pool;
    }();
    return *one;
}

}  // namespace

void* take_memory(std::size_t& bytes) {
    if (bytes > largest) throw std::bad_alloc();
    SizeClass size = class_of(bytes);
    Free* const block = pool().take(size);
    bytes = size.bytes;
    return block ? block : allocate_pages(size.bytes);
}

void give_memory(void* memory, std::size_t bytes) noexcept {
    if (!pool().keep(static_cast<Free*>(memory), class_of(bytes))) free_pages(memory);
}

void release_memory() noexcept {
    Pool& p = pool();
    const std::lock_guard<std::mutex> lock(p.mutex);
    for (Free*& first : p.kept)
        while (Free* const block = first) {
            first = block->next;
            free_pages(block);
        }
    p.kept_bytes = 0;
}

}  // namespace lstmkit
