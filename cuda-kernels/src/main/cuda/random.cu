// SPDX-License-Identifier: Apache-2.0
//
// Philox4x32-10 and what is drawn with it, equal to the bit to the CPU's classes Philox and BoxMuller: every operation is one that IEEE 754 fixes, in the
// same order, none contracted. Element i of a draw is word i mod 4 of block i / 4. Dropout takes the uniform draw of the row-major index.
#include "walk.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** The four words of block `counter` of a key. */
DEV void philox(u64 key, u64 counter, u32 (&w)[4]) {
    u32 c0 = (u32)counter, c1 = (u32)(counter >> 32), c2 = 0, c3 = 0;
    u32 k0 = (u32)key, k1 = (u32)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        u64 p0 = (u64)c0 * 0xD2511F53u;
        u64 p1 = (u64)c2 * 0xCD9E8D57u;
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c1 = (u32)p1;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c3 = (u32)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    w[0] = c0;
    w[1] = c1;
    w[2] = c2;
    w[3] = c3;
}

/** 24 bits, in [0, 1). */
DEV float uniform(u32 w) { return mul_rn((float)(w >> 8), 0x1p-24f); }

/** Natural logarithm of a positive, normal x (Cephes). */
DEV float cephes_log(float x) {
    u32 bits = __float_as_uint(x);
    float exponent = (float)((int)(bits >> 23) - 126);
    float mantissa = __uint_as_float((bits & 0x007fffffu) | 0x3f000000u); // [0.5, 1)
    bool small = mantissa < 0.707106781186547524f;
    float m = add_rn(mantissa, -1.f);
    m = add_rn(m, small ? mantissa : 0.f);
    exponent = add_rn(exponent, small ? -1.f : -0.f);
    float square = mul_rn(m, m);
    float y = 7.0376836292E-2f;
    y = fma_rn(y, m, -1.1514610310E-1f);
    y = fma_rn(y, m, 1.1676998740E-1f);
    y = fma_rn(y, m, -1.2420140846E-1f);
    y = fma_rn(y, m, 1.4249322787E-1f);
    y = fma_rn(y, m, -1.6668057665E-1f);
    y = fma_rn(y, m, 2.0000714765E-1f);
    y = fma_rn(y, m, -2.4999993993E-1f);
    y = fma_rn(y, m, 3.3333331174E-1f);
    y = mul_rn(y, m);
    y = fma_rn(y, square, mul_rn(exponent, -2.12194440e-4f));
    y = fma_rn(square, -0.5f, y);
    return fma_rn(exponent, 0.693359375f, add_rn(m, y));
}

/** A pair of normal numbers from a pair of words (Box and Muller): r cos t, r sin t. */
DEV void normal_pair(u32 a, u32 b, float& first, float& second) {
    float u = fma_rn((float)a, 0x1p-32f, 0x1p-33f);
    float radius = sqrtf(mul_rn(-2.f, cephes_log(u)));
    u32 quarter = (b + 0x20000000u) >> 30;
    float x = mul_rn((float)(int)(b - (quarter << 30)), (float)(6.283185307179586 / 4294967296.0));
    float square = mul_rn(x, x);
    float s = fma_rn(-1.9515295891E-4f, square, 8.3321608736E-3f);
    s = fma_rn(s, square, -1.6666654611E-1f);
    float sine = fma_rn(mul_rn(s, square), x, x);
    float c = fma_rn(2.443315711809948E-5f, square, -1.388731625493765E-3f);
    c = fma_rn(c, square, 4.166664568298827E-2f);
    float cosine = add_rn(fma_rn(mul_rn(c, square), square, mul_rn(square, -0.5f)), 1.f);
    u32 cos_bits = __float_as_uint((quarter & 1) == 0 ? cosine : sine) ^ (((quarter + 1) & 2) << 30);
    u32 sin_bits = __float_as_uint((quarter & 1) == 0 ? sine : cosine) ^ ((quarter & 2) << 30);
    first = mul_rn(radius, __uint_as_float(cos_bits));
    second = mul_rn(radius, __uint_as_float(sin_bits));
}

/** Elements 4 b to 4 b + 3 for thread b of the grid. */
template <bool NORMAL, class T> DEV void random_fill(T* y, i64 n, u64 key) {
    i64 block = (i64)blockIdx.x * 256 + threadIdx.x;
    i64 first = 4 * block;
    if (first >= n) return;
    u32 w[4];
    float x[4];
    philox(key, (u64)block, w);
    if (NORMAL) {
        normal_pair(w[0], w[1], x[0], x[1]);
        normal_pair(w[2], w[3], x[2], x[3]);
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) x[j] = uniform(w[j]);
    }
    if (first + 4 <= n) {
        Vec<T, 4> v;
#pragma unroll
        for (int j = 0; j < 4; j++) v[j] = from_float<T>(x[j]);
        store_vec(y + first, v);
    } else {
#pragma unroll
        for (int j = 0; j < 3; j++) {
            if (first + j < n) y[first + j] = from_float<T>(x[j]);
        }
    }
}

/** x scale where the upper 24 bits of the element's word are at least `threshold`, else 0. */
template <class C, class T> DEV T drop(T x, u32 word, u32 threshold, C scale) {
    return Convert<C, T>::narrow(word >> 8 >= threshold ? Convert<C, T>::widen(x) * scale : (C)0);
}

/** Row-major operands; thread b of the grid takes elements 4 b to 4 b + 3. */
template <class C, class T> DEV void dropout(const T* x, T* y, i64 n, u64 key, u32 threshold, C scale) {
    i64 block = (i64)blockIdx.x * 256 + threadIdx.x;
    i64 first = 4 * block;
    if (first >= n) return;
    u32 w[4];
    philox(key, (u64)block, w);
    if (first + 4 <= n && is_aligned(x, 4 * sizeof(T) < 16 ? 4 * (int)sizeof(T) : 16)) {
        Vec<T, 4> v = load_vec<4>(x + first);
#pragma unroll
        for (int j = 0; j < 4; j++) v[j] = drop(v[j], w[j], threshold, scale);
        store_vec(y + first, v);
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (first + j < n) y[first + j] = drop(x[first + j], w[j], threshold, scale);
        }
    }
}

/** Any orders, mode GENERAL; operand 2 of the walk has the steps of the row-major index, which begins at `first`. */
template <class C, class T> DEV void dropout_walk(const T* x, T* y, u64 first, u64 key, u32 threshold, C scale, const Walk<3>& w) {
#pragma unroll 1
    for (int j = 0; j < WALK_PER_THREAD; j++) {
        i64 i = walk_first<1>(j);
        if (i >= w.n) return;
        i64 at[3];
        walk_offsets(w, i, at);
        u32 words[4];
        u64 index = first + (u64)at[2];
        philox(key, index >> 2, words);
        u32 k = (u32)index & 3;
        u32 word = k == 0 ? words[0] : k == 1 ? words[1] : k == 2 ? words[2] : words[3];
        y[i] = drop(x[at[1]], word, threshold, scale);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define RANDOM(T, name, C)                                                                                                                  \
    KERNEL(random_uniform_##name)(T* __restrict__ y, i64 n, i64 key) { random_fill<false>(y, n, (u64)key); }                                \
    KERNEL(random_normal_##name)(T* __restrict__ y, i64 n, i64 key) { random_fill<true>(y, n, (u64)key); }                                  \
    KERNEL(dropout_##name)(const T* __restrict__ x, T* __restrict__ y, i64 n, i64 key, int threshold, double scale) {                       \
        dropout<C>(x, y, n, (u64)key, (u32)threshold, (C)scale);                                                                            \
    }                                                                                                                                       \
    KERNEL(dropout_walk_##name)(const T* __restrict__ x, T* __restrict__ y, i64 first, i64 key, int threshold, double scale,           \
                                const __grid_constant__ Walk<3> w) { \
        dropout_walk<C>(x, y, (u64)first, (u64)key, (u32)threshold, (C)scale, w);                                                                       \
    }                                                                                                                                       \
    EMU_EXPORT(random_uniform_##name)                                                                                                       \
    EMU_EXPORT(random_normal_##name)                                                                                                        \
    EMU_EXPORT(dropout_##name)                                                                                                              \
    EMU_EXPORT(dropout_walk_##name)

RANDOM(float, f32, float)
RANDOM(bf16, bf16, float)
RANDOM(f16, f16, float)
RANDOM(double, f64, double)

/** Integers in [low, low + range), two per block of words; thread b takes elements 2 b and 2 b + 1. */
KERNEL(random_integers)(i64* __restrict__ y, i64 n, i64 key, i64 low, i64 range) {
    i64 block = (i64)blockIdx.x * 256 + threadIdx.x;
    u32 w[4];
    philox((u64)key, (u64)block, w);
#pragma unroll
    for (int j = 0; j < 2; j++) {
        u64 bits = (u64)w[2 * j] << 32 | w[2 * j + 1];
        if (2 * block + j < n) y[2 * block + j] = low + (i64)mul_hi(bits, (u64)range);
    }
}

EMU_EXPORT(random_integers)
