// SPDX-License-Identifier: Apache-2.0
//
// The backward of attention for 16-bit types on tensor cores. With P = exp(S - lse), dP = do v^T and delta = rowsum(do o):
// dv = P^T do, dS = P (dP - delta), dq = scale dS k, dk = scale dS^T q.
//
// attention_backward  a block owns BN keys, each warp 16 or 32 of them, and walks over blocks of BM queries. The scores are computed transposed, keys in
//                     rows, so that P^T and dS^T are the A operands of dv and dk in registers; only dS goes through shared memory, for dq, whose
//                     products run one block of queries later, behind the same barrier. dq is added to an f32 accumulator by atomics, or written
//                     at once where all keys fit one block.
//                     Where there are few keys, several blocks share the queries (splits), and give dk and dv in f32, each its own.
// attention_dq        dq without atomics, for runs that must repeat to the bit: a block owns 64 queries and walks over the keys
#include "attention_rows.cuh"

/** How attention_backward gives dq: added to the f32 accumulator, written in full (all keys in one block), or not at all. */
#define ATTENTION_DQ_ADD 0
#define ATTENTION_DQ_WRITE 1
#define ATTENTION_DQ_NONE 2

/** Sizes of attention_backward: width D, DH columns of the gradients per block, WARPS warps of 16 MI keys, BM queries per barrier, QS at once. */
template <class T, int D, int DH, int WARPS, int MI, int BM, int QS> struct BackwardTile {
    static const int P = Pitch<T, D>::N, PS = Pitch<T, BM>::N, BN = WARPS * 16 * MI, THREADS = WARPS * 32, QUERIES = BM;
    static const int BYTES = ((2 * BN + 4 * BM) * P + 2 * BN * PS) * (int)sizeof(T) + 2 * BM * 8;  // k, v, q [2], do [2], dS [2] [BN][PS], rows [2][BM]
};

/** Offset of this lane in A^T [k][m] of pitch PS, and 16 rows m of A from there. */
template <class T, int PS> DEV int lane_transposed() {
    int l = lane();
    return sizeof(T) == 2 ? ((l & 7) + (l >> 4) * 8) * PS + (l >> 3 & 1) * 8 : (l & 3) * 2 * PS + (l >> 2);
}
template <int PS, class T> DEV void load_transposed(OperandA<T>& f, const T* p) {
    unsigned x[4];
    ldmatrix_x4_trans(x, p);
    set_a(f, x[0], x[1], x[2], x[3]);
}
template <int PS> DEV void load_transposed(OperandA<float>& f, const float* p) {
    set_a(f, __float_as_uint(p[0]), __float_as_uint(p[8]), __float_as_uint(p[PS]), __float_as_uint(p[PS + 8]));
}

/** The products dS k of one block of queries over `steps` steps of keys, for this warp's 16 queries and its share of the columns, to where they belong. */
template <class S, class T, int D, int DH>
DEV void backward_queries(const T* ds, const T* ks, int steps, int first_column, int q0, int mode, float* accumulator, T* dq, i64 dq_stride, const AttentionSizes& n, float scale) {
    const int P = S::P, PS = S::PS, STEP = Chunk<T>::STEP, M = S::QUERIES / 16, PARTS = S::THREADS / 32 / M, N = (DH / 8 + PARTS - 1) / PARTS;
    int warp = (int)threadIdx.x >> 5, m = warp % M, column = first_column + warp / M * N * 8, tiles = DH / 8 - warp / M * N;
    if (tiles <= 0) return;
    int l = lane();
    const T* a = ds + m * 16 + lane_transposed<T, PS>();
    const T* b = ks + lane_summed_rows<T, D>() + column;
    float c[1][N][4];
    clear(c);
    auto add = [&](int k) {
        OperandA<T> fa;
        load_transposed<PS>(fa, a + k * STEP * PS);
        const T* bk = b + k * STEP * P;
#pragma unroll
        for (int j = 0; j < N; j += 2) {
            OperandB<T> f[2];
            if (j + 1 < N && j + 1 < tiles) {
                load_summed<P, true>(f, bk + j * 8);
                multiply(c[0][j], fa, f[0]);
                multiply(c[0][j + 1 < N ? j + 1 : j], fa, f[1]);
            } else if (j < tiles) {
                load_summed<P, false>(f, bk + j * 8);
                multiply(c[0][j], fa, f[0]);
            }
        }
    };
    if (steps == S::BN / STEP) {
#pragma unroll 4
        for (int k = 0; k < S::BN / STEP; k++) add(k);
    } else {
#pragma unroll 1
        for (int k = 0; k < steps; k++) add(k);
    }
    if (mode == ATTENTION_DQ_ADD) {
        float* to = accumulator + (i64)(q0 + m * 16) * D + column * 16;
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (j < tiles) warp_add(to + j * 128, c[0][j]);
        }
    } else {
        int row = q0 + m * 16 + (l >> 2);
        column += (l & 3) * 2;
#pragma unroll
        for (int j = 0; j < N; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int r = row + e / 2 * 8, x = column + j * 8 + (e & 1);
                if (j < tiles && r < n.queries && x < n.width) dq[r * dq_stride + x] = from_float<T>(c[0][j][e] * scale);
            }
        }
    }
}

template <class T, int D, int DH, int WARPS, int MI, int BM, int QS, bool ANY>
DEV void attention_backward(const T* q, const T* k, const T* v, const void* mask, const T* d_o, const QueryRow* rows, float* accumulator, T* dq, T* dk, T* dv,
    const AttentionStrides& stride, const AttentionGradStrides& gs, const AttentionSizes& n, float scale, int mode, int splits, float* partial) {
    typedef BackwardTile<T, D, DH, WARPS, MI, BM, QS> S;
    const int P = S::P, PS = S::PS, BN = S::BN, THREADS = S::THREADS, NT = QS / 8, DT = DH / 8;
    const bool AHEAD = D == 64 || (D == 128 && sizeof(T) == 2);  // where measured faster
    DYN_SHARED(T, tiles);
    T* ks = tiles;
    T* vs = ks + BN * P;
    T* qs = vs + BN * P;
    T* os = qs + 2 * BM * P;
    T* ss = os + 2 * BM * P;
    QueryRow* rs = (QueryRow*)(ss + 2 * BN * PS);

    int parts = D / DH, k_blocks = div_up(n.keys, BN), index = (int)blockIdx.x;
    int first_column = index % parts * DH;
    index /= parts;
    int split = index % splits;
    index /= splits;
    int k0 = index % k_blocks * BN, head = index / k_blocks, h = head % n.heads, b = head / n.heads;
    int padded = padded_queries(n.queries);
    bool aligned = !ANY || (n.aligned & 1);
    q = head_of(q, stride.q, b, h);
    d_o = head_of(d_o, gs.d_o, b, h);
    rows += (i64)head * padded;
    accumulator += (i64)head * padded * D;
    dq = head_of(dq, gs.dq, b, h);
    k = head_of(k, stride.k, b, h) + k0 * stride.k[2];
    v = head_of(v, stride.v, b, h) + k0 * stride.v[2];

    int tid = (int)threadIdx.x, warp = tid >> 5, g = lane() >> 2, t = lane() & 3;
    int key0 = warp * 16 * MI;
    const T* ka = ks + key0 * P + lane_rows_first<T, D>();
    const T* va = vs + key0 * P + lane_rows_first<T, D>();
    const T* ka_tail = ks + key0 * P + (lane() & 15) * P;
    const T* va_tail = vs + key0 * P + (lane() & 15) * P;
    int nb = lane_columns_first<T, D>(), nb_tail = lane_rows_only<T, D>(), kb = lane_summed_rows<T, D>() + first_column;
    bool natural = ANY && n.mask != 0;  // else scores are in log2 units
    float unit = natural ? ATTENTION_LOG2E : 1.f, factor = natural ? scale : scale * ATTENTION_LOG2E;

    load_tile<T, D, BN, THREADS, ANY>(ks, k, stride.k[2], n.keys - k0, n.width, aligned);
    load_tile<T, D, BN, THREADS, ANY>(vs, v, stride.v[2], n.keys - k0, n.values, aligned);
    cp_async_commit();
    int blocks = div_up(n.queries, BM), start = n.causal ? k0 / BM : 0;
    if (splits > 1) {
        int each = div_up(blocks - start > 0 ? blocks - start : 0, splits);
        start += split * each;
        blocks = min_int(blocks, start + each);
    }
    int i = start, steps = div_up(min_int(n.keys - k0, BN), Chunk<T>::STEP);
    bool idle = k0 + key0 >= n.keys;  // a warp without keys only helps with dq
    bool ragged = k0 + BN > n.keys;
    auto load = [&](int block, int buffer) {
        int q0 = block * BM;
        load_tile<T, D, BM, THREADS, ANY>(qs + buffer * BM * P, q + q0 * stride.q[2], stride.q[2], n.queries - q0, n.width, aligned);
        load_tile<T, D, BM, THREADS, ANY>(os + buffer * BM * P, d_o + q0 * gs.d_o[2], gs.d_o[2], n.queries - q0, n.values, aligned);
        if (tid < BM / 2) cp_async16(rs + buffer * BM + tid * 2, rows + q0 + tid * 2);
        cp_async_commit();
    };
    if (i < blocks) load(i, 0);

    float acc_k[MI][DT][4], acc_v[MI][DT][4];
    clear(acc_k);
    clear(acc_v);
    for (int buffer = 0; i < blocks; i++, buffer ^= 1) {
        cp_async_wait<0>();
        __syncthreads();
        if (i + 1 < blocks) load(i + 1, buffer ^ 1);
        if (i > start && mode != ATTENTION_DQ_NONE) {
            backward_queries<S, T, D, DH>(ss + (buffer ^ 1) * BN * PS, ks, steps, first_column, (i - 1) * BM, mode, accumulator, dq, gs.dq[2], n, scale);
        }
        const T* qt = qs + buffer * BM * P;
        const T* ot = os + buffer * BM * P;
        T* st = ss + buffer * BN * PS + (key0 + g) * PS + 2 * t;
        bool test = ragged || (n.causal && i * BM < k0 + BN - 1) || (ANY && n.mask != 0);
#pragma unroll 1
        for (int sub = idle ? BM : 0; sub < BM; sub += QS) {
            float s[MI][NT][4], p[MI][NT][4];
            clear(s);
            multiply_rows<T, D, AHEAD>(s, ka, qt + sub * P + nb, ka_tail, qt + sub * P + nb_tail);
            clear(p);
            multiply_rows<T, D, AHEAD>(p, va, ot + sub * P + nb, va_tail, ot + sub * P + nb_tail);
            const Vec<float, 4>* row = (const Vec<float, 4>*)(rs + buffer * BM + sub) + t;
            int query0 = i * BM + sub + 2 * t;
            if (ANY || test) {
#pragma unroll
                for (int m = 0; m < MI; m++) {
#pragma unroll
                    for (int j = 0; j < NT; j++) {
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            float& x = s[m][j][e];
                            int key = k0 + key0 + m * 16 + e / 2 * 8 + g, query = query0 + j * 8 + (e & 1);
                            if (ANY) {
                                x *= factor;
                                if (test) x = masked_score<T>(x, n, mask, mask_row(stride, n, b, h, query), stride.mask[3], query, key);
                            } else if (key >= n.keys || (n.causal && key > query)) {
                                x = negative_infinity();
                            }
                        }
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < NT; j++) {
                Vec<float, 4> r = row[4 * j];  // lse, delta of queries 8 j + 2 t and the next
#pragma unroll
                for (int m = 0; m < MI; m++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        float lse = r[2 * (e & 1)], x = exp2_fast(ANY ? (s[m][j][e] - lse) * unit : s[m][j][e] * factor - lse);
                        s[m][j][e] = x;
                        p[m][j][e] = x * (p[m][j][e] - r[2 * (e & 1) + 1]);
                    }
                }
            }
            multiply_accumulator<T, P>(acc_v, s, ot + sub * P + kb);
#pragma unroll
            for (int m = 0; m < MI; m++) {
#pragma unroll
                for (int j = 0; j < NT; j++) {
                    T* to = st + m * 16 * PS + sub + j * 8;
                    store_two(to, p[m][j][0], p[m][j][1]);
                    store_two(to + 8 * PS, p[m][j][2], p[m][j][3]);
                }
            }
            multiply_accumulator<T, P>(acc_k, p, qt + sub * P + kb);
        }
    }
    cp_async_wait<0>();
    __syncthreads();
    if (blocks > start && mode != ATTENTION_DQ_NONE) {
        backward_queries<S, T, D, DH>(ss + ((blocks - 1 - start) & 1) * BN * PS, ks, steps, first_column, (blocks - 1) * BM, mode, accumulator, dq, gs.dq[2], n, scale);
    }
    __syncthreads();  // the gradients go over k and v

    if (splits > 1) {
        i64 rows_of_half = (i64)(gridDim.x / (parts * splits)) * BN;  // heads times padded keys
        float* to = partial + (2 * split * rows_of_half + (i64)index * BN + key0 + g) * D + first_column + 2 * t;
#pragma unroll
        for (int m = 0; m < MI; m++) {
#pragma unroll
            for (int j = 0; j < DT; j++) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    float* at = to + (m * 16 + r * 8) * D + j * 8;
                    Vec<float, 2> x = {{acc_k[m][j][2 * r] * scale, acc_k[m][j][2 * r + 1] * scale}};
                    Vec<float, 2> y = {{acc_v[m][j][2 * r], acc_v[m][j][2 * r + 1]}};
                    store_vec<2>(at, x);
                    store_vec<2>(at + rows_of_half * D, y);
                }
            }
        }
        return;
    }
    float by_scale[MI][2], by_one[MI][2];
#pragma unroll
    for (int m = 0; m < MI; m++) {
        by_scale[m][0] = by_scale[m][1] = scale;
        by_one[m][0] = by_one[m][1] = 1.f;
    }
    T* k_own = ks + key0 * P;
    T* v_own = vs + key0 * P;
    store_fragments<T, P>(k_own, acc_k, by_scale);
    store_fragments<T, P>(v_own, acc_v, by_one);
    __syncwarp();
    int first = k0 + key0;
    bool whole = !ANY || (n.aligned & 2);
    dk = head_of(dk, gs.dk, b, h) + first * gs.dk[2] + first_column;
    dv = head_of(dv, gs.dv, b, h) + first * gs.dv[2] + first_column;
    store_rows<T, P, DH, 16 * MI, ANY>(dk, gs.dk[2], k_own, n.keys - first, ANY ? n.width - first_column : DH, whole);
    store_rows<T, P, DH, 16 * MI, ANY>(dv, gs.dv[2], v_own, n.keys - first, ANY ? n.values - first_column : DH, whole);
}

/** dq of 64 queries of one head; four warps of 16 queries. Any mask, width, alignment. */
template <class T, int D, int BN>
DEV void attention_dq(const T* q, const T* k, const T* v, const void* mask, const T* d_o, const QueryRow* rows, T* dq, const AttentionStrides& stride,
    const AttentionGradStrides& gs, const AttentionSizes& n, float scale) {
    const int P = Pitch<T, D>::N, NT = BN / 8, BM = 64, THREADS = 128;
    DYN_SHARED(T, tiles);
    T* qs = tiles;
    T* os = qs + BM * P;
    T* ks = os + BM * P;
    T* vs = ks + 2 * BN * P;
    int q_blocks = div_up(n.queries, BM), head = (int)blockIdx.x / q_blocks, h = head % n.heads, b = head / n.heads;
    int q0 = (q_blocks - 1 - (int)blockIdx.x % q_blocks) * BM;
    bool aligned = n.aligned & 1;
    k = head_of(k, stride.k, b, h);
    v = head_of(v, stride.v, b, h);
    int warp = (int)threadIdx.x >> 5, g = lane() >> 2, t = lane() & 3, own = warp * 16;
    load_tile<T, D, BM, THREADS, true>(qs, head_of(q, stride.q, b, h) + q0 * stride.q[2], stride.q[2], n.queries - q0, n.width, aligned);
    load_tile<T, D, BM, THREADS, true>(os, head_of(d_o, gs.d_o, b, h) + q0 * gs.d_o[2], gs.d_o[2], n.queries - q0, n.values, aligned);
    int blocks = div_up(n.causal ? min_int(n.keys, q0 + BM) : n.keys, BN);
    auto load = [&](int block, int buffer) {
        i64 k0 = (i64)block * BN;
        load_tile<T, D, BN, THREADS, true>(ks + buffer * BN * P, k + k0 * stride.k[2], stride.k[2], n.keys - (int)k0, n.width, aligned);
        load_tile<T, D, BN, THREADS, true>(vs + buffer * BN * P, v + k0 * stride.v[2], stride.v[2], n.keys - (int)k0, n.values, aligned);
        cp_async_commit();
    };
    load(0, 0);
    QueryRow row[2];
    row[0] = rows[(i64)head * padded_queries(n.queries) + q0 + own + g];
    row[1] = rows[(i64)head * padded_queries(n.queries) + q0 + own + g + 8];
    float acc[1][D / 8][4];
    clear(acc);
    bool natural = n.mask != 0;  // else scores are in log2 units
    float unit = natural ? ATTENTION_LOG2E : 1.f, factor = natural ? scale : scale * ATTENTION_LOG2E;
    int a = own * P + lane_rows_first<T, D>(), nb = lane_columns_first<T, D>(), kb = lane_summed_rows<T, D>();
    for (int j = 0; j < blocks; j++) {
        cp_async_wait<0>();
        __syncthreads();
        int buffer = j & 1;
        if (j + 1 < blocks) load(j + 1, buffer ^ 1);
        const T* kt = ks + buffer * BN * P;
        const T* vt = vs + buffer * BN * P;
        float s[1][NT][4], p[1][NT][4];
        clear(s);
        multiply_rows<T, D, false>(s, qs + a, kt + nb, (const T*)nullptr, (const T*)nullptr);
        clear(p);
        multiply_rows<T, D, false>(p, os + a, vt + nb, (const T*)nullptr, (const T*)nullptr);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int query = q0 + own + r * 8 + g;
            i64 mrow = mask_row(stride, n, b, h, query);
#pragma unroll
            for (int jj = 0; jj < NT; jj++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int key = j * BN + jj * 8 + 2 * t + e;
                    float x = masked_score<T>(s[0][jj][2 * r + e] * factor, n, mask, mrow, stride.mask[3], query, key);
                    float& y = p[0][jj][2 * r + e];
                    y = exp2_fast((x - row[r].lse) * unit) * (y - row[r].delta);
                }
            }
        }
        multiply_accumulator<T, P>(acc, p, kt + kb);
    }
    float by_scale[1][2] = {{scale, scale}};
    __syncwarp();
    store_fragments<T, P>(qs + own * P, acc, by_scale);
    __syncwarp();
    dq = head_of(dq, gs.dq, b, h) + (q0 + own) * gs.dq[2];
    store_rows<T, P, D, 16, true>(dq, gs.dq[2], qs + own * P, n.queries - q0 - own, n.width, n.aligned & 2);
}

// q, k, v, mask as in the forward; d_o [B, H, Lq, values]; rows [B H, padded queries]; accumulator of f32 for mode 0, see attention_round;
// dq, dk, dv like q, k, v; partial [splits][dk, dv][B H][ceil(Lk / BN) BN][D] if splits > 1, else null. Grid: B H ceil(Lk / BN) splits D / DH;
// 32 WARPS threads.
#define ATTENTION_BACKWARD(name, T, D, DH, WARPS, MI, BM, QS, ANY, blocks)                                                                               \
    KERNEL_BOUNDS(name, 32 * WARPS, blocks)                                                                                                            \
    (const T* q, const T* k, const T* v, const void* mask, const T* d_o, const QueryRow* rows, float* accumulator, T* dq, T* dk, T* dv,                \
        AttentionStrides stride, AttentionGradStrides gs, AttentionSizes n, float scale, int mode, int splits, float* partial) {                       \
        attention_backward<T, D, DH, WARPS, MI, BM, QS, ANY>(                                                                                          \
            q, k, v, mask, d_o, rows, accumulator, dq, dk, dv, stride, gs, n, scale, mode, splits, partial);                                           \
    }                                                                                                                                                  \
    EMU_EXPORT(name)

// Grid: B H ceil(Lq / 64); 128 threads.
#define ATTENTION_DQ(name, T, D, BN)                                                                                                                   \
    KERNEL_BOUNDS(name, 128, 1)                                                                                                                        \
    (const T* q, const T* k, const T* v, const void* mask, const T* d_o, const QueryRow* rows, T* dq, AttentionStrides stride,                         \
        AttentionGradStrides gs, AttentionSizes n, float scale) {                                                                                      \
        attention_dq<T, D, BN>(q, k, v, mask, d_o, rows, dq, stride, gs, n, scale);                                                                    \
    }                                                                                                                                                  \
    EMU_EXPORT(name)
