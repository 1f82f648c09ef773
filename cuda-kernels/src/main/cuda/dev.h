// SPDX-License-Identifier: Apache-2.0
//
// The subset of CUDA C++ that every kernel of this module is written in. nvcc compiles it with ptx.h, a host compiler (tests without a GPU) with emu.h;
// no header of the CUDA toolkit is included, so a kernel may use only what is declared here, the math functions of C (float forms: sqrtf, expf, logf,
// sinf, cosf, powf, tanhf, erff, fminf, fmaxf, floorf, ... and their double forms), threadIdx, blockIdx, blockDim, gridDim, __shared__, __syncthreads.
//
//   KERNEL(name)(parameters) { ... }            a kernel; parameters are pointers, numbers, or structs of them
//   KERNEL_BOUNDS(name, threads, blocks)(...)   the same with launch bounds: threads of a block at most, blocks of a multiprocessor at least
//   EMU_EXPORT(name)                            once for each kernel, at the end of its file
//   DEV                                         before every device function: internal, inlined
//   DYN_SHARED(T, name)                         T* name = start of dynamic shared memory, 1024-byte aligned
#ifndef SFUMATO_DEV_H
#define SFUMATO_DEV_H

typedef long long i64;
typedef unsigned long long u64;
typedef int i32;
typedef unsigned int u32;
typedef unsigned short u16;
typedef signed char i8;
typedef unsigned char u8;

/** Brain float: the upper half of a float's bits. */
struct bf16 {
    unsigned short bits;
};

/** IEEE half. */
struct f16 {
    unsigned short bits;
};

#ifdef __CUDACC__
#include "ptx.h"
#else
#include "emu.h"
#endif

// ---- Types -------------------------------------------------------------------------------------------------------------------------------------------

// to_float of bf16 and f16, and float_to_bf16 / float_to_f16 (nearest even, NaN kept), come from ptx.h or emu.h.
DEV float to_float(float x) { return x; }
DEV float to_float(double x) { return (float)x; }
DEV float to_float(i64 x) { return (float)x; }
DEV float to_float(i32 x) { return (float)x; }
DEV float to_float(u8 x) { return (float)x; }
DEV float to_float(bool x) { return x ? 1.f : 0.f; }

template <class T> struct FromFloat;
template <> struct FromFloat<float> {
    DEVM static float of(float x) { return x; }
};
template <> struct FromFloat<double> {
    DEVM static double of(float x) { return (double)x; }
};
template <> struct FromFloat<bf16> {
    DEVM static bf16 of(float x) { return float_to_bf16(x); }
};
template <> struct FromFloat<f16> {
    DEVM static f16 of(float x) { return float_to_f16(x); }
};

/** The nearest value of T (to even in a tie). */
template <class T> DEV T from_float(float x) { return FromFloat<T>::of(x); }

/** The type that arithmetic on T runs in: double for double, T for integers, float for float and the 16-bit floats. */
template <class T> struct AccOf {
    typedef T type;
};
template <> struct AccOf<bf16> {
    typedef float type;
};
template <> struct AccOf<f16> {
    typedef float type;
};
template <class T> using Acc = typename AccOf<T>::type;

template <class T> DEV T to_acc(T x) { return x; }
DEV float to_acc(bf16 x) { return to_float(x); }
DEV float to_acc(f16 x) { return to_float(x); }

template <class T> struct FromAcc {
    DEVM static T of(T x) { return x; }
};
template <> struct FromAcc<bf16> {
    DEVM static bf16 of(float x) { return float_to_bf16(x); }
};
template <> struct FromAcc<f16> {
    DEVM static f16 of(float x) { return float_to_f16(x); }
};
template <class T> DEV T from_acc(Acc<T> x) { return FromAcc<T>::of(x); }

/** Two floats as two 16-bit values in one register, the first in the low half. */
template <class T> struct Pair;
template <> struct Pair<bf16> {
    DEVM static unsigned pack(float lo, float hi) { return pack_bf16x2(lo, hi); }
    DEVM static float low(unsigned p) { return __uint_as_float(p << 16); }
    DEVM static float high(unsigned p) { return __uint_as_float(p & 0xffff0000u); }
};
template <> struct Pair<f16> {
    DEVM static unsigned pack(float lo, float hi) { return pack_f16x2(lo, hi); }
    DEVM static float low(unsigned p) { return to_float(f16{(unsigned short)p}); }
    DEVM static float high(unsigned p) { return to_float(f16{(unsigned short)(p >> 16)}); }
};
template <class T> DEV unsigned pack2(float lo, float hi) { return Pair<T>::pack(lo, hi); }
template <class T> DEV float unpack_low(unsigned p) { return Pair<T>::low(p); }
template <class T> DEV float unpack_high(unsigned p) { return Pair<T>::high(p); }

// ---- Vectors -----------------------------------------------------------------------------------------------------------------------------------------

/** N values that are loaded and stored at once; aligned to their size, at most 16 bytes. */
template <class T, int N> struct alignas(sizeof(T) * N > 16 ? 16 : sizeof(T) * N) Vec {
    T v[N];
    DEVM T& operator[](int i) { return v[i]; }
    DEVM const T& operator[](int i) const { return v[i]; }
};

/** How many values of T fill 16 bytes. */
template <class T> struct Wide {
    static const int N = 16 / (int)sizeof(T);
};

template <class T> DEV bool is_aligned(const T* p, int bytes) { return ((u64)p & (u64)(bytes - 1)) == 0; }

/** Loads N values; p is aligned to min(16, N * sizeof(T)). */
template <int N, class T> DEV Vec<T, N> load_vec(const T* p) {
    check_aligned(p, alignof(Vec<T, N>));
    return *reinterpret_cast<const Vec<T, N>*>(p);
}

template <int N, class T> DEV void store_vec(T* p, const Vec<T, N>& x) {
    check_aligned(p, alignof(Vec<T, N>));
    *reinterpret_cast<Vec<T, N>*>(p) = x;
}

/** A load of global memory that no thread of the kernel writes and that is read once: it does not stay in the first cache. 2, 4, 8 or 16 bytes. */
template <int N, class T> DEV Vec<T, N> load_stream(const T* p) {
    check_aligned(p, alignof(Vec<T, N>));
    Vec<T, N> r;
    ldg_stream<(int)sizeof(Vec<T, N>)>(&r, p);
    return r;
}

/** A store to global memory that is not read again soon. 2, 4, 8 or 16 bytes. */
template <int N, class T> DEV void store_stream(T* p, const Vec<T, N>& x) {
    check_aligned(p, alignof(Vec<T, N>));
    stg_stream<(int)sizeof(Vec<T, N>)>(p, &x);
}

template <int N, class T> DEV Vec<float, N> to_float(const Vec<T, N>& x) {
    Vec<float, N> r;
#pragma unroll
    for (int i = 0; i < N; i++) r[i] = to_float(x[i]);
    return r;
}

template <class T, int N> DEV Vec<T, N> from_float(const Vec<float, N>& x) {
    Vec<T, N> r;
#pragma unroll
    for (int i = 0; i < N; i++) r[i] = from_float<T>(x[i]);
    return r;
}

/** Keeps 16-bit vectors packed in registers: their floats are not carried over this point. */
template <class T, int K> DEV void stay_packed(Vec<T, Wide<T>::N> (&v)[K]) {
    if constexpr (sizeof(T) == 2) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            unsigned* u = (unsigned*)&v[k];
            opaque(u[0]), opaque(u[1]), opaque(u[2]), opaque(u[3]);
        }
    }
}

/** Arrays passed by value as a kernel's parameter. */
struct Longs8 {
    i64 v[8];
};
struct Ints8 {
    int v[8];
};
struct Ints16 {
    int v[16];
};

/** Where kernels report what they find wrong: words of the host's memory, read when the host waits for the device. Code 1: an index out of range. */
struct DeviceError {
    i64 code, value, limit;
};

/** Notes that an index is not in [0, limit). */
DEV void report_index(DeviceError* e, i64 value, i64 limit) {
    volatile DeviceError* v = e;
    v->value = value;
    v->limit = limit;
    __threadfence_system();
    v->code = 1;
}

// ---- Functions ---------------------------------------------------------------------------------------------------------------------------------------

template <class T> DEV T div_up(T a, T b) { return (a + b - 1) / b; }

/** e^x to 2 ulp or so: one multiplication and ex2; denormal results are zero. */
DEV float exp_fast(float x) { return exp2_fast(x * 1.4426950408889634f); }

DEV float sigmoid_fast(float x) { return rcp_fast(1.f + exp_fast(-x)); }

/** Index of the thread in its block, of the warp in its block. */
DEV int thread_index() { return (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)); }
DEV int warp_index() { return thread_index() >> 5; }
DEV int block_threads() { return (int)(blockDim.x * blockDim.y * blockDim.z); }

// ---- Matrices ----------------------------------------------------------------------------------------------------------------------------------------

/** Products of 16-bit matrices by the type of their values; fragments are described in ptx.h. */
template <class T> struct Mma;
template <> struct Mma<bf16> {
    DEVM static void k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_bf16_16816(c, a, b); }
    DEVM static void k8(float (&c)[4], const unsigned (&a)[2], unsigned b) { mma_bf16_1688(c, a, b); }
};
template <> struct Mma<f16> {
    DEVM static void k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_f16_16816(c, a, b); }
    DEVM static void k8(float (&c)[4], const unsigned (&a)[2], unsigned b) { mma_f16_1688(c, a, b); }
};

// ---- Reductions --------------------------------------------------------------------------------------------------------------------------------------

/** The sum over a whole warp (or over groups of W lanes), in every lane; all 32 lanes call. */
template <int W = 32, class T> DEV T warp_sum(T x) {
#pragma unroll
    for (int o = W / 2; o > 0; o >>= 1) x += shfl_xor(x, o);
    return x;
}

/** The larger; NaN when one is NaN. */
template <class T> DEV T max_nan(T a, T b) { return a > b || a != a ? a : b; }
template <class T> DEV T min_nan(T a, T b) { return a < b || a != a ? a : b; }

template <int W = 32, class T> DEV T warp_max(T x) {
#pragma unroll
    for (int o = W / 2; o > 0; o >>= 1) x = max_nan(x, shfl_xor(x, o));
    return x;
}

template <int W = 32, class T> DEV T warp_min(T x) {
#pragma unroll
    for (int o = W / 2; o > 0; o >>= 1) x = min_nan(x, shfl_xor(x, o));
    return x;
}

/**
 * The sums of N values over a block, in every thread. Every thread of the block calls; the block is a multiple of 32 threads. Two barriers, so a call
 * may follow another at once.
 */
template <int N, class T> DEV void block_sum(T (&x)[N]) {
    __shared__ T part[N][32];
    int w = warp_index(), l = lane(), warps = block_threads() >> 5;
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = warp_sum(x[i]);
    if (warps == 1) return;
    if (l == 0) {
#pragma unroll
        for (int i = 0; i < N; i++) part[i][w] = x[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = warp_sum(l < warps ? part[i][l] : T(0));
    __syncthreads();
}

template <class T> DEV T block_sum(T x) {
    T v[1] = {x};
    block_sum(v);
    return v[0];
}

/** The largest over a block, in every thread, NaN when one is; same conditions as block_sum. */
template <class T> DEV T block_max(T x) {
    __shared__ T part[32];
    int w = warp_index(), l = lane(), warps = block_threads() >> 5;
    x = warp_max(x);
    if (warps == 1) return x;
    if (l == 0) part[w] = x;
    __syncthreads();
    x = warp_max(part[l < warps ? l : 0]);
    __syncthreads();
    return x;
}

#endif
