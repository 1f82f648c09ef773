// SPDX-License-Identifier: Apache-2.0
//
// What the fake run-time compiler of the tests gives for variants of attention_forward.cuh and attention_backward.cuh, whatever it is asked for.
#include "attention_forward.cuh"
#include "attention_backward.cuh"

ATTENTION_FORWARD(attention_forward_48_bf16, bf16, 48, 64, 64, false, 3)
ATTENTION_FORWARD(attention_forward_192_f16, f16, 192, 64, 32, false, 2)
ATTENTION_FORWARD(attention_forward_96_f32, float, 96, 64, 32, false, 2)
ATTENTION_BACKWARD(attention_backward_24_f16, f16, 24, 24, 4, 2, 64, 32, false, 2)
ATTENTION_BACKWARD(attention_backward_48_bf16, bf16, 48, 48, 4, 2, 64, 32, false, 2)
ATTENTION_BACKWARD(attention_backward_88_bf16, bf16, 88, 88, 8, 1, 64, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_192_f16, f16, 192, 96, 8, 1, 32, 32, false, 1)
ATTENTION_BACKWARD(attention_backward_96_f32, float, 96, 96, 4, 1, 16, 16, false, 2)
ATTENTION_BACKWARD(attention_backward_144_f32, float, 144, 72, 4, 1, 16, 16, false, 1)
