// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_forward.cuh for f32: products by three products in tf32.
#include "attention_forward.cuh"

ATTENTION_FORWARD(attention_forward_40_f32, float, 40, 64, 32, false, 3)
ATTENTION_FORWARD(attention_forward_64_f32, float, 64, 128, 32, false, 2)
ATTENTION_FORWARD(attention_forward_72_f32, float, 72, 64, 32, false, 3)
ATTENTION_FORWARD(attention_forward_80_f32, float, 80, 64, 32, false, 3)
ATTENTION_FORWARD(attention_forward_128_f32, float, 128, 64, 32, false, 2)
ATTENTION_FORWARD(attention_forward_short_64_f32, float, 64, 64, 32, false, 4)
ATTENTION_FORWARD(attention_forward_any_32_f32, float, 32, 64, 64, true, 3)
ATTENTION_FORWARD(attention_forward_any_64_f32, float, 64, 64, 32, true, 3)
ATTENTION_FORWARD(attention_forward_any_128_f32, float, 128, 64, 32, true, 2)
ATTENTION_FORWARD(attention_forward_any_256_f32, float, 256, 64, 32, true, 1)
