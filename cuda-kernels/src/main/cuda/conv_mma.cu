// SPDX-License-Identifier: Apache-2.0
// Convolutions of 16-bit tensors on tensor cores: see conv_mma.cuh.
#include "conv_mma.cuh"

// ---- kernels ----

#define CONVOLUTIONS(T) \
    WIDE(T, T) \
    GATHER(T, 64, 64, 32, 32, false, conv_gather_narrow_##T) \
    WEIGHT(T, 64, 64, 32, 32, false, conv_weight_narrow_##T)

CONVOLUTIONS(bf16)
CONVOLUTIONS(f16)

// ---- names for the emulator ----

WIDE_NAMES(bf16)
WIDE_NAMES(f16)
EMU_EXPORT(conv_gather_narrow_bf16)
EMU_EXPORT(conv_gather_narrow_f16)
EMU_EXPORT(conv_weight_narrow_bf16)
EMU_EXPORT(conv_weight_narrow_f16)
