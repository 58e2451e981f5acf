// What Python chooses by name: an instruction set, a precision.
#pragma once

#include <stdexcept>
#include <string>

#include "lstmkit/dispatch.h"

/// An empty name means the default one.
inline lstmkit::InstructionSet set_called(const std::string& name) {
    return name.empty() ? lstmkit::default_set() : lstmkit::choose_set(name);
}

inline const char* name_of(lstmkit::Float32) noexcept { return "float32"; }
inline const char* name_of(lstmkit::Float64) noexcept { return "float64"; }
inline const char* name_of(lstmkit::BFloat16) noexcept { return "bfloat16"; }

/// Calls function(P{}) for the one of the precisions that has this name.
template <typename... Precisions, typename Function>
void with_precision(const char* what, const std::string& name, Function function) {
    const bool is_one = ((name == name_of(Precisions{}) && (function(Precisions{}), true)) || ...);
    if (is_one) return;
    std::string known;
    ((known += (known.empty() ? "" : ", ") + std::string(name_of(Precisions{}))), ...);
    throw std::invalid_argument(std::string(what) + " has no precision '" + name + "'; it has: " + known);
}
