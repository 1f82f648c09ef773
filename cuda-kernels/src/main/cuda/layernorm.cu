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
// a warp (`lanes`, short rows), to a block (`block`), or is read three times by a block (`any`: every length and alignment).
// Backward, g = dy (plus + gain):   dx = rstd (g - mean(g) - x^ mean(g x^)),   dgain = sum over rows of dy x^,   doffset = sum over rows of dy.
// A block walks over rows of one batch (a `chunk`) and keeps its part of dgain and doffset in registers; `finish` adds the parts in a fixed order. With
// one chunk per batch the block writes the results itself. `any` needs two kernels: dx of each row, and `sums` of columns.
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

/** K vectors of a row per thread, G lanes per row (0: the block); n is a multiple of V, at most K V threads. */
template <class T, int K, int G>
DEV void forward_row(const T* x, T* y, float* mean, float* rstd, const Affine<T>& a, int rows, int n, float eps) {
    constexpr int V = Wide<T>::N;
    int threads = G == 0 ? (int)blockDim.x : G;
    int groups = (int)blockDim.x / threads;
    int t = (int)threadIdx.x % threads;
    int row = (int)blockIdx.x * groups + (int)threadIdx.x / threads;
    int mine = row < rows ? n : 0;  // values of this row: lanes without a row go along
    const T* from = x + (i64)row * n;
    Vec<T, V> v[K];
    float sum = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < mine) v[k] = load_stream<V>(from + j);
    }
    if (mean) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            if ((t + k * threads) * V < mine) {
#pragma unroll
                for (int i = 0; i < V; i++) sum += to_float(v[k][i]);
            }
        }
    }
    float m = mean ? row_sum<G>(sum) / n : 0.f;
    float squares = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if ((t + k * threads) * V < mine) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                float d = to_float(v[k][i]) - m;
                squares += d * d;
            }
        }
    }
    float r = 1.f / sqrtf(row_sum<G>(squares) / n + eps);
    if (mine == 0) return;
    if (t == 0) {
        if (mean) mean[row] = m;
        rstd[row] = r;
    }
    int batch = row / a.per;
    const T* gain = a.gain ? a.gain + batch * a.gain_stride : a.gain;
    const T* offset = a.offset ? a.offset + batch * a.offset_stride : a.offset;
    T* to = y + (i64)row * n;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < n) {
            float f[V];
            factors(gain ? gain + j : gain, a.plus, f);
            Vec<T, V> b, out;
            if (offset) b = load_vec<V>(offset + j);
#pragma unroll
            for (int i = 0; i < V; i++) {
                float z = (to_float(v[k][i]) - m) * r * f[i];
                out[i] = from_float<T>(offset ? z + to_float(b[i]) : z);
            }
            store_vec(to + j, out);
        }
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

/** Where the sums over rows go: parts, or the results themselves where a batch has one chunk. */
template <class T> struct Sums {
    float* part;   // [batches, chunks, 2, n] or null
    T* gain;       // [batches, n] or null
    T* offset;     // [batches, n] or null

    DEVM bool any() const { return part || gain || offset; }

    /** Column j of the block with index `block` = batch * chunks + chunk. */
    DEVM void put(i64 block, int n, int j, float g, float o) const {
        if (part) {
            part[2 * block * n + j] = g;
            part[(2 * block + 1) * n + j] = o;
        } else {
            if (gain) gain[block * n + j] = from_float<T>(g);
            if (offset) offset[block * n + j] = from_float<T>(o);
        }
    }
};

/** K vectors of a row per thread, G lanes per row (0: the block); one chunk of a batch per block. */
template <class T, int K, int G>
DEV void backward_rows(const T* dy, const T* x, const float* mean, const float* rstd, const T* gain, i64 gain_stride, float plus, T* dx,
                       const Sums<T>& sums, int per, int chunks, int n) {
    constexpr int V = Wide<T>::N;
    int threads = G == 0 ? (int)blockDim.x : G;
    int groups = (int)blockDim.x / threads;
    int t = (int)threadIdx.x % threads, group = (int)threadIdx.x / threads;
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    if (gain) gain += batch * gain_stride;
    float total[2][K][V];  // dgain and doffset
#pragma unroll
    for (int k = 0; k < K; k++) {
#pragma unroll
        for (int i = 0; i < V; i++) total[0][k][i] = total[1][k][i] = 0.f;
    }
    for (int base = first; base < last; base += groups) {
        int row = base + group;
        int mine = row < last ? n : 0;
        i64 at = (i64)row * n;
        Vec<T, V> u[K], v[K];
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < mine) {
                u[k] = load_stream<V>(dy + at + j);
                v[k] = load_stream<V>(x + at + j);
            }
        }
        float m = mean && mine ? mean[row] : 0.f;
        float r = mine ? rstd[row] : 0.f;
        float s[2] = {0.f, 0.f};
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < mine) {
                float f[V];
                factors(gain ? gain + j : gain, plus, f);
#pragma unroll
                for (int i = 0; i < V; i++) {
                    float d = to_float(u[k][i]);
                    float xhat = (to_float(v[k][i]) - m) * r;
                    float g = d * f[i];
                    s[0] += g;
                    s[1] += g * xhat;
                    total[0][k][i] += d * xhat;
                    total[1][k][i] += d;
                }
            }
        }
        row_sums<G>(s);
        float c0 = mean ? s[0] / n : 0.f;
        float c1 = s[1] / n;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < mine) {
                float f[V];
                factors(gain ? gain + j : gain, plus, f);
                Vec<T, V> out;
#pragma unroll
                for (int i = 0; i < V; i++) {
                    float xhat = (to_float(v[k][i]) - m) * r;
                    out[i] = from_float<T>(r * (to_float(u[k][i]) * f[i] - c0 - xhat * c1));
                }
                store_vec(dx + at + j, out);
            }
        }
    }
    if (!sums.any()) return;
    if constexpr (G > 0) {
        put_lane_sums<G>(total, n, [&](int j, const float(&sum)[2]) { sums.put(blockIdx.x, n, j, sum[0], sum[1]); });
    } else {
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < n) {
#pragma unroll
                for (int i = 0; i < V; i++) sums.put(blockIdx.x, n, j + i, total[0][k][i], total[1][k][i]);
            }
        }
    }
}

/** dx of one row per block, of any length. */
template <class T>
DEV void backward_any(const T* dy, const T* x, const float* mean, const float* rstd, const T* gain, i64 gain_stride, float plus, T* dx, int per, int n) {
    int row = (int)blockIdx.x;
    i64 at = (i64)row * n;
    if (gain) gain += row / per * gain_stride;
    float m = mean ? mean[row] : 0.f, r = rstd[row];
    float s[2] = {0.f, 0.f};
    for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) {
        float g = to_float(dy[at + j]) * (gain ? plus + to_float(gain[j]) : 1.f);
        s[0] += g;
        s[1] += g * ((to_float(x[at + j]) - m) * r);
    }
    row_sums<0>(s);
    float c0 = mean ? s[0] / n : 0.f;
    float c1 = s[1] / n;
    for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) {
        float g = to_float(dy[at + j]) * (gain ? plus + to_float(gain[j]) : 1.f);
        dx[at + j] = from_float<T>(r * (g - c0 - (to_float(x[at + j]) - m) * r * c1));
    }
}

/** Sums of columns over the block's rows: a thread per column, blockIdx.y counts tiles of columns. */
template <class T> DEV void column_sums(const T* dy, const T* x, const float* mean, const float* rstd, const Sums<T>& sums, int per, int chunks, int n) {
    int j = (int)(blockIdx.y * blockDim.x + threadIdx.x);
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    if (j >= n) return;
    float g = 0.f, o = 0.f;
    for (int row = first; row < last; row++) {
        float d = to_float(dy[(i64)row * n + j]);
        g += d * ((to_float(x[(i64)row * n + j]) - (mean ? mean[row] : 0.f)) * rstd[row]);
        o += d;
    }
    sums.put(blockIdx.x, n, j, g, o);
}

/** Adds the parts of a batch: block of 32 columns and 16 slices of the chunks. */
template <class T> DEV void finish(const float* part, T* gain, T* offset, i64 stride, int chunks, int n) {
    __shared__ float shared[2][16][32];
    int tiles = div_up(n, 32);
    i64 batch = blockIdx.x / tiles;
    int j = (int)(blockIdx.x % tiles * 32 + threadIdx.x);
    float g = 0.f, o = 0.f;
    if (j < n) {
        const float* from = part + 2 * batch * chunks * n + j;
#pragma unroll 4
        for (int c = (int)threadIdx.y; c < chunks; c += 16) {
            g += from[(i64)2 * c * n];
            o += from[(i64)(2 * c + 1) * n];
        }
    }
    shared[0][threadIdx.y][threadIdx.x] = g;
    shared[1][threadIdx.y][threadIdx.x] = o;
    __syncthreads();
    if (threadIdx.y == 0 && j < n) {
        g = o = 0.f;
        for (int i = 0; i < 16; i++) {
            g += shared[0][i][threadIdx.x];
            o += shared[1][i][threadIdx.x];
        }
        if (gain) gain[batch * stride + j] = from_float<T>(g);
        if (offset) offset[batch * stride + j] = from_float<T>(o);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// Short rows: suffix, type, vectors per lane, lanes per row. At most 40 values per lane.
#define SHORT_16(X, S, T) X(S, T, 1, 8) X(S, T, 1, 16) X(S, T, 1, 32) X(S, T, 2, 32) X(S, T, 3, 32) X(S, T, 5, 32)
#define SHORT_ROWS(X)                                                                                                                        \
    X(f32, float, 1, 8) X(f32, float, 1, 16) X(f32, float, 1, 32) X(f32, float, 2, 32) X(f32, float, 3, 32) X(f32, float, 6, 32)             \
    X(f32, float, 10, 32) SHORT_16(X, bf16, bf16) SHORT_16(X, f16, f16)
// Long rows: suffix, type, vectors per thread; up to 512 threads.
#define LONG_ROWS(X)                                                                                                                         \
    X(f32, float, 2) X(f32, float, 4) X(bf16, bf16, 1) X(bf16, bf16, 2) X(bf16, bf16, 4) X(f16, f16, 1) X(f16, f16, 2)      \
    X(f16, f16, 4)
#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)

// x [rows, n], y [rows, n], mean [rows] or null (RMS), rstd [rows], gain and offset [batches, n] or null, rows, rows per batch, n.
#define FORWARD_ARGS(T)                                                                                                                      \
    const T *x, T *y, float *mean, float *rstd, const T *gain, const T *offset, i64 gain_stride, i64 offset_stride, float plus, float eps,   \
        int rows, int per, int n
#define AFFINE(T) Affine<T>{gain, offset, gain_stride, offset_stride, per, plus}

#define FORWARD_LANES(S, T, K, G)                                                                                                            \
    KERNEL_BOUNDS(layer_norm_lanes##G##_k##K##_##S, 128, 1)(FORWARD_ARGS(T)) {                                                               \
        forward_row<T, K, G>(x, y, mean, rstd, AFFINE(T), rows, n, eps);                                                                     \
    }
#define FORWARD_BLOCK(S, T, K)                                                                                                               \
    KERNEL_BOUNDS(layer_norm_block_k##K##_##S, 512, 1)(FORWARD_ARGS(T)) { forward_row<T, K, 0>(x, y, mean, rstd, AFFINE(T), rows, n, eps); }
#define FORWARD_ANY(S, T)                                                                                                                    \
    KERNEL_BOUNDS(layer_norm_any_##S, 1024, 1)(FORWARD_ARGS(T)) {                                                                            \
        if ((int)blockIdx.x < rows) forward_any<T>(x, y, mean, rstd, AFFINE(T), n, eps);                                                     \
    }
SHORT_ROWS(FORWARD_LANES)
LONG_ROWS(FORWARD_BLOCK)
TYPES(FORWARD_ANY)

// dy, x [rows, n], mean [rows] or null (RMS), rstd [rows], gain [batches, n] or null, dx [rows, n]; part [batches, chunks, 2, n], or null and
// dgain, doffset [batches, n] or null. Grid: batches * chunks.
#define BACKWARD_ARGS(T)                                                                                                                     \
    const T *dy, const T *x, const float *mean, const float *rstd, const T *gain, i64 gain_stride, float plus, T *dx, float *part, T *dgain, \
        T *doffset, int per, int chunks, int n
#define SUMS(T) Sums<T>{part, dgain, doffset}

#define BACKWARD_LANES(S, T, K, G)                                                                                                           \
    KERNEL_BOUNDS(layer_norm_backward_lanes##G##_k##K##_##S, (K == 10 ? 256 : 384), (K * Wide<T>::N <= 16 ? 2 : 1))(BACKWARD_ARGS(T)) {                        \
        backward_rows<T, K, G>(dy, x, mean, rstd, gain, gain_stride, plus, dx, SUMS(T), per, chunks, n);                                     \
    }
#define BACKWARD_BLOCK(S, T, K)                                                                                                              \
    KERNEL_BOUNDS(layer_norm_backward_block_k##K##_##S, 512, 1)(BACKWARD_ARGS(T)) {                                                          \
        backward_rows<T, K, 0>(dy, x, mean, rstd, gain, gain_stride, plus, dx, SUMS(T), per, chunks, n);                                     \
    }
// Grid: rows.
#define BACKWARD_ANY(S, T)                                                                                                                   \
    KERNEL_BOUNDS(layer_norm_backward_any_##S, 1024, 1)                                                                                      \
    (const T* dy, const T* x, const float* mean, const float* rstd, const T* gain, i64 gain_stride, float plus, T* dx, int per, int n) {     \
        backward_any<T>(dy, x, mean, rstd, gain, gain_stride, plus, dx, per, n);                                                             \
    }
// Grid: batches * chunks, tiles of 256 columns.
#define COLUMN_SUMS(S, T)                                                                                                                    \
    KERNEL_BOUNDS(layer_norm_sums_##S, 256, 1)                                                                                               \
    (const T* dy, const T* x, const float* mean, const float* rstd, float* part, T* dgain, T* doffset, int per, int chunks, int n) {         \
        column_sums<T>(dy, x, mean, rstd, SUMS(T), per, chunks, n);                                                                          \
    }
// part [batches, chunks, 2, n], dgain and doffset [batches, n] or null, `stride` from batch to batch. Grid: batches * div_up(n, 32); block (32, 16).
#define FINISH(S, T)                                                                                                                         \
    KERNEL_BOUNDS(layer_norm_finish_##S, 512, 1)(const float* part, T* dgain, T* doffset, i64 stride, int chunks, int n) {                   \
        finish<T>(part, dgain, doffset, stride, chunks, n);                                                                                  \
    }
// Statistics that came in another type: from [n] to f32 [n].
#define WIDEN(S, T)                                                                                                                          \
    KERNEL_BOUNDS(layer_norm_widen_##S, 256, 1)(const T* from, float* to, int n) {                                                           \
        int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);                                                                                \
        if (i < n) to[i] = to_float(from[i]);                                                                                                \
    }
SHORT_ROWS(BACKWARD_LANES)
LONG_ROWS(BACKWARD_BLOCK)
TYPES(BACKWARD_ANY)
TYPES(COLUMN_SUMS)
TYPES(FINISH)
WIDEN(bf16, bf16)
WIDEN(f16, f16)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_LANES(S, T, K, G) EMU_EXPORT(layer_norm_lanes##G##_k##K##_##S) EMU_EXPORT(layer_norm_backward_lanes##G##_k##K##_##S)
#define EXPORT_BLOCK(S, T, K) EMU_EXPORT(layer_norm_block_k##K##_##S) EMU_EXPORT(layer_norm_backward_block_k##K##_##S)
#define EXPORT_TYPE(S, T)                                                                                                                    \
    EMU_EXPORT(layer_norm_any_##S)                                                                                                           \
    EMU_EXPORT(layer_norm_backward_any_##S) EMU_EXPORT(layer_norm_sums_##S) EMU_EXPORT(layer_norm_finish_##S)
SHORT_ROWS(EXPORT_LANES)
LONG_ROWS(EXPORT_BLOCK)
TYPES(EXPORT_TYPE)
EMU_EXPORT(layer_norm_widen_bf16)
EMU_EXPORT(layer_norm_widen_f16)
