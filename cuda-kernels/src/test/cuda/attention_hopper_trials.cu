// SPDX-License-Identifier: Apache-2.0
//
// Other sizes of attention_hopper_forward.cuh, for AttentionTimings: attention_trial_COLUMNS_KEYS_WARPGROUPS, and without turns attention_trial_free_...
//
// arch: 90a only
#include "attention_hopper_forward.cuh"

ATTENTION_HOPPER_FORWARD(attention_trial_free_64_128_3, bf16, 64, 128, 3, false, false)
ATTENTION_HOPPER_FORWARD(attention_trial_64_128_2, bf16, 64, 128, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_64_192_2, bf16, 64, 192, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_72_128_2, bf16, 72, 128, 2, false, false)
ATTENTION_HOPPER_FORWARD(attention_trial_72_112_3, bf16, 72, 112, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_80_112_3, bf16, 80, 112, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_free_128_128_2, bf16, 128, 128, 2, false, false)
ATTENTION_HOPPER_FORWARD(attention_trial_128_80_3, bf16, 128, 80, 3, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_128_160_2, bf16, 128, 160, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_128_176_2, bf16, 128, 176, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_160_64_2, bf16, 160, 64, 2, true, false)
ATTENTION_HOPPER_FORWARD(attention_trial_256_64_2, bf16, 256, 64, 2, true, false)
