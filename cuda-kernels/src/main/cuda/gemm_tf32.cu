// SPDX-License-Identifier: Apache-2.0
// Products of f32 matrices on tensor cores, whose operands keep 10 bits of mantissa: only for who asked for that. The same products and
// operands as gemm.cuh's fast kernels, strides and bases multiples of 16 bytes.
//
// Tiles of 32 products lie in shared memory as in global memory, with rows 4 or 8 floats longer than they need to be: then the lanes of
// a fragment read 32 different banks. cp.async brings them, and fills tails with zeros.
#include "gemm.cuh"

template <int R, bool BY_K> struct Tile {
    static const int ROWS = BY_K ? R : KT, COLS = BY_K ? KT : R, PITCH = BY_K ? KT + 4 : R + 8, SIZE = ROWS * PITCH;

    template <int THREADS>
    DEVM static void load(float* tile, const float* base, i64 outer, int row0, int k0, int rows, int ks) {
        const float* at = BY_K ? base + row0 * outer + k0 : base + k0 * outer + row0;
        int lines = BY_K ? rows - row0 : ks - k0, columns = BY_K ? ks - k0 : rows - row0;
#pragma unroll
        for (int i = 0; i < ROWS * COLS / 4 / THREADS; i++) {
            int id = (int)threadIdx.x + i * THREADS, r = id / (COLS / 4), c = id % (COLS / 4) * 4;
            int valid = r < lines ? columns - c : 0;
            valid = valid < 0 ? 0 : valid > 4 ? 4 : valid;
            cp_async16_zfill(tile + r * PITCH + c, valid > 0 ? at + r * (int)outer + c : base, valid * 4);
        }
    }

    DEVM static u32 get(const float* tile, int row, int k) {
        return float_to_tf32(tile[BY_K ? row * PITCH + k : k * PITCH + row]);
    }
};

template <int BM, int BN, int WM, int WN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void gemm_tf32(float* shared, const float* a, const float* b, float* c, const float* bias, const float* a2, const float* b2,
                   float* partial, const Product& p, float alpha, float beta) {
    typedef Tile<BM, A_BY_K> TileA;
    typedef Tile<BN, B_BY_K> TileB;
    const int WARPS_M = BM / WM, THREADS = 32 * WARPS_M * (BN / WN), FM = WM / 16, FN = WN / 8, STAGE = TileA::SIZE + TileB::SIZE;
    const Job<BM, BN, KT> job(p, blockIdx.x);
    a = job.a_of(a, p);
    b = job.b_of(b, p);
    const int m0 = job.m0, n0 = job.n0, first = job.first, begin = job.begin, end = job.end;
    int warp = (int)threadIdx.x / 32, g = lane() >> 2, q = lane() & 3;
    int wm = warp % WARPS_M * WM, wn = warp / WARPS_M * WN;

    auto load = [&](int t) {
        float* to = shared + (t - begin) % STAGES * STAGE;
        bool base = t < first;
        int k0 = (base ? t : t - first) * KT, ks = (int)(base ? p.k : p.k2);
        TileA::template load<THREADS>(to, base ? a : a2, base ? p.aOuter : p.a2Outer, m0, k0, (int)p.m, ks);
        TileB::template load<THREADS>(to + TileA::SIZE, base ? b : b2, base ? p.bOuter : p.b2Outer, n0, k0, (int)p.n, ks);
    };
    float acc[FM][FN][4];
    start_product<STAGES>(acc, begin, end, load);
    for (int t = begin; t < end; t++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (t + STAGES - 1 < end) load(t + STAGES - 1);
        cp_async_commit();
        const float* tileA = shared + (t - begin) % STAGES * STAGE;
        const float* tileB = tileA + TileA::SIZE;
#pragma unroll
        for (int k = 0; k < KT; k += 8) {
            u32 fb[FN][2];
#pragma unroll
            for (int j = 0; j < FN; j++) {
#pragma unroll
                for (int e = 0; e < 2; e++) fb[j][e] = TileB::get(tileB, wn + j * 8 + g, k + q + e * 4);
            }
#pragma unroll
            for (int i = 0; i < FM; i++) {
                u32 fa[4];
#pragma unroll
                for (int e = 0; e < 4; e++) fa[e] = TileA::get(tileA, wm + i * 16 + g + (e & 1) * 8, k + q + (e >> 1) * 4);
#pragma unroll
                for (int j = 0; j < FN; j++) mma_tf32_1688(acc[i][j], fa, fb[j]);
            }
        }
    }
    store_fragments<float, FM, FN>(acc, m0 + wm, n0 + wn, c, partial, bias, p, job.batch, job.split, alpha, beta);
}

#define TF32_ONE(name, suffix, BM, BN, WM, WN, AK, BK)                                                                          \
    KERNEL_BOUNDS(gemm_##name##_##suffix##_tf32, 32 * (BM / WM) * (BN / WN), 2)(GEMM_PARAMETERS(float)) {                       \
        DYN_SHARED(float, shared);                                                                                              \
        gemm_tf32<BM, BN, WM, WN, AK, BK, 3>(shared, a, b, c, bias, a2, b2, partial, p, alpha, beta);                           \
    }                                                                                                                           \
    EMU_EXPORT(gemm_##name##_##suffix##_tf32)
#define TF32_SHAPE(name, BM, BN, WM, WN)              \
    TF32_ONE(name, kk, BM, BN, WM, WN, true, true)    \
    TF32_ONE(name, kr, BM, BN, WM, WN, true, false)   \
    TF32_ONE(name, rk, BM, BN, WM, WN, false, true)   \
    TF32_ONE(name, rr, BM, BN, WM, WN, false, false)

TF32_SHAPE(large, 128, 128, 64, 32)
TF32_SHAPE(small, 64, 64, 32, 32)
