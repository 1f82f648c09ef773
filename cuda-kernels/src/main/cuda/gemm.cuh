// SPDX-License-Identifier: Apache-2.0
// Products of 16-bit matrices on tensor cores: C[m, n] = alpha (A[m, k] B[k, n] + A2[m, k2] B2[k2, n]) + beta C + bias[n],
// accumulated in f32 and rounded once. The second product is optional (k2 = 0): it goes on in the same accumulators, which makes a
// low-rank change of a linear layer part of the layer's own loop.
//
// Storage. Each operand has one contiguous axis: A by k ([m][k]) or by m ([k][m]), B by k ([n][k]) or by n ([k][n]). Tiles of KT = 32
// products lie in shared memory as they lie in global memory, [outer][contiguous], in chunks of 16 bytes that are swizzled so that
// ldmatrix reads eight rows from eight different bank groups; operands that are not contiguous by k are transposed by ldmatrix.trans.
// Tails are filled with zeros by the copy, so the loop knows no edges.
// Fast kernels (names without "any") copy by cp.async: contiguous axis of stride 1, base and other strides multiples of 8 elements.
// The "any" kernels take every base and both strides of each operand, element by element.
#ifndef SFUMATO_GEMM_CUH
#define SFUMATO_GEMM_CUH
#include "dev.h"

/** What a product is; all numbers in elements. The host passes it as an array of 64-bit integers in this order. */
struct Product {
    i64 m, n, k;
    i64 aOuter, aInner;    // strides of A: of the axis that is stored in rows, of the contiguous axis (1 in fast kernels)
    i64 bOuter, bInner;
    i64 cRow;              // stride of C's rows; its columns have stride 1
    i64 batches, inner;    // number of products, and of those that the inner batch axis counts
    i64 aBatch0, aBatch1;  // strides of the outer and the inner batch axis
    i64 bBatch0, bBatch1;
    i64 cBatch0, cBatch1;
    i64 k2, a2Outer, a2Inner, b2Outer, b2Inner;
    i64 splits;            // parts of the k axis; with partial sums they go to [splits][batches * m * n] instead of C
};

static const int KT = 32;  // products in a tile

/** Where chunk `chunk` of row `row` begins in a tile with rows of COLS elements (32, 64 or 128). */
template <int COLS> DEV int swizzled(int row, int chunk) {
    return row * COLS + (chunk ^ (COLS == 32 ? row >> 1 & 3 : row & 7)) * 8;
}

/**
 * Copies a tile [ROWS][COLS]: element (r, c) from at + r outer + c inner, zero where r >= rows or c >= cols. `origin` is an address
 * that may be read.
 */
template <class T, int ROWS, int COLS, int THREADS, bool FAST>
DEV void load_tile(T* tile, const T* at, const T* origin, i64 outer, i64 inner, int rows, int cols) {
    const int CHUNKS = COLS / 8;
    static_assert(ROWS * CHUNKS % THREADS == 0, "each thread copies equally many chunks");
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
        int id = (int)threadIdx.x + i * THREADS;
        int r = id / CHUNKS, c = id % CHUNKS;
        int valid = r < rows ? cols - c * 8 : 0;
        valid = valid < 0 ? 0 : valid > 8 ? 8 : valid;
        T* to = tile + swizzled<COLS>(r, c);
        if (FAST) {
            cp_async16_zfill(to, valid > 0 ? at + (r * (int)outer + c * 8) : origin, valid * 2);
        } else {
            Vec<u32, 4> v;
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const T* p = at + r * outer + (c * 8 + 2 * e) * inner;
                u32 low = 2 * e < valid ? p[0].bits : 0;
                u32 high = 2 * e + 1 < valid ? p[inner].bits : 0;
                v[e] = low | high << 16;
            }
            store_vec<4>((u32*)to, v);
        }
    }
}

/** One operand: R rows of the result (m of A, n of B) by KT products, contiguous by k or not. */
template <class T, int R, bool BY_K, int THREADS, bool FAST>
DEV void load_operand(T* tile, const T* base, i64 outer, i64 inner, int row0, int k0, int rows, int k) {
    if (BY_K) {
        load_tile<T, R, KT, THREADS, FAST>(tile, base + row0 * outer + k0 * inner, base, outer, inner, rows - row0, k - k0);
    } else {
        load_tile<T, KT, R, THREADS, FAST>(tile, base + k0 * outer + row0 * inner, base, outer, inner, k - k0, rows - row0);
    }
}

/** The fragment of A for rows row..row+15 and products k..k+15. */
template <class T, int R, bool BY_K> DEV void fragment_a(unsigned (&a)[4], const T* tile, int row, int k) {
    int l = lane();
    if (BY_K) {
        ldmatrix_x4(a, tile + swizzled<KT>(row + (l & 15), (k >> 3) + (l >> 4)));
    } else {
        ldmatrix_x4_trans(a, tile + swizzled<R>(k + (l & 7) + (l >> 4) * 8, (row >> 3) + (l >> 3 & 1)));
    }
}

/** The fragments of B for columns column..column+15 (two of eight) and products k..k+15. */
template <class T, int R, bool BY_K> DEV void fragments_b(unsigned (&b)[4], const T* tile, int column, int k) {
    int l = lane();
    if (BY_K) {
        ldmatrix_x4(b, tile + swizzled<KT>(column + (l & 7) + (l >> 4) * 8, (k >> 3) + (l >> 3 & 1)));
    } else {
        ldmatrix_x4_trans(b, tile + swizzled<R>(k + (l & 15), (column >> 3) + (l >> 4)));
    }
}

/** Stores four neighbouring results of a row: columns column..column+3. */
template <class T>
DEV void store4(Vec<float, 4> v, T* c, float* partial, const T* bias, const Product& p, i64 batch, int split, int row, int column,
                i64 at, float alpha, float beta) {
    int left = (int)p.n - column;
    if (row >= p.m || left <= 0) return;
    if (partial) {
        float* to = partial + ((split * p.batches + batch) * p.m + row) * p.n + column;
        if (left >= 4 && p.n % 4 == 0) {
            store_vec<4>(to, v);
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if (e < left) to[e] = v[e];
            }
        }
        return;
    }
    T* to = c + at + row * p.cRow + column;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        v[e] *= alpha;
        if (beta != 0 && e < left) v[e] += beta * to_float(to[e]);
        if (bias && e < left) v[e] += to_float(bias[column + e]);
    }
    if (left >= 4 && is_aligned(to, 4 * (int)sizeof(T))) {
        store_vec<4>(to, from_float<T>(v));
    } else {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if (e < left) to[e] = from_float<T>(v[e]);
        }
    }
}

/**
 * Stores a warp's fragments, the first at row0 and column0. A lane holds columns 2q and 2q + 1 of two neighbouring fragments; one
 * exchange with the next lane gives it four neighbouring columns of one.
 */
template <class T, int FM, int FN>
DEV void store_fragments(float (&acc)[FM][FN][4], int row0, int column0, T* c, float* partial, const T* bias, const Product& p,
                         i64 batch, int split, float alpha, float beta) {
    i64 at = batch / p.inner * p.cBatch0 + batch % p.inner * p.cBatch1;
    int g = lane() >> 2, q = lane() & 3;
    bool odd = q & 1;
#pragma unroll
    for (int i = 0; i < FM; i++) {
#pragma unroll
        for (int j = 0; j < FN; j += 2) {
#pragma unroll
            for (int h = 0; h < 4; h += 2) {
                float r0 = shfl_xor(odd ? acc[i][j][h] : acc[i][j + 1][h], 1);
                float r1 = shfl_xor(odd ? acc[i][j][h + 1] : acc[i][j + 1][h + 1], 1);
                Vec<float, 4> v = {{odd ? r0 : acc[i][j][h], odd ? r1 : acc[i][j][h + 1], odd ? acc[i][j + 1][h] : r0,
                                    odd ? acc[i][j + 1][h + 1] : r1}};
                int row = row0 + i * 16 + h * 4 + g, column = column0 + (j + odd) * 8 + (q >> 1) * 4;
                store4<T>(v, c, partial, bias, p, batch, split, row, column, at, alpha, beta);
            }
        }
    }
}

/** Which tile of the result a block computes: down groups of eight rows of tiles, so that neighbours share operands in L2. */
DEV void tile_of(int id, int tilesM, int tilesN, int& tm, int& tn) {
    const int GROUP = 8;
    int group = id / (GROUP * tilesN), within = id % (GROUP * tilesN);
    int height = tilesM - group * GROUP;
    height = height > GROUP ? GROUP : height;
    tm = group * GROUP + within % height;
    tn = within / height;
}

/**
 * What a block computes: a tile BM x BN of one of the products, and of its sum a part. The sum goes over tiles of DEPTH products, those of the first pair of
 * operands and then those of the second.
 */
template <int BM, int BN, int DEPTH> struct Job {
    u32 batch, outer, inner;  // which product, and where on the two batch axes
    int m0, n0;               // first row and column
    int first;                // tiles of the first pair
    int split, begin, end;    // the part of the sum, and its tiles

    /** Job `id` of all tiles of all products; blockIdx.y is the part of the sum. */
    DEVM Job(const Product& p, u32 id) {
        first = (int)((p.k + DEPTH - 1) / DEPTH);
        int all = first + (int)((p.k2 + DEPTH - 1) / DEPTH), splits = (int)p.splits;
        split = (int)blockIdx.y;
        begin = (int)((i64)all * split / splits);
        end = (int)((i64)all * (split + 1) / splits);
        int tilesM = (int)((p.m + BM - 1) / BM), tilesN = (int)((p.n + BN - 1) / BN), tiles = tilesM * tilesN, tm, tn;
        batch = id / tiles;
        tile_of((int)(id % tiles), tilesM, tilesN, tm, tn);
        outer = batch / (u32)p.inner;
        inner = batch % (u32)p.inner;
        m0 = tm * BM;
        n0 = tn * BN;
    }

    /** How many there are, for each part of the sum. */
    DEVM static u32 count(const Product& p) { return (u32)((p.m + BM - 1) / BM * ((p.n + BN - 1) / BN) * p.batches); }

    /** Where A, B and C of this product begin; the second pair is the same for all. */
    template <class T> DEVM const T* a_of(const T* a, const Product& p) const { return a + outer * p.aBatch0 + inner * p.aBatch1; }
    template <class T> DEVM const T* b_of(const T* b, const Product& p) const { return b + outer * p.bBatch0 + inner * p.bBatch1; }
    template <class T> DEVM T* c_of(T* c, const Product& p) const { return c + outer * p.cBatch0 + inner * p.cBatch1; }
};

/** Starts a product: zeros in the accumulators, and the copies of the first STAGES - 1 of the tiles begin .. end - 1 by load(tile), a group each. */
template <int STAGES, int FM, int FN, class Load> DEV void start_product(float (&acc)[FM][FN][4], int begin, int end, const Load& load) {
#pragma unroll
    for (int i = 0; i < FM; i++) {
#pragma unroll
        for (int j = 0; j < FN; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0.f;
        }
    }
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (begin + s < end) load(begin + s);
        cp_async_commit();
    }
}

/**
 * A tile BM x BN of C per block, WM x WN per warp. Grid: x = batches * tiles of C, y = splits of k; dynamic shared memory STAGES * (BM + BN) * KT
 * elements.
 */
template <class T, int BM, int BN, int WM, int WN, bool A_BY_K, bool B_BY_K, bool FAST, int STAGES>
DEV void gemm(T* shared, const T* a, const T* b, T* c, const T* bias, const T* a2, const T* b2, float* partial, const Product& p,
                            float alpha, float beta) {
    const int WARPS_M = BM / WM, THREADS = 32 * WARPS_M * (BN / WN), FM = WM / 16, FN = WN / 8, STAGE = (BM + BN) * KT;
    const Job<BM, BN, KT> job(p, blockIdx.x);
    a = job.a_of(a, p);
    b = job.b_of(b, p);
    const int m0 = job.m0, n0 = job.n0, first = job.first, begin = job.begin, end = job.end;
    int warp = (int)threadIdx.x / 32;
    int wm = warp % WARPS_M * WM, wn = warp / WARPS_M * WN;

    auto load = [&](int t) {
        T* to = shared + (t - begin) % STAGES * STAGE;
        if (t < first) {
            load_operand<T, BM, A_BY_K, THREADS, FAST>(to, a, p.aOuter, p.aInner, m0, t * KT, (int)p.m, (int)p.k);
            load_operand<T, BN, B_BY_K, THREADS, FAST>(to + BM * KT, b, p.bOuter, p.bInner, n0, t * KT, (int)p.n, (int)p.k);
        } else {
            int k0 = (t - first) * KT;
            load_operand<T, BM, A_BY_K, THREADS, FAST>(to, a2, p.a2Outer, p.a2Inner, m0, k0, (int)p.m, (int)p.k2);
            load_operand<T, BN, B_BY_K, THREADS, FAST>(to + BM * KT, b2, p.b2Outer, p.b2Inner, n0, k0, (int)p.n, (int)p.k2);
        }
    };

    float acc[FM][FN][4];
    start_product<STAGES>(acc, begin, end, load);
    for (int t = begin; t < end; t++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (t + STAGES - 1 < end) load(t + STAGES - 1);
        cp_async_commit();
        const T* tileA = shared + (t - begin) % STAGES * STAGE;
        const T* tileB = tileA + BM * KT;
#pragma unroll
        for (int kk = 0; kk < KT; kk += 16) {
            unsigned fa[FM][4], fb[FN / 2][4];
#pragma unroll
            for (int i = 0; i < FM; i++) fragment_a<T, BM, A_BY_K>(fa[i], tileA, wm + i * 16, kk);
#pragma unroll
            for (int j = 0; j < FN / 2; j++) fragments_b<T, BN, B_BY_K>(fb[j], tileB, wn + j * 16, kk);
#pragma unroll
            for (int i = 0; i < FM; i++) {
#pragma unroll
                for (int j = 0; j < FN; j++) {
                    unsigned f[2] = {fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]};
                    Mma<T>::k16(acc[i][j], fa[i], f);
                }
            }
        }
    }
    store_fragments<T, FM, FN>(acc, m0 + wm, n0 + wn, c, partial, bias, p, job.batch, job.split, alpha, beta);
}

/** C = alpha (sum of the splits' partial sums [splits][batches * m * n]) + beta C + bias, C [batches * m, n] without gaps. */
template <class T, class P>
DEV void gemm_sum(const P* partial, T* c, const T* bias, i64 total, int n, int splits, P alpha, P beta) {
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < total; i += gridDim.x * (i64)blockDim.x) {
        P sum = 0;
        for (int s = 0; s < splits; s++) sum += partial[s * total + i];
        sum *= alpha;
        if (beta != 0) sum += beta * to_acc(c[i]);
        if (bias) sum += to_acc(bias[i % n]);
        c[i] = from_acc<T>(sum);
    }
}

/**
 * The sums of the parts, times alpha, as two values of T whose sum has twice the digits: C [rows][2 * pitch], the rounded value in the
 * first half of a row, what rounding took in the second; zero from column `columns` to the pitch.
 */
template <class T>
DEV void gemm_split(const float* partial, T* c, i64 rows, int columns, int pitch, int splits, float alpha) {
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < rows * pitch; i += gridDim.x * (i64)blockDim.x) {
        i64 row = i / pitch;
        int column = (int)(i % pitch);
        float sum = 0;
        for (int s = 0; s < splits && column < columns; s++) sum += partial[(s * rows + row) * columns + column];
        sum *= alpha;
        T high = from_float<T>(sum);
        c[row * 2 * pitch + column] = high;
        c[row * 2 * pitch + pitch + column] = from_float<T>(sum - to_float(high));
    }
}

/**
 * C [rows][columns] = the sums of the parts of a matrix whose rows have `stride` elements, each plus the sum that lies `low` elements
 * further: the products with both halves of a split operand. `size` is the number of elements of a part.
 */
template <class T>
DEV void gemm_fold(const float* partial, T* c, i64 rows, int columns, i64 stride, i64 low, i64 size, int splits) {
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < rows * columns; i += gridDim.x * (i64)blockDim.x) {
        const float* p = partial + i / columns * stride + i % columns;
        float sum = 0;
        for (int s = 0; s < splits; s++) sum += p[s * size] + p[s * size + low];
        c[i] = from_float<T>(sum);
    }
}

#define GEMM_SUM(T, P, type)                                                                                                 \
    KERNEL(gemm_sum_##type)(const P* partial, T* c, const T* bias, i64 total, int n, int splits, P alpha, P beta) {           \
        gemm_sum<T, P>(partial, c, bias, total, n, splits, alpha, beta);                                                      \
    }                                                                                                                        \
    EMU_EXPORT(gemm_sum_##type)

#define GEMM_PARAMETERS(T) \
    const T *a, const T *b, T *c, const T *bias, const T *a2, const T *b2, float *partial, Product p, float alpha, float beta
#define GEMM_ONE(T, type, name, suffix, BM, BN, WM, WN, AK, BK, FAST, STAGES)                              \
    KERNEL_BOUNDS(gemm_##name##_##suffix##_##type, 32 * (BM / WM) * (BN / WN), 2)(GEMM_PARAMETERS(T)) {      \
        DYN_SHARED(T, shared);                                                                                 \
        gemm<T, BM, BN, WM, WN, AK, BK, FAST, STAGES>(shared, a, b, c, bias, a2, b2, partial, p, alpha, beta); \
    }                                                                                                        \
    EMU_EXPORT(gemm_##name##_##suffix##_##type)
// The letters say how A and B are contiguous: k by the axis of the sum, r by their other axis.
#define GEMM_SHAPE(T, type, name, BM, BN, WM, WN, FAST, STAGES)              \
    GEMM_ONE(T, type, name, kk, BM, BN, WM, WN, true, true, FAST, STAGES)      \
    GEMM_ONE(T, type, name, kr, BM, BN, WM, WN, true, false, FAST, STAGES)     \
    GEMM_ONE(T, type, name, rk, BM, BN, WM, WN, false, true, FAST, STAGES)     \
    GEMM_ONE(T, type, name, rr, BM, BN, WM, WN, false, false, FAST, STAGES)
#define GEMM_FAMILY(T, type)                                                                                          \
    GEMM_SHAPE(T, type, large, 128, 128, 64, 32, true, 4)                                                               \
    GEMM_SHAPE(T, type, small, 64, 64, 32, 32, true, 4)                                                                 \
    GEMM_SHAPE(T, type, tall, 128, 32, 32, 32, true, 4)                                                                 \
    GEMM_SHAPE(T, type, wide, 32, 128, 32, 32, true, 4)                                                                 \
    GEMM_SHAPE(T, type, any, 64, 64, 32, 32, false, 2)                                                                  \
    GEMM_SUM(T, float, type)                                                                                                 \
    KERNEL(gemm_split_##type)(const float* partial, T* c, i64 rows, int columns, int pitch, int splits, float alpha) {       \
        gemm_split<T>(partial, c, rows, columns, pitch, splits, alpha);                                                      \
    }                                                                                                                        \
    EMU_EXPORT(gemm_split_##type)                                                                                            \
    KERNEL(gemm_fold_##type)(const float* partial, T* c, i64 rows, int columns, i64 stride, i64 low, i64 size, int splits) { \
        gemm_fold<T>(partial, c, rows, columns, stride, low, size, splits);                                                  \
    }                                                                                                                        \
    EMU_EXPORT(gemm_fold_##type)

#endif
