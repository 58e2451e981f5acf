#include "threads/crew.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "lstmkit/machine.h"
#include "threads/patience.h"

namespace lstmkit {
namespace {

constexpr std::chrono::nanoseconds least_patience = std::chrono::microseconds(3);

/// A word that one thread changes and another awaits.
struct alignas(64) Signal {
    std::atomic<unsigned> word{0};
    std::atomic<bool> is_awaited{false};

    void send(unsigned value) noexcept {
        word = value;
        if (is_awaited) wake_all(word);
    }

    /// A null patience sleeps at once.
    void await_change(unsigned value, Patience* patience) noexcept {
        if (patience && patience->spin_while(word, value)) return;
        is_awaited = true;
        while (word == value) sleep_while(word, value);
        is_awaited = false;
    }
};

}  // namespace

struct Crew::Worker {
    // Odd: there is an order. Who makes the next even number of it has taken the order, or taken it back.
    Signal order, done;
    void (*work)(void* context, int index) = nullptr;
    void* context = nullptr;
    int index = 0;
    bool may_spin = false;
    unsigned given = 0;  ///< the last order
    Worker* next = nullptr;

    bool take(unsigned number) noexcept { return order.word.compare_exchange_strong(number, number + 1); }

    void live() noexcept {
        Patience patience(least_patience);
        // A copy, because the order belongs to the next caller once its work is done.
        bool spins = false;
        for (unsigned seen = order.word;; seen = order.word) {
            if (seen % 2 == 0) {
                order.await_change(seen, spins ? &patience : nullptr);
            } else if (take(seen)) {
                spins = may_spin;
                work(context, index);
                done.send(seen);
            }
        }
    }

    void wait() noexcept {
        Patience patience(least_patience);
        for (unsigned seen = done.word; seen != given; seen = done.word) done.await_change(seen, may_spin ? &patience : nullptr);
    }
};

/// Those whom no call has.
struct Crew::Idle {
    std::mutex mutex;
    Worker* first = nullptr;

    Worker* take() {
        const std::lock_guard<std::mutex> lock(mutex);
        Worker* const worker = first;
        if (worker) first = worker->next;
        return worker;
    }

    void give(Worker* worker) {
        const std::lock_guard<std::mutex> lock(mutex);
        worker->next = std::exchange(first, worker);
    }
};

// Never destroyed: threads may still be about when the process ends.
Crew::Idle& Crew::idle() {
    static Idle* const one = new Idle;
    return *one;
}

Crew::Worker* Crew::hire() {
    auto worker = std::make_unique<Worker>();
    std::thread([worker = worker.get()] { worker->live(); }).detach();
    return worker.release();
}

Crew::Crew(int count) noexcept {
    try {
        for (; size_ < count; ++size_) {
            Worker* worker = idle().take();
            if (!worker) worker = hire();
            worker->next = std::exchange(first_, worker);
        }
    } catch (const std::exception&) {
        // Those that there are must do.
    }
}

Crew::~Crew() {
    while (Worker* const worker = first_) {
        first_ = worker->next;
        idle().give(worker);
    }
}

void Crew::start(void (*work)(void* context, int index), void* context) noexcept {
    // Where threads are more than processors, who waits may be in another's way.
    const bool may_spin = size_ < available_threads();
    int index = 0;
    for (Worker* worker = first_; worker; worker = worker->next) {
        worker->work = work;
        worker->context = context;
        worker->index = ++index;
        worker->may_spin = may_spin;
        worker->given = worker->order.word + 1;
        worker->order.send(worker->given);
    }
}

void Crew::wait() noexcept {
    for (Worker* worker = first_; worker; worker = worker->next) worker->wait();
}

void Crew::stop() noexcept {
    for (Worker* worker = first_; worker; worker = worker->next)
        if (!worker->take(worker->given)) worker->wait();
}

}  // namespace lstmkit
