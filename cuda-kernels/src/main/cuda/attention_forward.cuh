// SPDX-License-Identifier: Apache-2.0
//
// Attention of 16-bit types on tensor cores: o = softmax(scale q k^T + mask) v and the logarithm of each row's sum of exponentials, by FlashAttention-2
// (Dao 2023). A block of four warps owns BM queries, each warp 16 or 32 of them, and walks over blocks of BN keys from the last to the first, so
// that the blocks at the diagonal and at the end, which need a test per element, come first. K and V are double-buffered by cp.async with one barrier per
// block of keys. The scores stay in registers; rounded, they are the A operand of the product with V.
//
// The maximum that the exponentials are relative to is raised only when a score exceeds it by 2^8: the accumulators are then rarely rescaled, and the
// result is the same, since the sum of exponentials is relative to the same number.
#include "attention.cuh"

template <class T, int D, int BM, int BN> struct ForwardTile {
    static const int P = Pitch<T, D>::N;
    static const int BYTES = (BM + 4 * BN) * P * (int)sizeof(T);  // q [BM][P], k [2][BN][P], v [2][BN][P]
};

/** The block of queries `block` of one head. ANY: any mask, any sign of scale, any width up to D, any alignment. */
template <class T, int D, int BM, int BN, bool ANY>
DEV void attention_forward(
    const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n, float scale) {
    const int P = Pitch<T, D>::N, MI = BM / 64, NT = BN / 8, DT = D / 8, THREADS = 128;
    DYN_SHARED(T, tiles);
    T* qs = tiles;
    T* ks = qs + BM * P;
    T* vs = ks + 2 * BN * P;
    int q_blocks = div_up(n.queries, BM);
    int head = (int)blockIdx.x / q_blocks, h = head % n.heads, b = head / n.heads;
    int q0 = (q_blocks - 1 - (int)blockIdx.x % q_blocks) * BM;  // causal: the longest first
    bool aligned = !ANY || (n.aligned & 1);
    q = head_of(q, stride.q, b, h) + q0 * stride.q[2];
    k = head_of(k, stride.k, b, h);
    v = head_of(v, stride.v, b, h);
    o = head_of(o, stride.o, b, h);
    int blocks = div_up(n.causal ? min_int(n.keys, q0 + BM) : n.keys, BN);
    int plain = ANY && n.mask != 0 ? 0 : (n.causal ? min_int(n.keys, q0 + 1) : n.keys) / BN;  // blocks of keys that every query sees in full

    int warp = (int)threadIdx.x >> 5, g = lane() >> 2, t = lane() & 3;
    const T* qa = qs + warp * 16 * MI * P + lane_rows_first<T, D>();
    const T* qa_tail = qs + warp * 16 * MI * P + (lane() & 15) * P;
    int kb = lane_columns_first<T, D>(), kb_tail = lane_rows_only<T, D>(), vb = lane_summed_rows<T, D>();
    bool natural = ANY && n.mask != 0;  // else scores are in log2 units
    float unit = natural ? ATTENTION_LOG2E : 1.f, factor = natural ? scale : scale * ATTENTION_LOG2E, limit = 8.f / unit;

    load_tile<T, D, BM, THREADS, ANY>(qs, q, stride.q[2], n.queries - q0, n.width, aligned);
    int j = blocks - 1;
    load_tile<T, D, BN, THREADS, ANY>(ks, k + (i64)j * BN * stride.k[2], stride.k[2], n.keys - j * BN, n.width, aligned);
    load_tile<T, D, BN, THREADS, ANY>(vs, v + (i64)j * BN * stride.v[2], stride.v[2], n.keys - j * BN, n.values, aligned);
    cp_async_commit();

    float acc[MI][DT][4];
    clear(acc);
    float top[MI][2], sum[MI][2];  // in log2 units; each lane sums its own columns
#pragma unroll
    for (int i = 0; i < MI; i++) {
        top[i][0] = top[i][1] = negative_infinity();
        sum[i][0] = sum[i][1] = 0.f;
    }

    for (int buffer = 0; j >= 0; j--, buffer ^= 1) {
        cp_async_wait<0>();
        __syncthreads();
        if (j > 0) {
            int next = (buffer ^ 1) * BN * P;
            load_tile<T, D, BN, THREADS, ANY>(ks + next, k + (i64)(j - 1) * BN * stride.k[2], stride.k[2], BN, n.width, aligned);
            load_tile<T, D, BN, THREADS, ANY>(vs + next, v + (i64)(j - 1) * BN * stride.v[2], stride.v[2], BN, n.values, aligned);
            cp_async_commit();
        }
        const T* kt = ks + buffer * BN * P;
        float s[MI][NT][4];
        clear(s);
        multiply_rows<T, D, (D == 128)>(s, qa, kt + kb, qa_tail, kt + kb_tail);

        if (ANY) {
#pragma unroll
            for (int i = 0; i < MI; i++) {
#pragma unroll
                for (int jj = 0; jj < NT; jj++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) s[i][jj][e] *= factor;
                }
            }
        }
        if (j >= plain) {
#pragma unroll
            for (int i = 0; i < MI; i++) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    int query = q0 + warp * 16 * MI + i * 16 + r * 8 + g;
                    i64 row = ANY ? mask_row(stride, n, b, h, query) : 0;
#pragma unroll
                    for (int jj = 0; jj < NT; jj++) {
#pragma unroll
                        for (int e = 0; e < 2; e++) {
                            float& x = s[i][jj][2 * r + e];
                            int key = j * BN + jj * 8 + 2 * t + e;
                            if (ANY) {
                                x = masked_score<T>(x, n, mask, row, stride.mask[3], query, key);
                            } else if (key >= n.keys || (n.causal && key > query)) {
                                x = negative_infinity();
                            }
                        }
                    }
                }
            }
        }

        float high[MI][2];
        bool raise = false;
#pragma unroll
        for (int i = 0; i < MI; i++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float m = s[i][0][2 * r];
#pragma unroll
                for (int jj = 0; jj < NT; jj++) m = fmaxf(m, fmaxf(s[i][jj][2 * r], s[i][jj][2 * r + 1]));
                m = fmaxf(m, shfl_xor(m, 1));
                m = fmaxf(m, shfl_xor(m, 2)) * (ANY ? 1.f : factor);
                high[i][r] = m;
                raise = raise || m > top[i][r] + limit;
            }
        }
        if (warp_ballot(raise) != 0) {
#pragma unroll
            for (int i = 0; i < MI; i++) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    float m = fmaxf(high[i][r], top[i][r]);
                    float alpha = m == negative_infinity() ? 1.f : exp2_fast(ANY ? (top[i][r] - m) * unit : top[i][r] - m);
                    top[i][r] = m;
                    sum[i][r] *= alpha;
#pragma unroll
                    for (int jj = 0; jj < DT; jj++) {
                        acc[i][jj][2 * r] *= alpha;
                        acc[i][jj][2 * r + 1] *= alpha;
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < MI; i++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float m = top[i][r] == negative_infinity() ? 0.f : top[i][r];
#pragma unroll
                for (int jj = 0; jj < NT; jj++) {
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        float& x = s[i][jj][2 * r + e];
                        x = exp2_fast(ANY ? (x - m) * unit : x * factor - m);
                        sum[i][r] += x;
                    }
                }
            }
        }
        multiply_accumulator<T, P>(acc, s, vs + buffer * BN * P + vb);
    }

    T* own = qs + warp * 16 * MI * P;  // rows of q that this warp alone reads
    float inverse[MI][2];
#pragma unroll
    for (int i = 0; i < MI; i++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float total = warp_sum<4>(sum[i][r]);
            inverse[i][r] = total == 0.f ? 0.f : 1.f / total;
            int query = q0 + warp * 16 * MI + i * 16 + r * 8 + g;
            if (t == 0 && query < n.queries) {
                lse[(i64)head * n.queries + query] = total == 0.f ? negative_infinity() : (natural ? top[i][r] : top[i][r] * ATTENTION_LN2) + logf(total);
            }
        }
    }
    __syncwarp();  // other lanes have read q
    store_fragments<T, P>(own, acc, inverse);
    __syncwarp();
    int first = q0 + warp * 16 * MI;
    store_rows<T, P, D, 16 * MI, ANY>(o + first * stride.o[2], stride.o[2], own, n.queries - first, ANY ? n.values : D, !ANY || (n.aligned & 2));
}

// q [B, H, Lq, width], k [B, H, Lk, width], v [B, H, Lk, values], mask [B, H, Lq, Lk] or null, o [B, H, Lq, values], lse [B, H, Lq] contiguous.
// Grid: B H ceil(Lq / BM); 128 threads.
#define ATTENTION_FORWARD(name, T, D, BM, BN, ANY, blocks)                                                                                       \
    KERNEL_BOUNDS(name, 128, blocks)                                                                                                             \
    (const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, AttentionStrides stride, AttentionSizes n, float scale) {          \
        attention_forward<T, D, BM, BN, ANY>(q, k, v, mask, o, lse, stride, n, scale);                                                           \
    }                                                                                                                                            \
    EMU_EXPORT(name)
