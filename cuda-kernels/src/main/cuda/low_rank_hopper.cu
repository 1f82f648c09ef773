// SPDX-License-Identifier: Apache-2.0
//
// The kernels of low_rank_hopper.cuh.
//
// arch: 90a only
#include "low_rank_hopper.cuh"

LOW_RANK_HOPPER(bf16, bf16)
LOW_RANK_HOPPER(f16, f16)
