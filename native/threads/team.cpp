#include "threads/team.h"

#include <atomic>
#include <thread>
#include <vector>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

/// Shares are handed out one by one, so that any number of threads, even one, finishes them all.
struct Job {
    int shares;
    void (*work)(void* context, int share) noexcept;
    void* context;
    std::atomic<int> next{0};

    void help() noexcept {
        const FlushDenormals flush;
        for (int share = next++; share < shares; share = next++) work(context, share);
    }
};

void help(void* job) { static_cast<Job*>(job)->help(); }

void run_threads(Job& job) {
    std::vector<std::thread> others;
    for (int share = 1; share < job.shares; ++share) others.emplace_back(help, &job);
    job.help();
    for (std::thread& other : others) other.join();
}

}  // namespace

void run_shares(int shares, void (*work)(void* context, int share) noexcept, void* context) {
    Job job{shares, work, context};
    if (shares < 2 || is_forked_child()) return job.help();
    if (const auto parallel = openmp_parallel()) return parallel(help, &job, static_cast<unsigned>(shares), 0);
    run_threads(job);
}

}  // namespace lstmkit
