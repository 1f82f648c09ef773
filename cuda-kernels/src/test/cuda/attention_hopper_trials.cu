// SPDX-License-Identifier: Apache-2.0
//
// Other kernels of attention_hopper_forward.cuh, for AttentionTimings: attention_trial_HOW_COLUMNS_KEYS_WARPGROUPS.
//
// arch: 90a only
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_trial_free_72_128_2, bf16, 72, 128, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_64_128_3, bf16, 64, 128, 3, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_ahead_128_128_2, bf16, 128, 128, 2, HOPPER_AHEAD, false)
ATTENTION_HOPPER_FORWARD(attention_trial_turns_96_96_3, bf16, 96, 96, 3, HOPPER_TURNS, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_128_160_2, bf16, 128, 160, 2, 0, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_80_80_3, bf16, 80, 80, 3, 0, false)
