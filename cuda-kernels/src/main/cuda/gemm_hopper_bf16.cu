// SPDX-License-Identifier: Apache-2.0
// Products of bf16 matrices on Hopper in two ways: gemm_hopper.cuh and gemm_hopper_bulk.cuh say how they are computed.
// arch: 90a only
#include "gemm_hopper_bulk.cuh"

GEMM_HOPPER_FAMILY(bf16, bf16)
GEMM_BULK_FAMILY(bf16, bf16)
