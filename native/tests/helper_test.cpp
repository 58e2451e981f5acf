// A stream's second thread: every half once, the first half here, nothing lost however the calls follow each other.
#include "stream/helper.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "steady_work.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

using lstmkit::Experience;
using lstmkit::Helper;
using std::chrono::microseconds;

/// Which thread did each half of a call, and how often.
struct Record {
    std::thread::id thread[2];
    int count[2] = {0, 0};

    void operator()(int half) noexcept {
        thread[half] = std::this_thread::get_id();
        ++count[half];
    }
};

struct Tally {
    int right = 0, helped = 0;
};

/// Calls with pauses between them, each beginning with the half that ended the one before.
Tally call_often(Helper& helper, int calls, microseconds pause, microseconds work = microseconds(0), Experience experience = {}) {
    Tally tally;
    const auto here = std::this_thread::get_id();
    for (int call = 0; call < calls; ++call) {
        Record record;
        auto half = [&](int which) noexcept {
            record(which);
            const auto end = std::chrono::steady_clock::now() + work;
            while (std::chrono::steady_clock::now() < end) {}
        };
        const int first = experience.near;
        helper.split(half, experience);
        const bool is_helped = record.thread[1 - first] != here;
        const bool is_once = record.count[0] == 1 && record.count[1] == 1 && record.thread[first] == here;
        tally.right += is_once && experience.near == (is_helped ? first : 1 - first);
        tally.helped += is_helped;
        if (pause.count() > 0) std::this_thread::sleep_for(pause);
    }
    return tally;
}

void every_half_is_done_once() {
    Helper helper;
    const struct {
        int calls, pause, work;
    } kinds[] = {{20'000, 0, 0}, {300, 80, 0}, {3000, 0, 10}, {30, 2000, 100}, {20'000, 0, 0}};
    for (const auto& kind : kinds) {
        const Tally tally = call_often(helper, kind.calls, microseconds(kind.pause), microseconds(kind.work));
        check(tally.right == kind.calls, "halves done once, got " + std::to_string(tally.right) + " of " + std::to_string(kind.calls));
    }
}

/// However long it was asked in vain, it is found again; a busy machine may take its time.
void it_is_found_again() {
    Helper helper;
    int tries = 0;
    for (int helped = 0; helped == 0 && tries < 1000; ++tries) {
        call_often(helper, 20, microseconds(500));
        helped = call_often(helper, 2000, microseconds(0), microseconds(20)).helped;
    }
    check(tries < 1000, "a helper helps in the end");
}

/// However long it was in vain, one call in which it is there brings it back for good.
void it_stays_once_found() {
    Helper helper;
    Experience disappointed;
    disappointed.in_vain = 10;
    disappointed.resting = 1'000'000;
    disappointed.is_rung = true;
    constexpr int calls = 40;
    constexpr microseconds work(50);
    int tries = 0;
    for (int helped = 0; helped < calls / 4 && tries < 5000; ++tries) {
        std::this_thread::sleep_for(microseconds(1000));  // both may be on one processor until somebody moves them
        call_often(helper, 20, microseconds(0), work);
        helped = call_often(helper, calls, microseconds(0), work, disappointed).helped;
    }
    check(tries < 5000, "a helper that was found again stays");
}

void it_ends_whatever_it_does() {
    for (int round = 0; round < 200; ++round) {
        Helper helper;
        if (round % 4 > 0) call_often(helper, round % 4, microseconds(round % 3 * 30));
    }
}

#if defined(__linux__)
void a_child_works_alone() {
    Helper helper;
    call_often(helper, 100, microseconds(0));
    const pid_t child = fork();
    if (child == 0) {
        const Tally tally = call_often(helper, 100, microseconds(0));
        _exit(tally.right == 100 && tally.helped == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(status == 0, "a child works alone");
    check(call_often(helper, 100, microseconds(0)).right == 100, "the parent goes on");
}

/// Processor time of many calls, of both threads together.
template <typename Work>
double processor_seconds(Helper& helper, Work& work, Experience& experience) {
    const std::clock_t start = std::clock();
    for (int call = 0; call < 20'000; ++call) helper.split(work, experience);
    return double(std::clock() - start) / CLOCKS_PER_SEC;
}

/// On one processor it can only be in the way: then it must be asked rarely. The least of some trials, beside the same calls
/// without asking.
void in_vain_it_costs_little() {
    cpu_set_t before, one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_getaffinity(0, sizeof before, &before);
    sched_setaffinity(0, sizeof one, &one);
    {
        Helper helper;
        Experience experience;
        auto work = [](int) noexcept { work_steadily(1000); };
        double least = HUGE_VAL;
        for (int trial = 0; trial < 5; ++trial) {
            Experience unasked;
            unasked.resting = 1'000'000;
            unasked.in_vain = 10;
            const double alone = processor_seconds(helper, work, unasked);
            least = std::min(least, processor_seconds(helper, work, experience) / alone);
        }
        std::printf("a helper in vain: %.2f times the time of one thread alone\n", least);
        check(least < 1.2, "a helper in vain costs little");
    }
    sched_setaffinity(0, sizeof before, &before);
}
#endif

}  // namespace

int main(int count, char** arguments) {
    const std::string part = count > 1 ? arguments[1] : "";
    if (part == "found_again") {
        it_is_found_again();
        it_stays_once_found();
#if defined(__linux__)
    } else if (part == "in_vain") {
        in_vain_it_costs_little();
    } else {
        a_child_works_alone();
#else
    } else {
#endif
        every_half_is_done_once();
        it_ends_whatever_it_does();
    }
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
