// SPDX-License-Identifier: Apache-2.0
//
// Softmax, its logarithm, and their gradients, along any axis of a dense tensor [outer, n, inner].
//   rows   inner = 1, n up to 16384 (gradients 8192): the threads of a row (1 to 32 lanes of a warp, or a block) hold it in registers; one read, one write
//   lines  anything else: one pass for maximum and sum, one that writes
//
//   softmax        y = e^(x - max) / sum            softmax_backward      dx = y (dy - sum y dy)
//   log_softmax    y = x - max - log sum            log_softmax_backward  dx = dy - e^y sum dy
#include "lines.cuh"

enum { SOFTMAX = 0, LOG = 1, GRADIENT = 2, LOG_GRADIENT = 3 };

// ---- Rows --------------------------------------------------------------------------------------------------------------------------------------------

/** Sum or maximum over the blockDim.x threads of a row, in all of them; with more than 32 threads a block holds one row. */
template <bool MAXIMUM> DEV float row_all(float x) {
    int width = blockDim.x < 32 ? (int)blockDim.x : 32;
    for (int o = width / 2; o > 0; o >>= 1) {
        float other = shfl_xor(x, o);
        x = MAXIMUM ? max_nan(x, other) : x + other;
    }
    if (blockDim.x <= 32) return x;
    __shared__ float part[32];
    int warps = (int)blockDim.x / 32;
    if (lane() == 0) part[warp_index()] = x;
    __syncthreads();
    x = part[0];
    for (int w = 1; w < warps; w++) x = MAXIMUM ? max_nan(x, part[w]) : x + part[w];
    __syncthreads();
    return x;
}

/** E / V vectors of a row; `fill` beyond its end. */
template <class T, int V, int E> DEV void load_row(float (&r)[E], const T* x, int n, float fill) {
#pragma unroll
    for (int k = 0; k < E / V; k++) {
        int i = (k * (int)blockDim.x + (int)threadIdx.x) * V;
        if (i < n) {
            Vec<T, V> v = load_vec<V>(x + i);
#pragma unroll
            for (int j = 0; j < V; j++) r[k * V + j] = to_float(v[j]);
        } else {
#pragma unroll
            for (int j = 0; j < V; j++) r[k * V + j] = fill;
        }
    }
}

template <class T, int V, int E> DEV void store_row(T* y, const float (&r)[E], int n) {
#pragma unroll
    for (int k = 0; k < E / V; k++) {
        int i = (k * (int)blockDim.x + (int)threadIdx.x) * V;
        if (i < n) {
            Vec<T, V> v;
#pragma unroll
            for (int j = 0; j < V; j++) v[j] = from_float<T>(r[k * V + j]);
            store_vec(y + i, v);
        }
    }
}

template <int MODE, class T, int V, int E> DEV void row_in_registers(const T* a, const T* b, T* out, int n) {
    float x[E];
    if (MODE == SOFTMAX || MODE == LOG) {
        load_row<T, V, E>(x, a, n, -INFINITY);
        float max = -INFINITY, sum = 0;
#pragma unroll
        for (int j = 0; j < E; j++) max = max_nan(max, x[j]);
        max = row_all<true>(max);
#pragma unroll
        for (int j = 0; j < E; j++) {
            if (MODE == SOFTMAX) {
                x[j] = expf(x[j] - max);
                sum += x[j];
            } else {
                sum += expf(x[j] - max);
            }
        }
        sum = row_all<false>(sum);
        float scale = 1.f / sum, shift = max + logf(sum);
#pragma unroll
        for (int j = 0; j < E; j++) x[j] = MODE == SOFTMAX ? x[j] * scale : x[j] - shift;
    } else {
        float dy[E];
        load_row<T, V, E>(x, a, n, 0.f);
        load_row<T, V, E>(dy, b, n, 0.f);
        float sum = 0;
#pragma unroll
        for (int j = 0; j < E; j++) sum += MODE == GRADIENT ? x[j] * dy[j] : dy[j];
        sum = row_all<false>(sum);
#pragma unroll
        for (int j = 0; j < E; j++) x[j] = MODE == GRADIENT ? x[j] * (dy[j] - sum) : dy[j] - expf(x[j]) * sum;
    }
    store_row<T, V, E>(out, x, n);
}

/** block (threads of a row, rows), grid rows; a row has at most blockDim.x * E elements. vector: rows are multiples of 16 bytes, and aligned so. */
template <int MODE, class T, int E> DEV void rows(const T* a, const T* b, T* out, i64 count, int n, int vector) {
    i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    i64 at = row < count ? row * n : 0;
    int size = row < count ? n : 0;   // a row past the end takes part in the shuffles
    if (vector) {
        row_in_registers<MODE, T, Wide<T>::N, E>(a + at, b + at, out + at, size);
    } else {
        row_in_registers<MODE, T, 1, E>(a + at, b + at, out + at, size);
    }
}

// ---- Lines -------------------------------------------------------------------------------------------------------------------------------------------

template <int MODE, class T> DEV void lines(const T* a, const T* b, T* out, i64 n, i64 inner, i64 count) {
    typedef Acc<T> F;
    Line l = line_of(n, inner, count);
    i64 end = l.active ? n : 0, step = blockDim.y;
    a += l.start;
    b += l.start;
    out += l.start;
    if (MODE == SOFTMAX || MODE == LOG) {
        Exponentials<F> e = {(F)-INFINITY, 0};
#pragma unroll 4
        for (i64 i = threadIdx.y; i < end; i += step) e.add(to_acc(a[i * inner]));
        e = line_exponentials(e);
        F scale = F(1) / e.sum, shift = e.max + log_of(e.sum);
#pragma unroll 4
        for (i64 i = threadIdx.y; i < end; i += step) {
            F x = to_acc(a[i * inner]);
            out[i * inner] = from_acc<T>(MODE == SOFTMAX ? exp_of(x - e.max) * scale : x - shift);
        }
    } else {
        F sum = 0;
#pragma unroll 4
        for (i64 i = threadIdx.y; i < end; i += step) {
            F dy = to_acc(b[i * inner]);
            sum += MODE == GRADIENT ? to_acc(a[i * inner]) * dy : dy;
        }
        sum = line_sum(sum);
#pragma unroll 4
        for (i64 i = threadIdx.y; i < end; i += step) {
            F y = to_acc(a[i * inner]), dy = to_acc(b[i * inner]);
            out[i * inner] = from_acc<T>(MODE == GRADIENT ? y * (dy - sum) : dy - exp_of(y) * sum);
        }
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// a, b, out [rows, n]: x, unused, y forward; y, dy, dx backward
#define ROWS(name, MODE, suffix, T, E, blocks)                                                                                       \
    KERNEL_BOUNDS(name##_rows##E##_##suffix, 512, blocks)(const T* a, const T* b, T* out, i64 count, int n, int vector) {             \
        rows<MODE, T, E>(a, b, out, count, n, vector);                                                                               \
    }

// a, b, out [outer, n, inner], the same
#define LINES(name, MODE, suffix, T)                                                                                                 \
    KERNEL_BOUNDS(name##_lines_##suffix, 512, 2)(const T* a, const T* b, T* out, i64 n, i64 inner, i64 count) {                       \
        lines<MODE, T>(a, b, out, n, inner, count);                                                                                  \
    }

#define FORWARD(X, suffix, T)      \
    X(softmax, SOFTMAX, suffix, T) \
    X(log_softmax, LOG, suffix, T)
#define BACKWARD(X, suffix, T)               \
    X(softmax_backward, GRADIENT, suffix, T) \
    X(log_softmax_backward, LOG_GRADIENT, suffix, T)
#define SOFTMAXES(X, suffix, T) \
    FORWARD(X, suffix, T)       \
    BACKWARD(X, suffix, T)

#define ROWS8(name, MODE, suffix, T) ROWS(name, MODE, suffix, T, 8, 2)
#define ROWS16(name, MODE, suffix, T) ROWS(name, MODE, suffix, T, 16, 1)
#define ROWS32(name, MODE, suffix, T) ROWS(name, MODE, suffix, T, 32, 1)
#define REGISTERS(suffix, T)      \
    SOFTMAXES(ROWS8, suffix, T)   \
    FORWARD(ROWS32, suffix, T)    \
    BACKWARD(ROWS16, suffix, T)   \
    SOFTMAXES(LINES, suffix, T)

REGISTERS(f32, float)
REGISTERS(bf16, bf16)
REGISTERS(f16, f16)
SOFTMAXES(LINES, f64, double)

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_LINES(name, MODE, suffix, T) EMU_EXPORT(name##_lines_##suffix)
#define EXPORT8(name, MODE, suffix, T) EMU_EXPORT(name##_rows8_##suffix)
#define EXPORT16(name, MODE, suffix, T) EMU_EXPORT(name##_rows16_##suffix)
#define EXPORT32(name, MODE, suffix, T) EMU_EXPORT(name##_rows32_##suffix)
#define EXPORT(suffix, T)              \
    SOFTMAXES(EXPORT8, suffix, T)      \
    FORWARD(EXPORT32, suffix, T)       \
    BACKWARD(EXPORT16, suffix, T)      \
    SOFTMAXES(EXPORT_LINES, suffix, T)

EXPORT(f32, float)
EXPORT(bf16, bf16)
EXPORT(f16, f16)
SOFTMAXES(EXPORT_LINES, f64, double)
