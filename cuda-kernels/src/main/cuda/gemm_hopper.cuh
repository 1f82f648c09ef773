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

/** Issues the products of BLOCKS times 64 rows of A and BN columns of B in a tile, as a group. */
template <class T, int BLOCKS, int BN, bool A_BY_K, bool B_BY_K> DEV void multiply_tile(float (&d)[BLOCKS][BN / 2], const T* a, const T* b, int accumulate) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < DEEP; k += 16) {
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) multiply16<T, BN, A_BY_K, B_BY_K>(d[i], a + i * 64 * DEEP, b, k, k == 0 ? accumulate : 1);
    }
    wgmma_commit();
}

/** Adds the first `products` of a tile, in as few steps as they need, one by one. */
template <class T, int BLOCKS, int BN, bool A_BY_K, bool B_BY_K> DEV void multiply_tail(float (&d)[BLOCKS][BN / 2], const T* a, const T* b, int products) {
#pragma unroll 1
    for (int k = 0; k < products; k += 16) {
        wgmma_fence(d);
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) multiply16<T, BN, A_BY_K, B_BY_K>(d[i], a + i * 64 * DEEP, b, k, 1);
        wgmma_commit();
        wgmma_wait<0>(d);
    }
}

/** The bytes of shared memory that each warp rounds its results in: 16 rows of 64 columns. */
static const int STAGED_BYTES = 16 * LINE_BYTES;

/**
 * Stores a warp's 16 rows of 8 CHUNKS columns, rounded, in whole lines: they go through `staged`, the warp's own shared memory, where chunks are swizzled as
 * in a tile, so that neither the fragments' writes nor the reads by 16 bytes meet in a bank. `c` and `bias` begin at the first element, of as many rows and
 * columns as are left of the matrix.
 */
template <class T, int CHUNKS>
DEV void store_columns(const float* d, T* staged, int rows, int columns, T* c, i64 stride, const T* bias, float alpha) {
    int g = lane() >> 2, t = lane() & 3;
    __syncwarp();  // the last columns were read
#pragma unroll
    for (int j = 0; j < CHUNKS; j++) {
        int at = 8 * j + 2 * t;
        u32 add = bias && at < columns ? *(const u32*)(bias + at) : 0;
        float b0 = unpack_low<T>(add), b1 = unpack_high<T>(add);
        const float* f = d + 4 * j;
        T* to = staged + chunk_at(g, j) + 2 * t;
        *(u32*)to = pack2<T>(f[0] * alpha + b0, f[1] * alpha + b1);
        *(u32*)(to + 8 * LINE) = pack2<T>(f[2] * alpha + b0, f[3] * alpha + b1);
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < CHUNKS / 2; i++) {
        int at = i * 32 + lane(), row = at / CHUNKS, chunk = at % CHUNKS;
        Vec<u32, 4> x = load_vec<4>((const u32*)(staged + chunk_at(row, chunk)));
        if (row < rows && chunk * 8 < columns) store_vec<4>((u32*)(c + row * stride + chunk * 8), x);
    }
}

/** Stores a warp's 16 rows of BN columns, from row0 and column0 on, 64 at a time. */
template <class T, int BN>
DEV void store_lines(const float (&d)[BN / 2], T* staged, int row0, int column0, T* c, const T* bias, const Product& p, float alpha) {
    int rows = (int)p.m - row0, columns = (int)p.n - column0;
    c += row0 * p.cRow + column0;
    if (bias) bias += column0;
#pragma unroll
    for (int i = 0; i < BN / LINE; i++) {
        int from = i * LINE;
        store_columns<T, 8>(d + from / 2, staged, rows, columns - from, c + from, p.cRow, bias ? bias + from : bias, alpha);
    }
    if constexpr (BN % LINE != 0) {
        const int FROM = BN / LINE * LINE;
        store_columns<T, (BN - FROM) / 8>(d + FROM / 2, staged, rows, columns - FROM, c + FROM, p.cRow, bias ? bias + FROM : bias, alpha);
    }
}

/** Stores 16 rows of a warp's results, from row0 and column0 on: by whole lines where C and the bias allow it. */
template <class T, int BN>
DEV void store_rows(float (&d)[BN / 2], T* staged, int row0, int column0, T* c, float* partial, const T* bias, const Product& p, i64 batch, int split,
                    float alpha, float beta) {
    T* at = c + batch / p.inner * p.cBatch0 + batch % p.inner * p.cBatch1;
    if (!partial && beta == 0 && ((p.n | p.cRow) & 7) == 0 && is_aligned(at, 16) && is_aligned(bias, 4)) {
        store_lines<T, BN>(d, staged, row0, column0, at, bias, p, alpha);
    } else {
        auto& acc = *reinterpret_cast<float(*)[1][BN / 8][4]>(&d);
        store_fragments<T, 1, BN / 8>(acc, row0, column0, c, partial, bias, p, batch, split, alpha, beta);
    }
}

/** A tile 128 x BN of C by 256 threads. Grid as in gemm.cuh; dynamic shared memory: STAGES * (128 + BN) * DEEP elements, 8 * STAGED_BYTES. */
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

    float d[1][BN / 2];
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
        multiply_tile<T, 1, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + BM * DEEP, accumulate);
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
        for (float& x : d[0]) x = 0.f;
    }
    if (whole < end) {
        const T* tile = arrived();
        multiply_tail<T, 1, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + BM * DEEP, products);
    }
    int row = m0 + group * 64 + (warp_index() & 3) * 16;
    T* staged = shared + STAGES * STAGE + warp_index() * 16 * LINE;
    store_rows<T, BN>(d[0], staged, row, n0, c, partial, bias, p, job.batch, job.split, alpha, beta);
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
