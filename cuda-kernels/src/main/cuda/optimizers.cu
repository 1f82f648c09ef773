// SPDX-License-Identifier: Apache-2.0
//
// Optimiser steps, averages and the squared norm over many tensors in one launch. A table passed by value lists the tensors; each is cut into chunks of
// CHUNK elements, a block per chunk, and a block finds its tensor by bisection. All tensors of a parameter are dense and of one order. f32 tensors have a
// kernel of their own; the others convert by the type in the table; f64 is computed in f64.
#include "dev.h"

// ---- Table -------------------------------------------------------------------------------------------------------------------------------------------

enum { CHUNK = 8192, SLOTS = 70, WORDS = 7, F32 = 0, BF16 = 1, F16 = 2, F64 = 3 };

/** Per parameter seven words: addresses of up to five tensors, the number of elements, and first block << 16 | types, two bits each, tensor 0 lowest. */
struct Table {
    i64 word[SLOTS * WORDS];
};

struct Chunk {
    const i64* word;   // of the parameter
    i64 begin, end;    // elements
    bool aligned;      // all addresses are multiples of 16
    int types;
};

DEV Chunk find_chunk(const Table& t, int count) {
    int low = 0, high = count;   // first block of low <= this one < first block of high
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if ((t.word[middle * WORDS + 6] >> 16) <= (i64)blockIdx.x) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Chunk c;
    c.word = t.word + low * WORDS;
    c.types = (int)(c.word[6] & 0xffff);
    c.begin = ((i64)blockIdx.x - (c.word[6] >> 16)) * CHUNK;
    c.end = c.begin + CHUNK < c.word[5] ? c.begin + CHUNK : c.word[5];
    c.aligned = ((c.word[0] | c.word[1] | c.word[2] | c.word[3] | c.word[4]) & 15) == 0;
    return c;
}

// ---- Access ------------------------------------------------------------------------------------------------------------------------------------------
//
// MIXED: the type is looked up; else every tensor is of type F. V = 4, or 1 at the ends.

template <class F, bool MIXED, int V> DEV Vec<F, V> get(const Chunk& c, int tensor, i64 i) {
    if (!MIXED) return load_vec<V>((const F*)c.word[tensor] + i);
    int type = c.types >> (2 * tensor) & 3;
    Vec<F, V> r;
    if (type == F32) {
        Vec<float, V> v = load_vec<V>((const float*)c.word[tensor] + i);
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = (F)v[j];
    } else if (type == BF16) {
        Vec<bf16, V> v = load_vec<V>((const bf16*)c.word[tensor] + i);
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = (F)to_float(v[j]);
    } else {
        Vec<f16, V> v = load_vec<V>((const f16*)c.word[tensor] + i);
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = (F)to_float(v[j]);
    }
    return r;
}

template <class F, bool MIXED, int V> DEV void put(const Chunk& c, int tensor, i64 i, const Vec<F, V>& x) {
    if (!MIXED) {
        store_vec((F*)c.word[tensor] + i, x);
        return;
    }
    int type = c.types >> (2 * tensor) & 3;
    if (type == F32) {
        Vec<float, V> v;
#pragma unroll
        for (int j = 0; j < V; j++) v[j] = (float)x[j];
        store_vec((float*)c.word[tensor] + i, v);
    } else if (type == BF16) {
        Vec<bf16, V> v;
#pragma unroll
        for (int j = 0; j < V; j++) v[j] = float_to_bf16((float)x[j]);
        store_vec((bf16*)c.word[tensor] + i, v);
    } else {
        Vec<f16, V> v;
#pragma unroll
        for (int j = 0; j < V; j++) v[j] = float_to_f16((float)x[j]);
        store_vec((f16*)c.word[tensor] + i, v);
    }
}

/** Applies a step to a chunk: 16 bytes of F at a time, the last elements singly. */
template <class F, class Step> DEV void run(const Step& step, const Table& t, int count) {
    const int V = 16 / (int)sizeof(F);
    Chunk c = find_chunk(t, count);
    i64 whole = c.aligned ? c.begin + (c.end - c.begin) / V * V : c.begin;
#pragma unroll 2
    for (i64 i = c.begin + threadIdx.x * V; i < whole; i += blockDim.x * V) step.template at<V>(c, i);
    for (i64 i = whole + threadIdx.x; i < c.end; i += blockDim.x) step.template at<1>(c, i);
}

DEV float root(float x) { return sqrtf(x); }
DEV double root(double x) { return sqrt(x); }

// ---- Steps -------------------------------------------------------------------------------------------------------------------------------------------

/** The factor on gradients: scale, less if that leaves a norm above max. squared_norm [1]: of the gradients as they come, f64 if wide, else f32; null:
    no limit. */
template <class F> DEV F limited(F scale, const void* squared_norm, int wide, F max) {
    if (!squared_norm) return scale;
    F square = wide ? (F) * (const double*)squared_norm : (F) * (const float*)squared_norm;
    F norm = (scale < 0 ? -scale : scale) * root(square);
    F factor = max / (norm + F(1e-6));
    return factor < 1 && norm - norm == 0 ? scale * factor : scale;   // infinite or NaN: no limit
}

/** Tensors p, g, m, v and, AVERAGED, an average of p. rate = learning rate / (1 - beta1^t), inverse = 1 / sqrt(1 - beta2^t); kept: what decoupled decay
    leaves of p; follow: of p in the average. */
template <class F, bool MIXED, bool AVERAGED> struct AdamW {
    F rate, beta1, rest1, beta2, rest2, eps, decay, kept, inverse, scale, follow;
    template <int V> DEVM void at(const Chunk& c, i64 i) const {
        Vec<F, V> p = get<F, MIXED, V>(c, 0, i), g = get<F, MIXED, V>(c, 1, i), m = get<F, MIXED, V>(c, 2, i), v = get<F, MIXED, V>(c, 3, i);
#pragma unroll
        for (int j = 0; j < V; j++) {
            F d = scale * g[j] + decay * p[j];
            m[j] = beta1 * m[j] + rest1 * d;
            v[j] = beta2 * v[j] + rest2 * d * d;
            p[j] = kept * p[j] - rate * m[j] / (root(v[j]) * inverse + eps);
        }
        put<F, MIXED, V>(c, 0, i, p);
        put<F, MIXED, V>(c, 2, i, m);
        put<F, MIXED, V>(c, 3, i, v);
        if (AVERAGED) {
            Vec<F, V> a = get<F, MIXED, V>(c, 4, i);
#pragma unroll
            for (int j = 0; j < V; j++) a[j] += follow * (p[j] - a[j]);
            put<F, MIXED, V>(c, 4, i, a);
        }
    }
};

/** Tensors p, g and, if momentum is not 0, v. */
template <class F, bool MIXED> struct Sgd {
    F rate, momentum, decay, scale;
    int nesterov;
    template <int V> DEVM void at(const Chunk& c, i64 i) const {
        Vec<F, V> p = get<F, MIXED, V>(c, 0, i), g = get<F, MIXED, V>(c, 1, i);
#pragma unroll
        for (int j = 0; j < V; j++) g[j] = scale * g[j] + decay * p[j];
        if (momentum != 0) {
            Vec<F, V> v = get<F, MIXED, V>(c, 2, i);
#pragma unroll
            for (int j = 0; j < V; j++) {
                v[j] = momentum * v[j] + g[j];
                g[j] = nesterov ? g[j] + momentum * v[j] : v[j];
            }
            put<F, MIXED, V>(c, 2, i, v);
        }
#pragma unroll
        for (int j = 0; j < V; j++) p[j] -= rate * g[j];
        put<F, MIXED, V>(c, 0, i, p);
    }
};

/** Tensors p, g, m. */
template <class F, bool MIXED> struct Lion {
    F rate, beta1, rest1, beta2, rest2, kept, scale;
    template <int V> DEVM void at(const Chunk& c, i64 i) const {
        Vec<F, V> p = get<F, MIXED, V>(c, 0, i), g = get<F, MIXED, V>(c, 1, i), m = get<F, MIXED, V>(c, 2, i);
#pragma unroll
        for (int j = 0; j < V; j++) {
            F d = scale * g[j];
            F u = beta1 * m[j] + rest1 * d;
            F sign = u > 0 ? F(1) : u < 0 ? F(-1) : u;   // 0 and NaN stay
            p[j] = p[j] * kept - rate * sign;
            m[j] = beta2 * m[j] + rest2 * d;
        }
        put<F, MIXED, V>(c, 0, i, p);
        put<F, MIXED, V>(c, 2, i, m);
    }
};

/** Tensors average, x: average += rate (x - average). */
template <class F, bool MIXED> struct Average {
    F rate;
    template <int V> DEVM void at(const Chunk& c, i64 i) const {
        Vec<F, V> a = get<F, MIXED, V>(c, 0, i), x = get<F, MIXED, V>(c, 1, i);
#pragma unroll
        for (int j = 0; j < V; j++) a[j] += rate * (x[j] - a[j]);
        put<F, MIXED, V>(c, 0, i, a);
    }
};

/** Tensors y, x: y = x. */
template <class F, bool MIXED> struct Copy {
    template <int V> DEVM void at(const Chunk& c, i64 i) const { put<F, MIXED, V>(c, 0, i, get<F, MIXED, V>(c, 1, i)); }
};

/** partial[base + block] = sum x^2 over a chunk of tensor 0. */
template <class F, bool MIXED> DEV void squared_norm(const Table& t, int count, F* partial, i64 base) {
    Chunk c = find_chunk(t, count);
    i64 whole = c.aligned ? c.begin + (c.end - c.begin) / 4 * 4 : c.begin;
    F sum = 0;
#pragma unroll 4
    for (i64 i = c.begin + threadIdx.x * 4; i < whole; i += blockDim.x * 4) {
        Vec<F, 4> x = get<F, MIXED, 4>(c, 0, i);
#pragma unroll
        for (int j = 0; j < 4; j++) sum += x[j] * x[j];
    }
    for (i64 i = whole + threadIdx.x; i < c.end; i += blockDim.x) {
        Vec<F, 1> x = get<F, MIXED, 1>(c, 0, i);
        sum += x[0] * x[0];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[base + blockIdx.x] = sum;
}

/** y[0] = sum of partial [n], in f64; one block of 1024 threads. */
template <class F> DEV void norm_total(const F* partial, F* y, i64 n) {
    double sum = 0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) sum += (double)partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) y[0] = (F)sum;
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define STEPS(suffix, F, MIXED)                                                                                                                         \
    KERNEL_BOUNDS(adamw_##suffix, 256, 4)(Table t, int count, double rate, double beta1, double rest1, double beta2, double rest2, double eps,         \
                                          double decay, double kept, double inverse, double scale, double max, const void* squared_norm, int wide) {   \
        AdamW<F, MIXED, false> step = {(F)rate, (F)beta1, (F)rest1, (F)beta2, (F)rest2, (F)eps, (F)decay, (F)kept, (F)inverse,                         \
                                       limited((F)scale, squared_norm, wide, (F)max), 0};                                                              \
        run<F>(step, t, count);                                                                                                                        \
    }                                                                                                                                                  \
    KERNEL_BOUNDS(adamw_averaged_##suffix, 256, 4)(Table t, int count, double rate, double beta1, double rest1, double beta2, double rest2, double eps,\
                                          double decay, double kept, double inverse, double scale, double max, const void* squared_norm, int wide, double follow) {\
        AdamW<F, MIXED, true> step = {(F)rate, (F)beta1, (F)rest1, (F)beta2, (F)rest2, (F)eps, (F)decay, (F)kept, (F)inverse,                          \
                                       limited((F)scale, squared_norm, wide, (F)max), (F)follow};                                                      \
        run<F>(step, t, count);                                                                                                                        \
    }                                                                                                                                                  \
    KERNEL_BOUNDS(sgd_##suffix, 256, 4)(Table t, int count, double rate, double momentum, double decay, double scale, int nesterov) {                   \
        Sgd<F, MIXED> step = {(F)rate, (F)momentum, (F)decay, (F)scale, nesterov};                                                                      \
        run<F>(step, t, count);                                                                                                                        \
    }                                                                                                                                                  \
    KERNEL_BOUNDS(lion_##suffix, 256, 4)(Table t, int count, double rate, double beta1, double rest1, double beta2, double rest2, double kept,          \
                                         double scale) {                                                                                               \
        Lion<F, MIXED> step = {(F)rate, (F)beta1, (F)rest1, (F)beta2, (F)rest2, (F)kept, (F)scale};                                                     \
        run<F>(step, t, count);                                                                                                                        \
    }                                                                                                                                                  \
    KERNEL_BOUNDS(average_##suffix, 256, 4)(Table t, int count, double rate) {                                                                          \
        Average<F, MIXED> step = {(F)rate};                                                                                                            \
        run<F>(step, t, count);                                                                                                                        \
    }                                                                                                                                                  \
    KERNEL_BOUNDS(copy_all_##suffix, 256, 4)(Table t, int count) { run<F>(Copy<F, MIXED>(), t, count); }                                                \
    KERNEL_BOUNDS(squared_norm_##suffix, 256, 4)(Table t, int count, F* partial, i64 base) { squared_norm<F, MIXED>(t, count, partial, base); }

STEPS(f32, float, false)
STEPS(mixed, float, true)
STEPS(f64, double, false)

KERNEL(norm_total_f32)(const float* partial, float* y, i64 n) { norm_total(partial, y, n); }
KERNEL(norm_total_f64)(const double* partial, double* y, i64 n) { norm_total(partial, y, n); }

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT(suffix)           \
    EMU_EXPORT(adamw_##suffix)   \
    EMU_EXPORT(adamw_averaged_##suffix) \
    EMU_EXPORT(sgd_##suffix)     \
    EMU_EXPORT(lion_##suffix)    \
    EMU_EXPORT(average_##suffix) \
    EMU_EXPORT(copy_all_##suffix) \
    EMU_EXPORT(squared_norm_##suffix)

EXPORT(f32)
EXPORT(mixed)
EXPORT(f64)
EMU_EXPORT(norm_total_f32)
EMU_EXPORT(norm_total_f64)
