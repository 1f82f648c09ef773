// SPDX-License-Identifier: Apache-2.0
//
// What the fake run-time compiler of the tests gives for variants of attention_forward.cuh, whatever it is asked for.
#include "attention_forward.cuh"

ATTENTION_FORWARD(attention_forward_48_bf16, bf16, 48, 64, 64, false, 3)
ATTENTION_FORWARD(attention_forward_192_f16, f16, 192, 64, 32, false, 2)
ATTENTION_FORWARD(attention_forward_96_f32, float, 96, 64, 32, false, 2)
