// SPDX-License-Identifier: Apache-2.0
//
// Weights in few bits and their values.
//
// Four bits: element i of the flattened weight is table[code] * scale(i / block); codes lie two in a byte, the first in the high half; a scale is f32, or
// map[byte] * outer[number / nested] + offset. Blocks hold 2^shift elements, at least 32, so that 8 elements from a multiple of 8 on share a scale. Eight
// bits: element i is code * magnitude[row] * (1/127) with a signed code. All products are rounded to f32 one by one, as on the CPU.
#ifndef SFUMATO_QUANTIZED_CUH
#define SFUMATO_QUANTIZED_CUH
#include "dev.h"

static const int PIECE = 8;  // elements a thread decodes at once

/** A weight of four bits. codes [ceil(n/2)], table [16]; scales [blocks], or numbers [blocks] of map [256] with outer [ceil(blocks/nested)]. */
struct FourBit {
    const u8* codes;
    const float* scales;
    const u8* numbers;
    const float* table;
    const float* outer;
    const float* map;
    float offset;
    int shift, nestedShift;
};

/** A weight of eight bits: codes [rows, length], magnitudes [rows]. */
struct EightBit {
    const i8* codes;
    const float* magnitudes;
};

/** A product that is not joined with the sum around it. */
DEV float times(float a, float b) { return mul_rn(a, b); }

DEV float scale_of(const FourBit& w, i64 block) {
    if (w.scales) return w.scales[block];
    return add_rn(times(w.map[w.numbers[block]], w.outer[block >> w.nestedShift]), w.offset);
}

/** A value of eight bits. */
DEV float eight_bit(float code, float magnitude) { return times(times(code, magnitude), 0.007874015718698502f); }

/** The table in shared memory; all threads of the block call. */
DEV void load_table(float* shared, const FourBit& w) {
    if (threadIdx.x < 16) shared[threadIdx.x] = w.table[threadIdx.x];
    __syncthreads();
}
DEV void load_table(float*, const EightBit&) {}

// ---- Parameters of kernels ---------------------------------------------------------------------------------------------------------------------------

#define FOUR_BIT                                                                                                                            \
    const u8 *codes, const float *scales, const u8 *numbers, const float *table, const float *outer, const float *map, float offset,         \
        int shift, int nestedShift
#define EIGHT_BIT const i8 *codes, const float *magnitudes
#define WEIGHT_4 FourBit{codes, scales, numbers, table, outer, map, offset, shift, nestedShift}
#define WEIGHT_8 EightBit{codes, magnitudes}

#endif
