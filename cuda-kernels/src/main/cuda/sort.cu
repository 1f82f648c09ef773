// SPDX-License-Identifier: Apache-2.0
//
// Stable sorting. Values become unsigned keys of the same order (-0 like 0, NaN above everything; complemented for descending order).
//   short   lines of up to 2048 elements: a block per line, bitonic in shared memory on (key, place), which makes it stable
//   radix   lines of any length: passes of 8 bits from the lowest. Each pass: counts per tile of 2048, sums over the tiles of each digit, scatter
#include "dev.h"

enum { SHORT = 2048, TILE = 2048, WARPS = 8, ROUNDS = 8, DIGITS = 256 };

// ---- Keys --------------------------------------------------------------------------------------------------------------------------------------------

template <class T> struct Key;
template <> struct Key<float> {
    typedef u32 type;
    DEVM static u32 of(float x) {
        u32 b = __float_as_uint(x);
        if (x != x) return 0xffffffffu;
        if (x == 0) b = 0;
        return b >> 31 ? ~b : b | 0x80000000u;
    }
};
template <> struct Key<bf16> {
    typedef u32 type;
    DEVM static u32 of(bf16 x) { return Key<float>::of(to_float(x)) >> 16; }
};
template <> struct Key<f16> {
    typedef u32 type;
    DEVM static u32 of(f16 x) {
        u32 b = x.bits;
        float v = to_float(x);
        if (v != v) return 0xffffu;
        if (v == 0) b = 0;
        return b >> 15 ? ~b & 0xffffu : b | 0x8000u;
    }
};
template <> struct Key<double> {
    typedef u64 type;
    DEVM static u64 of(double x) {
        u64 b = (u64)__double_as_longlong(x);
        if (x != x) return ~0ull;
        if (x == 0) b = 0;
        return b >> 63 ? ~b : b | 1ull << 63;
    }
};
template <> struct Key<i64> {
    typedef u64 type;
    DEVM static u64 of(i64 x) { return (u64)x ^ 1ull << 63; }
};
template <> struct Key<i32> {
    typedef u32 type;
    DEVM static u32 of(i32 x) { return (u32)x ^ 0x80000000u; }
};
template <> struct Key<u8> {
    typedef u32 type;
    DEVM static u32 of(u8 x) { return x; }
};

/** The key of a value; a pass looks at bits that the type has, so those above may be ones. */
template <class T> DEV typename Key<T>::type key_of(T x, int descending) {
    typename Key<T>::type k = Key<T>::of(x);
    return descending ? ~k : k;
}

// ---- Short lines -------------------------------------------------------------------------------------------------------------------------------------

/** Sorts the first `size` (a power of two) pairs of shared memory by key, then place. */
template <class K> DEV void bitonic(K* key, u32* place, int size) {
    for (int width = 2; width <= size; width *= 2) {
        for (int gap = width / 2; gap > 0; gap /= 2) {
            __syncthreads();
            for (int t = threadIdx.x; t < size / 2; t += blockDim.x) {
                int i = t / gap * gap * 2 + t % gap, j = i + gap;
                bool after = key[i] > key[j] || (key[i] == key[j] && place[i] > place[j]);
                if (after == ((i & width) == 0)) {
                    K k = key[i];
                    key[i] = key[j];
                    key[j] = k;
                    u32 p = place[i];
                    place[i] = place[j];
                    place[j] = p;
                }
            }
        }
    }
    __syncthreads();
}

/** x [outer, n, inner]; values, indices [outer, k, inner]: the first k of each sorted line. A block per line; size: n rounded up to a power of two. */
template <class T> DEV void sort_short(const T* x, T* values, i64* indices, int n, int k, i64 inner, int size, int descending) {
    typedef typename Key<T>::type K;
    __shared__ K key[SHORT];
    __shared__ u32 place[SHORT];
    i64 o = (i64)blockIdx.x / inner, j = (i64)blockIdx.x - o * inner;
    x += o * n * inner + j;
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
        key[i] = i < n ? key_of(x[i * inner], descending) : ~(K)0;   // what fills up has the highest places too
        place[i] = (u32)i;
    }
    bitonic(key, place, size);
    for (int i = threadIdx.x; i < k; i += blockDim.x) {
        i64 at = (o * k + i) * inner + j;
        values[at] = x[place[i] * inner];
        indices[at] = (i64)place[i];
    }
}

/** Sorts n pairs in place; one block. */
KERNEL(sort_pairs_short)(u32* keys, u32* order, int n, int size) {
    __shared__ u32 key[SHORT];
    __shared__ u32 place[SHORT];
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
        key[i] = i < n ? keys[i] : ~0u;
        place[i] = i < n ? order[i] : ~0u;
    }
    bitonic(key, place, size);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        keys[i] = key[i];
        order[i] = place[i];
    }
}

// ---- Radix -------------------------------------------------------------------------------------------------------------------------------------------

template <class K> DEV int digit_of(K key, int shift) { return (int)(key >> shift & (K)(DIGITS - 1)); }

/** count [lines, 256, tiles]: how often each digit comes in a tile. Block of 256, grid (tiles, lines). */
template <class K> DEV void radix_count(const K* key, u32* count, i64 n, int shift) {
    __shared__ u32 seen[DIGITS];
    seen[threadIdx.x] = 0;
    __syncthreads();
    key += blockIdx.y * n;
    i64 end = (i64)(blockIdx.x + 1) * TILE < n ? (i64)(blockIdx.x + 1) * TILE : n;
    for (i64 i = (i64)blockIdx.x * TILE + threadIdx.x; i < end; i += DIGITS) atomicAdd(seen + digit_of(key[i], shift), 1u);
    __syncthreads();
    count[((i64)blockIdx.y * DIGITS + threadIdx.x) * gridDim.x + blockIdx.x] = seen[threadIdx.x];
}

/** The sum over the lanes before this one, of 256 threads; all threads get the total too. */
DEV u32 scan_before(u32 x, u32& total) {
    __shared__ u32 sums[WARPS];
    u32 scan = x;
    for (int o = 1; o < 32; o <<= 1) {
        u32 before = shfl(scan, lane() >= o ? lane() - o : 0);
        if (lane() >= o) scan += before;
    }
    __syncthreads();
    if (lane() == 31) sums[warp_index()] = scan;
    __syncthreads();
    u32 before = scan - x;
    total = 0;
    for (int w = 0; w < WARPS; w++) {
        if (w < warp_index()) before += sums[w];
        total += sums[w];
    }
    return before;
}

/** Turns the counts of a digit into sums over the tiles before; totals [lines, 256]. Block of 256, grid lines * 256. */
KERNEL_BOUNDS(radix_scan, 256, 4)(u32* count, u32* totals, int tiles) {
    count += (i64)blockIdx.x * tiles;
    u32 carry = 0;
    for (int base = 0; base < tiles; base += DIGITS) {
        int i = base + threadIdx.x;
        u32 total, before = scan_before(i < tiles ? count[i] : 0, total);
        if (i < tiles) count[i] = carry + before;
        carry += total;
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = carry;
}

/** Moves pairs to their places: keys of smaller digits, of tiles before, of this tile before. Block of 256, grid (tiles, lines). */
template <class K>
DEV void radix_scatter(const K* key, const u32* order, K* key_to, u32* order_to, const u32* count, const u32* totals, i64 n, int shift) {
    __shared__ u32 seen[WARPS][DIGITS];
    __shared__ u32 start[DIGITS];
    int t = threadIdx.x, w = warp_index(), l = lane();
    u32 total;
    u32 before = scan_before(totals[blockIdx.y * DIGITS + t], total);
    start[t] = before + count[((i64)blockIdx.y * DIGITS + t) * gridDim.x + blockIdx.x];
    for (int v = 0; v < WARPS; v++) seen[v][t] = 0;
    __syncthreads();
    i64 line = blockIdx.y * n, first = (i64)blockIdx.x * TILE + w * (TILE / WARPS) + l;
    K k[ROUNDS];
    u32 rank[ROUNDS];
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        i64 i = first + r * 32;
        bool there = i < n;
        k[r] = there ? key[line + i] : 0;
        int d = digit_of(k[r], shift);
        unsigned peers = warp_ballot(there);
#pragma unroll
        for (int b = 0; b < 8; b++) {
            unsigned ones = warp_ballot(d >> b & 1);
            peers &= d >> b & 1 ? ones : ~ones;
        }
        u32 earlier = there ? seen[w][d] : 0;
        rank[r] = earlier + (u32)__popc(peers & ((1u << l) - 1));
        __syncwarp();
        if (there && (peers >> l) == 1) seen[w][d] = rank[r] + 1;   // the last of its peers
        __syncwarp();
    }
    __syncthreads();
    u32 sum = start[t];
    for (int v = 0; v < WARPS; v++) {
        u32 c = seen[v][t];
        seen[v][t] = sum;
        sum += c;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        i64 i = first + r * 32;
        if (i < n) {
            i64 to = line + seen[w][digit_of(k[r], shift)] + rank[r];
            key_to[to] = k[r];
            order_to[to] = order[line + i];
        }
    }
}

/** Keys and places of lines: x [outer, n, inner], key, order [lines, n]. */
template <class T> DEV void sort_keys(const T* x, typename Key<T>::type* key, u32* order, i64 n, i64 inner, i64 total, int descending) {
    i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= total) return;
    i64 line = e / n, i = e - line * n, o = line / inner;
    key[e] = key_of(x[(o * n + i) * inner + (line - o * inner)], descending);
    order[e] = (u32)i;
}

/** values, indices [outer, k, inner] from order [lines, n]; total = lines * k. */
template <class T> DEV void sort_finish(const T* x, const u32* order, T* values, i64* indices, i64 n, i64 k, i64 inner, i64 total) {
    i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= total) return;
    i64 row = e / inner, j = e - row * inner, o = row / k, i = row - o * k;
    u32 place = order[(o * inner + j) * n + i];
    values[e] = x[(o * n + place) * inner + j];
    indices[e] = (i64)place;
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define SORT(suffix, T)                                                                                                                   \
    KERNEL(sort_short_##suffix)(const T* x, T* values, i64* indices, int n, int k, i64 inner, int size, int descending) {                  \
        sort_short(x, values, indices, n, k, inner, size, descending);                                                                    \
    }                                                                                                                                     \
    KERNEL(sort_keys_##suffix)(const T* x, Key<T>::type* key, u32* order, i64 n, i64 inner, i64 total, int descending) {                   \
        sort_keys(x, key, order, n, inner, total, descending);                                                                            \
    }                                                                                                                                     \
    KERNEL(sort_finish_##suffix)(const T* x, const u32* order, T* values, i64* indices, i64 n, i64 k, i64 inner, i64 total) {              \
        sort_finish(x, order, values, indices, n, k, inner, total);                                                                       \
    }

#define RADIX(bits, K)                                                                                                                    \
    KERNEL_BOUNDS(radix_count_##bits, 256, 4)(const K* key, u32* count, i64 n, int shift) { radix_count(key, count, n, shift); }           \
    KERNEL_BOUNDS(radix_scatter_##bits, 256, 4)(const K* key, const u32* order, K* key_to, u32* order_to, const u32* count,                \
                                                const u32* totals, i64 n, int shift) {                                                    \
        radix_scatter(key, order, key_to, order_to, count, totals, n, shift);                                                             \
    }

SORT(f32, float)
SORT(bf16, bf16)
SORT(f16, f16)
SORT(f64, double)
SORT(i64, i64)
SORT(i32, i32)
SORT(u8, u8)
RADIX(32, u32)
RADIX(64, u64)


// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT(suffix)              \
    EMU_EXPORT(sort_short_##suffix) \
    EMU_EXPORT(sort_keys_##suffix)  \
    EMU_EXPORT(sort_finish_##suffix)

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
EXPORT(f64)
EXPORT(i64)
EXPORT(i32)
EXPORT(u8)
EMU_EXPORT(radix_count_32)
EMU_EXPORT(radix_scatter_32)
EMU_EXPORT(radix_count_64)
EMU_EXPORT(radix_scatter_64)
EMU_EXPORT(sort_pairs_short)
EMU_EXPORT(radix_scan)
