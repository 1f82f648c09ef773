// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_hopper_forward.cuh for f16.
//
// arch: 90a only
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_hopper_forward_40_f16, f16, 40, 128, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_64_f16, f16, 64, 128, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_72_f16, f16, 72, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_80_f16, f16, 80, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_96_f16, f16, 96, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_128_f16, f16, 128, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_160_f16, f16, 160, 96, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_256_f16, f16, 256, 80, 2, true, false)
