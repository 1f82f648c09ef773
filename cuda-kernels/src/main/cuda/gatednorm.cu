// SPDX-License-Identifier: Apache-2.0
//
// A gated residual and the adaptive layer normalisation after it (adaLN-Zero, Peebles and Xie 2023), rows of [batches, per, n]:
//
//   h = x + gate y,   z = h^ (1 + scale) + shift,   h^ = (h - mean) rstd,   rstd = 1 / sqrt(mean((h - mean)^2) + eps)
//
// and its gradients, with g = dz (1 + scale):
//
//   dx = rstd (g - mean(g) - h^ mean(g h^)) + dh,  dy = gate dx;   over the rows of a batch dgate = sum dx y,  dshift = sum dz,  dscale = sum dz h^
//
// gate, shift and scale have one row of n per batch, each `stride` values apart. Rows stay in registers, of a warp (`lanes`) or a block (`block`); `any`
// takes every length and alignment. A block of the backward walks over a chunk of a batch's rows and keeps its sums in registers; `finish` adds the
// parts in a fixed order.
#include "layernorm.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** A row of n values for each batch. */
template <class T> struct Vectors {
    const T* first;
    i64 stride;

    DEVM const T* of(int batch) const { return first + batch * stride; }
};

/** K vectors of a row per thread, G lanes per row (0: the block). */
template <class T, int K, int G>
DEV void forward_row(const T* x, const T* y, const Vectors<T>& gates, const Vectors<T>& shifts, const Vectors<T>& scales, T* z, T* h, float* mean,
                     float* rstd, int rows, int per, int n, float eps) {
    constexpr int V = Wide<T>::N;
    int threads = G == 0 ? (int)blockDim.x : G;
    int t = (int)threadIdx.x % threads;
    int row = (int)(blockIdx.x * (blockDim.x / threads) + threadIdx.x / threads);
    int mine = row < rows ? n : 0, batch = row / per;
    i64 at = (i64)row * n;
    Vec<T, V> u[K], v[K];
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < mine) {
            u[k] = load_stream<V>(x + at + j);
            v[k] = load_stream<V>(y + at + j);
        }
    }
    float s[K][V], sum = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < mine) {
            Vec<T, V> g = load_vec<V>(gates.of(batch) + j), out;
#pragma unroll
            for (int i = 0; i < V; i++) {
                s[k][i] = to_float(u[k][i]) + to_float(g[i]) * to_float(v[k][i]);
                sum += s[k][i];
                out[i] = from_float<T>(s[k][i]);
            }
            store_vec(h + at + j, out);
        }
    }
    float m = row_sum<G>(sum) / n;
    float squares = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if ((t + k * threads) * V < mine) {
#pragma unroll
            for (int i = 0; i < V; i++) squares += (s[k][i] - m) * (s[k][i] - m);
        }
    }
    float r = 1.f / sqrtf(row_sum<G>(squares) / n + eps);
    if (mine == 0) return;
    if (t == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
#pragma unroll
    for (int k = 0; k < K; k++) {
        int j = (t + k * threads) * V;
        if (j < n) {
            Vec<T, V> a = load_vec<V>(scales.of(batch) + j), b = load_vec<V>(shifts.of(batch) + j), out;
#pragma unroll
            for (int i = 0; i < V; i++) out[i] = from_float<T>((s[k][i] - m) * r * (1.f + to_float(a[i])) + to_float(b[i]));
            store_vec(z + at + j, out);
        }
    }
}

/** One row per block, of any length. */
template <class T>
DEV void forward_any(const T* x, const T* y, const Vectors<T>& gates, const Vectors<T>& shifts, const Vectors<T>& scales, T* z, T* h, float* mean,
                     float* rstd, int per, int n, float eps) {
    int row = (int)blockIdx.x, batch = row / per, first = (int)threadIdx.x, step = (int)blockDim.x;
    const T *xs = x + (i64)row * n, *ys = y + (i64)row * n, *gate = gates.of(batch);
    float m = 0.f, q = 0.f;
    for (int j = first; j < n; j += step) {
        float s = to_float(xs[j]) + to_float(gate[j]) * to_float(ys[j]);
        h[(i64)row * n + j] = from_float<T>(s);
        m += s;
    }
    m = row_sum<0>(m) / n;
    for (int j = first; j < n; j += step) {
        float d = to_float(xs[j]) + to_float(gate[j]) * to_float(ys[j]) - m;
        q += d * d;
    }
    float r = 1.f / sqrtf(row_sum<0>(q) / n + eps);
    if (first == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
    for (int j = first; j < n; j += step) {
        float d = to_float(xs[j]) + to_float(gate[j]) * to_float(ys[j]) - m;
        z[(i64)row * n + j] = from_float<T>(d * r * (1.f + to_float(scales.of(batch)[j])) + to_float(shifts.of(batch)[j]));
    }
}

/** Where the sums over rows go: parts, or the results themselves where a batch has one chunk; nowhere if all are null. */
template <class T> struct Sums {
    float* part;  // [batches, chunks, 3, n]
    T* gate;      // [batches, n]
    T* shift;     // [batches, n]
    T* scale;     // [batches, n]

    DEVM bool any() const { return part || gate; }

    DEVM void put(i64 block, int n, int j, const float (&s)[3]) const {
        if (part) {
#pragma unroll
            for (int m = 0; m < 3; m++) part[(3 * block + m) * n + j] = s[m];
        } else {
            gate[block * n + j] = from_float<T>(s[0]);
            shift[block * n + j] = from_float<T>(s[1]);
            scale[block * n + j] = from_float<T>(s[2]);
        }
    }
};

/** What comes in: dz, dh, h, y [batches, per, n], mean, rstd [batches, per]. */
template <class T> struct Given {
    const T *dz, *dh, *h, *y;
    const float *mean, *rstd;
};

/** K vectors of a row per thread, G lanes per row (0: the block); one chunk of a batch per block. */
template <class T, int K, int G>
DEV void backward_rows(const Given<T>& in, const Vectors<T>& gates, const Vectors<T>& scales, T* dx, T* dy, const Sums<T>& sums, int per, int chunks,
                       int n) {
    constexpr int V = Wide<T>::N;
    int threads = G == 0 ? (int)blockDim.x : G;
    int groups = (int)blockDim.x / threads;
    int t = (int)threadIdx.x % threads, group = (int)threadIdx.x / threads;
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    const T *gate = gates.of(batch), *scale = scales.of(batch);
    float total[3][K][V];  // dgate, dshift, dscale
#pragma unroll
    for (int m = 0; m < 3; m++) {
#pragma unroll
        for (int k = 0; k < K; k++) {
#pragma unroll
            for (int i = 0; i < V; i++) total[m][k][i] = 0.f;
        }
    }
    for (int base = first; base < last; base += groups) {
        int row = base + group;
        int mine = row < last ? n : 0;
        i64 at = (i64)row * n;
        Vec<T, V> dz[K], dh[K], h[K], y[K];
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < mine) {
                dz[k] = load_stream<V>(in.dz + at + j);
                h[k] = load_stream<V>(in.h + at + j);
                dh[k] = load_stream<V>(in.dh + at + j);
                if (sums.any()) y[k] = load_stream<V>(in.y + at + j);
            }
        }
        float m = mine ? in.mean[row] : 0.f, r = mine ? in.rstd[row] : 0.f;
        float s[2] = {0.f, 0.f};
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < mine) {
                float f[V];
                factors(scale + j, 1.f, f);
#pragma unroll
                for (int i = 0; i < V; i++) {
                    float d = to_float(dz[k][i]);
                    float hat = (to_float(h[k][i]) - m) * r;
                    s[0] += d * f[i];
                    s[1] += d * f[i] * hat;
                    total[1][k][i] += d;
                    total[2][k][i] += d * hat;
                }
            }
        }
        stay_packed<T>(dz);
        stay_packed<T>(h);
        row_sums<G>(s);
        float c0 = s[0] / n, c1 = s[1] / n;
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < mine) {
                float f[V], g[V];
                factors(scale + j, 1.f, f);
                factors(gate + j, 0.f, g);
                Vec<T, V> out, branch;
#pragma unroll
                for (int i = 0; i < V; i++) {
                    float hat = (to_float(h[k][i]) - m) * r;
                    float d = r * (to_float(dz[k][i]) * f[i] - c0 - hat * c1) + to_float(dh[k][i]);
                    out[i] = from_float<T>(d);
                    branch[i] = from_float<T>(d * g[i]);
                    if (sums.any()) total[0][k][i] += d * to_float(y[k][i]);
                }
                store_vec(dx + at + j, out);
                store_vec(dy + at + j, branch);
            }
        }
    }
    if (!sums.any()) return;
    if constexpr (G > 0) {
        put_lane_sums<G>(total, n, [&](int j, const float(&sum)[3]) { sums.put(blockIdx.x, n, j, sum); });
    } else {
#pragma unroll
        for (int k = 0; k < K; k++) {
            int j = (t + k * threads) * V;
            if (j < n) {
#pragma unroll
                for (int i = 0; i < V; i++) {
                    float sum[3] = {total[0][k][i], total[1][k][i], total[2][k][i]};
                    sums.put(blockIdx.x, n, j + i, sum);
                }
            }
        }
    }
}

/** dx of value j of a row: at = its place, c0 and c1 = the row's means of g and g h^. */
template <class T> DEV float gradient(const Given<T>& in, i64 at, float m, float r, float c0, float c1, float scale) {
    return r * (to_float(in.dz[at]) * (1.f + scale) - c0 - (to_float(in.h[at]) - m) * r * c1) + to_float(in.dh[at]);
}

/** dx and dy of one row per block, of any length; its two means go to means [rows, 2]. */
template <class T>
DEV void backward_any(const Given<T>& in, const Vectors<T>& gates, const Vectors<T>& scales, T* dx, T* dy, float* means, int per, int n) {
    int row = (int)blockIdx.x, batch = row / per;
    i64 at = (i64)row * n;
    const T *gate = gates.of(batch), *scale = scales.of(batch);
    float m = in.mean[row], r = in.rstd[row];
    float s[2] = {0.f, 0.f};
    for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) {
        float g = to_float(in.dz[at + j]) * (1.f + to_float(scale[j]));
        s[0] += g;
        s[1] += g * ((to_float(in.h[at + j]) - m) * r);
    }
    row_sums<0>(s);
    float c0 = s[0] / n, c1 = s[1] / n;
    if (threadIdx.x == 0) {
        means[2 * (i64)row] = c0;
        means[2 * (i64)row + 1] = c1;
    }
    for (int j = (int)threadIdx.x; j < n; j += (int)blockDim.x) {
        float d = gradient(in, at + j, m, r, c0, c1, to_float(scale[j]));
        dx[at + j] = from_float<T>(d);
        dy[at + j] = from_float<T>(d * to_float(gate[j]));
    }
}

/** Sums of columns over the block's rows: a thread per column, blockIdx.y counts tiles of columns. */
template <class T> DEV void column_sums(const Given<T>& in, const Vectors<T>& scales, const float* means, const Sums<T>& sums, int per, int chunks, int n) {
    int j = (int)(blockIdx.y * blockDim.x + threadIdx.x);
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    if (j >= n) return;
    float s[3] = {0.f, 0.f, 0.f}, scale = to_float(scales.of(batch)[j]);
    for (int row = first; row < last; row++) {
        i64 at = (i64)row * n + j;
        float m = in.mean[row], r = in.rstd[row], d = to_float(in.dz[at]);
        s[0] += gradient(in, at, m, r, means[2 * (i64)row], means[2 * (i64)row + 1], scale) * to_float(in.y[at]);
        s[1] += d;
        s[2] += d * ((to_float(in.h[at]) - m) * r);
    }
    sums.put(blockIdx.x, n, j, s);
}

/** Adds the parts of a batch: block of 32 columns and 16 slices of the chunks. */
template <class T> DEV void finish(const float* part, T* gate, T* shift, T* scale, int chunks, int n) {
    __shared__ float shared[3][16][32];
    int tiles = div_up(n, 32);
    i64 batch = blockIdx.x / tiles;
    int j = (int)(blockIdx.x % tiles * 32 + threadIdx.x);
    float s[3] = {0.f, 0.f, 0.f};
    if (j < n) {
#pragma unroll 4
        for (int c = (int)threadIdx.y; c < chunks; c += 16) {
#pragma unroll
            for (int m = 0; m < 3; m++) s[m] += part[(3 * (batch * chunks + c) + m) * n + j];
        }
    }
#pragma unroll
    for (int m = 0; m < 3; m++) shared[m][threadIdx.y][threadIdx.x] = s[m];
    __syncthreads();
    if (threadIdx.y < 3 && j < n) {
        float sum = 0.f;
        for (int i = 0; i < 16; i++) sum += shared[threadIdx.y][i][threadIdx.x];
        T* to = threadIdx.y == 0 ? gate : threadIdx.y == 1 ? shift : scale;
        to[batch * n + j] = from_float<T>(sum);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)
// Suffix, type, vectors per lane of a warp.
#define FORWARD_SHORT(X)                                                                                                                     \
    X(f32, float, 1) X(f32, float, 2) X(f32, float, 3) X(f32, float, 6) X(f32, float, 10) X(bf16, bf16, 1) X(bf16, bf16, 2) X(bf16, bf16, 3) \
    X(bf16, bf16, 5) X(f16, f16, 1) X(f16, f16, 2) X(f16, f16, 3) X(f16, f16, 5)
#define BACKWARD_SHORT(X)                                                                                                                    \
    X(f32, float, 1) X(f32, float, 2) X(f32, float, 3) X(f32, float, 6) X(bf16, bf16, 1) X(bf16, bf16, 2) X(bf16, bf16, 3) X(f16, f16, 1)    \
    X(f16, f16, 2) X(f16, f16, 3)
// Suffix, type, vectors per thread of a block of up to 512 threads.
#define LONG_ROWS(X) X(f32, float, 1) X(f32, float, 2) X(bf16, bf16, 1) X(bf16, bf16, 2) X(f16, f16, 1) X(f16, f16, 2)

// x, y, z, h [rows, n], gate, shift, scale [batches, n], mean, rstd [rows], rows per batch, n.
#define FORWARD_ARGS(T)                                                                                                                      \
    const T *x, const T *y, const T *gate, i64 gate_stride, const T *shift, i64 shift_stride, const T *scale, i64 scale_stride, T *z, T *h,  \
        float *mean, float *rstd, int rows, int per, int n, float eps
#define FORWARD_VECTORS(T) Vectors<T>{gate, gate_stride}, Vectors<T>{shift, shift_stride}, Vectors<T>{scale, scale_stride}

#define FORWARD_LANES(S, T, K)                                                                                                               \
    KERNEL_BOUNDS(gated_norm_lanes_k##K##_##S, 128, 1)(FORWARD_ARGS(T)) {                                                                    \
        forward_row<T, K, 32>(x, y, FORWARD_VECTORS(T), z, h, mean, rstd, rows, per, n, eps);                                                \
    }
#define FORWARD_BLOCK(S, T, K)                                                                                                               \
    KERNEL_BOUNDS(gated_norm_block_k##K##_##S, 512, 1)(FORWARD_ARGS(T)) {                                                                    \
        forward_row<T, K, 0>(x, y, FORWARD_VECTORS(T), z, h, mean, rstd, rows, per, n, eps);                                                 \
    }
#define FORWARD_ANY(S, T)                                                                                                                    \
    KERNEL_BOUNDS(gated_norm_any_##S, 1024, 1)(FORWARD_ARGS(T)) {                                                                            \
        if ((int)blockIdx.x < rows) forward_any<T>(x, y, FORWARD_VECTORS(T), z, h, mean, rstd, per, n, eps);                                 \
    }
FORWARD_SHORT(FORWARD_LANES)
LONG_ROWS(FORWARD_BLOCK)
TYPES(FORWARD_ANY)

// dz, dh, h, y, dx, dy [batches, per, n], mean, rstd [batches, per], gate, scale [batches, n]; part [batches, chunks, 3, n], or null and dgate, dshift,
// dscale [batches, n], or all null. Grid: batches * chunks.
#define GIVEN_ARGS(T) const T *dz, const T *dh, const T *h, const T *y, const float *mean, const float *rstd
#define SUM_ARGS(T) float *part, T *dgate, T *dshift, T *dscale, int per, int chunks, int n
#define BACKWARD_ARGS(T)                                                                                                                     \
    GIVEN_ARGS(T), const T *gate, i64 gate_stride, const T *scale, i64 scale_stride, T *dx, T *dy, SUM_ARGS(T)
#define GIVEN(T) Given<T>{dz, dh, h, y, mean, rstd}
#define BACKWARD(T, K, G)                                                                                                                    \
    backward_rows<T, K, G>(GIVEN(T), Vectors<T>{gate, gate_stride}, Vectors<T>{scale, scale_stride}, dx, dy,                                 \
                           Sums<T>{part, dgate, dshift, dscale}, per, chunks, n)

#define BACKWARD_LANES(S, T, K)                                                                                                              \
    KERNEL_BOUNDS(gated_norm_backward_lanes_k##K##_##S, 256, 1)(BACKWARD_ARGS(T)) { BACKWARD(T, K, 32); }
#define BACKWARD_BLOCK(S, T, K)                                                                                                              \
    KERNEL_BOUNDS(gated_norm_backward_block_k##K##_##S, 512, 1)(BACKWARD_ARGS(T)) { BACKWARD(T, K, 0); }
// means [rows, 2]. Grid: rows.
#define BACKWARD_ANY(S, T)                                                                                                                   \
    KERNEL_BOUNDS(gated_norm_backward_any_##S, 1024, 1)                                                                                      \
    (GIVEN_ARGS(T), const T* gate, i64 gate_stride, const T* scale, i64 scale_stride, T* dx, T* dy, float* means, int per, int n) {          \
        backward_any<T>(GIVEN(T), Vectors<T>{gate, gate_stride}, Vectors<T>{scale, scale_stride}, dx, dy, means, per, n);                    \
    }
// Grid: batches * chunks, tiles of blockDim.x columns.
#define COLUMN_SUMS(S, T)                                                                                                                    \
    KERNEL_BOUNDS(gated_norm_sums_##S, 256, 1)                                                                                               \
    (GIVEN_ARGS(T), const T* scale, i64 scale_stride, const float* means, SUM_ARGS(T)) {                                                     \
        column_sums<T>(GIVEN(T), Vectors<T>{scale, scale_stride}, means, Sums<T>{part, dgate, dshift, dscale}, per, chunks, n);              \
    }
// part [batches, chunks, 3, n], dgate, dshift, dscale [batches, n]. Grid: batches * div_up(n, 32); block (32, 16).
#define FINISH(S, T)                                                                                                                         \
    KERNEL_BOUNDS(gated_norm_finish_##S, 512, 1)(const float* part, T* dgate, T* dshift, T* dscale, int chunks, int n) {                     \
        finish<T>(part, dgate, dshift, dscale, chunks, n);                                                                                   \
    }
BACKWARD_SHORT(BACKWARD_LANES)
LONG_ROWS(BACKWARD_BLOCK)
TYPES(BACKWARD_ANY)
TYPES(COLUMN_SUMS)
TYPES(FINISH)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_FORWARD(S, T, K) EMU_EXPORT(gated_norm_lanes_k##K##_##S)
#define EXPORT_BACKWARD(S, T, K) EMU_EXPORT(gated_norm_backward_lanes_k##K##_##S)
#define EXPORT_BLOCK(S, T, K) EMU_EXPORT(gated_norm_block_k##K##_##S) EMU_EXPORT(gated_norm_backward_block_k##K##_##S)
#define EXPORT_TYPE(S, T)                                                                                                                    \
    EMU_EXPORT(gated_norm_any_##S)                                                                                                           \
    EMU_EXPORT(gated_norm_backward_any_##S) EMU_EXPORT(gated_norm_sums_##S) EMU_EXPORT(gated_norm_finish_##S)
FORWARD_SHORT(EXPORT_FORWARD)
BACKWARD_SHORT(EXPORT_BACKWARD)
LONG_ROWS(EXPORT_BLOCK)
TYPES(EXPORT_TYPE)
