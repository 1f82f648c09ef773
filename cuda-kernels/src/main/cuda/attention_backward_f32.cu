// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_backward.cuh for f32: products by three products in tf32.
//
// arch: 90a
#include "attention_backward.cuh"

ATTENTION_ROWS(float, f32)
ATTENTION_BACKWARD(attention_backward_40_f32, float, 40, 40, 4, 1, 16, 16, false, 3)
ATTENTION_BACKWARD(attention_backward_64_f32, float, 64, 64, 4, 1, 16, 16, false, 3)
ATTENTION_BACKWARD(attention_backward_72_f32, float, 72, 72, 4, 1, 16, 16, false, 2)
ATTENTION_BACKWARD(attention_backward_80_f32, float, 80, 80, 4, 1, 16, 16, false, 2)
ATTENTION_BACKWARD(attention_backward_128_f32, float, 128, 128, 4, 1, 16, 16, false, 2)
ATTENTION_BACKWARD(attention_backward_any_32_f32, float, 32, 32, 4, 1, 32, 32, true, 3)
ATTENTION_BACKWARD(attention_backward_any_64_f32, float, 64, 64, 4, 1, 16, 16, true, 3)
ATTENTION_BACKWARD(attention_backward_any_128_f32, float, 128, 128, 4, 1, 16, 16, true, 2)
ATTENTION_BACKWARD(attention_backward_any_256_f32, float, 256, 128, 4, 1, 16, 16, true, 1)
ATTENTION_DQ(attention_dq_32_f32, float, 32, 32)
ATTENTION_DQ(attention_dq_64_f32, float, 64, 32)
ATTENTION_DQ(attention_dq_128_f32, float, 128, 32)
ATTENTION_DQ(attention_dq_256_f32, float, 256, 16)
