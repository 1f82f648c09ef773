// SPDX-License-Identifier: Apache-2.0
//
// Elementwise functions of f32, bf16 and f16 tensors of any memory order, with broadcasting; computed in f32. Grid: one block of 256 threads for each 2048
// elements of the result.
#include "elementwise_ops.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** target += scale x, the types may differ. */
template <class T, class X> DEV void add_in_place(T* target, const X* x, float scale, const Walk<3>& w) {
    const int V = WalkVector<T, X>::N;
    float a[2][WALK_PER_THREAD];
    walk_load<V>(w, a, (const T*)target, x);
#pragma unroll
    for (int j = 0; j < WALK_PER_THREAD; j++) a[0][j] += scale * a[1][j];
    walk_store<V>(w, a[0], target);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------
//
// x, a, b, kept, dy: inputs, as the walk says; y: result, shape of the walk.

#define ELEMENTWISE(T, name)                                                                                                            \
    KERNEL_BOUNDS(unary_##name, 256, 4)(const T* __restrict__ x, T* __restrict__ y, int kind, double p, double q, const __grid_constant__ Walk<2> w) {     \
        const int V = WalkVector<T>::N;                                                                                           \
        float a[1][WALK_PER_THREAD];                                                                                                    \
        walk_load<V>(w, a, x);                                                                                                          \
        unary_function<T>(kind, (float)p, (float)q, a[0]);                                                                              \
        walk_store<V>(w, a[0], y);                                                                                                      \
    }                                                                                                                                   \
    KERNEL_BOUNDS(unary_backward_##name, 256, 4)(const T* __restrict__ kept, const T* __restrict__ dy, T* __restrict__ dx, int kind, const __grid_constant__ Walk<3> w) { \
        const int V = WalkVector<T>::N;                                                                                           \
        float a[2][WALK_PER_THREAD];                                                                                                    \
        walk_load<V>(w, a, kept, dy);                                                                                                   \
        backward_function<T>(kind, a);                                                                                                  \
        walk_store<V>(w, a[0], dx);                                                                                                     \
    }                                                                                                                                   \
    KERNEL_BOUNDS(binary_##name, 256, 4)(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int kind, const __grid_constant__ Walk<3> w) {  \
        const int V = WalkVector<T>::N;                                                                                           \
        float v[2][WALK_PER_THREAD];                                                                                                    \
        walk_load<V>(w, v, a, b);                                                                                                       \
        binary_function(kind, v);                                                                                                       \
        walk_store<V>(w, v[0], y);                                                                                                      \
    }                                                                                                                                   \
    EMU_EXPORT(unary_##name)                                                                                                            \
    EMU_EXPORT(unary_backward_##name)                                                                                                   \
    EMU_EXPORT(binary_##name)

ELEMENTWISE(float, f32)
ELEMENTWISE(bf16, bf16)
ELEMENTWISE(f16, f16)

#define ADD_IN_PLACE(T, t, X, x_)                                                                                  \
    KERNEL(add_in_place_##t##_##x_)(T* target, const X* x, double scale, const __grid_constant__ Walk<3> w) { add_in_place(target, x, (float)scale, w); } \
    EMU_EXPORT(add_in_place_##t##_##x_)

ADD_IN_PLACE(float, f32, float, f32)
ADD_IN_PLACE(float, f32, bf16, bf16)
ADD_IN_PLACE(float, f32, f16, f16)
ADD_IN_PLACE(bf16, bf16, float, f32)
ADD_IN_PLACE(bf16, bf16, bf16, bf16)
ADD_IN_PLACE(f16, f16, float, f32)
ADD_IN_PLACE(f16, f16, f16, f16)
