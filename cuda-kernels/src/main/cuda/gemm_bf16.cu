// SPDX-License-Identifier: Apache-2.0
// Products of bf16 matrices; gemm.cuh says how they are computed.
#include "gemm.cuh"

GEMM_FAMILY(bf16, bf16)
