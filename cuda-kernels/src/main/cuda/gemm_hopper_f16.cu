// SPDX-License-Identifier: Apache-2.0
// Products of f16 matrices on Hopper in two ways: gemm_hopper.cuh and gemm_hopper_bulk.cuh say how they are computed.
// arch: 90a only
#include "gemm_hopper_bulk.cuh"

GEMM_HOPPER_FAMILY(f16, f16)
GEMM_BULK_FAMILY(f16, f16)
