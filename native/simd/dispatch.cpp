#include "lstmkit/dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace lstmkit {

namespace {

bool holds(const std::vector<InstructionSet>& sets, InstructionSet set) {
    return std::find(sets.begin(), sets.end(), set) != sets.end();
}

InstructionSet set_called(std::string_view name) {
    for (InstructionSet set : all_instruction_sets)
        if (name_of(set) == name) return set;
    throw std::invalid_argument("no instruction set is called '" + std::string(name) + "'; usable here: " + names_of(usable_sets()));
}

}  // namespace

std::string_view name_of(InstructionSet set) noexcept {
    switch (set) {
        case InstructionSet::baseline: return "baseline";
        case InstructionSet::neon: return "neon";
        case InstructionSet::avx2: return "avx2";
        case InstructionSet::avx512: return "avx512";
        case InstructionSet::avx512_bf16: return "avx512_bf16";
    }
    return "";
}

std::string names_of(const std::vector<InstructionSet>& sets) {
    std::string text;
    for (InstructionSet set : sets) text += (text.empty() ? "" : ", ") + std::string(name_of(set));
    return text;
}

const std::vector<InstructionSet>& compiled_sets() {
    static const std::vector<InstructionSet> sets = {
#define LSTMKIT_COMPILED(set) InstructionSet::set,
#include "compiled_sets.inc"
#undef LSTMKIT_COMPILED
    };
    return sets;
}

const std::vector<InstructionSet>& usable_sets() {
    static const std::vector<InstructionSet> sets = [] {
        std::vector<InstructionSet> usable;
        for (InstructionSet set : compiled_sets())
            if (machine_has(set)) usable.push_back(set);
        return usable;
    }();
    return sets;
}

InstructionSet choose_set(std::string_view name) {
    if (name.empty()) return usable_sets().back();
    const InstructionSet set = set_called(name);
    if (holds(usable_sets(), set)) return set;
    const char* reason = holds(compiled_sets(), set) ? "this machine does not have" : "this build was not compiled for";
    throw std::invalid_argument(reason + (" " + std::string(name)) + "; usable here: " + names_of(usable_sets()));
}

InstructionSet default_set() {
    static const InstructionSet set = [] {
        const char* wanted = std::getenv("LSTMKIT_ISA");
        return choose_set(wanted ? wanted : "");
    }();
    return set;
}

}  // namespace lstmkit
