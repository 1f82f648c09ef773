// SPDX-License-Identifier: Apache-2.0
//
// How elementwise kernels go through several operands of one shape. The host joins the axes (class Walk) in the memory order of the result; a block of 256
// threads takes 2048 elements, eight per thread. Three modes, told apart by a branch that all threads take alike:
//   LINEAR   all operands lie alike without gaps: vectors of V elements
//   ROWS     the innermost joined axis is a multiple of V, and along it each operand has step 1 (vectors) or 0 (one value repeated)
//   GENERAL  any steps: one element at a time, neighbouring threads take neighbouring elements
// Operand 0 is the result. Unless flagged it lies without gaps, so element i of the walk is element i of its memory.
#ifndef SFUMATO_WALK_CUH
#define SFUMATO_WALK_CUH

#include "dev.h"

#ifdef __CUDACC__
#define DEV_CALL static __device__ __noinline__  // a function that stays one: for long code that is seldom run
#else
#define DEV_CALL static
#define __grid_constant__  // a parameter that is read where it lies, so that it can be indexed
#endif

const int WALK_AXES = 8;
const int WALK_THREADS = 256;
const int WALK_PER_THREAD = 8;

enum { WALK_LINEAR = 0, WALK_ROWS = 1, WALK_GENERAL = 2, WALK_MODE = 3, WALK_STRIDED_RESULT = 4, WALK_REPEATED = 16 };

/** Steps of K operands; written by the class Walk. Axis 0 is the innermost. In mode ROWS the sizes and steps of axis 0 count vectors. */
template <int K> struct Walk {
    i64 n;                    // elements
    i64 flags;                // mode, WALK_STRIDED_RESULT, WALK_REPEATED << operand
    i64 depth;                // joined axes, at least 1
    i64 size[WALK_AXES];      // of each axis; their product is below 2^31 if there are several
    u64 magic[WALK_AXES];     // ceil(2^64 / size)
    i64 step[K][WALK_AXES];   // in elements
};

/** n / size for n below 2^32: the upper half of the product with ceil(2^64 / size), which is not representable for size 1. */
DEV u32 quotient(u32 n, i64 size, u64 magic) { return size == 1 ? n : (u32)mul_hi((u64)n, magic); }

/** Where element (or vector) i, not negative, of a walk lies in each operand. */
template <int K> DEV void walk_offsets(const Walk<K>& w, i64 i, i64 (&at)[K]) {
#pragma unroll
    for (int k = 0; k < K; k++) at[k] = 0;
#pragma unroll 1
    for (int a = 0;; a++) {
        if (a == (int)w.depth - 1) {
#pragma unroll
            for (int k = 0; k < K; k++) at[k] += i * w.step[k][a];
            break;
        }
        u32 q = quotient((u32)i, w.size[a], w.magic[a]);
        u32 index = (u32)i - q * (u32)w.size[a];
#pragma unroll
        for (int k = 0; k < K; k++) at[k] += (i64)index * w.step[k][a];
        i = q;
    }
}

// ---- Conversions: C is what is computed in -----------------------------------------------------------------------------------------------------------

/** Towards zero into the range of the type; NaN is 0. */
DEV i64 saturate_i64(double x) {
    if (x != x) return 0;
    if (x >= 9223372036854775808.0) return 0x7fffffffffffffffLL;
    if (x <= -9223372036854775808.0) return (i64)(1ULL << 63);
    return (i64)x;
}
DEV i32 saturate_i32(double x) {
    if (x != x) return 0;
    if (x >= 2147483647.0) return 2147483647;
    if (x <= -2147483648.0) return (i32)(1u << 31);
    return (i32)x;
}

template <class C, class T> struct Convert {
    DEVM static C widen(T x) { return (C)x; }
    DEVM static T narrow(C x) { return (T)x; }
};
template <class T> struct Convert<T, T> {
    DEVM static T widen(T x) { return x; }
    DEVM static T narrow(T x) { return x; }
};
template <> struct Convert<float, bf16> {
    DEVM static float widen(bf16 x) { return to_float(x); }
    DEVM static bf16 narrow(float x) { return float_to_bf16(x); }
};
template <> struct Convert<float, f16> {
    DEVM static float widen(f16 x) { return to_float(x); }
    DEVM static f16 narrow(float x) { return float_to_f16(x); }
};
template <> struct Convert<double, bf16> {
    DEVM static double widen(bf16 x) { return (double)to_float(x); }
    DEVM static bf16 narrow(double x) { return float_to_bf16((float)x); }
};
template <> struct Convert<double, f16> {
    DEVM static double widen(f16 x) { return (double)to_float(x); }
    DEVM static f16 narrow(double x) { return float_to_f16((float)x); }
};
template <> struct Convert<double, i64> {
    DEVM static double widen(i64 x) { return (double)x; }
    DEVM static i64 narrow(double x) { return saturate_i64(x); }
};
template <> struct Convert<double, i32> {
    DEVM static double widen(i32 x) { return (double)x; }
    DEVM static i32 narrow(double x) { return saturate_i32(x); }
};
template <> struct Convert<double, u8> {
    DEVM static double widen(u8 x) { return (double)x; }
    DEVM static u8 narrow(double x) { return (u8)saturate_i64(x); }
};

template <> struct Convert<double, bool> {
    DEVM static double widen(bool x) { return x ? 1. : 0.; }
    DEVM static bool narrow(double x) { return x != 0; }
};

// ---- Loads and stores --------------------------------------------------------------------------------------------------------------------------------

/** The elements N of a vector for operands of these types: 16 bytes of the largest, at most 8. */
template <class A, class B = A> struct WalkVector {
    static const int BYTES = sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B);
    static const int N = BYTES <= 2 ? 8 : 16 / BYTES;
};

/** First element of vector u of this thread. */
template <int V> DEV i64 walk_first(int u) {
    return (i64)blockIdx.x * (WALK_THREADS * WALK_PER_THREAD) + (i64)(u * WALK_THREADS + (int)threadIdx.x) * V;
}

template <int V, class C, class T> DEV void load_row(const T* p, bool repeated, C* r) {
    if (repeated) {
        C x = Convert<C, T>::widen(*p);
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = x;
    } else {
        Vec<T, V> x = load_vec<V>(p);
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = Convert<C, T>::widen(x[j]);
    }
}

/** This thread's eight elements of all inputs, as type C: a[k] from p_k, operand k + 1 of the walk. Elements past the end stay as they are. */
template <int V, int K, class C, class... T> DEV void walk_load(const Walk<K>& w, C (&a)[K - 1][WALK_PER_THREAD], const T*... p) {
    static_assert(sizeof...(T) == K - 1, "one pointer per input");
    int mode = (int)w.flags & WALK_MODE;
    if (mode == WALK_GENERAL) {
#pragma unroll
        for (int j = 0; j < WALK_PER_THREAD; j++) {
            i64 i = walk_first<1>(j);
            if (i < w.n) {
                i64 at[K];
                walk_offsets(w, i, at);
                int k = 0;
                ((a[k][j] = Convert<C, T>::widen(p[at[k + 1]]), k++), ...);
            }
        }
        return;
    }
#pragma unroll
    for (int u = 0; u < WALK_PER_THREAD / V; u++) {
        i64 i = walk_first<V>(u);
        if (i + V <= w.n) {
            i64 at[K];
            if (mode == WALK_ROWS) {
                walk_offsets(w, i / V, at);
            } else {
#pragma unroll
                for (int k = 0; k < K; k++) at[k] = i;
            }
            int k = 0;
            ((load_row<V>(p + at[k + 1], ((int)w.flags & (WALK_REPEATED << (k + 1))) != 0, a[k] + u * V), k++), ...);
        } else if (i < w.n) {
#pragma unroll
            for (int j = 0; j < V; j++) {
                if (i + j < w.n) {
                    int k = 0;
                    ((a[k][u * V + j] = Convert<C, T>::widen(p[i + j]), k++), ...);
                }
            }
        }
    }
}

/** Stores this thread's eight elements of the result. */
template <int V, int K, class C, class T> DEV void walk_store(const Walk<K>& w, const C (&a)[WALK_PER_THREAD], T* y) {
    int mode = (int)w.flags & WALK_MODE;
    bool strided = ((int)w.flags & WALK_STRIDED_RESULT) != 0;
    if (mode == WALK_GENERAL) {
#pragma unroll
        for (int j = 0; j < WALK_PER_THREAD; j++) {
            i64 i = walk_first<1>(j);
            if (i < w.n) {
                i64 at[K];
                at[0] = i;
                if (strided) walk_offsets(w, i, at);
                y[at[0]] = Convert<C, T>::narrow(a[j]);
            }
        }
        return;
    }
#pragma unroll
    for (int u = 0; u < WALK_PER_THREAD / V; u++) {
        i64 i = walk_first<V>(u);
        if (i + V <= w.n) {
            Vec<T, V> x;
#pragma unroll
            for (int j = 0; j < V; j++) x[j] = Convert<C, T>::narrow(a[u * V + j]);
            store_vec(y + i, x);
        } else {
#pragma unroll
            for (int j = 0; j < V; j++) {
                if (i + j < w.n) y[i + j] = Convert<C, T>::narrow(a[u * V + j]);
            }
        }
    }
}

#endif
