// Attention over steps for Python; addresses come as whole numbers, as the layer's do.
#pragma once

#include <nanobind/nanobind.h>

void bind_attention_pool(nanobind::module_& module);
