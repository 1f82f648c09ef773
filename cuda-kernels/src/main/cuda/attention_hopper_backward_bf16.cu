// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_hopper_backward.cuh for bf16.
//
// arch: 90a only
#include "attention_hopper_backward.cuh"

ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_40_bf16, bf16, 40, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_64_bf16, bf16, 64, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_72_bf16, bf16, 72, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_80_bf16, bf16, 80, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_96_bf16, bf16, 96, false)
ATTENTION_HOPPER_BACKWARD(attention_hopper_backward_128_bf16, bf16, 128, false)
