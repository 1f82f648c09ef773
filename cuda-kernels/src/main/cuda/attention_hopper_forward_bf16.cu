// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_hopper_forward.cuh for bf16.
//
// arch: 90a only
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_hopper_forward_40_bf16, bf16, 40, 128, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_64_bf16, bf16, 64, 128, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_72_bf16, bf16, 72, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_80_bf16, bf16, 80, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_96_bf16, bf16, 96, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_128_bf16, bf16, 128, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_160_bf16, bf16, 160, 96, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_256_bf16, bf16, 256, 80, 2, true, false)
