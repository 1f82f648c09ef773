// SPDX-License-Identifier: Apache-2.0
//
// Comparisons, logic, choice and casts of tensors of any memory order, with broadcasting. Grid: one block of 256 threads for each 2048 elements of the
// result. Truth values are bytes 0 and 1.
#include "walk.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** What values of T are compared as. */
template <class T> struct OrderOf {
    typedef T type;
};
template <> struct OrderOf<bf16> {
    typedef float type;
};
template <> struct OrderOf<f16> {
    typedef float type;
};

enum { EQ, NE, LT, LE, GT, GE };
enum { AND, OR, XOR, NOT };

#define EACH(expression)                                              \
    {                                                                 \
        _Pragma("unroll") for (int j = 0; j < WALK_PER_THREAD; j++) { \
            C a = v[0][j], b = v[1][j];                               \
            y[j] = (expression) ? 1 : 0;                              \
        }                                                             \
        break;                                                        \
    }

template <class C> DEV void compare_function(int kind, const C (&v)[2][WALK_PER_THREAD], u8 (&y)[WALK_PER_THREAD]) {
    switch (kind) {
        case EQ: EACH(a == b)
        case NE: EACH(a != b)
        case LT: EACH(a < b)
        case LE: EACH(a <= b)
        case GT: EACH(a > b)
        default: EACH(a >= b)
    }
}

template <class C> DEV void logical_function(int kind, const C (&v)[2][WALK_PER_THREAD], u8 (&y)[WALK_PER_THREAD]) {
    switch (kind) {
        case AND: EACH(a & b)
        case OR: EACH(a | b)
        case XOR: EACH(a ^ b)
        default: EACH(1 - a)
    }
}

#undef EACH

template <class T> DEV void compare(const T* a, const T* b, u8* y, int kind, const Walk<3>& w) {
    const int V = WalkVector<T>::N;
    typename OrderOf<T>::type v[2][WALK_PER_THREAD];
    u8 r[WALK_PER_THREAD];
    walk_load<V>(w, v, a, b);
    compare_function(kind, v, r);
    walk_store<V>(w, r, y);
}

/** Moves values of one size; condition is operand 1 of the walk. */
template <class T> DEV void choose(const u8* condition, const T* a, const T* b, T* y, const Walk<4>& w) {
    const int V = WalkVector<T>::N;
    T v[3][WALK_PER_THREAD];
    walk_load<V>(w, v, condition, a, b);
#pragma unroll
    for (int j = 0; j < WALK_PER_THREAD; j++) v[0][j] = v[0][j] != 0 ? v[1][j] : v[2][j];
    walk_store<V>(w, v[0], y);
}

template <class X, class Y> DEV void cast(const X* x, Y* y, const Walk<2>& w) {
    const int V = WalkVector<X, Y>::N;
    float a[1][WALK_PER_THREAD];
    walk_load<V>(w, a, x);
    walk_store<V>(w, a[0], y);
}

/** Numbers of types, those of DType. */
enum { F64, F32, BF16, F16, I64, I32, U8, BOOL };

DEV double value(const void* x, int type, i64 i) {
    switch (type) {
        case F64: return ((const double*)x)[i];
        case F32: return (double)((const float*)x)[i];
        case BF16: return (double)to_float(((const bf16*)x)[i]);
        case F16: return (double)to_float(((const f16*)x)[i]);
        case I64: return (double)((const i64*)x)[i];
        case I32: return (double)((const i32*)x)[i];
        default: return (double)((const u8*)x)[i];
    }
}

/** From any type, of mode GENERAL. */
template <class Y> DEV void cast_any(const void* x, int type, Y* y, const Walk<2>& w) {
    double a[WALK_PER_THREAD];
#pragma unroll
    for (int j = 0; j < WALK_PER_THREAD; j++) {
        i64 i = walk_first<1>(j);
        if (i < w.n) {
            i64 at[2];
            walk_offsets(w, i, at);
            a[j] = value(x, type, at[1]);
        }
    }
    walk_store<1>(w, a, y);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define COMPARE(T, name)                                                                                                                    \
    KERNEL(compare_##name)(const T* __restrict__ a, const T* __restrict__ b, u8* __restrict__ y, int kind, const __grid_constant__ Walk<3> w) { \
        compare(a, b, y, kind, w);                                                                                                          \
    }                                                                                                                                       \
    EMU_EXPORT(compare_##name)

COMPARE(double, f64)
COMPARE(float, f32)
COMPARE(bf16, bf16)
COMPARE(f16, f16)
COMPARE(i64, i64)
COMPARE(i32, i32)
COMPARE(u8, u8)

/** b is a for NOT. */
KERNEL(logical)(const u8* __restrict__ a, const u8* __restrict__ b, u8* __restrict__ y, int kind, const __grid_constant__ Walk<3> w) {
    u8 v[2][WALK_PER_THREAD];
    u8 r[WALK_PER_THREAD];
    walk_load<8>(w, v, a, b);
    logical_function(kind, v, r);
    walk_store<8>(w, r, y);
}

#define CHOOSE(T, bytes)                                                                                                            \
    KERNEL(where_##bytes)(const u8* __restrict__ condition, const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y,    \
                          const __grid_constant__ Walk<4> w) {                                                                      \
        choose(condition, a, b, y, w);                                                                                              \
    }                                                                                                                               \
    EMU_EXPORT(where_##bytes)

CHOOSE(u8, 1)
CHOOSE(u16, 2)
CHOOSE(u32, 4)
CHOOSE(u64, 8)

#define CAST(X, x_, Y, y_)                                                                                                                \
    KERNEL(cast_##x_##_##y_)(const X* __restrict__ x, Y* __restrict__ y, const __grid_constant__ Walk<2> w) { cast(x, y, w); }             \
    EMU_EXPORT(cast_##x_##_##y_)

CAST(float, f32, bf16, bf16)
CAST(float, f32, f16, f16)
CAST(bf16, bf16, float, f32)
CAST(bf16, bf16, f16, f16)
CAST(f16, f16, float, f32)
CAST(f16, f16, bf16, bf16)
CAST(u8, u8, float, f32)
CAST(u8, u8, bf16, bf16)

#define CAST_ANY(Y, y_)                                                                                                             \
    KERNEL(cast_any_##y_)(const void* __restrict__ x, int type, Y* __restrict__ y, const __grid_constant__ Walk<2> w) { cast_any(x, type, y, w); } \
    EMU_EXPORT(cast_any_##y_)

CAST_ANY(double, f64)
CAST_ANY(float, f32)
CAST_ANY(bf16, bf16)
CAST_ANY(f16, f16)
CAST_ANY(i64, i64)
CAST_ANY(i32, i32)
CAST_ANY(u8, u8)
CAST_ANY(bool, bool)

EMU_EXPORT(logical)
