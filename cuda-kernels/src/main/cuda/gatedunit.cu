// SPDX-License-Identifier: Apache-2.0
//
// The gated unit y = a f(b) of the halves a, b of rows, and its gradients. x, dx [rows, 2 d] with rows of x `step` apart; y, dy [rows, d] without gaps.
// 256 threads, each two vectors of V columns of y that lie 256 apart; vectors_per_row = d / V, with its magic for quotient().
#include "elementwise_ops.cuh"

enum { UNIT_GELU, UNIT_GELU_TANH, UNIT_SILU };

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** f(b) and f'(b). */
template <class T, class C> DEV void activation(int kind, C b, C& f, C& slope) {
    C s, t;
    if (kind == UNIT_GELU) {
        normal_cdf<sizeof(T) != 2>(b, s, t);
        slope = s + b * t * (C)0.39894228040143268;
    } else if (kind == UNIT_GELU_TANH) {
        s = real_sigmoid(gelu_argument(b));
        t = (C)1.5957691216057308 + (C)0.21406444881780076 * (b * b);
        slope = s + b * (s * ((C)1 - s)) * t;
    } else {
        s = real_sigmoid(b);
        slope = s * ((C)1 + b * ((C)1 - s));
    }
    f = b * s;
}

template <class C, int V, class T> DEV void gated_unit(const T* x, T* y, i64 n, i64 vectors_per_row, u64 magic, i64 step, int kind) {
    i64 d = vectors_per_row * V;
#pragma unroll
    for (int u = 0; u < 2; u++) {
        i64 i = ((i64)blockIdx.x * 2 + u) * 256 + threadIdx.x;
        if (i >= n) return;
        u32 row = quotient((u32)i, vectors_per_row, magic);
        const T* p = x + row * step + (i - (i64)row * vectors_per_row) * V;
        Vec<T, V> a = load_vec<V>(p), b = load_vec<V>(p + d), r;
#pragma unroll
        for (int j = 0; j < V; j++) {
            C f, slope;
            activation<T>(kind, Convert<C, T>::widen(b[j]), f, slope);
            r[j] = Convert<C, T>::narrow(Convert<C, T>::widen(a[j]) * f);
        }
        store_vec(y + i * V, r);
    }
}

template <class C, int V, class T>
DEV void gated_unit_backward(const T* x, const T* dy, T* dx, i64 n, i64 vectors_per_row, u64 magic, i64 step, int kind) {
    i64 d = vectors_per_row * V;
#pragma unroll
    for (int u = 0; u < 2; u++) {
        i64 i = ((i64)blockIdx.x * 2 + u) * 256 + threadIdx.x;
        if (i >= n) return;
        u32 row = quotient((u32)i, vectors_per_row, magic);
        i64 column = (i - (i64)row * vectors_per_row) * V;
        const T* p = x + row * step + column;
        Vec<T, V> a = load_vec<V>(p), b = load_vec<V>(p + d), g = load_vec<V>(dy + i * V), da, db;
#pragma unroll
        for (int j = 0; j < V; j++) {
            C f, slope, dyj = Convert<C, T>::widen(g[j]);
            activation<T>(kind, Convert<C, T>::widen(b[j]), f, slope);
            da[j] = Convert<C, T>::narrow(dyj * f);
            db[j] = Convert<C, T>::narrow(dyj * Convert<C, T>::widen(a[j]) * slope);
        }
        T* q = dx + row * (2 * d) + column;
        store_vec(q, da);
        store_vec(q + d, db);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define GATED_UNIT_V(T, name, C, V)                                                                                                       \
    KERNEL(gated_unit_##name)(const T* __restrict__ x, T* __restrict__ y, i64 n, i64 vectors_per_row, u64 magic, i64 step, int kind) {    \
        gated_unit<C, V>(x, y, n, vectors_per_row, magic, step, kind);                                                                    \
    }                                                                                                                                     \
    KERNEL(gated_unit_backward_##name)(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, i64 n, i64 vectors_per_row, \
                                       u64 magic, i64 step, int kind) {                                                                   \
        gated_unit_backward<C, V>(x, dy, dx, n, vectors_per_row, magic, step, kind);                                                      \
    }                                                                                                                                     \
    EMU_EXPORT(gated_unit_##name)                                                                                                         \
    EMU_EXPORT(gated_unit_backward_##name)

#define GATED_UNIT(T, name, C, V)              \
    GATED_UNIT_V(T, name, C, V)                \
    GATED_UNIT_V(T, narrow_##name, C, 1)

GATED_UNIT(float, f32, float, 4)
GATED_UNIT(bf16, bf16, float, 8)
GATED_UNIT(f16, f16, float, 8)
GATED_UNIT(double, f64, double, 2)
