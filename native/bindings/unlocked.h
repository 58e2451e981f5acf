// When Python's lock is worth giving away.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>

/// While it lives, other Python threads run, if there is work for more than about ten microseconds: to get the lock back
/// from another busy thread can take milliseconds.
class Unlocked {
public:
    explicit Unlocked(double multiply_adds) : Unlocked(multiply_adds > 200'000) {}
    explicit Unlocked(bool is_long) {
        if (is_long) released_.emplace();
    }

private:
    std::optional<nanobind::gil_scoped_release> released_;
};
