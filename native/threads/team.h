// Several threads for one call. Uses the OpenMP team of the process where there is one, because its threads spin for a
// while after each region and would fight a second team for the processors. In a forked child, where the threads of
// before are gone, the caller does everything itself.
#pragma once

#include <type_traits>

#include "threads/barrier.h"

namespace lstmkit {

/// Calls work(context, share) once for each share in 0..shares, on up to `threads` threads, and returns when all are done.
/// If a share throws, shares that nobody began are left out and the first exception is thrown here.
void run_shares(int shares, int threads, void (*work)(void* context, int share), void* context);

/// The same for a callable.
template <typename Work>
void run_shares(int shares, int threads, Work work) {
    run_shares(shares, threads, [](void* context, int share) { (*static_cast<Work*>(context))(share); }, &work);
}

/// One thread of a team: which of how many, and where they meet.
struct Member {
    int index, count;
    Barrier& barrier;
};

/// Calls work(context, member) on `count` threads that all run at the same time, so that they may wait for each other;
/// on the caller alone, as the only member, where the process cannot give so many. Returns when all are done.
void run_team(int count, void (*work)(void* context, const Member& member) noexcept, void* context) noexcept;

/// The same for a callable, which must not throw: the others would wait for it forever. Allocate before.
template <typename Work>
void run_team(int count, Work work) noexcept {
    static_assert(std::is_nothrow_invocable_v<Work&, const Member&>, "work must be noexcept");
    run_team(count, [](void* context, const Member& member) noexcept { (*static_cast<Work*>(context))(member); }, &work);
}

}  // namespace lstmkit
