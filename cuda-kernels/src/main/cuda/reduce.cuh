// SPDX-License-Identifier: Apache-2.0
//
// Reductions of a strided tensor over any of its axes, for any associative rule. The host joins axes in memory order and splits them into kept and
// reduced ones. Two loops:
//   rows      the innermost axis is reduced: some lanes of a warp, a warp or a block share the elements of one result
//   columns   the innermost axis is kept: a thread owns 16 bytes of columns and walks down, the threads of a block and the blocks of a part share the way
// Few results are shared among gridDim.y parts, whose accumulators go to `partial`; the block that finishes last merges those of its results, in fixed
// order, so results do not depend on the schedule. How many have finished is counted in counters[gridDim.x], which are zero before and after.
//
// A rule is a struct with the accumulator A (plain data) and
//   init(kind)   add(a, x, i, kind): element x with number i   merge(a, b, kind)   shuffle(a, offset)   store(y, at, a, kind, factor)
#ifndef SFUMATO_REDUCE_CUH
#define SFUMATO_REDUCE_CUH

#include "dev.h"

/** Shape of a reduction; steps in elements, outermost axis first. */
struct ReduceShape {
    i64 results;   // product of the kept sizes
    i64 n;         // product of the reduced sizes
    i64 kept;      // number of kept axes
    i64 reduced;   // number of reduced axes
    i64 size[5], step[5], out[5];   // kept axes: size, step in x, step in y
    i64 rsize[5], rstep[5];         // reduced axes
};

template <class T> struct SumType {
    typedef i64 type;
};
template <> struct SumType<float> {
    typedef float type;
};
template <> struct SumType<bf16> {
    typedef float type;
};
template <> struct SumType<f16> {
    typedef float type;
};
template <> struct SumType<double> {
    typedef double type;
};

template <class T> DEV typename SumType<T>::type widen(T x) { return (typename SumType<T>::type)to_acc(x); }

/** The value as T, or as i64 where integers are summed. */
DEV void put_sum(float* y, i64 at, float a) { y[at] = a; }
DEV void put_sum(bf16* y, i64 at, float a) { y[at] = float_to_bf16(a); }
DEV void put_sum(f16* y, i64 at, float a) { y[at] = float_to_f16(a); }
DEV void put_sum(double* y, i64 at, double a) { y[at] = a; }
template <class T> DEV void put_sum(T* y, i64 at, i64 a) { ((i64*)y)[at] = a; }

DEV void put_same(float* y, i64 at, float a) { y[at] = a; }
DEV void put_same(bf16* y, i64 at, float a) { y[at] = float_to_bf16(a); }
DEV void put_same(f16* y, i64 at, float a) { y[at] = float_to_f16(a); }
DEV void put_same(double* y, i64 at, double a) { y[at] = a; }
template <class T> DEV void put_same(T* y, i64 at, i64 a) { y[at] = (T)a; }

/** How many elements a thread loads at once. */
template <class T> struct ReduceWidth {
    static const int N = 16 / (int)sizeof(T) > 8 ? 8 : 16 / (int)sizeof(T);
};

/** Where reduced element i lies behind the first; more than one axis only with fewer than 2^31 elements. */
DEV i64 reduced_position(const ReduceShape& s, i64 i) {
    if (s.reduced == 1) return i * s.rstep[0];
    i64 at = 0;
    u32 rest = (u32)i;
    for (int k = (int)s.reduced - 1; k > 0; k--) {
        u32 size = (u32)s.rsize[k], q = rest / size;
        at += (i64)(rest - q * size) * s.rstep[k];
        rest = q;
    }
    return at + (i64)rest * s.rstep[0];
}

/** Where result k of the first `axes` kept axes lies in x and in y. */
DEV void kept_position(const ReduceShape& s, i64 k, int axes, i64& x, i64& y) {
    x = 0;
    y = 0;
    for (int a = axes - 1; a >= 0; a--) {
        i64 q = k / s.size[a], r = k - q * s.size[a];
        x += r * s.step[a];
        y += r * s.out[a];
        k = q;
    }
}

template <class R, class T, int V> DEV typename R::A walk_row(const T* x, const ReduceShape& s, int kind, i64 begin, i64 end) {
    typename R::A a = R::init(kind);
#pragma unroll 4
    for (i64 u = begin + threadIdx.x; u < end; u += blockDim.x) {
        Vec<T, V> v = load_vec<V>(x + reduced_position(s, u * V));
#pragma unroll
        for (int j = 0; j < V; j++) R::add(a, widen(v[j]), u * V + j, kind);
    }
    return a;
}

/** Merges the accumulators of the blockDim.x threads of a row; the first of them has the result. One row per block if there are more than 32. */
template <class R> DEV typename R::A merge_row(typename R::A a, int kind) {
    int width = blockDim.x < 32 ? (int)blockDim.x : 32;
    for (int o = width / 2; o > 0; o >>= 1) R::merge(a, R::shuffle(a, o), kind);
    if (blockDim.x <= 32) return a;
    __shared__ typename R::A part[32];
    if (lane() == 0) part[warp_index()] = a;
    __syncthreads();
    if (threadIdx.x == 0) {
        int warps = (int)blockDim.x / 32;
        for (int w = 1; w < warps; w++) R::merge(a, part[w], kind);
    }
    return a;
}

/** Whether this block is the last of its parts; if so, all have written what they have and it may be read. */
DEV bool is_last_part(int* counters) {
    __shared__ int last;
    __threadfence();
    __syncthreads();
    if (thread_index() == 0) {
        last = atomicAdd(counters + blockIdx.x, 1) == (int)gridDim.y - 1;
        if (last) counters[blockIdx.x] = 0;
    }
    __syncthreads();
    if (!last) return false;
    __threadfence();
    return true;
}

/**
 * block (lanes of a row: a power of two, rows), grid (rows, parts). vector: all positions are multiples of 16 bytes or 8 elements. partial
 * [results][parts].
 */
template <class R, class T>
DEV void reduce_rows(const T* x, typename R::Out* y, typename R::A* partial, int* counters, const ReduceShape& s, int vector, int kind, double factor) {
    const int V = ReduceWidth<T>::N;
    i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    bool active = row < s.results;
    i64 from = 0, to = 0;
    if (active) kept_position(s, row, (int)s.kept, from, to);
    i64 units = vector ? s.n / V : s.n;
    i64 chunk = div_up(units, (i64)gridDim.y);
    i64 begin = chunk * blockIdx.y, end = begin + chunk < units ? begin + chunk : units;
    if (!active) end = begin;
    typename R::A a;
    if (vector) {
        a = walk_row<R, T, V>(x + from, s, kind, begin, end);
    } else {
        a = walk_row<R, T, 1>(x + from, s, kind, begin, end);
    }
    a = merge_row<R>(a, kind);
    if (gridDim.y > 1) {
        int parts = (int)gridDim.y;
        if (threadIdx.x == 0 && active) partial[row * parts + blockIdx.y] = a;
        if (!is_last_part(counters)) return;
        a = R::init(kind);
        if (active) {
            for (int p = threadIdx.x; p < parts; p += blockDim.x) R::merge(a, partial[row * parts + p], kind);
        }
        a = merge_row<R>(a, kind);
    }
    if (threadIdx.x == 0 && active) R::store(y, to, a, kind, factor);
}

template <class R, class T, int V>
DEV void walk_columns(const T* x, typename R::Out* y, typename R::A* partial, int* counters, const ReduceShape& s, int kind, double factor) {
    const int UNROLL = sizeof(typename R::A) <= 4 ? 8 : 4;
    __shared__ typename R::A shared[V * 256];
    int inner = (int)s.kept - 1;   // the axis of the columns
    i64 columns = s.size[inner];
    i64 tiles = div_up(columns, (i64)blockDim.x * V);
    i64 batch = (i64)blockIdx.x / tiles;
    i64 c = (((i64)blockIdx.x - batch * tiles) * blockDim.x + threadIdx.x) * V;
    i64 from, to;
    kept_position(s, batch, inner, from, to);
    i64 chunk = div_up(s.n, (i64)gridDim.y);
    i64 begin = chunk * blockIdx.y, end = begin + chunk < s.n ? begin + chunk : s.n;
    typename R::A a[V];
#pragma unroll
    for (int j = 0; j < V; j++) a[j] = R::init(kind);
    if (c < columns) {
        const T* p = x + from + c;
#pragma unroll UNROLL
        for (i64 r = begin + threadIdx.y; r < end; r += blockDim.y) {
            Vec<T, V> v = load_vec<V>(p + reduced_position(s, r));
#pragma unroll
            for (int j = 0; j < V; j++) R::add(a[j], widen(v[j]), r, kind);
        }
    }
    int t = thread_index();
#pragma unroll
    for (int j = 0; j < V; j++) shared[j * 256 + t] = a[j];
    for (int half = (int)blockDim.y / 2; half > 0; half >>= 1) {
        __syncthreads();
        if ((int)threadIdx.y < half) {
#pragma unroll
            for (int j = 0; j < V; j++) {
                R::merge(a[j], shared[j * 256 + t + half * (int)blockDim.x], kind);
                shared[j * 256 + t] = a[j];
            }
        }
    }
    bool mine = threadIdx.y == 0 && c < columns;
    if (gridDim.y == 1) {
        if (mine) {
#pragma unroll
            for (int j = 0; j < V; j++) R::store(y, to + (c + j) * s.out[inner], a[j], kind, factor);
        }
        return;
    }
    if (mine) {
#pragma unroll
        for (int j = 0; j < V; j++) partial[blockIdx.y * s.results + batch * columns + c + j] = a[j];
    }
    if (!is_last_part(counters)) return;
    // A thread for each column, as many for the same one as there are threads.
    int width = (int)blockDim.x * V, sub = t / width, subs = 256 / width, parts = (int)gridDim.y;
    i64 column = ((i64)blockIdx.x - batch * tiles) * width + t % width;
    typename R::A sum = R::init(kind);
    if (column < columns) {
        const typename R::A* p = partial + batch * columns + column;
#pragma unroll UNROLL
        for (int i = sub; i < parts; i += subs) R::merge(sum, p[i * s.results], kind);
    }
    shared[t] = sum;
    for (int half = subs / 2; half > 0; half >>= 1) {
        __syncthreads();
        if (sub < half) {
            R::merge(sum, shared[t + half * width], kind);
            shared[t] = sum;
        }
    }
    if (sub == 0 && column < columns) R::store(y, to + column * s.out[inner], sum, kind, factor);
}

/** block (columns / V, rows) of 256 threads, powers of two; grid (batches * column tiles, parts). partial [parts][results]. vector: all columns are multiples of V. */
template <class R, class T>
DEV void reduce_columns(const T* x, typename R::Out* y, typename R::A* partial, int* counters, const ReduceShape& s, int vector, int kind, double factor) {
    if (vector) {
        walk_columns<R, T, ReduceWidth<T>::N>(x, y, partial, counters, s, kind, factor);
    } else {
        walk_columns<R, T, 1>(x, y, partial, counters, s, kind, factor);
    }
}

/** The kernels of a rule for one type: NAME_rows_TYPE, NAME_columns_TYPE. Pointers: x, y as ReduceShape says, partial and counters as above. */
#define REDUCTION_PARAMETERS(T) const T *x, void *y, void *partial, int *counters, ReduceShape s, int vector, int kind, double factor
#define REDUCTION(name, suffix, R, T)                                                                                              \
    KERNEL_BOUNDS(name##_rows_##suffix, 512, 2)(REDUCTION_PARAMETERS(T)) {                                                         \
        reduce_rows<R<T>, T>(x, (typename R<T>::Out*)y, (typename R<T>::A*)partial, counters, s, vector, kind, factor);            \
    }                                                                                                                              \
    KERNEL_BOUNDS(name##_columns_##suffix, 256, 3)(REDUCTION_PARAMETERS(T)) {                                                      \
        reduce_columns<R<T>, T>(x, (typename R<T>::Out*)y, (typename R<T>::A*)partial, counters, s, vector, kind, factor);         \
    }

#define REDUCTION_EXPORT(name, suffix) \
    EMU_EXPORT(name##_rows_##suffix)   \
    EMU_EXPORT(name##_columns_##suffix)

#endif
