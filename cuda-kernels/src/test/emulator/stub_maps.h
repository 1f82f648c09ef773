// SPDX-License-Identifier: Apache-2.0
//
// Tensor maps of the emulated driver: matrices of 16-bit values in boxes of 64 columns with a swizzle of 128 bytes, by the driver's rules; the rest is
// refused. Included by stub_driver.cpp.
#ifndef SFUMATO_STUB_MAPS_H
#define SFUMATO_STUB_MAPS_H

#include <cstdint>
#include <cstring>

#include "emu_api.h"

extern "C" __attribute__((visibility("default"))) int cuTensorMapEncodeTiled(void* map, int type, unsigned rank, unsigned long long address,
                                                                              const unsigned long long* dims, const unsigned long long* strides,
                                                                              const unsigned* box, const unsigned* steps, int interleave, int swizzle,
                                                                              int promotion, int fill) {
    const int INVALID_VALUE = 1, FLOAT16 = 6, BFLOAT16 = 9, SWIZZLE_128B = 3;
    if ((uintptr_t)map % 64 || (type != FLOAT16 && type != BFLOAT16) || rank != 2 || !address || address % 16) return INVALID_VALUE;
    if (interleave || swizzle != SWIZZLE_128B || promotion < 0 || promotion > 3 || fill) return INVALID_VALUE;
    for (unsigned i = 0; i < rank; i++)
        if (dims[i] < 1 || dims[i] > 1ull << 32 || box[i] < 1 || box[i] > 256 || steps[i] != 1) return INVALID_VALUE;
    if (strides[0] % 16 || strides[0] == 0 || strides[0] >= 1ull << 40 || box[0] * 2 != 128) return INVALID_VALUE;
    EmuTensorMap m{};
    m.magic = EmuTensorMap::MAGIC, m.address = address, m.dims[0] = dims[0], m.dims[1] = dims[1], m.stride = strides[0];
    m.box[0] = box[0], m.box[1] = box[1], m.element = 2, m.swizzle = (unsigned)swizzle;
    memcpy(map, &m, sizeof m);
    return 0;
}

#endif
