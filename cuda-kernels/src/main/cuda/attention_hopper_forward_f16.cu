// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_hopper_forward.cuh for f16: attention_hopper_forward_COLUMNS_KEYS_WARPGROUPS.
//
// arch: 90a only
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_hopper_forward_40_128_3_f16, f16, 40, 128, 3, 0, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_40_128_2_f16, f16, 40, 128, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_40_80_3_f16, f16, 40, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_64_128_3_f16, f16, 64, 128, 3, 0, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_64_128_2_f16, f16, 64, 128, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_64_80_3_f16, f16, 64, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_72_128_2_f16, f16, 72, 128, 2, HOPPER_TURNS, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_72_80_3_f16, f16, 72, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_80_128_2_f16, f16, 80, 128, 2, HOPPER_TURNS, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_80_80_3_f16, f16, 80, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_96_128_2_f16, f16, 96, 128, 2, HOPPER_TURNS, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_96_80_3_f16, f16, 96, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_128_128_2_f16, f16, 128, 128, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_128_80_3_f16, f16, 128, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_160_96_2_f16, f16, 160, 96, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_hopper_forward_256_80_2_f16, f16, 256, 80, 2, 0, false)
