// Lookups for Python; addresses come as whole numbers, as the layer's do.
#pragma once

#include <nanobind/nanobind.h>

void bind_lookup(nanobind::module_& module);
