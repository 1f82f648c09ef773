// SPDX-License-Identifier: Apache-2.0
//
// Layer normalisation (Ba et al. 2016), its adaptive form (adaLN, Peebles and Xie 2023) and RMS normalisation (Zhang and Sennrich 2019) of rows:
//
//   y = x^ (plus + gain) + offset,   x^ = (x - mean) rstd,   rstd = 1 / sqrt(mean((x - mean)^2) + eps);   RMS: mean = 0
//
// with gain = weight and plus = 0, or gain = scale and plus = 1; an absent gain makes the factor 1, an absent offset is 0. x is row major, [batches, per, n];
// gain and offset have one row of n per batch, `gain_stride` and `offset_stride` values apart (0: one row for all). Statistics and sums are f32.
//
// Forward: a row stays in registers from its one load to its one store, so the variance comes from differences to the mean. A row belongs to G lanes of
// a warp (`lanes`, short rows), to a block (`block`), or is read three times by a block (`any`: every length and alignment). With lanes, a block walks over
// rows of one batch (a `chunk`), holds gain and offset in shared memory and loads its next rows while it works on the present ones.
// Gradients: layernorm_backward.cu.
#include "layernorm.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** The factor of x^ and what is added: rows of n values, one per batch or one for all. */
template <class T> struct Affine {
    const T* gain;      // [batches, n] or null
    const T* offset;    // [batches, n] or null
    i64 gain_stride;    // values from a batch's row to the next
    i64 offset_stride;
    int per;            // rows of x per batch
    float plus;
};

/** Mean (0 for RMS) and 1 / deviation of a row: K vectors of it per thread, every `threads`-th; `mine` of its values are there (n, or 0: no row). */
template <int G, class T, int K>
DEV void row_statistics(Vec<T, Wide<T>::N> (&v)[K], int t, int threads, int mine, int n, bool centred, float eps, float& m, float& r) {
    constexpr int V = Wide<T>::N;
    m = 0.f;
    if (centred) {
        float sum = 0.f;
#pragma unroll
        for (int k = 0; k < K; k++) {
            if ((t + k * threads) * V < mine) {
                float value[V];
                spread(v[k], value);
#pragma unroll
                for (int i = 0; i < V; i++) sum += value[i];
            }
        }
        stay_packed<T>(v);
        m = row_sum<G>(sum) / n;
    }
    float squares = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if ((t + k * threads) * V < mine) {
            float value[V];
            spread(v[k], value);
#pragma unroll
            for (int i = 0; i < V; i++) {
                float d = value[i] - m;
                squares += d * d;
            }
        }
    }
    stay_packed<T>(v);
    r = 1.f / sqrtf(row_sum<G>(squares) / n + eps);
}

/** V results from values, and from gain and offset where they lie (null: absent). */
template <class T> DEV Vec<T, Wide<T>::N> affine(const Vec<T, Wide<T>::N>& v, float m, float r, const T* gain, const T* offset, float plus) {
    constexpr int V = Wide<T>::N;
    float x[V], f[V], b[V];
    spread(v, x);
    factors(gain, plus, f);
    if (offset) {
        spread(load_vec<V>(offset), b);
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) b[i] = 0.f;
    }
    Vec<T, V> out;
#pragma unroll
    for (int i = 0; i < V; i++) out[i] = from_float<T>((x[i] - m) * r * f[i] + b[i]);
    return out;
}

/** K vectors of a row per lane, G lanes per row; n is a multiple of V, at most K G V. Dynamic shared memory [2][n]: gain and offset of the batch. */
template <class T, int K, int G>
DEV void forward_lanes(const T* x, T* y, float* mean, float* rstd, const Affine<T>& a, int chunks, int n, float eps) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(T, shared);
    int groups = (int)blockDim.x / G;
    int t = (int)threadIdx.x % G, group = (int)threadIdx.x / G;
    int batch, first, last;
    rows_of_block(a.per, chunks, batch, first, last);
    Vec<T, V> v[K], next[K];
    auto fetch = [&](Vec<T, V>(&to)[K], int row) {
        int mine = row < last ? n : 0;
        const T* from = x + (i64)row * n;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * G) * V;
            if (j < mine) to[k] = load_stream<V>(from + j);
        }
    };
    fetch(v, first + group);
    float plus = a.gain ? a.plus : 1.f;
    Vec<T, V> none;  // where a gain or an offset is absent
#pragma unroll
    for (int i = 0; i < V; i++) none[i] = from_float<T>(0.f);
    for (int j = (int)threadIdx.x * V; j < n; j += (int)blockDim.x * V) {
        store_vec(shared + j, a.gain ? load_vec<V>(a.gain + batch * a.gain_stride + j) : none);
        store_vec(shared + n + j, a.offset ? load_vec<V>(a.offset + batch * a.offset_stride + j) : none);
    }
    __syncthreads();
    for (int base = first; base < last; base += groups) {
        int row = base + group;
        int mine = row < last ? n : 0;  // values of this row: lanes without a row go along
        fetch(next, row + groups);
        float m, r;
        row_statistics<G, T>(v, t, G, mine, n, mean, eps, m, r);
        if (mine != 0 && t == 0) {
            if (mean) mean[row] = m;
            rstd[row] = r;
        }
        T* to = y + (i64)row * n;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * G) * V;
            if (j < mine) store_vec(to + j, affine_of_row(v[k], m, r, plus * r, shared + j, shared + n + j));
            v[k] = next[k];
        }
    }
}

/** A row per block, K vectors of it per thread; n is a multiple of V, at most K V threads. */
template <class T, int K> DEV void forward_block(const T* x, T* y, float* mean, float* rstd, const Affine<T>& a, int n, float eps) {
    constexpr int V = Wide<T>::N;
    int t = (int)threadIdx.x, threads = (int)blockDim.x, row = (int)blockIdx.x;
    const T* from = x + (i64)row * n;
    Vec<T, V> v[K];
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < n) v[k] = load_stream<V>(from + j);
    }
    float m, r;
    row_statistics<0, T>(v, t, threads, n, n, mean, eps, m, r);
    if (t == 0) {
        if (mean) mean[row] = m;
        rstd[row] = r;
    }
    i64 batch = row / a.per;
    const T* gain = a.gain ? a.gain + batch * a.gain_stride : a.gain;
    const T* offset = a.offset ? a.offset + batch * a.offset_stride : a.offset;
    T* to = y + (i64)row * n;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < n) store_vec(to + j, affine(v[k], m, r, gain ? gain + j : gain, offset ? offset + j : offset, a.plus));
    }
}

/** One row per block, of any length. */
template <class T> DEV void forward_any(const T* x, T* y, float* mean, float* rstd, const Affine<T>& a, int n, float eps) {
    int row = (int)blockIdx.x;
    const T* from = x + (i64)row * n;
    T* to = y + (i64)row * n;
    float sum = 0.f;
    if (mean) {
        for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) sum += to_float(from[j]);
    }
    float m = mean ? row_sum<0>(sum) / n : 0.f;
    float squares = 0.f;
    for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) {
        float d = to_float(from[j]) - m;
        squares += d * d;
    }
    float r = 1.f / sqrtf(row_sum<0>(squares) / n + eps);
    if (threadIdx.x == 0) {
        if (mean) mean[row] = m;
        rstd[row] = r;
    }
    i64 batch = row / a.per;
    for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) {
        float f = a.gain ? a.plus + to_float(a.gain[batch * a.gain_stride + j]) : 1.f;
        float b = a.offset ? to_float(a.offset[batch * a.offset_stride + j]) : 0.f;
        to[j] = from_float<T>((to_float(from[j]) - m) * r * f + b);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// x [rows, n], y [rows, n], mean [rows] or null (RMS), rstd [rows], gain and offset [batches, n] or null; rows, or with lanes the chunks
// of a batch (grid: batches * chunks); rows per batch, n.
#define FORWARD_ARGS(T)                                                                                                                      \
    const T *x, T *y, float *mean, float *rstd, const T *gain, const T *offset, i64 gain_stride, i64 offset_stride, float plus, float eps,   \
        int rows, int per, int n
#define AFFINE(T) Affine<T>{gain, offset, gain_stride, offset_stride, per, plus}

// Blocks of a multiprocessor, by the registers of a lane with so many values of a row.
#define FORWARD_BLOCKS(K, V) (K * V <= 16 ? 8 : K == 3 ? 6 : K <= 6 ? 5 : 4)
#define FORWARD_LANES(S, T, K, G)                                                                                                            \
    KERNEL_BOUNDS(layer_norm_lanes##G##_k##K##_##S, 128, FORWARD_BLOCKS(K, Wide<T>::N))(FORWARD_ARGS(T)) {                                   \
        forward_lanes<T, K, G>(x, y, mean, rstd, AFFINE(T), rows, n, eps);                                                                   \
    }
#define FORWARD_BLOCK(S, T, K)                                                                                                               \
    KERNEL_BOUNDS(layer_norm_block_k##K##_##S, 512, 1)(FORWARD_ARGS(T)) {                                                                    \
        if ((int)blockIdx.x < rows) forward_block<T, K>(x, y, mean, rstd, AFFINE(T), n, eps);                                                \
    }
#define FORWARD_ANY(S, T)                                                                                                                    \
    KERNEL_BOUNDS(layer_norm_any_##S, 1024, 1)(FORWARD_ARGS(T)) {                                                                            \
        if ((int)blockIdx.x < rows) forward_any<T>(x, y, mean, rstd, AFFINE(T), n, eps);                                                     \
    }
LAYER_NORM_SHORT(FORWARD_LANES)
LAYER_NORM_LONG(FORWARD_BLOCK)
TYPES(FORWARD_ANY)

// Statistics that came in another type: from [n] to f32 [n].
#define WIDEN(S, T)                                                                                                                          \
    KERNEL_BOUNDS(layer_norm_widen_##S, 256, 1)(const T* from, float* to, int n) {                                                           \
        int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);                                                                                \
        if (i < n) to[i] = to_float(from[i]);                                                                                                \
    }
WIDEN(bf16, bf16)
WIDEN(f16, f16)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_LANES(S, T, K, G) EMU_EXPORT(layer_norm_lanes##G##_k##K##_##S)
#define EXPORT_BLOCK(S, T, K) EMU_EXPORT(layer_norm_block_k##K##_##S)
#define EXPORT_TYPE(S, T) EMU_EXPORT(layer_norm_any_##S)
LAYER_NORM_SHORT(EXPORT_LANES)
LAYER_NORM_LONG(EXPORT_BLOCK)
TYPES(EXPORT_TYPE)
EMU_EXPORT(layer_norm_widen_bf16)
EMU_EXPORT(layer_norm_widen_f16)
