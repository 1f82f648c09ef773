// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention_forward.cuh for f16.
#include "attention_forward.cuh"

ATTENTION_FORWARD_ALL(f16, f16)
