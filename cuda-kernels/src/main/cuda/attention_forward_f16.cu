// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_forward.cuh for f16.
#include "attention_forward.cuh"

ATTENTION_FORWARD(attention_forward_32_f16, f16, 32, 128, 128, false, 2)
ATTENTION_FORWARD(attention_forward_40_f16, f16, 40, 128, 64, false, 3)
ATTENTION_FORWARD(attention_forward_64_f16, f16, 64, 128, 128, false, 2)
ATTENTION_FORWARD(attention_forward_72_f16, f16, 72, 128, 64, false, 2)
ATTENTION_FORWARD(attention_forward_80_f16, f16, 80, 128, 64, false, 2)
ATTENTION_FORWARD(attention_forward_96_f16, f16, 96, 128, 64, false, 2)
ATTENTION_FORWARD(attention_forward_128_f16, f16, 128, 128, 64, false, 2)
ATTENTION_FORWARD(attention_forward_160_f16, f16, 160, 128, 32, false, 2)
ATTENTION_FORWARD(attention_forward_256_f16, f16, 256, 64, 32, false, 2)
ATTENTION_FORWARD(attention_forward_short_40_f16, f16, 40, 64, 64, false, 4)
ATTENTION_FORWARD(attention_forward_short_64_f16, f16, 64, 64, 64, false, 3)
ATTENTION_FORWARD(attention_forward_short_72_f16, f16, 72, 64, 64, false, 3)
ATTENTION_FORWARD(attention_forward_short_80_f16, f16, 80, 64, 64, false, 3)
ATTENTION_FORWARD(attention_forward_short_128_f16, f16, 128, 64, 64, false, 2)
ATTENTION_FORWARD(attention_forward_short_160_f16, f16, 160, 64, 64, false, 2)
ATTENTION_FORWARD(attention_forward_any_32_f16, f16, 32, 64, 64, true, 2)
ATTENTION_FORWARD(attention_forward_any_64_f16, f16, 64, 64, 64, true, 2)
ATTENTION_FORWARD(attention_forward_any_128_f16, f16, 128, 64, 64, true, 2)
ATTENTION_FORWARD(attention_forward_any_256_f16, f16, 256, 64, 32, true, 2)
