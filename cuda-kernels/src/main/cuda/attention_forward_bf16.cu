// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_forward.cuh for bf16.
#include "attention_forward.cuh"

ATTENTION_FORWARD_ALL(bf16, bf16)
