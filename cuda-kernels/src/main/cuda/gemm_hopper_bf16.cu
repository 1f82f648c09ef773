// SPDX-License-Identifier: Apache-2.0
// Products of bf16 matrices on Hopper; gemm_hopper.cuh says how they are computed.
// arch: 90a only
#include "gemm_hopper.cuh"

GEMM_HOPPER_FAMILY(bf16, bf16)
