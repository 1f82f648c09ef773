// SPDX-License-Identifier: Apache-2.0
// The kernels of hadamard.cuh for f32, bf16 and f16.
#include "hadamard.cuh"

#define HADAMARD(T, type, S, product)                                                                                                             \
    KERNEL_BOUNDS(hadamard_product_##type, 256, 2)                                                                                                \
    (const T* x, const T* a1, const T* b1, const T* a2, const T* b2, T* y, Hadamard s, float factor) {                                            \
        DYN_SHARED(S, shared);                                                                                                                    \
        product<T>(shared, x, a1, b1, a2, b2, y, s, factor);                                                                                      \
    }                                                                                                                                             \
    KERNEL_BOUNDS(hadamard_gradients_##type, 256, 2)                                                                                              \
    (const T* dy, const T* x, const T* a1, const T* b1, const T* a2, const T* b2, float* partial, i64 depth, Hadamard s, float factor) {          \
        DYN_SHARED(float, shared);                                                                                                                \
        gradients<T>(shared, dy, x, a1, b1, a2, b2, partial, depth, s, factor);                                                                   \
    }                                                                                                                                             \
    KERNEL_BOUNDS(hadamard_sum_##type, 256, 4)                                                                                                    \
    (const float* partial, T* d1, T* d2, int parts, i64 n, i64 r, Strides out) { sum_parts<T>(partial, d1, d2, parts, n, r, out); }               \
    EMU_EXPORT(hadamard_product_##type)                                                                                                           \
    EMU_EXPORT(hadamard_gradients_##type)                                                                                                         \
    EMU_EXPORT(hadamard_sum_##type)

HADAMARD(float, f32, float, product_simt)
HADAMARD(bf16, bf16, bf16, product_mma)
HADAMARD(f16, f16, f16, product_mma)
