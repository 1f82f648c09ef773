// SPDX-License-Identifier: Apache-2.0
//
// Gradients of the normalisations of rows in layernorm.cu, with x^ = (x - mean) rstd (RMS: mean = 0), statistics and sums in f32:
//
//   g = dy (plus + gain),   dx = rstd (g - mean(g) - x^ mean(g x^)),   dgain = sum over rows of dy x^,   doffset = sum over rows of dy
//
// A block walks over a chunk of the rows of a batch and keeps its part of dgain and doffset in registers; `finish` adds the parts in a fixed order. With
// one chunk per batch the block writes the results itself. With `lanes`, dy and x come by asynchronous copies, a row ahead, to shared memory, where each
// lane finds what it fetched itself. `any` needs two kernels: dx of each row, and `sums` of columns.
#include "layernorm.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

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

/** What a thread adds up over rows for its K vectors of columns: dgain and doffset. */
template <class T, int K> DEV void no_sums(float (&total)[2][K][Wide<T>::N]) {
#pragma unroll
    for (int k = 0; k < K; k++) {
#pragma unroll
        for (int i = 0; i < Wide<T>::N; i++) total[0][k][i] = total[1][k][i] = 0.f;
    }
}

/** Adds up g and g x^ of a vector in s, and its columns' parts of dgain and doffset; `gain` lies at the vector (null: absent). */
template <class T>
DEV void add_up(const Vec<T, Wide<T>::N>& dy, const Vec<T, Wide<T>::N>& x, float m, float r, const T* gain, float plus, float (&s)[2],
                float (&dgain)[Wide<T>::N], float (&doffset)[Wide<T>::N]) {
    float f[Wide<T>::N], given[Wide<T>::N], values[Wide<T>::N];
    factors(gain, plus, f);
    spread(dy, given);
    spread(x, values);
#pragma unroll
    for (int i = 0; i < Wide<T>::N; i++) {
        float d = given[i];
        float xhat = (values[i] - m) * r;
        float g = d * f[i];
        s[0] += g;
        s[1] += g * xhat;
        dgain[i] += d * xhat;
        doffset[i] += d;
    }
}

/** dx of a vector. */
template <class T>
DEV Vec<T, Wide<T>::N> gradient(const Vec<T, Wide<T>::N>& dy, const Vec<T, Wide<T>::N>& x, float m, float r, const T* gain, float plus, float c0,
                                float c1) {
    float f[Wide<T>::N], given[Wide<T>::N], values[Wide<T>::N];
    factors(gain, plus, f);
    spread(dy, given);
    spread(x, values);
    Vec<T, Wide<T>::N> out;
#pragma unroll
    for (int i = 0; i < Wide<T>::N; i++) {
        float xhat = (values[i] - m) * r;
        out[i] = from_float<T>(r * (given[i] * f[i] - c0 - xhat * c1));
    }
    return out;
}

/**
 * K vectors of a row per lane, G lanes per row; one chunk of a batch per block. Dynamic shared memory: [2 stages][K][dy, x][threads] vectors, then the gain
 * [n]; at the end the sums of put_lane_sums, which need no more than the vectors.
 */
template <class T, int K, int G>
DEV void backward_lanes(const T* dy, const T* x, const float* mean, const float* rstd, const T* gain, i64 gain_stride, float plus, T* dx,
                        const Sums<T>& sums, int per, int chunks, int n) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(T, shared);
    int groups = (int)blockDim.x / G;
    int t = (int)threadIdx.x % G, group = (int)threadIdx.x / G;
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    int step = (int)blockDim.x * V;  // from a thread's vector to its next
    T* fetched = shared + (int)threadIdx.x * V;
    T* weights = shared + 4 * K * step;
    auto fetch = [&](int stage, int row) {
        int mine = row < last ? n : 0;
        i64 at = (i64)row * n;
        T* to = fetched + stage * 2 * K * step;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * G) * V;
            if (j < mine) {
                cp_async16(to + 2 * k * step, dy + at + j);
                cp_async16(to + (2 * k + 1) * step, x + at + j);
            }
        }
        cp_async_commit();
    };
    fetch(0, first + group);
    float next_m = 0.f, next_r = 0.f;
    if (first + group < last) {
        if (mean) next_m = mean[first + group];
        next_r = rstd[first + group];
    }
    if (gain) {
        for (int j = (int)threadIdx.x * V; j < n; j += step) store_vec(weights + j, load_vec<V>(gain + batch * gain_stride + j));
    }
    __syncthreads();
    float total[2][K][V];
    no_sums<T>(total);
    int stage = 0;
    for (int base = first; base < last; base += groups) {
        int row = base + group;
        int mine = row < last ? n : 0;
        float m = next_m, r = next_r;
        fetch(stage ^ 1, row + groups);
        if (row + groups < last) {
            if (mean) next_m = mean[row + groups];
            next_r = rstd[row + groups];
        }
        cp_async_wait<1>();
        const T* from = fetched + stage * 2 * K * step;
        float s[2] = {0.f, 0.f};
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * G) * V;
            if (j < mine) {
                Vec<T, V> u = load_vec<V>(from + 2 * k * step), v = load_vec<V>(from + (2 * k + 1) * step);
                add_up(u, v, m, r, gain ? weights + j : nullptr, plus, s, total[0][k], total[1][k]);
            }
        }
        row_sums<G>(s);
        float c0 = mean ? s[0] / n : 0.f;
        float c1 = s[1] / n;
        unsigned again = (unsigned)(stage * 2 * K * step);  // read again rather than held in registers
        opaque(again);
        from = fetched + again;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * G) * V;
            if (j < mine) {
                Vec<T, V> u = load_vec<V>(from + 2 * k * step), v = load_vec<V>(from + (2 * k + 1) * step);
                store_vec(dx + (i64)row * n + j, gradient(u, v, m, r, gain ? weights + j : nullptr, plus, c0, c1));
            }
        }
        stage ^= 1;
    }
    if (sums.any()) put_lane_sums<G>(total, n, [&](int j, const float(&sum)[2]) { sums.put(blockIdx.x, n, j, sum[0], sum[1]); });
}

/** A row per block at a time, K vectors of it per thread; one chunk of a batch per block. */
template <class T, int K>
DEV void backward_block(const T* dy, const T* x, const float* mean, const float* rstd, const T* gain, i64 gain_stride, float plus, T* dx,
                        const Sums<T>& sums, int per, int chunks, int n) {
    constexpr int V = Wide<T>::N;
    int threads = (int)blockDim.x, t = (int)threadIdx.x;
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    if (gain) gain += batch * gain_stride;
    float total[2][K][V];
    no_sums<T>(total);
    for (int row = first; row < last; row++) {
        i64 at = (i64)row * n;
        Vec<T, V> u[K], v[K];
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < n) {
                u[k] = load_stream<V>(dy + at + j);
                v[k] = load_stream<V>(x + at + j);
            }
        }
        float m = mean ? mean[row] : 0.f;
        float r = rstd[row];
        float s[2] = {0.f, 0.f};
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < n) add_up(u[k], v[k], m, r, gain ? gain + j : gain, plus, s, total[0][k], total[1][k]);
        }
        row_sums<0>(s);
        float c0 = mean ? s[0] / n : 0.f;
        float c1 = s[1] / n;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < n) store_vec(dx + at + j, gradient(u[k], v[k], m, r, gain ? gain + j : gain, plus, c0, c1));
        }
    }
    if (!sums.any()) return;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < n) {
#pragma unroll
            for (int i = 0; i < V; i++) sums.put(blockIdx.x, n, j + i, total[0][k][i], total[1][k][i]);
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

// dy, x [rows, n], mean [rows] or null (RMS), rstd [rows], gain [batches, n] or null, dx [rows, n]; part [batches, chunks, 2, n], or null and
// dgain, doffset [batches, n] or null. Grid: batches * chunks.
#define BACKWARD_ARGS(T)                                                                                                                     \
    const T *dy, const T *x, const float *mean, const float *rstd, const T *gain, i64 gain_stride, float plus, T *dx, float *part, T *dgain, \
        T *doffset, int per, int chunks, int n
#define SUMS(T) Sums<T>{part, dgain, doffset}

#define BACKWARD_LANES(S, T, K, G)                                                                                                           \
    KERNEL_BOUNDS(layer_norm_backward_lanes##G##_k##K##_##S, (K * Wide<T>::N <= 16 ? 384 : K == 10 ? 320 : 512),                             \
                  (K * Wide<T>::N <= 16 ? 2 : 1))                                                                                            \
    (BACKWARD_ARGS(T)) { backward_lanes<T, K, G>(dy, x, mean, rstd, gain, gain_stride, plus, dx, SUMS(T), per, chunks, n); }
#define BACKWARD_BLOCK(S, T, K)                                                                                                              \
    KERNEL_BOUNDS(layer_norm_backward_block_k##K##_##S, 512, 1)(BACKWARD_ARGS(T)) {                                                          \
        backward_block<T, K>(dy, x, mean, rstd, gain, gain_stride, plus, dx, SUMS(T), per, chunks, n);                                       \
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
LAYER_NORM_SHORT(BACKWARD_LANES)
LAYER_NORM_LONG(BACKWARD_BLOCK)
TYPES(BACKWARD_ANY)
TYPES(COLUMN_SUMS)
TYPES(FINISH)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_LANES(S, T, K, G) EMU_EXPORT(layer_norm_backward_lanes##G##_k##K##_##S)
#define EXPORT_BLOCK(S, T, K) EMU_EXPORT(layer_norm_backward_block_k##K##_##S)
#define EXPORT_TYPE(S, T) EMU_EXPORT(layer_norm_backward_any_##S) EMU_EXPORT(layer_norm_sums_##S) EMU_EXPORT(layer_norm_finish_##S)
LAYER_NORM_SHORT(EXPORT_LANES)
LAYER_NORM_LONG(EXPORT_BLOCK)
TYPES(EXPORT_TYPE)
