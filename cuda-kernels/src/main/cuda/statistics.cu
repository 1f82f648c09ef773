// SPDX-License-Identifier: Apache-2.0
//
// Variance, log of the sum of exponentials, place of the largest or smallest element (all by the loops of reduce.cuh), and running sums.
#include "reduce.cuh"

// ---- Rules -------------------------------------------------------------------------------------------------------------------------------------------

DEV float exp_of(float x) { return expf(x); }
DEV double exp_of(double x) { return exp(x); }
DEV float log_of(float x) { return logf(x); }
DEV double log_of(double x) { return log(x); }
DEV float root_of(float x) { return sqrtf(x); }
DEV double root_of(double x) { return sqrt(x); }

/** Welford's update and Chan's merge: count, mean, sum of squared deviations. y = factor * squares, or its root if kind is 1. */
template <class T> struct Variance {
    typedef typename SumType<T>::type F;
    struct A {
        F count, mean, squares;
    };
    typedef T Out;
    DEVM static A init(int) { return A{0, 0, 0}; }
    DEVM static void add(A& a, F x, i64, int) {
        F d = x - a.mean;
        a.count += 1;
        a.mean += d / a.count;
        a.squares += d * (x - a.mean);
    }
    DEVM static void merge(A& a, A b, int) {
        F count = a.count + b.count;
        if (count == 0) return;
        F d = b.mean - a.mean, share = b.count / count;
        a.mean += d * share;
        a.squares += b.squares + d * d * a.count * share;
        a.count = count;
    }
    DEVM static A shuffle(A a, int offset) { return A{shfl_xor(a.count, offset), shfl_xor(a.mean, offset), shfl_xor(a.squares, offset)}; }
    DEVM static void store(T* y, i64 at, A a, int kind, double factor) {
        F variance = a.squares * (F)factor;
        put_sum(y, at, kind == 1 ? root_of(variance) : variance);
    }
};

/** log sum e^x = max + log(sum e^(x - max)). */
template <class T> struct LogSumExp {
    typedef typename SumType<T>::type F;
    struct A {
        F max, sum;
    };
    typedef T Out;
    DEVM static A init(int) { return A{(F)-INFINITY, 0}; }
    DEVM static void merge(A& a, A b, int) {
        if (b.max == a.max) {   // infinities among them
            a.sum += b.sum;
        } else if (b.max > a.max) {
            a.sum = b.sum + a.sum * exp_of(a.max - b.max);
            a.max = b.max;
        } else {
            a.sum += b.sum * exp_of(b.max - a.max);   // NaN comes here and stays
        }
    }
    DEVM static void add(A& a, F x, i64, int kind) { merge(a, A{x, 1}, kind); }
    DEVM static A shuffle(A a, int offset) { return A{shfl_xor(a.max, offset), shfl_xor(a.sum, offset)}; }
    DEVM static void store(T* y, i64 at, A a, int, double) { put_sum(y, at, a.sum == 0 ? a.max : a.max + log_of(a.sum)); }
};

/** The number of the largest (kind 1) or smallest element; the first among equals; the first NaN if there is one. */
template <class T> struct Arg {
    typedef typename SumType<T>::type F;
    struct A {
        F value;
        i64 index;   // -1: none yet
    };
    typedef i64 Out;
    DEVM static A init(int) { return A{0, -1}; }
    DEVM static bool beats(F challenger, F holder, int kind) {
        if (holder != holder) return false;
        return challenger != challenger || (kind == 1 ? challenger > holder : challenger < holder);
    }
    DEVM static void merge(A& a, A b, int kind) {
        if (b.index < 0) return;
        bool later = b.index > a.index;
        if (a.index < 0 || beats(b.value, a.value, kind) || (!later && !beats(a.value, b.value, kind))) a = b;
    }
    DEVM static void add(A& a, F x, i64 i, int kind) {
        if (a.index < 0 || beats(x, a.value, kind)) a = A{x, i};
    }
    DEVM static A shuffle(A a, int offset) { return A{shfl_xor(a.value, offset), shfl_xor(a.index, offset)}; }
    DEVM static void store(i64* y, i64 at, A a, int, double) { y[at] = a.index; }
};

// ---- Running sums ------------------------------------------------------------------------------------------------------------------------------------

/** The sum over the lanes up to this one. */
template <class F> DEV F warp_scan(F x) {
    for (int o = 1; o < 32; o <<= 1) {
        F before = shfl(x, lane() >= o ? lane() - o : 0);
        if (lane() >= o) x += before;
    }
    return x;
}

/** Rows of n neighbours: a block of 256 threads per row, 1024 elements at a time. x, y [rows, n]. */
template <class T, class Y> DEV void cumsum_row(const T* x, Y* y, i64 n, int reversed) {
    typedef typename SumType<T>::type F;
    const int PER = 4;
    __shared__ F sums[8];
    x += blockIdx.x * n;
    y += blockIdx.x * n;
    F carry = 0;
    for (i64 base = 0; base < n; base += 256 * PER) {
        F v[PER], sum = 0;
        i64 first = base + threadIdx.x * PER;
        for (int j = 0; j < PER; j++) {
            i64 i = first + j;
            if (i < n) sum += widen(x[reversed ? n - 1 - i : i]);
            v[j] = sum;
        }
        F scan = warp_scan(sum);
        __syncthreads();   // the sums of the chunk before have been read
        if (lane() == 31) sums[warp_index()] = scan;
        __syncthreads();
        F before = carry + (scan - sum);
        for (int w = 0; w < 8; w++) {
            if (w < warp_index()) before += sums[w];
            carry += sums[w];
        }
        for (int j = 0; j < PER; j++) {
            i64 i = first + j;
            if (i < n) put_sum(y, reversed ? n - 1 - i : i, before + v[j]);
        }
    }
}

/** Lines with a stride: a thread per line. x, y [outer, n, inner]. */
template <class T, class Y> DEV void cumsum_column(const T* x, Y* y, i64 n, i64 inner, i64 lines, int reversed) {
    typedef typename SumType<T>::type F;
    i64 line = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (line >= lines) return;
    i64 at = line / inner * n * inner + line % inner;
    i64 step = inner;
    if (reversed) {
        at += (n - 1) * inner;
        step = -inner;
    }
    F sum = 0;
#pragma unroll 4
    for (i64 k = 0; k < n; k++) {
        sum += widen(x[at]);
        put_sum(y, at, sum);
        at += step;
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define CUMSUM(suffix, T, Y)                                                                                                                           \
    KERNEL_BOUNDS(cumsum_row_##suffix, 256, 4)(const T* x, Y* y, i64 n, int reversed) { cumsum_row(x, y, n, reversed); }                               \
    KERNEL(cumsum_column_##suffix)(const T* x, Y* y, i64 n, i64 inner, i64 lines, int reversed) { cumsum_column(x, y, n, inner, lines, reversed); }

#define FLOATING(suffix, T)                        \
    REDUCTION(variance, suffix, Variance, T)       \
    REDUCTION(logsumexp, suffix, LogSumExp, T)     \
    REDUCTION(arg, suffix, Arg, T)                 \
    CUMSUM(suffix, T, T)

#define INTEGER(suffix, T)         \
    REDUCTION(arg, suffix, Arg, T) \
    CUMSUM(suffix, T, i64)

FLOATING(f32, float)
FLOATING(bf16, bf16)
FLOATING(f16, f16)
FLOATING(f64, double)
INTEGER(i64, i64)
INTEGER(i32, i32)
INTEGER(u8, u8)

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_INTEGER(suffix)      \
    REDUCTION_EXPORT(arg, suffix)   \
    EMU_EXPORT(cumsum_row_##suffix) \
    EMU_EXPORT(cumsum_column_##suffix)

#define EXPORT(suffix)                  \
    REDUCTION_EXPORT(variance, suffix)  \
    REDUCTION_EXPORT(logsumexp, suffix) \
    EXPORT_INTEGER(suffix)

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
EXPORT(f64)
EXPORT_INTEGER(i64)
EXPORT_INTEGER(i32)
EXPORT_INTEGER(u8)
