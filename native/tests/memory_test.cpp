// The pool of memory: blocks are used again, by one owner at a time, and what cannot be had is refused.
#include "lstmkit/memory.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using lstmkit::Array;

void blocks_are_used_again() {
    std::vector<float*> before;
    {
        const Array<float> one(100'000), two(100'000);
        before = {one.data(), two.data()};
    }
    const Array<float> again(100'000), other(99'000), fresh(100'000);
    check(again.data() != other.data() && again.data() != fresh.data() && other.data() != fresh.data(), "one owner at a time");
    for (float* block : {again.data(), other.data()})
        check(LSTMKIT_UNPOOLED || block == before[0] || block == before[1], "a block is used again, also for a little less");
}

void a_larger_block_serves_within_limits() {
    lstmkit::release_memory();
    const float* before = nullptr;
    {
        const Array<float> large(64 << 10);
        before = large.data();
    }
    {
        const Array<float> half(32 << 10);
        check(half.data() != before, "half as much gets a block of its own");
        const Array<float> nearly(52 << 10);
        check(LSTMKIT_UNPOOLED || nearly.data() == before, "four fifths get the larger block");
    }
    {
        const Array<float> again(64 << 10);
        check(LSTMKIT_UNPOOLED || again.data() == before, "a block that was lent for less is as large as before");
    }
    lstmkit::release_memory();
}

void every_size_holds_what_it_promises() {
    for (std::ptrdiff_t bytes : {0, 1, 63, 64, 1023, 1024, 1025, 1152, 1153, 2048, 2049, 100'000, 2'097'151, 2'097'152, 9'000'001})
        for (int round = 0; round < 2; ++round) {
            const Array<char> array(bytes);
            check(reinterpret_cast<std::uintptr_t>(array.data()) % 64 == 0, "aligned " + std::to_string(bytes));
            if (bytes) std::memset(array.data(), round, static_cast<std::size_t>(bytes));
        }
}

void what_cannot_be_had_is_refused() {
    // The sanitizers' allocators would end the process where an ordinary one refuses.
    constexpr std::ptrdiff_t most = std::numeric_limits<std::ptrdiff_t>::max();
    for (std::ptrdiff_t count : {std::ptrdiff_t{-1}, most, most / 4 + 1, -most}) {
        bool refused = false;
        try {
            const Array<float> array(count);
        } catch (const std::bad_alloc&) {
            refused = true;
        }
        check(refused, "refused " + std::to_string(count));
    }
}

/// Takes and gives blocks that it fills with its own number, until told to stop.
void use(unsigned char number, const std::atomic<bool>& stop, std::atomic<bool>& is_clean) {
    for (int round = 0; !stop; ++round) {
        const std::size_t bytes = 1000 + 137 * static_cast<std::size_t>(round % 29);
        const Array<unsigned char> array(static_cast<std::ptrdiff_t>(bytes));
        std::memset(array.data(), number, bytes);
        for (std::size_t k = 0; k < bytes; k += 97)
            if (array[static_cast<std::ptrdiff_t>(k)] != number) is_clean = false;
    }
}

// A child that inherits the pool in the hand of another thread would wait forever; the alarm ends it then.
bool child_can_take() {
    const pid_t child = fork();
    if (child == 0) {
        alarm(10);
        const Array<float> array(1000);
        _exit(array.data() ? 0 : 1);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void threads_and_forks_share_it() {
    std::atomic<bool> stop{false}, is_clean{true};
    std::vector<std::thread> threads;
    for (unsigned char number = 1; number <= 4; ++number)
        threads.emplace_back([&, number] { use(number, stop, is_clean); });
    bool forks = true;
    // The address sanitizer's own allocator does not survive a fork beside other threads.
    for (int round = 0; round < 40 && !LSTMKIT_UNPOOLED; ++round) forks = forks && child_can_take();
    stop = true;
    for (std::thread& thread : threads) thread.join();
    check(is_clean, "no block has two owners");
    check(forks, "a forked child can take memory");
}

}  // namespace

int main() {
    blocks_are_used_again();
    a_larger_block_serves_within_limits();
    every_size_holds_what_it_promises();
    what_cannot_be_had_is_refused();
    threads_and_forks_share_it();
    lstmkit::release_memory();
    blocks_are_used_again();
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
