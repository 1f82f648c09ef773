// SPDX-License-Identifier: Apache-2.0
// Products of f32 and f64 matrices in their own precision, without tensor cores: the same products and operands as gemm.cuh's.
//
// A block computes a tile BM x BN of C, a thread TM x TN of it in pieces of 4 x 4. Tiles of DEPTH products lie in shared memory as
// [k][m] and [k][n], whatever the operands' order: those that are contiguous by k are transposed on the way. While a tile is being
// multiplied, the next one is on its way in registers.
// Fast kernels load four neighbours at once: contiguous axis of stride 1, base and other strides multiples of 16 bytes.
#include "gemm.cuh"

/** A tile of R rows of the result by DEPTH products on its way from global to shared memory. */
template <class T, int R, int DEPTH, bool BY_K, int THREADS, bool FAST> struct Fetch {
    static const int PIECES = R * DEPTH / 4 / THREADS;   // four neighbours each
    static const int PITCH = R + 4;
    T v[PIECES][4];

    /** Which row and product piece i begins at, within the tile. */
    DEVM static void place(int i, int& row, int& k) {
        int id = (int)threadIdx.x + i * THREADS;
        row = BY_K ? id / (DEPTH / 4) : id % (R / 4) * 4;
        k = BY_K ? id % (DEPTH / 4) * 4 : id / (R / 4);
    }

    /** `base` is the tile's first element; rows and ks are what is left from there. */
    DEVM void load(const T* base, i64 outer, i64 inner, int rows, int ks) {
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            int row, k;
            place(i, row, k);
            int line = BY_K ? row : k, at = BY_K ? k : row;
            int left = line < (BY_K ? rows : ks) ? (BY_K ? ks : rows) - at : 0;
            const T* p = FAST ? base + (line * (int)outer + at) : base + line * outer + at * inner;
            if (FAST && left >= 4) {
                Vec<T, 4> four = load_vec<4>(p);
#pragma unroll
                for (int e = 0; e < 4; e++) v[i][e] = four[e];
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) v[i][e] = e < left ? p[FAST ? e : e * inner] : T(0);
            }
        }
    }

    DEVM void store(T* tile) const {
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            int row, k;
            place(i, row, k);
            if (BY_K) {
#pragma unroll
                for (int e = 0; e < 4; e++) tile[(k + e) * PITCH + row] = v[i][e];
            } else {
                Vec<T, 4> four = {{v[i][0], v[i][1], v[i][2], v[i][3]}};
                store_vec<4>(tile + k * PITCH + row, four);
            }
        }
    }
};

template <class T, int BM, int BN, int DEPTH, int TM, int TN, bool A_BY_K, bool B_BY_K, bool FAST>
DEV void gemm_simt(T* shared, const T* a, const T* b, T* c, const T* bias, const T* a2, const T* b2, T* partial, const Product& p,
                   T alpha, T beta) {
    const int THREADS = (BM / TM) * (BN / TN), STAGE = DEPTH * (BM + BN + 8), PIECES_M = TM / 4, PIECES_N = TN / 4;
    typedef Fetch<T, BM, DEPTH, A_BY_K, THREADS, FAST> FetchA;
    typedef Fetch<T, BN, DEPTH, B_BY_K, THREADS, FAST> FetchB;
    const Job<BM, BN, DEPTH> job(p, blockIdx.x);
    a = job.a_of(a, p);
    b = job.b_of(b, p);
    const int m0 = job.m0, n0 = job.n0, first = job.first, begin = job.begin, end = job.end;
    int m = (int)p.m, n = (int)p.n;
    int tx = (int)threadIdx.x % (BN / TN), ty = (int)threadIdx.x / (BN / TN);

    FetchA nextA;
    FetchB nextB;
    auto load = [&](int t) {
        bool base = t < first;
        int k0 = (base ? t : t - first) * DEPTH, left = (int)(base ? p.k : p.k2) - k0;
        i64 aOuter = base ? p.aOuter : p.a2Outer, aInner = base ? p.aInner : p.a2Inner;
        i64 bOuter = base ? p.bOuter : p.b2Outer, bInner = base ? p.bInner : p.b2Inner;
        const T* fromA = (base ? a : a2) + (A_BY_K ? m0 * aOuter + k0 * aInner : k0 * aOuter + m0 * aInner);
        const T* fromB = (base ? b : b2) + (B_BY_K ? n0 * bOuter + k0 * bInner : k0 * bOuter + n0 * bInner);
        nextA.load(fromA, aOuter, aInner, m - m0, left);
        nextB.load(fromB, bOuter, bInner, n - n0, left);
    };
    T acc[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++) {
#pragma unroll
        for (int j = 0; j < TN; j++) acc[i][j] = T(0);
    }
    if (begin < end) {
        load(begin);
        nextA.store(shared);
        nextB.store(shared + DEPTH * FetchA::PITCH);
    }
    __syncthreads();
    for (int t = begin; t < end; t++) {
        const T* tileA = shared + (t - begin & 1) * STAGE;
        const T* tileB = tileA + DEPTH * FetchA::PITCH;
        bool more = t + 1 < end;
        if (more) load(t + 1);
#pragma unroll 2
        for (int k = 0; k < DEPTH; k++) {
            T x[TM], y[TN];
#pragma unroll
            for (int i = 0; i < PIECES_M; i++) {
                Vec<T, 4> four = load_vec<4>(tileA + k * FetchA::PITCH + i * (BM / PIECES_M) + ty * 4);
#pragma unroll
                for (int e = 0; e < 4; e++) x[i * 4 + e] = four[e];
            }
#pragma unroll
            for (int j = 0; j < PIECES_N; j++) {
                Vec<T, 4> four = load_vec<4>(tileB + k * FetchB::PITCH + j * (BN / PIECES_N) + tx * 4);
#pragma unroll
                for (int e = 0; e < 4; e++) y[j * 4 + e] = four[e];
            }
#pragma unroll
            for (int i = 0; i < TM; i++) {
#pragma unroll
                for (int j = 0; j < TN; j++) acc[i][j] += x[i] * y[j];
            }
        }
        if (more) {
            T* to = shared + (t + 1 - begin & 1) * STAGE;
            nextA.store(to);
            nextB.store(to + DEPTH * FetchA::PITCH);
        }
        __syncthreads();
    }

    T* to = partial ? partial + (job.split * p.batches + job.batch) * p.m * p.n : job.c_of(c, p);
    i64 stride = partial ? p.n : p.cRow;
#pragma unroll
    for (int i = 0; i < TM; i++) {
        int row = m0 + i / 4 * (BM / PIECES_M) + ty * 4 + i % 4;
        if (row >= m) continue;
#pragma unroll
        for (int j = 0; j < PIECES_N; j++) {
            int column = n0 + j * (BN / PIECES_N) + tx * 4, left = n - column;
            T* at = to + row * stride + column;
            Vec<T, 4> v;
#pragma unroll
            for (int e = 0; e < 4; e++) {
                v[e] = acc[i][j * 4 + e];
                if (!partial && e < left) {
                    v[e] *= alpha;
                    if (beta != 0) v[e] += beta * at[e];
                    if (bias) v[e] += bias[column + e];
                }
            }
            if (left >= 4 && is_aligned(at, 16)) {
                store_vec<4>(at, v);
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if (e < left) at[e] = v[e];
                }
            }
        }
    }
}

#define SIMT_ONE(T, type, name, suffix, BM, BN, DEPTH, TM, TN, AK, BK, FAST, BLOCKS)                                          \
    KERNEL_BOUNDS(gemm_##name##_##suffix##_##type, (BM / TM) * (BN / TN), BLOCKS)                                              \
    (const T* a, const T* b, T* c, const T* bias, const T* a2, const T* b2, T* partial, Product p, T alpha, T beta) {          \
        __shared__ Vec<T, 4> shared[2 * DEPTH * (BM + BN + 8) / 4];                                                            \
        gemm_simt<T, BM, BN, DEPTH, TM, TN, AK, BK, FAST>((T*)shared, a, b, c, bias, a2, b2, partial, p, alpha, beta);         \
    }                                                                                                                          \
    EMU_EXPORT(gemm_##name##_##suffix##_##type)
#define SIMT_SHAPE(T, type, name, BM, BN, DEPTH, TM, TN, FAST, BLOCKS)              \
    SIMT_ONE(T, type, name, kk, BM, BN, DEPTH, TM, TN, true, true, FAST, BLOCKS)    \
    SIMT_ONE(T, type, name, kr, BM, BN, DEPTH, TM, TN, true, false, FAST, BLOCKS)   \
    SIMT_ONE(T, type, name, rk, BM, BN, DEPTH, TM, TN, false, true, FAST, BLOCKS)   \
    SIMT_ONE(T, type, name, rr, BM, BN, DEPTH, TM, TN, false, false, FAST, BLOCKS)

SIMT_SHAPE(float, f32, large, 128, 128, 8, 8, 8, true, 2)
SIMT_SHAPE(float, f32, small, 64, 64, 16, 4, 4, true, 2)
SIMT_SHAPE(float, f32, any, 64, 64, 16, 4, 4, false, 2)
SIMT_SHAPE(double, f64, any, 64, 64, 16, 4, 4, false, 1)
GEMM_SUM(float, float, f32)
GEMM_SUM(double, double, f64)
