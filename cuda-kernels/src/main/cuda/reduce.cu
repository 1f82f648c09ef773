// SPDX-License-Identifier: Apache-2.0
//
// Sums and means; maxima, minima, products, any, all. Floats are accumulated in f32 (doubles in f64), integers in i64. How the work is laid out:
// reduce.cuh.
#include "reduce.cuh"

// ---- Rules -------------------------------------------------------------------------------------------------------------------------------------------

/** y = factor * sum x; no factor for integers. */
template <class T> struct Sum {
    typedef typename SumType<T>::type A;
    typedef T Out;
    DEVM static A init(int) { return 0; }
    DEVM static void add(A& a, A x, i64, int) { a += x; }
    DEVM static void merge(A& a, A b, int) { a += b; }
    DEVM static A shuffle(A a, int offset) { return shfl_xor(a, offset); }
    DEVM static float scaled(float a, double factor) { return a * (float)factor; }
    DEVM static double scaled(double a, double factor) { return a * factor; }
    DEVM static i64 scaled(i64 a, double) { return a; }
    DEVM static void store(T* y, i64 at, A a, int, double factor) { put_sum(y, at, scaled(a, factor)); }
};

enum { MAX = 0, MIN = 1, PROD = 2, ANY = 3, ALL = 4 };

DEV float lowest(float) { return -INFINITY; }
DEV double lowest(double) { return -INFINITY; }
DEV i64 lowest(i64) { return (i64)(1ull << 63); }
DEV float highest(float) { return INFINITY; }
DEV double highest(double) { return INFINITY; }
DEV i64 highest(i64) { return (i64)~(1ull << 63); }

/** Maximum and minimum (NaN when one is), product, truth of any and of all. */
template <class T> struct Fold {
    typedef typename SumType<T>::type A;
    typedef T Out;
    DEVM static A init(int kind) {
        return kind == MAX ? lowest(A()) : kind == MIN ? highest(A()) : kind == ANY ? A(0) : A(1);
    }
    DEVM static void merge(A& a, A b, int kind) {
        if (kind == MAX) {
            a = max_nan(a, b);
        } else if (kind == MIN) {
            a = min_nan(a, b);
        } else if (kind == PROD) {
            a *= b;
        } else if (kind == ANY) {
            a = a != 0 || b != 0 ? A(1) : A(0);
        } else {
            a = a != 0 && b != 0 ? A(1) : A(0);
        }
    }
    DEVM static void add(A& a, A x, i64, int kind) { merge(a, x, kind); }
    DEVM static A shuffle(A a, int offset) { return shfl_xor(a, offset); }
    DEVM static void store(T* y, i64 at, A a, int kind, double) {
        if (kind == MAX || kind == MIN) {
            put_same(y, at, a);
        } else if (kind == PROD) {
            put_sum(y, at, a);
        } else {
            ((u8*)y)[at] = a != 0;
        }
    }
};

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define REDUCTIONS(suffix, T)     \
    REDUCTION(sum, suffix, Sum, T) \
    REDUCTION(fold, suffix, Fold, T)

REDUCTIONS(f32, float)
REDUCTIONS(bf16, bf16)
REDUCTIONS(f16, f16)
REDUCTIONS(f64, double)
REDUCTIONS(i64, i64)
REDUCTIONS(i32, i32)
REDUCTIONS(u8, u8)

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT(suffix)            \
    REDUCTION_EXPORT(sum, suffix) \
    REDUCTION_EXPORT(fold, suffix)

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
EXPORT(f64)
EXPORT(i64)
EXPORT(i32)
EXPORT(u8)
