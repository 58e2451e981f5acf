#include "lookup.h"

#include <nanobind/stl/string.h>

#include <string>
#include <tuple>

#include "addresses.h"
#include "chosen.h"
#include "lstmkit/dispatch.h"
#include "lstmkit/lookup.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

namespace {

// rows, width, places, things; numbers; skips_zero, is_mean
using LookupAt = std::tuple<Index, Index, Index, Index, Address, bool, bool>;

lstmkit::Lookup lookup_of(const LookupAt& at) {
    const auto& [rows, width, places, things, numbers, skips_zero, is_mean] = at;
    return {rows, width, places, things, pointer<const std::int64_t>(numbers), skips_zero, is_mean};
}

double numbers_of(const lstmkit::Lookup& lookup) { return double(lookup.places) * double(lookup.things) * double(lookup.width); }

void look_up(const LookupAt& at, Address table, Address out, int threads, const std::string& instruction_set, const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64>("a lookup", precision, [&](auto chosen) {
        using P = decltype(chosen);
        const lstmkit::Lookup lookup = lookup_of(at);
        const Unlocked unlocked(numbers_of(lookup));
        lstmkit::look_up<P>(lookup, pointer<const lstmkit::Real<P>>(table), pointer<lstmkit::Real<P>>(out), threads, set_called(instruction_set));
    });
}

void look_up_backward(const LookupAt& at, const SequenceAt& grad, Index inner, Address grad_table, int threads, const std::string& instruction_set,
                      const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64>("a lookup", precision, [&](auto chosen) {
        using P = decltype(chosen);
        const lstmkit::Lookup lookup = lookup_of(at);
        const Unlocked unlocked(numbers_of(lookup) + double(lookup.rows) * double(lookup.width));
        lstmkit::look_up_backward<P>(lookup, sequence<const lstmkit::Real<P>>(grad), inner, pointer<lstmkit::Real<P>>(grad_table), threads,
                                     set_called(instruction_set));
    });
}

}  // namespace

void bind_lookup(nb::module_& module) {
    module.def("look_up", &look_up, nb::arg("lookup"), nb::arg("table"), nb::arg("out"), nb::arg("threads"), nb::arg("instruction_set") = "",
               nb::arg("precision") = "float32");
    module.def("look_up_backward", &look_up_backward, nb::arg("lookup"), nb::arg("grad"), nb::arg("inner"), nb::arg("grad_table"),
               nb::arg("threads"), nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
}
