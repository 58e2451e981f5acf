// Teams of threads: every share once, all members at once, exceptions out, nobody starved. Also built with OpenMP.
#include "threads/team.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "check.h"
#include "lstmkit/machine.h"
#include "steady_work.h"

namespace {

using lstmkit::Member;

void every_share_runs_once() {
    for (int shares : {0, 1, 2, 7, 40}) {
        std::vector<std::atomic<int>> counts(static_cast<std::size_t>(shares));
        lstmkit::run_shares(shares, shares, [&](int share) { ++counts[std::size_t(share)]; });
        check(std::all_of(counts.begin(), counts.end(), [](const auto& count) { return count == 1; }), "every share once");
    }
}

void failures_come_out() {
    for (int shares : {1, 2, 7}) {
        bool caught = false;
        try {
            lstmkit::run_shares(shares, shares, [](int share) {
                if (share % 2 == 0) throw std::bad_alloc();
            });
        } catch (const std::bad_alloc&) {
            caught = true;
        }
        check(caught, "a failure of " + std::to_string(shares) + " shares comes out");
    }
    every_share_runs_once();
}

/// Rounds in which each member writes its own number, meets the others, reads all numbers, and meets them again.
bool members_see_each_other(int count, int rounds) {
    std::vector<int> written(static_cast<std::size_t>(count));
    std::atomic<int> wrong{0}, members{0};
    lstmkit::run_team(count, [&](const Member& member) noexcept {
        if (member.index == 0) members = member.count;
        for (int round = 1; round <= rounds; ++round) {
            written[std::size_t(member.index)] = round * (member.index + 1);
            member.barrier.wait();
            for (int other = 0; other < member.count; ++other)
                if (written[std::size_t(other)] != round * (other + 1)) ++wrong;
            member.barrier.wait();
        }
    });
    return wrong == 0 && members == count;
}

void members_run_at_once() {
    for (int count : {1, 2, 3, 8})
        check(members_see_each_other(count, 300), "a team of " + std::to_string(count));
}

void callers_do_not_disturb_each_other() {
    std::atomic<int> good{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&] {
            for (int round = 0; round < 10; ++round) good += members_see_each_other(2, 20);
        });
    for (std::thread& caller : callers) caller.join();
    check(good == 40, "teams of several callers, got " + std::to_string(good));
}

/// A late thread is left out, not waited for, and its share is not done twice; the next call finds it again.
void short_calls_follow_each_other() {
    std::atomic<long> sum{0};
    for (int call = 0; call < 20'000; ++call) {
        lstmkit::run_shares(2, 2, [&](int share) { sum += share + 1; });
        if (call % 1000 == 0) std::this_thread::sleep_for(std::chrono::microseconds(call % 3 * 60));
    }
    check(sum == 60'000, "short calls, got " + std::to_string(sum));
}

#if defined(__linux__)
std::ptrdiff_t count_threads() {
    const std::filesystem::directory_iterator first("/proc/self/task"), last;
    return std::distance(first, last);
}

template <typename Error, typename Call>
bool throws(Call call) {
    try {
        call();
    } catch (const Error&) {
        return true;
    }
    return false;
}

/// As many threads as ever ran at once, however many calls there were.
[[maybe_unused]] void threads_are_kept() {
    members_see_each_other(5, 1);
    const std::ptrdiff_t before = count_threads();
    for (int call = 0; call < 50; ++call) {
        check(members_see_each_other(2 + call % 4, 2), "a team of kept threads");
        lstmkit::run_shares(5, 5, [](int) {});
    }
    check(count_threads() == before, "calls start no more threads");
}

/// In a process of its own, before any thread was started. Limits do not hold for root.
[[maybe_unused]] int no_thread_can_be_had() {
    constexpr uid_t nobody = 65534;
    const rlimit none{0, 0};
    if ((geteuid() == 0 && setuid(nobody) != 0) || setrlimit(RLIMIT_NPROC, &none) != 0) return EXIT_FAILURE;
    check(throws<std::system_error>([] { std::thread([] {}).join(); }), "the limit holds");
    every_share_runs_once();
    int members = 0;
    lstmkit::run_team(3, [&](const Member& member) noexcept { members = member.count; });
    check(members == 1, "without threads the caller is alone");
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/// Forks while other threads call, so that some lock may be held.
void a_child_works_alone() {
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop) members_see_each_other(2, 3);
    });
    for (int k = 0; k < 20; ++k) {
        const pid_t child = fork();
        if (child == 0) {
            int done = 0, members = 0;
            lstmkit::run_shares(3, 3, [&](int) { ++done; });
            lstmkit::run_team(2, [&](const Member& member) noexcept { members = member.count; });
            _exit(done == 3 && members == 1 ? 0 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        check(status == 0, "a child works alone");
    }
    stop = true;
    other.join();
}
#endif

void work_in_rounds(int count) {
    lstmkit::run_team(count, [](const Member& member) noexcept {
        for (int round = 0; round < 1000; ++round) {
            work_steadily(20'000 / member.count);
            member.barrier.wait();
        }
    });
}

/// The time of two threads by that of one, the least of some trials.
template <typename Clock>
double cost_of_two(Clock seconds) {
    double least = HUGE_VAL;
    for (int trial = 0; trial < 4; ++trial) {
        const double start = seconds();
        work_in_rounds(1);
        const double middle = seconds();
        work_in_rounds(2);
        least = std::min(least, (seconds() - middle) / (middle - start));
    }
    return least;
}

double processor_seconds() { return double(std::clock()) / CLOCKS_PER_SEC; }

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// In a process of its own, whose every thread shares the processor.
bool take_one_processor() {
#if defined(__linux__)
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
#else
    return false;
#endif
}

int two_threads_share_one_processor() {
    if (!take_one_processor()) return EXIT_SUCCESS;
    const double quiet = cost_of_two(processor_seconds);
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop) lstmkit::pause_briefly();
    });
    const double busy = cost_of_two(seconds);
    stop = true;
    other.join();
    std::printf("two threads on one processor: %.2f times the time of one, beside another program %.2f\n", quiet, busy);
    return quiet <= 2 && busy <= 3 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#if defined(_OPENMP)
int members_inside_region() {
    int members = 0;
#pragma omp parallel num_threads(2)
    {
#pragma omp single
        lstmkit::run_team(2, [&](const Member& member) noexcept {
            member.barrier.wait();
            if (member.index == 0) members = member.count;
        });
    }
    return members;
}

void openmp_is_used_and_its_limits_are_kept() {
    check(lstmkit::openmp() != nullptr, "OpenMP is found");
    int inside = 0;
    lstmkit::run_team(2, [&](const Member& member) noexcept {
        if (member.index == 1) inside = omp_get_num_threads();
    });
    check(inside == 2, "members are threads of OpenMP");
    check(members_inside_region() == 1, "inside a region the caller is alone");
    omp_set_max_active_levels(2);
    check(members_inside_region() == 2, "unless regions may nest");
}
#endif

}  // namespace

int main(int count, char** arguments) {
    if (count > 1 && std::string(arguments[1]) == "oversubscribed") return two_threads_share_one_processor();
#if defined(__linux__) && !defined(_OPENMP)
    if (count > 1) return no_thread_can_be_had();
    threads_are_kept();
#endif
    every_share_runs_once();
    failures_come_out();
    members_run_at_once();
    callers_do_not_disturb_each_other();
    short_calls_follow_each_other();
#if defined(__linux__)
    a_child_works_alone();
#endif
#if defined(_OPENMP)
    openmp_is_used_and_its_limits_are_kept();
#endif
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
