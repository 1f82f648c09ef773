// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_backward.cuh for bf16.
#include "attention_backward.cuh"

ATTENTION_BACKWARD_ALL(bf16, bf16)
