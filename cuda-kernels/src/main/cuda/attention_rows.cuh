// SPDX-License-Identifier: Apache-2.0
//
// What comes before and after attention_backward.cuh, row by row.
//
// attention_rows      [lse, in log2 units unless there is a mask, delta] of each query, and zeros in the f32 accumulator of dq
// attention_round     rounds the accumulator to dq
// attention_sum       adds what the splits gave to dk and dv, in order
#ifndef SFUMATO_ATTENTION_ROWS_CUH
#define SFUMATO_ATTENTION_ROWS_CUH

#include "attention.cuh"

struct AttentionGradStrides {
    i64 d_o[3];  // do [B, H, Lq, values]
    i64 dq[3];   // dq [B, H, Lq, width]
    i64 dk[3];   // dk [B, H, Lk, width]
    i64 dv[3];   // dv [B, H, Lk, values]
};

/** Two values of one query. */
struct alignas(8) QueryRow {
    float lse, delta;
};

/**
 * Adds four values of each lane of a warp to 128 floats at p, each atomically: value e of lane l to p[l WARP_ADD_LANE + e WARP_ADD_VALUE]. p is the same
 * for all lanes, aligned to 16 bytes, in global memory. Both orders fill whole lines: one vector of each lane (PTX ISA 8.1, sm_90), or one float.
 */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define WARP_ADD_LANE 1
#define WARP_ADD_VALUE 32
#else
#define WARP_ADD_LANE 4
#define WARP_ADD_VALUE 1
#endif
DEV void warp_add(float* p, const float (&x)[4]) {
    p += lane() * WARP_ADD_LANE;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(p), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
#else
#pragma unroll
    for (int e = 0; e < 4; e++) atomicAdd(p + e * WARP_ADD_VALUE, x[e]);
#endif
}

/** Queries that have rows in the accumulator and in QueryRow: whole blocks of 64. */
DEV int padded_queries(int queries) { return (queries + 63) / 64 * 64; }

/**
 * rows[head][padded query] = {lse log2(e), or lse with a mask, sum of do o}; infinity and 0 for a query that sees no key or does not exist. Eight lanes for each query. Zeros the
 * accumulator, which has as many values as [head][padded query][accumulated], unless null.
 */
template <class T>
DEV void attention_rows(const T* o, const T* d_o, const float* lse, QueryRow* rows, float* accumulator, int accumulated, i64 heads_in_all, AttentionStrides s,
    AttentionGradStrides gs, AttentionSizes n) {
    int padded = padded_queries(n.queries), part = (int)threadIdx.x & 7;
    i64 row = (i64)blockIdx.x * 32 + ((int)threadIdx.x >> 3);
    i64 head = row / padded;
    int query = (int)(row % padded), h = (int)(head % n.heads), b = (int)(head / n.heads);
    float delta = 0.f;
    bool exists = head < heads_in_all && query < n.queries;
    if (exists) {
        const T* x = head_of(o, s.o, b, h) + query * s.o[2];
        const T* y = head_of(d_o, gs.d_o, b, h) + query * gs.d_o[2];
        if ((n.aligned & 1) && n.values % 8 == 0) {
            for (int c = part * 8; c < n.values; c += 64) {
                Vec<float, 8> a = to_float(load_vec<8>(x + c)), e = to_float(load_vec<8>(y + c));
#pragma unroll
                for (int i = 0; i < 8; i++) delta += a[i] * e[i];
            }
        } else {
            for (int c = part; c < n.values; c += 8) delta += to_float(x[c]) * to_float(y[c]);
        }
    }
    delta = warp_sum<8>(delta);
    if (head >= heads_in_all) return;
    if (part == 0) {
        float l = exists ? lse[head * n.queries + query] : negative_infinity();
        QueryRow r = {l == negative_infinity() ? positive_infinity() : l * (n.mask == 0 ? ATTENTION_LOG2E : 1.f), delta};
        rows[row] = r;
    }
    if (accumulator != nullptr) {
        Vec<float, 4> zero = {{0.f, 0.f, 0.f, 0.f}};
        for (int c = part * 4; c < accumulated; c += 32) store_vec<4>(accumulator + row * accumulated + c, zero);
    }
}

/**
 * dq = scale accumulator, which is [head][padded query / 16][accumulated / 8][128]: 16 rows of 8 columns as warp_add adds the fragments of a product. Each
 * thread takes 8 columns of rows g and g + 8.
 */
template <class T>
DEV void attention_round(const float* accumulator, int accumulated, T* dq, i64 heads_in_all, AttentionGradStrides gs, AttentionSizes n, float scale) {
    int chunks = (n.width + 7) / 8, pairs = div_up(n.queries, 16) * 8;
    i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
    i64 pair = i / chunks, head = pair / pairs;
    if (head >= heads_in_all) return;
    int chunk = (int)(i % chunks), g = (int)(pair % 8), first = (int)(pair % pairs) / 8 * 16;
    const float* x = accumulator + (head * padded_queries(n.queries) + first) * accumulated + chunk * 128 + g * 4 * WARP_ADD_LANE;
    T* y = head_of(dq, gs.dq, (int)(head / n.heads), (int)(head % n.heads)) + (first + g) * gs.dq[2] + chunk * 8;
    Vec<T, 8> r[2];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        Vec<float, 4> v = load_vec<4>(x + j * (WARP_ADD_LANE == 4 ? 4 : WARP_ADD_VALUE));
#pragma unroll
        for (int k = 0; k < 4; k++) {
            int t = WARP_ADD_LANE == 4 ? j : k, e = WARP_ADD_LANE == 4 ? k : j;  // lane 4 g + t, its value e
            r[e / 2][2 * t + e % 2] = from_float<T>(v[k] * scale);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (first + g + half * 8 < n.queries) {
            if ((n.aligned & 2) && chunk * 8 + 8 <= n.width) {
                store_vec<8>(y, r[half]);
            } else {
                for (int e = 0; e < 8 && chunk * 8 + e < n.width; e++) y[e] = r[half][e];
            }
        }
        y += 8 * gs.dq[2];
    }
}

/**
 * dk and dv from partial [splits][dk, dv][heads_in_all][padded keys][accumulated]; eight values for each thread, dk if blockIdx.y is 0, else dv.
 */
template <class T>
DEV void attention_sum(const float* partial, int accumulated, int padded_keys, int splits, T* dk, T* dv, i64 heads_in_all, AttentionGradStrides gs, AttentionSizes n) {
    bool is_v = blockIdx.y != 0;
    int width = is_v ? n.values : n.width, chunks = (width + 7) / 8;
    i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
    i64 row = i / chunks, head = row / n.keys, half = heads_in_all * padded_keys * accumulated;
    if (head >= heads_in_all) return;
    int c = (int)(i % chunks) * 8, key = (int)(row % n.keys), b = (int)(head / n.heads), h = (int)(head % n.heads);
    const float* x = partial + (is_v ? half : 0) + (head * padded_keys + key) * accumulated + c;
    T* y = (is_v ? head_of(dv, gs.dv, b, h) + key * gs.dv[2] : head_of(dk, gs.dk, b, h) + key * gs.dk[2]) + c;
    Vec<float, 4> low = load_vec<4>(x), high = load_vec<4>(x + 4);
    for (int s = 1; s < splits; s++) {
        x += 2 * half;
        Vec<float, 4> more = load_vec<4>(x), upper = load_vec<4>(x + 4);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            low[e] += more[e];
            high[e] += upper[e];
        }
    }
    Vec<T, 8> r;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        r[e] = from_float<T>(low[e]);
        r[e + 4] = from_float<T>(high[e]);
    }
    if ((n.aligned & 2) && c + 8 <= width) {
        store_vec<8>(y, r);
    } else {
        for (int e = 0; e < 8 && c + e < width; e++) y[e] = r[e];
    }
}

// Grid: heads_in_all = B H; attention_rows: ceil(B H padded queries / 32), 256 threads; attention_round: ceil(B H 8 ceil(Lq / 16) ceil(width / 8) / 256), 256 threads;
// attention_sum: (ceil(B H Lk ceil(max(width, values) / 8) / 256), 2), 256 threads.
#define ATTENTION_ROWS(T, suffix)                                                                                                                      \
    KERNEL(attention_rows_##suffix)                                                                                                                    \
    (const T* o, const T* d_o, const float* lse, QueryRow* rows, float* accumulator, int accumulated, i64 heads_in_all, AttentionStrides s,            \
        AttentionGradStrides gs, AttentionSizes n) {                                                                                                   \
        attention_rows<T>(o, d_o, lse, rows, accumulator, accumulated, heads_in_all, s, gs, n);                                                        \
    }                                                                                                                                                  \
    KERNEL(attention_round_##suffix)                                                                                                                   \
    (const float* accumulator, int accumulated, T* dq, i64 heads_in_all, AttentionGradStrides gs, AttentionSizes n, float scale) {                     \
        attention_round<T>(accumulator, accumulated, dq, heads_in_all, gs, n, scale);                                                                  \
    }                                                                                                                                                  \
    KERNEL(attention_sum_##suffix)                                                                                                                     \
    (const float* partial, int accumulated, int padded_keys, int splits, T* dk, T* dv, i64 heads_in_all, AttentionGradStrides gs, AttentionSizes n) { \
        attention_sum<T>(partial, accumulated, padded_keys, splits, dk, dv, heads_in_all, gs, n);                                                      \
    }                                                                                                                                                  \
    EMU_EXPORT(attention_sum_##suffix)                                                                                                                 \
    EMU_EXPORT(attention_rows_##suffix)                                                                                                                \
    EMU_EXPORT(attention_round_##suffix)

#endif
