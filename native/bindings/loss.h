// The loss's functions for Python; addresses come as whole numbers, as the layer's do.
#pragma once

#include <nanobind/nanobind.h>

void bind_loss(nanobind::module_& module);
