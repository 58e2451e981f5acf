// Views of memory as Python gives them: addresses and strides, None and 0 where there is nothing.
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "lstmkit/layer.h"

using Address = std::uintptr_t;
using SequenceAt = std::optional<std::tuple<Address, lstmkit::Index, lstmkit::Index>>;
using StateAt = std::optional<std::tuple<Address, lstmkit::Index>>;

template <typename Number>
Number* pointer(Address address) {
    return reinterpret_cast<Number*>(address);
}

template <typename Number>
lstmkit::Sequence<Number> sequence(const SequenceAt& at) {
    if (!at) return {};
    return {pointer<Number>(std::get<0>(*at)), std::get<1>(*at), std::get<2>(*at)};
}

template <typename Number>
lstmkit::State<Number> state(const StateAt& at) {
    if (!at) return {};
    return {pointer<Number>(std::get<0>(*at)), std::get<1>(*at)};
}
