// SPDX-License-Identifier: Apache-2.0
//
// What captured work needs beside its own kernels: bytes that come as an argument of the launch, so that each run of a graph has its own.
#include "dev.h"

/** Up to 3840 bytes, by value. */
struct Bytes {
    u64 word[480];
};

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

/** to [n] bytes = the first n of data; one block. */
KERNEL(store_bytes)(u8* to, int n, Bytes data) {
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) to[i] = (u8)(data.word[i / 8] >> (8 * (i % 8)));
}

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

EMU_EXPORT(store_bytes)
