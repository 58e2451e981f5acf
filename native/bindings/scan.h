// The scan's functions for Python; addresses come as whole numbers, as the layer's do.
#pragma once

#include <nanobind/nanobind.h>

void bind_scan(nanobind::module_& module);
