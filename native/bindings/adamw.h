// The optimizer for Python; addresses come as whole numbers, as the layer's do.
#pragma once

#include <nanobind/nanobind.h>

void bind_adamw(nanobind::module_& module);
