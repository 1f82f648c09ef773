// SPDX-License-Identifier: Apache-2.0
//
// Choosing elements and rows by an index, and adding into chosen ones. What is added has a fixed order: positions are sorted by their target first
// (sort.cu, stable), then every target sums its own, so no float is added atomically. An index out of range is reported and skipped.
#include "dev.h"

/** An index that is safe to use: `i` if it is in [0, size), else -1, with a report. */
DEV i64 checked_index(DeviceError* e, i64 i, i64 size) {
    if (i >= 0 && i < size) return i;
    report_index(e, i, size);
    return -1;
}

/** Element k of an index of i64, or of i32 if narrow. */
DEV i64 index_at(const void* index, i64 k, int narrow) { return narrow ? (i64)((const i32*)index)[k] : ((const i64*)index)[k]; }

/** Sizes of a row-major index and, in elements, the steps of another tensor along its axes. */
struct Walk {
    i64 rank;
    i64 size[8];
    i64 step[8];
};

DEV i64 position(const Walk& w, i64 i) {
    i64 at = 0;
    for (int a = (int)w.rank - 1; a >= 0; a--) {
        i64 q = i / w.size[a];
        at += (i - q * w.size[a]) * w.step[a];
        i = q;
    }
    return at;
}

// ---- Choosing ----------------------------------------------------------------------------------------------------------------------------------------

/** y[i] = x[position of i, along the axis index[i]]; index, y [total] row-major. */
template <class T>
DEV void gather(const T* x, const void* index, T* y, const Walk& w, i64 along, i64 size, i64 total, int narrow, DeviceError* error) {
    i64 stride = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        i64 k = checked_index(error, index_at(index, i, narrow), size);
        y[i] = k < 0 ? T() : x[position(w, i) + k * along];
    }
}

/** y [outer, n, inner] = rows of x [outer, size, inner] by index [n]; T is the unit of copying. Block (units, rows), grid (row tiles, unit tiles). */
template <class T>
DEV void index_select(const T* x, const void* index, T* y, i64 n, i64 size, i64 inner, i64 rows, int narrow, DeviceError* error) {
    i64 r = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    if (r >= rows) return;
    i64 o = r / n;
    i64 k = checked_index(error, index_at(index, r - o * n, narrow), size);
    const T* from = x + (o * size + (k < 0 ? 0 : k)) * inner;
    y += r * inner;
    i64 step = (i64)gridDim.y * blockDim.x;
#pragma unroll 4
    for (i64 c = (i64)blockIdx.y * blockDim.x + threadIdx.x; c < inner; c += step) y[c] = k < 0 ? T() : from[c];
}

// ---- Placing -----------------------------------------------------------------------------------------------------------------------------------------
//
// y [outer, size, inner] is 0 but y[o, index[o, i, j], j] = x[o, i, j]; of several the last wins. winner [outer, size, inner] starts as 0 and gets 1 + i.

KERNEL(put_winners)(const i64* index, int* winner, i64 n, i64 size, i64 inner, i64 total, DeviceError* error) {
    i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= total) return;
    i64 k = checked_index(error, index[e], size);
    if (k < 0) return;
    i64 row = e / inner, o = row / n;
    atomicMax(winner + (o * size + k) * inner + (e - row * inner), (int)(row - o * n) + 1);
}

template <class T> DEV void put_along(const T* x, const int* winner, T* y, i64 n, i64 size, i64 inner, i64 total) {
    i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= total) return;
    int i = winner[e];
    i64 row = e / inner, o = row / size;
    y[e] = i == 0 ? T() : x[(o * n + i - 1) * inner + (e - row * inner)];
}

// ---- Adding ------------------------------------------------------------------------------------------------------------------------------------------

enum : u32 { NOWHERE = 0xffffffffu };   // sorts last

/** key[i] = target of source element i in the dense y; order[i] = i. */
KERNEL(scatter_keys)(const void* index, u32* key, u32* order, Walk w, i64 along, i64 size, i64 total, int narrow, DeviceError* error) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    i64 k = checked_index(error, index_at(index, i, narrow), size);
    key[i] = k < 0 ? (u32)NOWHERE : (u32)(position(w, i) + k * along);
    order[i] = (u32)i;
}

/** y[key] += the sum of source[order] over equal keys (sorted). The first of them adds up to 32, then its whole warp helps. */
template <class T> DEV void scatter_segments(const T* source, const u32* key, const u32* order, T* y, i64 total) {
    typedef Acc<T> F;
    const int ALONE = 32;
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    u32 k = i < total ? key[i] : (u32)NOWHERE;
    bool head = k != NOWHERE && (i == 0 || key[i - 1] != k);
    F sum = 0;
    i64 j = i;
    if (head) {
        for (; j < i + ALONE && j < total && key[j] == k; j++) sum += to_acc(source[order[j]]);
    }
    bool more = head && j == i + ALONE && j < total && key[j] == k;
    for (unsigned waiting = warp_ballot(more); waiting != 0; waiting &= waiting - 1) {
        int owner = __ffs((int)waiting) - 1;
        u32 mine = shfl(k, owner);
        i64 at = shfl(i, owner) + ALONE;
        F part = 0;
        for (i64 p = at + lane(); p < total && key[p] == mine; p += 32) part += to_acc(source[order[p]]);
        for (int o = 16; o > 0; o >>= 1) part += shfl_xor(part, o);
        if (lane() == owner) sum += part;
    }
    if (head) y[k] = from_acc<T>((F)(to_acc(y[k]) + sum));
}

KERNEL(row_keys)(const void* index, u32* key, u32* order, i64 size, i64 n, int narrow, DeviceError* error) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    i64 k = checked_index(error, index_at(index, i, narrow), size);
    key[i] = k < 0 ? (u32)NOWHERE : (u32)k;
    order[i] = (u32)i;
}

/** start[d], d from 0 to size: the first place in sorted key [n] that is not below d. */
KERNEL(row_starts)(const u32* key, i32* start, i64 n, i64 size) {
    i64 d = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (d > size) return;
    i64 low = 0, high = n;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if ((i64)key[middle] < d) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    start[d] = (i32)low;
}

/** y [outer, size, inner]: row d is the sum of the rows order[start[d]], ... of x [outer, n, inner]. A block takes row after row of V columns a thread. */
template <class T, int V> DEV void add_rows(const T* x, const i32* start, const u32* order, T* y, i64 n, i64 size, i64 inner, i64 rows) {
    typedef Acc<T> F;
    __shared__ F shared[V * 256];
    i64 c = ((i64)blockIdx.y * blockDim.x + threadIdx.x) * V;
    int t = thread_index();
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        i64 o = row / size, d = row - o * size;
        int first = start[d], end = start[d + 1];   // the same for the whole block
        F sum[V];
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] = 0;
        if (c < inner) {
#pragma unroll 4
            for (int s = first + (int)threadIdx.y; s < end; s += (int)blockDim.y) {
                Vec<T, V> v = load_vec<V>(x + (o * n + order[s]) * inner + c);
#pragma unroll
                for (int j = 0; j < V; j++) sum[j] += to_acc(v[j]);
            }
        }
        if (end - first > 1) {
#pragma unroll
            for (int j = 0; j < V; j++) shared[j * 256 + t] = sum[j];
            for (int half = (int)blockDim.y / 2; half > 0; half >>= 1) {
                __syncthreads();
                if ((int)threadIdx.y < half) {
#pragma unroll
                    for (int j = 0; j < V; j++) shared[j * 256 + t] = sum[j] += shared[j * 256 + t + half * (int)blockDim.x];
                }
            }
            __syncthreads();
        }
        if (threadIdx.y == 0 && c < inner) {
            Vec<T, V> r;
#pragma unroll
            for (int j = 0; j < V; j++) r[j] = from_acc<T>(sum[j]);
            store_vec(y + row * inner + c, r);
        }
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

typedef Vec<u64, 2> b16;

#define COPIES(bytes, T)                                                                                                                               \
    KERNEL(gather_##bytes)(const T* x, const void* index, T* y, Walk w, i64 along, i64 size, i64 total, int narrow, DeviceError* error) {               \
        gather(x, index, y, w, along, size, total, narrow, error);                                                                                     \
    }                                                                                                                                                  \
    KERNEL(put_along_##bytes)(const T* x, const int* winner, T* y, i64 n, i64 size, i64 inner, i64 total) {                                             \
        put_along(x, winner, y, n, size, inner, total);                                                                                                \
    }
#define SELECT(bytes, T)                                                                                                                               \
    KERNEL(index_select_##bytes)(const T* x, const void* index, T* y, i64 n, i64 size, i64 inner, i64 rows, int narrow, DeviceError* error) {           \
        index_select(x, index, y, n, size, inner, rows, narrow, error);                                                                                \
    }

COPIES(1, u8)
COPIES(2, u16)
COPIES(4, u32)
COPIES(8, u64)
SELECT(1, u8)
SELECT(2, u16)
SELECT(4, u32)
SELECT(8, u64)
SELECT(16, b16)


// source [total], y dense; x [outer, n, inner], y [outer, size, inner]: block (columns, sources) of 256 threads, grid (any, column tiles)
#define ADDS(suffix, T)                                                                                                                                \
    KERNEL(scatter_segments_##suffix)(const T* source, const u32* key, const u32* order, T* y, i64 total) {                                            \
        scatter_segments(source, key, order, y, total);                                                                                                \
    }                                                                                                                                                  \
    KERNEL(index_add_##suffix)(const T* x, const i32* start, const u32* order, T* y, i64 n, i64 size, i64 inner, i64 rows, int vector) {                            \
        if (vector) {                                                                                                                                  \
            add_rows<T, Wide<T>::N>(x, start, order, y, n, size, inner, rows);                                                                                 \
        } else {                                                                                                                                       \
            add_rows<T, 1>(x, start, order, y, n, size, inner, rows);                                                                                          \
        }                                                                                                                                              \
    }

ADDS(f32, float)
ADDS(bf16, bf16)
ADDS(f16, f16)
ADDS(f64, double)
ADDS(i64, i64)
ADDS(i32, i32)

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_COPIES(bytes)   \
    EMU_EXPORT(gather_##bytes) \
    EMU_EXPORT(put_along_##bytes)
#define EXPORT_ADDS(suffix)              \
    EMU_EXPORT(scatter_segments_##suffix) \
    EMU_EXPORT(index_add_##suffix)

EXPORT_COPIES(1)
EXPORT_COPIES(2)
EXPORT_COPIES(4)
EXPORT_COPIES(8)
EMU_EXPORT(index_select_1)
EMU_EXPORT(index_select_2)
EMU_EXPORT(index_select_4)
EMU_EXPORT(index_select_8)
EMU_EXPORT(index_select_16)
EMU_EXPORT(put_winners)
EMU_EXPORT(scatter_keys)
EMU_EXPORT(row_keys)
EMU_EXPORT(row_starts)
EXPORT_ADDS(f32)
EXPORT_ADDS(bf16)
EXPORT_ADDS(f16)
EXPORT_ADDS(f64)
EXPORT_ADDS(i64)
EXPORT_ADDS(i32)
