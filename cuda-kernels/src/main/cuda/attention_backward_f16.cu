// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_backward.cuh for f16.
//
// arch: 90a
#include "attention_backward.cuh"

ATTENTION_ROWS(f16, f16)
ATTENTION_BACKWARD(attention_backward_32_f16, f16, 32, 32, 8, 2, 64, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_40_f16, f16, 40, 40, 4, 2, 64, 32, false, 2)
ATTENTION_BACKWARD(attention_backward_64_f16, f16, 64, 64, 8, 2, 64, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_72_f16, f16, 72, 72, 8, 2, 64, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_80_f16, f16, 80, 80, 8, 2, 64, 16, false, 1)
ATTENTION_BACKWARD(attention_backward_96_f16, f16, 96, 96, 8, 1, 64, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_128_f16, f16, 128, 128, 8, 1, 64, 64, false, 1)
ATTENTION_BACKWARD(attention_backward_160_f16, f16, 160, 160, 8, 1, 32, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_256_f16, f16, 256, 128, 8, 1, 32, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_short_64_f16, f16, 64, 64, 4, 1, 64, 32, false, 3)
ATTENTION_BACKWARD(attention_backward_short_72_f16, f16, 72, 72, 4, 1, 64, 32, false, 2)
ATTENTION_BACKWARD(attention_backward_short_80_f16, f16, 80, 80, 4, 1, 64, 32, false, 2)
ATTENTION_BACKWARD(attention_backward_any_32_f16, f16, 32, 32, 4, 1, 32, 32, true, 2)
ATTENTION_BACKWARD(attention_backward_any_64_f16, f16, 64, 64, 4, 1, 32, 32, true, 2)
ATTENTION_BACKWARD(attention_backward_any_128_f16, f16, 128, 128, 4, 1, 32, 32, true, 2)
ATTENTION_BACKWARD(attention_backward_any_256_f16, f16, 256, 128, 4, 1, 32, 32, true, 1)
ATTENTION_DQ(attention_dq_32_f16, f16, 32, 64)
ATTENTION_DQ(attention_dq_64_f16, f16, 64, 64)
ATTENTION_DQ(attention_dq_128_f16, f16, 128, 64)
ATTENTION_DQ(attention_dq_256_f16, f16, 256, 32)
