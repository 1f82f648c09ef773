// SPDX-License-Identifier: Apache-2.0
//
// Elementwise functions of f64 and integer tensors, in f64 as the ops define them; results are stored as Java casts a double (towards zero, saturating).
// Grids and operands are those of elementwise.cu.
#include "elementwise_ops.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

template <class T> DEV void binary(const T* a, const T* b, T* y, int kind, const Walk<3>& w) {
    const int V = WalkVector<T>::N;
    double v[2][WALK_PER_THREAD];
    walk_load<V>(w, v, a, b);
    binary_function(kind, v);
    walk_store<V>(w, v[0], y);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

KERNEL(unary_f64)(const double* __restrict__ x, double* __restrict__ y, int kind, double p, double q, const __grid_constant__ Walk<2> w) {
    double a[1][WALK_PER_THREAD];
    walk_load<2>(w, a, x);
    unary_function<double>(kind, p, q, a[0]);
    walk_store<2>(w, a[0], y);
}

KERNEL(unary_backward_f64)(const double* __restrict__ kept, const double* __restrict__ dy, double* __restrict__ dx, int kind, const __grid_constant__ Walk<3> w) {
    double a[2][WALK_PER_THREAD];
    walk_load<2>(w, a, kept, dy);
    backward_function<double>(kind, a);
    walk_store<2>(w, a[0], dx);
}

KERNEL(binary_f64)(const double* __restrict__ a, const double* __restrict__ b, double* __restrict__ y, int kind, const __grid_constant__ Walk<3> w) {
    binary(a, b, y, kind, w);
}

KERNEL(add_in_place_f64_f64)(double* target, const double* x, double scale, const __grid_constant__ Walk<3> w) {
    double a[2][WALK_PER_THREAD];
    walk_load<2>(w, a, (const double*)target, x);
#pragma unroll
    for (int j = 0; j < WALK_PER_THREAD; j++) a[0][j] += scale * a[1][j];
    walk_store<2>(w, a[0], target);
}

#define INTEGERS(T, name)                                                                                                                  \
    KERNEL(unary_##name)(const T* __restrict__ x, T* __restrict__ y, int kind, double p, double q, const __grid_constant__ Walk<2> w) {     \
        const int V = WalkVector<T>::N;                                                                                                    \
        double a[1][WALK_PER_THREAD];                                                                                                      \
        walk_load<V>(w, a, x);                                                                                                             \
        whole_function(kind, p, q, a[0]);                                                                                                  \
        walk_store<V>(w, a[0], y);                                                                                                         \
    }                                                                                                                                      \
    KERNEL(binary_##name)(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int kind, const __grid_constant__ Walk<3> w) { \
        binary(a, b, y, kind, w);                                                                                                          \
    }                                                                                                                                      \
    EMU_EXPORT(unary_##name)                                                                                                               \
    EMU_EXPORT(binary_##name)

INTEGERS(i64, i64)
INTEGERS(i32, i32)
INTEGERS(u8, u8)

EMU_EXPORT(unary_f64)
EMU_EXPORT(unary_backward_f64)
EMU_EXPORT(binary_f64)
EMU_EXPORT(add_in_place_f64_f64)
