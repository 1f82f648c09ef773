// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_hopper_backward.cuh for f16.
//
// arch: 90a only
#include "attention_hopper_backward.cuh"

ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_40_f16, f16, 40, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_64_f16, f16, 64, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_72_f16, f16, 72, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_80_f16, f16, 80, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_96_f16, f16, 96, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_128_f16, f16, 128, false)
