// SPDX-License-Identifier: Apache-2.0
//
// Attention in f32 on the ordinary arithmetic units, forward and backward, without a matrix of scores in memory. 128 threads stand as 8 rows (ty) of 16 (tx).
// A thread computes scores of rows ty + 8 i and keys tx + 16 j, four columns of q and k at a time; products with v, do, q or k go by columns, VW
// neighbouring ones per load. Tiles of q, k, v and do are padded to D columns with zeros; their pitch D + 4 spreads sixteen rows over all banks.
// The pitch BN + 16 of the matrix of weights does so for two rows of sixteen keys.
//
// forward: a block owns BM queries and walks over BN keys at a time, k is fetched during the product with v and v during the product with k.
// backward: a block owns BN keys and walks over BM queries; dq is added to by atomics (mode 0), or written if all keys fit one block (mode 1), or left (2) to
// attention_f32_dq, which repeats to the bit.
#include "attention.cuh"

struct AttentionF32GradStrides {
    i64 d_o[3], dq[3], dk[3], dv[3];  // do [B, H, Lq, values], dq and dk like q and k, dv like v
};

template <int D> struct Columns {
    static const int VW = D % 64 == 0 ? 4 : D % 32 == 0 ? 2 : 1, N = D / 16;
    /** The column of the thread's c-th value. */
    DEVM static int at(int tx, int c) { return tx * VW + c / VW * 16 * VW + c % VW; }
};

/** Starts the copy of rows [0, rows) of p, the others zero, columns from `width` on zero; aligned: every row starts at 16 bytes. */
template <int D, int ROWS> DEV void load_f32(float* tile, const float* p, i64 stride, int rows, int width, bool aligned) {
    for (int i = (int)threadIdx.x; i < ROWS * (D / 4); i += 128) {
        int r = i / (D / 4), c = i % (D / 4) * 4;
        float* to = tile + r * (D + 4) + c;
        const float* from = p + r * stride + c;
        int left = r < rows ? width - c : 0;
        if (aligned) {
            int n = left < 0 ? 0 : left > 4 ? 4 : left;
            cp_async16_zfill(to, n > 0 ? from : p, n * 4);
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++) cp_async4_zfill(to + e, e < left ? from + e : p, e < left ? 4 : 0);
        }
    }
}

template <int M, int N> DEV void clear_f32(float (&c)[M][N]) {
#pragma unroll
    for (int i = 0; i < M; i++) {
#pragma unroll
        for (int j = 0; j < N; j++) c[i][j] = 0.f;
    }
}

/** s[i][j] = row ty + 8 i of a times row tx + 16 j of b over `quads` groups of four columns. */
template <int D, int M, int N> DEV void scores_f32(float (&s)[M][N], const float* a, const float* b, int quads) {
    int tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    const float* pa = a + ty * (D + 4);
    const float* pb = b + tx * (D + 4);
    clear_f32(s);
#pragma unroll 2
    for (int d = 0; d < quads; d++) {
        Vec<float, 4> x[M], y[N];
#pragma unroll
        for (int i = 0; i < M; i++) x[i] = load_vec<4>(pa + i * 8 * (D + 4) + d * 4);
#pragma unroll
        for (int j = 0; j < N; j++) y[j] = load_vec<4>(pb + j * 16 * (D + 4) + d * 4);
#pragma unroll
        for (int e = 0; e < 4; e++) {
#pragma unroll
            for (int i = 0; i < M; i++) {
#pragma unroll
                for (int j = 0; j < N; j++) s[i][j] += x[i][e] * y[j][e];
            }
        }
    }
}

/** The thread's columns of one row. */
template <int D> DEV void load_columns(float (&y)[D / 16], const float* row) {
    const int VW = Columns<D>::VW;
    int tx = (int)threadIdx.x & 15;
#pragma unroll
    for (int c = 0; c < D / 16; c += VW) {
        Vec<float, VW> v = load_vec<VW>(row + Columns<D>::at(tx, c));
#pragma unroll
        for (int e = 0; e < VW; e++) y[c + e] = v[e];
    }
}

/** c[i][.] += sum over K of w[ty + 8 i][k] b[k][columns]; w has pitch PW. */
template <int D, int K, int PW, int M> DEV void add_weighted(float (&c)[M][D / 16], const float* w, const float* b) {
    int ty = (int)threadIdx.x >> 4;
    const float* pw = w + ty * PW;
#pragma unroll 2
    for (int k = 0; k < K; k += 4) {
        Vec<float, 4> x[M];
#pragma unroll
        for (int i = 0; i < M; i++) x[i] = load_vec<4>(pw + i * 8 * PW + k);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float y[D / 16];
            load_columns<D>(y, b + (k + e) * (D + 4));
#pragma unroll
            for (int i = 0; i < M; i++) {
#pragma unroll
                for (int j = 0; j < D / 16; j++) c[i][j] += x[i][e] * y[j];
            }
        }
    }
}

/** c[i][.] += sum over K rows of w[k][M ty + i] b[k][columns]: the transpose of w. */
template <int D, int K, int PW, int M> DEV void add_transposed(float (&c)[M][D / 16], const float* w, const float* b) {
    int ty = (int)threadIdx.x >> 4;
#pragma unroll 2
    for (int k = 0; k < K; k++) {
        float y[D / 16];
        load_columns<D>(y, b + k * (D + 4));
#pragma unroll
        for (int i = 0; i < M; i += 4) {
            Vec<float, 4> x = load_vec<4>(w + k * PW + ty * M + i);
#pragma unroll
            for (int e = 0; e < 4; e++) {
#pragma unroll
                for (int j = 0; j < D / 16; j++) c[i + e][j] += x[e] * y[j];
            }
        }
    }
}

/** Stores or (ADD) adds the thread's columns of one row, times factor. */
template <int D, bool ADD> DEV void put_columns(float* row, const float (&c)[D / 16], float factor, int width, bool aligned) {
    const int VW = Columns<D>::VW;
    int tx = (int)threadIdx.x & 15;
#pragma unroll
    for (int j = 0; j < D / 16; j += VW) {
        int x = Columns<D>::at(tx, j);
        if (VW > 1 && aligned && x + VW <= width) {
            if (ADD) {
#pragma unroll
                for (int e = 0; e + 1 < VW; e += 2) atomic_add2(row + x + e, c[j + e] * factor, c[j + e + 1] * factor);
            } else {
                Vec<float, VW> v;
#pragma unroll
                for (int e = 0; e < VW; e++) v[e] = c[j + e] * factor;
                store_vec<VW>(row + x, v);
            }
        } else {
#pragma unroll
            for (int e = 0; e < VW; e++) {
                if (x + e >= width) continue;
                if (ADD) {
                    atomicAdd(row + x + e, c[j + e] * factor);
                } else {
                    row[x + e] = c[j + e] * factor;
                }
            }
        }
    }
}

/** Scores of queries q0 + ty + 8 i and keys k0 + tx + 16 j in log2 units, masked if `test`. */
template <int M, int N>
DEV void scale_scores(float (&s)[M][N], float factor, bool test, const AttentionSizes& n, const AttentionStrides& stride, const void* mask, int b, int h, int q0, int k0) {
    int tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
#pragma unroll
    for (int i = 0; i < M; i++) {
        int query = q0 + ty + 8 * i;
        i64 row = test ? mask_row(stride, n, b, h, query) : 0;
#pragma unroll
        for (int j = 0; j < N; j++) {
            s[i][j] *= factor;
            if (test) s[i][j] = masked_score<float>(s[i][j], n, mask, row, stride.mask[3], query, k0 + tx + 16 * j);
        }
    }
}

template <int D, int BM, int BN>
DEV void forward_f32(const float* q, const float* k, const float* v, const void* mask, float* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n, float scale) {
    const int M = BM / 8, N = BN / 16, C = D / 16, PW = BN + 16;
    DYN_SHARED(float, tiles);
    float* qs = tiles;
    float* ks = qs + BM * (D + 4);
    float* vs = ks + BN * (D + 4);
    float* ws = vs + BN * (D + 4);
    int q_blocks = div_up(n.queries, BM), head = (int)blockIdx.x / q_blocks, h = head % n.heads, b = head / n.heads;
    int q0 = (q_blocks - 1 - (int)blockIdx.x % q_blocks) * BM;
    int tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    bool aligned = n.aligned & 1;
    k = head_of(k, stride.k, b, h);
    v = head_of(v, stride.v, b, h);
    load_f32<D, BM>(qs, head_of(q, stride.q, b, h) + q0 * stride.q[2], stride.q[2], n.queries - q0, n.width, aligned);
    load_f32<D, BN>(ks, k, stride.k[2], n.keys, n.width, aligned);
    cp_async_commit();
    int blocks = div_up(n.causal ? min_int(n.keys, q0 + BM) : n.keys, BN);
    int plain = n.mask != 0 ? 0 : (n.causal ? min_int(n.keys, q0 + 1) : n.keys) / BN;
    int quads = (n.width + 3) / 4;
    float acc[M][C], top[M], sum[M];
    clear_f32(acc);
#pragma unroll
    for (int i = 0; i < M; i++) {
        top[i] = negative_infinity();
        sum[i] = 0.f;
    }
    for (int j = 0; j < blocks; j++) {
        int k0 = j * BN;
        cp_async_wait<0>();
        __syncthreads();
        load_f32<D, BN>(vs, v + k0 * stride.v[2], stride.v[2], n.keys - k0, n.values, aligned);
        cp_async_commit();
        float s[M][N];
        scores_f32<D>(s, qs, ks, quads);
        scale_scores(s, scale * ATTENTION_LOG2E, j >= plain, n, stride, mask, b, h, q0, k0);
#pragma unroll
        for (int i = 0; i < M; i++) {
            float m = s[i][0];
#pragma unroll
            for (int e = 1; e < N; e++) m = fmaxf(m, s[i][e]);
#pragma unroll
            for (int e = 1; e < 16; e *= 2) m = fmaxf(m, shfl_xor(m, e));
            m = fmaxf(m, top[i]);
            float from = m == negative_infinity() ? 0.f : m, alpha = exp2_fast(top[i] - from);
            top[i] = m;
            sum[i] *= alpha;
#pragma unroll
            for (int c = 0; c < C; c++) acc[i][c] *= alpha;
#pragma unroll
            for (int e = 0; e < N; e++) {
                float p = exp2_fast(s[i][e] - from);
                sum[i] += p;
                ws[(ty + 8 * i) * PW + tx + 16 * e] = p;  // read by the lanes of the same ty, which are in this warp
            }
        }
        cp_async_wait<0>();
        __syncthreads();
        if (j + 1 < blocks) {
            load_f32<D, BN>(ks, k + (k0 + BN) * stride.k[2], stride.k[2], n.keys - k0 - BN, n.width, aligned);
            cp_async_commit();
        }
        add_weighted<D, BN, PW>(acc, ws, vs);
    }
    o = head_of(o, stride.o, b, h);
#pragma unroll
    for (int i = 0; i < M; i++) {
        float total = warp_sum<16>(sum[i]);
        int query = q0 + ty + 8 * i;
        if (query >= n.queries) continue;
        put_columns<D, false>(o + query * stride.o[2], acc[i], total == 0.f ? 0.f : 1.f / total, n.values, n.aligned & 2);
        if (tx == 0) lse[(i64)head * n.queries + query] = total == 0.f ? negative_infinity() : top[i] * ATTENTION_LN2 + logf(total);
    }
}

/** Weights and the scores' gradients of BM queries and BN keys, from tiles of q, do, k, v. */
template <int D, int M, int N>
DEV void gradients_f32(float (&s)[M][N], float (&p)[M][N], const float* qs, const float* os, const float* ks, const float* vs, const float* lse, const float* delta,
    const void* mask, const AttentionStrides& stride, const AttentionSizes& n, float scale, bool test, int b, int h, int q0, int k0) {
    int ty = (int)threadIdx.x >> 4;
    scores_f32<D>(s, qs, ks, (n.width + 3) / 4);
    scores_f32<D>(p, os, vs, (n.values + 3) / 4);
    scale_scores(s, scale * ATTENTION_LOG2E, test, n, stride, mask, b, h, q0, k0);
#pragma unroll
    for (int i = 0; i < M; i++) {
        int query = q0 + ty + 8 * i;
        float l = query < n.queries ? lse[query] * ATTENTION_LOG2E : negative_infinity();
        float d = query < n.queries ? delta[query] : 0.f;
        if (l == negative_infinity()) l = positive_infinity();
#pragma unroll
        for (int j = 0; j < N; j++) {
            s[i][j] = exp2_fast(s[i][j] - l);
            p[i][j] = s[i][j] * (p[i][j] - d);
        }
    }
}

template <int D, int BM, int BN>
DEV void backward_f32(const float* q, const float* k, const float* v, const void* mask, const float* d_o, const float* lse, const float* delta, float* dq, float* dk, float* dv,
    const AttentionStrides& stride, const AttentionF32GradStrides& gs, const AttentionSizes& n, float scale, int mode) {
    const int M = BM / 8, N = BN / 16, R = BN / 8, C = D / 16, PW = BN + 16;
    DYN_SHARED(float, tiles);
    float* ks = tiles;
    float* vs = ks + BN * (D + 4);
    float* qs = vs + BN * (D + 4);
    float* os = qs + BM * (D + 4);
    float* ws = os + BM * (D + 4);
    float* ss = ws + BM * PW;
    int k_blocks = div_up(n.keys, BN), head = (int)blockIdx.x / k_blocks, h = head % n.heads, b = head / n.heads;
    int k0 = (int)blockIdx.x % k_blocks * BN, tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    bool aligned = n.aligned & 1;
    q = head_of(q, stride.q, b, h);
    d_o = head_of(d_o, gs.d_o, b, h);
    dq = head_of(dq, gs.dq, b, h);
    lse += (i64)head * n.queries;
    delta += (i64)head * n.queries;
    load_f32<D, BN>(ks, head_of(k, stride.k, b, h) + k0 * stride.k[2], stride.k[2], n.keys - k0, n.width, aligned);
    load_f32<D, BN>(vs, head_of(v, stride.v, b, h) + k0 * stride.v[2], stride.v[2], n.keys - k0, n.values, aligned);
    float acc_k[R][C], acc_v[R][C];
    clear_f32(acc_k);
    clear_f32(acc_v);
    for (int q0 = n.causal ? k0 / BM * BM : 0; q0 < n.queries; q0 += BM) {
        load_f32<D, BM>(qs, q + q0 * stride.q[2], stride.q[2], n.queries - q0, n.width, aligned);
        load_f32<D, BM>(os, d_o + q0 * gs.d_o[2], gs.d_o[2], n.queries - q0, n.values, aligned);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        bool test = n.mask != 0 || k0 + BN > n.keys || (n.causal && q0 < k0 + BN - 1);
        float s[M][N], p[M][N];
        gradients_f32<D>(s, p, qs, os, ks, vs, lse, delta, mask, stride, n, scale, test, b, h, q0, k0);
#pragma unroll
        for (int i = 0; i < M; i++) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                ws[(ty + 8 * i) * PW + tx + 16 * j] = s[i][j];
                ss[(ty + 8 * i) * PW + tx + 16 * j] = p[i][j];
            }
        }
        __syncthreads();
        add_transposed<D, BM, PW>(acc_v, ws, os);
        add_transposed<D, BM, PW>(acc_k, ss, qs);
        if (mode != 2) {
            float c[M][C];
            clear_f32(c);
            add_weighted<D, BN, PW>(c, ss, ks);
#pragma unroll
            for (int i = 0; i < M; i++) {
                int query = q0 + ty + 8 * i;
                if (query >= n.queries) continue;
                if (mode == 0) {
                    put_columns<D, true>(dq + query * gs.dq[2], c[i], scale, n.width, n.aligned & 2);
                } else {
                    put_columns<D, false>(dq + query * gs.dq[2], c[i], scale, n.width, n.aligned & 2);
                }
            }
        }
        __syncthreads();
    }
    dk = head_of(dk, gs.dk, b, h);
    dv = head_of(dv, gs.dv, b, h);
#pragma unroll
    for (int i = 0; i < R; i++) {
        int key = k0 + ty * R + i;
        if (key >= n.keys) continue;
        put_columns<D, false>(dk + key * gs.dk[2], acc_k[i], scale, n.width, n.aligned & 2);
        put_columns<D, false>(dv + key * gs.dv[2], acc_v[i], 1.f, n.values, n.aligned & 2);
    }
    cp_async_wait<0>();
}

template <int D, int BM, int BN>
DEV void dq_f32(const float* q, const float* k, const float* v, const void* mask, const float* d_o, const float* lse, const float* delta, float* dq,
    const AttentionStrides& stride, const AttentionF32GradStrides& gs, const AttentionSizes& n, float scale) {
    const int M = BM / 8, N = BN / 16, C = D / 16, PW = BN + 16;
    DYN_SHARED(float, tiles);
    float* ks = tiles;
    float* vs = ks + BN * (D + 4);
    float* qs = vs + BN * (D + 4);
    float* os = qs + BM * (D + 4);
    float* ss = os + BM * (D + 4);
    int q_blocks = div_up(n.queries, BM), head = (int)blockIdx.x / q_blocks, h = head % n.heads, b = head / n.heads;
    int q0 = (int)blockIdx.x % q_blocks * BM, tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    bool aligned = n.aligned & 1;
    k = head_of(k, stride.k, b, h);
    v = head_of(v, stride.v, b, h);
    lse += (i64)head * n.queries;
    delta += (i64)head * n.queries;
    load_f32<D, BM>(qs, head_of(q, stride.q, b, h) + q0 * stride.q[2], stride.q[2], n.queries - q0, n.width, aligned);
    load_f32<D, BM>(os, head_of(d_o, gs.d_o, b, h) + q0 * gs.d_o[2], gs.d_o[2], n.queries - q0, n.values, aligned);
    float acc[M][C];
    clear_f32(acc);
    for (int k0 = 0; k0 < n.keys && !(n.causal && k0 >= q0 + BM); k0 += BN) {
        load_f32<D, BN>(ks, k + k0 * stride.k[2], stride.k[2], n.keys - k0, n.width, aligned);
        load_f32<D, BN>(vs, v + k0 * stride.v[2], stride.v[2], n.keys - k0, n.values, aligned);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        bool test = n.mask != 0 || k0 + BN > n.keys || (n.causal && q0 < k0 + BN - 1);
        float s[M][N], p[M][N];
        gradients_f32<D>(s, p, qs, os, ks, vs, lse, delta, mask, stride, n, scale, test, b, h, q0, k0);
#pragma unroll
        for (int i = 0; i < M; i++) {
#pragma unroll
            for (int j = 0; j < N; j++) ss[(ty + 8 * i) * PW + tx + 16 * j] = p[i][j];
        }
        __syncwarp();
        add_weighted<D, BN, PW>(acc, ss, ks);
        __syncthreads();
    }
    dq = head_of(dq, gs.dq, b, h);
#pragma unroll
    for (int i = 0; i < M; i++) {
        int query = q0 + ty + 8 * i;
        if (query < n.queries) put_columns<D, false>(dq + query * gs.dq[2], acc[i], scale, n.width, n.aligned & 2);
    }
}

// delta [B, H, Lq] = sum over values of do o. Eight lanes for each query; grid ceil(B H Lq / 32), 256 threads.
KERNEL(attention_f32_rows)
(const float* o, const float* d_o, float* delta, i64 queries_in_all, AttentionStrides s, AttentionF32GradStrides gs, AttentionSizes n) {
    i64 row = (i64)blockIdx.x * 32 + ((int)threadIdx.x >> 3);
    float sum = 0.f;
    if (row < queries_in_all) {
        i64 head = row / n.queries;
        int query = (int)(row % n.queries), h = (int)(head % n.heads), b = (int)(head / n.heads);
        const float* x = head_of(o, s.o, b, h) + query * s.o[2];
        const float* y = head_of(d_o, gs.d_o, b, h) + query * gs.d_o[2];
        for (int c = (int)threadIdx.x & 7; c < n.values; c += 8) sum += x[c] * y[c];
    }
    sum = warp_sum<8>(sum);
    if (row < queries_in_all && ((int)threadIdx.x & 7) == 0) delta[row] = sum;
}

// q [B, H, Lq, width], k [B, H, Lk, width], v [B, H, Lk, values], mask seen as [B, H, Lq, Lk] or null, o [B, H, Lq, values], lse [B, H, Lq] contiguous.
// Grid: B H ceil(Lq / BM).
#define FORWARD_F32(D, BM, BN, blocks)                                                                                                                    \
    KERNEL_BOUNDS(attention_f32_forward_##D##_##BM, 128, blocks)                                                                                          \
    (const float* q, const float* k, const float* v, const void* mask, float* o, float* lse, AttentionStrides stride, AttentionSizes n, float scale) {    \
        forward_f32<D, BM, BN>(q, k, v, mask, o, lse, stride, n, scale);                                                                                  \
    }                                                                                                                                                     \
    EMU_EXPORT(attention_f32_forward_##D##_##BM)

// d_o [B, H, Lq, values], delta [B, H, Lq], dq, dk, dv like q, k, v; dq is zero before in mode 0. Grid: B H ceil(Lk / B), B = BM = BN.
#define BACKWARD_F32(D, B, blocks)                                                                                                                        \
    KERNEL_BOUNDS(attention_f32_backward_##D##_##B, 128, blocks)                                                                                          \
    (const float* q, const float* k, const float* v, const void* mask, const float* d_o, const float* lse, const float* delta, float* dq, float* dk,     \
        float* dv, AttentionStrides stride, AttentionF32GradStrides gs, AttentionSizes n, float scale, int mode) {                                        \
        backward_f32<D, B, B>(q, k, v, mask, d_o, lse, delta, dq, dk, dv, stride, gs, n, scale, mode);                                                    \
    }                                                                                                                                                     \
    EMU_EXPORT(attention_f32_backward_##D##_##B)

// Grid: B H ceil(Lq / 32).
#define DQ_F32(D)                                                                                                                                         \
    KERNEL_BOUNDS(attention_f32_dq_##D, 128, 1)                                                                                                           \
    (const float* q, const float* k, const float* v, const void* mask, const float* d_o, const float* lse, const float* delta, float* dq,                \
        AttentionStrides stride, AttentionF32GradStrides gs, AttentionSizes n, float scale) {                                                             \
        dq_f32<D, 32, 32>(q, k, v, mask, d_o, lse, delta, dq, stride, gs, n, scale);                                                                      \
    }                                                                                                                                                     \
    EMU_EXPORT(attention_f32_dq_##D)

#define ALL_F32_NARROW(D)       \
    FORWARD_F32(D, 64, 64, 2)   \
    FORWARD_F32(D, 32, 64, 3)   \
    BACKWARD_F32(D, 64, 2)      \
    BACKWARD_F32(D, 32, 3)      \
    DQ_F32(D)
#define ALL_F32_WIDE(D)         \
    FORWARD_F32(D, 32, 32, 2)   \
    BACKWARD_F32(D, 32, 1)      \
    DQ_F32(D)

ALL_F32_NARROW(32)
ALL_F32_NARROW(48)
ALL_F32_NARROW(64)
ALL_F32_NARROW(80)
FORWARD_F32(128, 64, 32, 2)
ALL_F32_WIDE(128)
ALL_F32_WIDE(160)
ALL_F32_WIDE(256)

EMU_EXPORT(attention_f32_rows)
