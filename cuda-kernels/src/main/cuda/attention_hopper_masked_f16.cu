// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_hopper_forward.cuh and attention_hopper_backward.cuh with a mask for f16.
//
// arch: 90a only
#include "attention_hopper_backward.cuh"
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_40_128_2_f16, f16, 40, 128, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_64_128_2_f16, f16, 64, 128, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_72_128_2_f16, f16, 72, 128, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_80_128_2_f16, f16, 80, 128, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_96_96_2_f16, f16, 96, 96, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_128_96_2_f16, f16, 128, 96, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_160_64_2_f16, f16, 160, 64, 2, HOPPER_TURNS, true)
ATTENTION_HOPPER_FORWARD(attention_hopper_masked_forward_256_32_2_f16, f16, 256, 32, 2, HOPPER_TURNS, true)

ATTENTION_HOPPER_BACKWARD(attention_hopper_masked_backward_40_f16, f16, 40, true)
ATTENTION_HOPPER_BACKWARD(attention_hopper_masked_backward_64_f16, f16, 64, true)
ATTENTION_HOPPER_BACKWARD(attention_hopper_masked_backward_72_f16, f16, 72, true)
ATTENTION_HOPPER_BACKWARD(attention_hopper_masked_backward_80_f16, f16, 80, true)
ATTENTION_HOPPER_BACKWARD(attention_hopper_masked_backward_96_f16, f16, 96, true)
ATTENTION_HOPPER_BACKWARD(attention_hopper_masked_backward_128_f16, f16, 128, true)
