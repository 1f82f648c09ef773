// SPDX-License-Identifier: Apache-2.0
// Products of f16 matrices; gemm.cuh says how they are computed.
#include "gemm.cuh"

GEMM_FAMILY(f16, f16)
