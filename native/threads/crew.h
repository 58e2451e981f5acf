// Threads of our own, for processes without OpenMP: started when they are first needed and then kept. After a work they spin for a
// moment, because the next call is often near, then sleep. Callers at the same time have different threads.
#pragma once

namespace lstmkit {

/// The threads of one call. Not for a forked child, which has none of them.
class Crew {
public:
    /// Fewer than `count` where the process cannot have more.
    explicit Crew(int count) noexcept;
    ~Crew();
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    int size() const noexcept { return size_; }

    /// Thread `index` of 1..size calls work(context, index), which must not throw.
    void start(void (*work)(void* context, int index), void* context) noexcept;

    /// Returns when all have done their work.
    void wait() noexcept;

    /// Leaves out those who have not begun, and returns when the others are done.
    void stop() noexcept;

private:
    struct Worker;
    struct Idle;

    static Idle& idle();
    static Worker* hire();

    Worker* first_ = nullptr;
    int size_ = 0;
};

}  // namespace lstmkit
