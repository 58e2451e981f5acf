#include "threads/team.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "lstmkit/machine.h"
#include "threads/crew.h"

namespace lstmkit {
namespace {

/// Shares are handed out one by one, so that any number of threads, even one, finishes them all.
struct Job {
    int shares;
    void (*work)(void* context, int share);
    void* context;
    std::atomic<int> next{0};
    std::atomic<bool> has_failed{false};
    std::exception_ptr failure{};

    void help() noexcept {
        const FlushDenormals flush;
        for (int share = next++; share < shares && !has_failed; share = next++) attempt(share);
    }

    void attempt(int share) noexcept {
        try {
            work(context, share);
        } catch (...) {
            if (!has_failed.exchange(true)) failure = std::current_exception();
        }
    }
};

void help(void* job) { static_cast<Job*>(job)->help(); }

void help_with_crew(Job& job, int threads) noexcept {
    Crew crew(threads - 1);
    crew.start([](void* context, int) { help(context); }, &job);
    job.help();
    crew.stop();
}

struct Team {
    int count;
    void (*work)(void* context, const Member& member) noexcept;
    void* context;
    std::atomic<bool> has_run{false};
    Barrier barrier{count};

    void run_member(int index) noexcept {
        const FlushDenormals flush;
        has_run = true;
        work(context, {index, count, barrier});
    }
};

/// OpenMP gives fewer threads inside another region and where limits are set: then nobody begins.
void join_openmp(void* data) {
    Team& team = *static_cast<Team*>(data);
    if (openmp()->team_size() == team.count) team.run_member(openmp()->thread_number());
}

void run_with_crew(Team& team) noexcept {
    Crew crew(team.count - 1);
    if (crew.size() < team.count - 1) return;
    crew.start([](void* context, int index) { static_cast<Team*>(context)->run_member(index); }, &team);
    team.run_member(0);
    crew.wait();
}

}  // namespace

void run_shares(int shares, int threads, void (*work)(void* context, int share), void* context) {
    Job job{shares, work, context};
    threads = std::min(threads, shares);
    if (threads < 2 || is_forked_child())
        job.help();
    else if (const Openmp* found = openmp())
        found->parallel(help, &job, static_cast<unsigned>(threads), 0);
    else
        help_with_crew(job, threads);
    if (job.failure) std::rethrow_exception(job.failure);
}

void run_team(int count, void (*work)(void* context, const Member& member) noexcept, void* context) noexcept {
    if (count > 1 && !is_forked_child()) {
        Team team{count, work, context};
        if (const Openmp* found = openmp())
            found->parallel(join_openmp, &team, static_cast<unsigned>(count), 0);
        else
            run_with_crew(team);
        if (team.has_run) return;
    }
    Team{1, work, context}.run_member(0);
}

}  // namespace lstmkit
