// SPDX-License-Identifier: Apache-2.0
// The products of gemm.cuh by Hopper's wgmma, for operands that are copied by 16 bytes: the same numbers, grid and results.
//
// A block computes 128 x BN of C; each of its two warpgroups 64 rows. Tiles of 64 products come by cp.async into a ring of STAGES buffers, as lines of 128
// bytes that are swizzled as wgmma reads them (hopper.h): by k a line is a row, by r 64 rows of one product. One group of wgmmas is always in flight while
// the next one is issued, so a buffer is filled again two tiles after its own: STAGES - 2 tiles are on their way.
// The second pair of operands goes on in the same accumulators; the last tile takes as few steps of 16 products as it needs.
#ifndef SFUMATO_GEMM_HOPPER_CUH
#define SFUMATO_GEMM_HOPPER_CUH
#include "gemm.cuh"
#include "hopper.h"

static const int DEEP = LINE;                        // products in a tile
static const u32 BLOCK_BYTES = DEEP * LINE_BYTES;    // of 64 rows of an operand, in both orders

/** Starts the copy of a tile by the first THREADS threads: R rows from row0, DEEP products from k0; zeros at `rows` and `k` and after. */
template <class T, int R, bool BY_K, int THREADS>
DEV void load_lines(T* tile, const T* base, i64 outer, int row0, int k0, int rows, int k) {
    int line = (int)threadIdx.x >> 3, chunk = (int)threadIdx.x & 7;
    const int STEP = THREADS / 8;           // lines from copy to copy, a multiple of 8: the swizzle is the same
    static_assert(64 % STEP == 0 && STEP % 8 == 0, "whole blocks of lines");
    T* to = tile + chunk_at(line, chunk);
    auto most = [](int left) { return left < 0 ? 0 : left < 8 ? left * 2 : 16; };
    if (BY_K) {
        int bytes = most(k - k0 - chunk * 8);
        const T* from = base + (row0 + line) * outer + k0 + chunk * 8;
#pragma unroll
        for (int i = 0; i < R / STEP; i++) {
            int valid = row0 + line + STEP * i < rows ? bytes : 0;
            cp_async16_zfill(to + STEP * LINE * i, valid ? from : base, valid);
            from += STEP * outer;
        }
    } else {
        const T* from = base + (k0 + line) * outer + row0 + chunk * 8;
#pragma unroll
        for (int i = 0; i < R / 64; i++) {
            int bytes = most(rows - row0 - i * 64 - chunk * 8);
#pragma unroll
            for (int l = 0; l < 64; l += STEP) {
                int valid = k0 + line + l < k ? bytes : 0;
                cp_async16_zfill(to + (64 * i + l) * LINE, valid ? from + l * outer : base, valid);
            }
            from += 64;
        }
    }
}

/** How many tiles of a sum, from `begin` to `end`, are done whole: all but the last one if that has few products. */
DEV int whole_tiles(int begin, int end, int lastProducts) { return begin < end && lastProducts <= DEEP - 16 ? end - 1 : end; }

template <class T, int BN, bool A_BY_K, bool B_BY_K> DEV void multiply16(float (&d)[BN / 2], const T* a, const T* b, int k, int accumulate) {
    u64 ofA = Operand<A_BY_K>::of(a, BLOCK_BYTES) + Operand<A_BY_K>::products(k);
    u64 ofB = Operand<B_BY_K>::of(b, BLOCK_BYTES) + Operand<B_BY_K>::products(k);
    Wgmma<T, BN>::template shared<!A_BY_K, !B_BY_K>(d, ofA, ofB, accumulate);
}

/** Issues the products of 64 rows of A and BN columns of B in a tile, as a group. */
template <class T, int BN, bool A_BY_K, bool B_BY_K> DEV void multiply_tile(float (&d)[BN / 2], const T* a, const T* b, int accumulate) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < DEEP; k += 16) multiply16<T, BN, A_BY_K, B_BY_K>(d, a, b, k, k == 0 ? accumulate : 1);
    wgmma_commit();
}

/** Adds the first `products` of a tile, in as few steps as they need, one by one. */
template <class T, int BN, bool A_BY_K, bool B_BY_K> DEV void multiply_tail(float (&d)[BN / 2], const T* a, const T* b, int products) {
#pragma unroll 1
    for (int k = 0; k < products; k += 16) {
        wgmma_fence(d);
        multiply16<T, BN, A_BY_K, B_BY_K>(d, a, b, k, 1);
        wgmma_commit();
        wgmma_wait<0>(d);
    }
}

/** Four registers of four neighbouring lanes: lane t has register t of lanes 0 to 3 afterwards, in their order. */
DEV void transpose4(u32 (&v)[4]) {
    bool odd = lane() & 1, upper = lane() & 2;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        u32 r = shfl_xor(odd ? v[i] : v[i + 1], 1);
        if (odd)
            v[i] = r;
        else
            v[i + 1] = r;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        u32 r = shfl_xor(upper ? v[i] : v[i + 2], 2);
        if (upper)
            v[i] = r;
        else
            v[i + 2] = r;
    }
}

/** Stores a warp's 16 rows of BN columns by 16 bytes: a lane gets all 8 columns of one of four neighbouring fragments. */
template <class T, int BN>
DEV void store_chunks(const float (&d)[BN / 2], int row0, int column0, T* c, const T* bias, const Product& p, float alpha) {
    int g = lane() >> 2, t = lane() & 3;
#pragma unroll
    for (int j = 0; j < BN / 8; j += 4) {
        u32 v[2][4];   // rows g and g + 8
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int column = column0 + 8 * (j + i) + 2 * t;
            u32 add = bias && column < p.n ? *(const u32*)(bias + column) : 0;
            float b0 = unpack_low<T>(add), b1 = unpack_high<T>(add);
            const float* f = d + 4 * (j + i);
            v[0][i] = pack2<T>(f[0] * alpha + b0, f[1] * alpha + b1);
            v[1][i] = pack2<T>(f[2] * alpha + b0, f[3] * alpha + b1);
        }
        int column = column0 + 8 * (j + t);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            transpose4(v[h]);
            int row = row0 + g + 8 * h;
            Vec<u32, 4> x = {{v[h][0], v[h][1], v[h][2], v[h][3]}};
            if (row < p.m && column < p.n) store_vec<4>((u32*)(c + row * p.cRow + column), x);
        }
    }
}

/** Stores a warp's results, the first at row0 and column0: by 16 bytes where C and the bias allow it. */
template <class T, int BN>
DEV void store_warp(float (&acc)[1][BN / 8][4], int row0, int column0, T* c, float* partial, const T* bias, const Product& p, i64 batch, int split,
                    float alpha, float beta) {
    T* at = c + batch / p.inner * p.cBatch0 + batch % p.inner * p.cBatch1;
    if (!partial && beta == 0 && ((p.n | p.cRow) & 7) == 0 && is_aligned(at, 16) && is_aligned(bias, 4))
        store_chunks<T, BN>(*reinterpret_cast<float(*)[BN / 2]>(&acc), row0, column0, at, bias, p, alpha);
    else
        store_fragments<T, 1, BN / 8>(acc, row0, column0, c, partial, bias, p, batch, split, alpha, beta);
}

/** A tile 128 x BN of C by 256 threads. Grid as in gemm.cuh; dynamic shared memory: STAGES * (128 + BN) * DEEP elements. */
template <class T, int BN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void gemm_hopper(T* shared, const T* a, const T* b, T* c, const T* bias, const T* a2, const T* b2, float* partial, const Product& p, float alpha,
                     float beta) {
    const int BM = 128, STAGE = (BM + BN) * DEEP, AHEAD = STAGES - 2;
    const Job<BM, BN, DEEP> job(p, blockIdx.x);
    a = job.a_of(a, p);
    b = job.b_of(b, p);
    const int m0 = job.m0, n0 = job.n0, first = job.first, begin = job.begin, end = job.end;
    int group = shfl((int)threadIdx.x >> 7, 0);

    auto load = [&](int t, int slot) {
        T* to = shared + slot * STAGE;
        bool more = t >= first;
        int k0 = (more ? t - first : t) * DEEP, k = (int)(more ? p.k2 : p.k);
        load_lines<T, BM, A_BY_K, 256>(to, more ? a2 : a, more ? p.a2Outer : p.aOuter, m0, k0, (int)p.m, k);
        load_lines<T, BN, B_BY_K, 256>(to + BM * DEEP, more ? b2 : b, more ? p.b2Outer : p.bOuter, n0, k0, (int)p.n, k);
    };

    float acc[1][BN / 8][4];
    float(&d)[BN / 2] = *reinterpret_cast<float(*)[BN / 2]>(&acc);
#pragma unroll 1
    for (int s = 0; s < AHEAD; s++) {
        if (begin + s < end) load(begin + s, s);
        cp_async_commit();
    }
    int now = 0, next = AHEAD;   // slots
    auto arrived = [&] {
        cp_async_wait<AHEAD - 1>();
        fence_proxy_async();
        __syncthreads();
        const T* tile = shared + now * STAGE;
        now = now + 1 == STAGES ? 0 : now + 1;
        return tile;
    };
    auto turn = [&](int t, int accumulate) {
        const T* tile = arrived();
        multiply_tile<T, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + BM * DEEP, accumulate);
        if (t + AHEAD < end) load(t + AHEAD, next);
        cp_async_commit();
        next = next + 1 == STAGES ? 0 : next + 1;
    };
    int products = end > first ? (int)p.k2 - (end - 1 - first) * DEEP : (int)p.k - (end - 1) * DEEP;   // of the last tile
    int whole = whole_tiles(begin, end, products);
    if (begin < whole) {
        // The first one stands by itself: with accumulators that were set to zero before the loop ptxas 12.0 lets wgmmas wait for each other.
        turn(begin, 0);
#pragma unroll 1
        for (int t = begin + 1; t < whole; t++) {
            turn(t, 1);
            wgmma_wait<1>();
        }
        wgmma_wait<0>(d);
    } else {
#pragma unroll
        for (int i = 0; i < BN / 2; i++) d[i] = 0.f;
    }
    if (whole < end) {
        const T* tile = arrived();
        multiply_tail<T, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + BM * DEEP, products);
    }
    int row = m0 + group * 64 + ((int)threadIdx.x >> 5 & 3) * 16;
    store_warp<T, BN>(acc, row, n0, c, partial, bias, p, job.batch, job.split, alpha, beta);
}

#define GEMM_HOPPER_ONE(T, type, BN, suffix, AK, BK, STAGES)                                                \
    KERNEL_BOUNDS(gemm_hopper_##BN##_##suffix##_##type, 256, 1)(GEMM_PARAMETERS(T)) {                       \
        DYN_SHARED(T, shared);                                                                              \
        gemm_hopper<T, BN, AK, BK, STAGES>(shared, a, b, c, bias, a2, b2, partial, p, alpha, beta);         \
    }                                                                                                       \
    EMU_EXPORT(gemm_hopper_##BN##_##suffix##_##type)
#define GEMM_HOPPER_SHAPE(T, type, BN, STAGES)               \
    GEMM_HOPPER_ONE(T, type, BN, kk, true, true, STAGES)     \
    GEMM_HOPPER_ONE(T, type, BN, kr, true, false, STAGES)    \
    GEMM_HOPPER_ONE(T, type, BN, rk, false, true, STAGES)    \
    GEMM_HOPPER_ONE(T, type, BN, rr, false, false, STAGES)
#define GEMM_HOPPER_FAMILY(T, type)            \
    GEMM_HOPPER_SHAPE(T, type, 128, 6)         \
    GEMM_HOPPER_SHAPE(T, type, 256, 4)

#endif
