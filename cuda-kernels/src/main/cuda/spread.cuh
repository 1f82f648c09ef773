// SPDX-License-Identifier: Apache-2.0
//
// Vectors as floats in registers.
#ifndef SFUMATO_SPREAD_CUH
#define SFUMATO_SPREAD_CUH
#include "dev.h"

/** The values of a vector as floats; of 16-bit types two at a time, as that takes the fewest instructions. */
template <class T, int V> DEV void spread(const Vec<T, V>& v, float (&x)[V]) {
    if constexpr (sizeof(T) == 2) {
        const unsigned* pairs = (const unsigned*)&v;
#pragma unroll
        for (int i = 0; i < V; i += 2) {
            x[i] = unpack_low<T>(pairs[i / 2]);
            x[i + 1] = unpack_high<T>(pairs[i / 2]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) x[i] = v[i];
    }
}

#endif
