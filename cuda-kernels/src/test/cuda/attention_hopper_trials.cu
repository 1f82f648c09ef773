// SPDX-License-Identifier: Apache-2.0
//
// Other kernels of attention_hopper_forward.cuh, for AttentionTimings: attention_trial_HOW_COLUMNS_KEYS_WARPGROUPS.
//
// arch: 90a only
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_trial_free_40_128_3, bf16, 40, 128, 3, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_quarter_40_128_3, bf16, 40, 128, 3, HOPPER_POLYNOMIAL, false)
ATTENTION_HOPPER_FORWARD(attention_trial_half_40_128_3, bf16, 40, 128, 3, HOPPER_HALF, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_40_128_3, bf16, 40, 128, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_quarter_40_128_3, bf16, 40, 128, 3, HOPPER_AHEAD | HOPPER_POLYNOMIAL, false)
ATTENTION_HOPPER_FORWARD(attention_trial_quarter_64_128_3, bf16, 64, 128, 3, HOPPER_POLYNOMIAL, false)
ATTENTION_HOPPER_FORWARD(attention_trial_half_64_128_3, bf16, 64, 128, 3, HOPPER_HALF, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_64_128_3, bf16, 64, 128, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_quarter_64_128_3, bf16, 64, 128, 3, HOPPER_AHEAD | HOPPER_POLYNOMIAL, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_64_80_3, bf16, 64, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_72_112_3, bf16, 72, 112, 3, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_72_112_3, bf16, 72, 112, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_72_128_2, bf16, 72, 128, 2, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_72_80_3, bf16, 72, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_80_112_3, bf16, 80, 112, 3, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_80_112_3, bf16, 80, 112, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_96_128_2, bf16, 96, 128, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_96_128_2, bf16, 96, 128, 2, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_turns_96_96_3, bf16, 96, 96, 3, HOPPER_TURNS, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_128_128_2, bf16, 128, 128, 2, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_128_80_3, bf16, 128, 80, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_128_160_2, bf16, 128, 160, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_128_176_2, bf16, 128, 176, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_160_96_2, bf16, 160, 96, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_256_80_2, bf16, 256, 80, 2, 0, false)
