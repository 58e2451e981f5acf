// The layer's functions for Python; addresses come as whole numbers, because asking a tensor for one is cheap.
#pragma once

#include <nanobind/nanobind.h>

void bind_layer(nanobind::module_& module);
