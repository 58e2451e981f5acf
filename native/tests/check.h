// The little that a test needs.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>

inline int failures = 0;

inline void check(bool passed, const std::string& what) {
    if (passed) return;
    ++failures;
    std::fprintf(stderr, "failed: %s\n", what.c_str());
}

template <typename Call>
bool rejects(Call call) {
    try {
        call();
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}
