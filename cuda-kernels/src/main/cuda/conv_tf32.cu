// SPDX-License-Identifier: Apache-2.0
// Convolutions of f32 tensors on tensor cores, with values rounded to tf32: see conv_mma.cuh.
#include "conv_mma.cuh"

// ---- kernels ----

WIDE(float, tf32)

// ---- names for the emulator ----

WIDE_NAMES(tf32)
