// SPDX-License-Identifier: Apache-2.0
// The products of gemm_hopper.cuh with a division of labour, and copies by tensor maps: one thread starts them, the unit finds addresses, fills with zeros
// what lies outside, swizzles, and tells a barrier how many bytes came. One product, no batches.
//
// A block computes tiles BM x BN of C, one after the other. Its first warpgroup fills a ring of buffers and goes on to the next tile of C while results of the
// last one are still stored; the two others multiply BM / 2 rows each, in blocks of 64. Barriers in shared memory hand buffers on: `full` when all bytes
// are there, `empty` when each warp that multiplies has waited for its wgmmas, which it does one tile later.
//
// A map's box is 64 values by BM (A) or BN (B) rows for operands by k, 64 by 64 for operands by r.
#ifndef SFUMATO_GEMM_HOPPER_BULK_CUH
#define SFUMATO_GEMM_HOPPER_BULK_CUH
#include "gemm_hopper.cuh"

/** The sizes of a ring of tiles, in values of T. */
template <int BM, int BN, bool A_BY_K, bool B_BY_K> struct Ring {
    static constexpr int lines(int rows, bool byK) { return byK ? rows : (rows + 63) / 64 * 64; }
    static const int B = lines(BM, A_BY_K) * DEEP;           // where B begins in a buffer
    static const int STAGE = B + lines(BN, B_BY_K) * DEEP;   // a buffer
    static const int LEFT = 227 * 1024 - 8 * STAGED_BYTES - 128;   // bytes for buffers: of a block's shared memory without what else is there
    static const int STAGES = LEFT / (2 * STAGE);
    static const int STAGED = STAGES * STAGE;                // where the warps' 16 rows begin, and after them the barriers
    static const int BARRIERS = STAGED + 8 * STAGED_BYTES / 2;
    static_assert(STAGES >= 3 && STAGES <= 8, "128 bytes of barriers");
};

/** A place in the ring. */
template <int STAGES> struct Place {
    int slot = 0, round = 0;   // round: parity of the phase of `full` that the slot's next tile ends
    DEVM void step() {
        if (++slot == STAGES) slot = 0, round ^= 1;
    }
};

/** Starts the copies of R rows from row0, DEEP products from k0. */
template <class T, int R, bool BY_K> DEV void load_boxes(T* tile, const TensorMap& map, u64* barrier, int row0, int k0) {
    if (BY_K) {
        bulk_load(tile, map, barrier, k0, row0);
    } else {
#pragma unroll
        for (int i = 0; i < (R + 63) / 64; i++) bulk_load(tile + i * 64 * DEEP, map, barrier, row0 + i * 64, k0);
    }
}

/** The copies, by one thread. */
template <class T, int BM, int BN, bool A_BY_K, bool B_BY_K>
DEV void fill_ring(T* shared, u64* full, u64* empty, const TensorMap& a, const TensorMap& b, const TensorMap& a2, const TensorMap& b2, const Product& p) {
    typedef Ring<BM, BN, A_BY_K, B_BY_K> R;
    typedef Job<BM, BN, DEEP> J;
    Place<R::STAGES> next;
    bool again = false;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < J::count(p); id += gridDim.x) {
        const J j(p, id);
#pragma unroll 1
        for (int t = j.begin; t < j.end; t++) {
            if (again) mbarrier_wait(empty + next.slot, next.round ^ 1);
            T* to = shared + next.slot * R::STAGE;
            u64* barrier = full + next.slot;
            bool more = t >= j.first;
            int k0 = (more ? t - j.first : t) * DEEP;
            mbarrier_expect(barrier, R::STAGE * (int)sizeof(T));
            load_boxes<T, BM, A_BY_K>(to, more ? a2 : a, barrier, j.m0, k0);
            load_boxes<T, BN, B_BY_K>(to + R::B, more ? b2 : b, barrier, j.n0, k0);
            next.step();
            again = again || next.slot == 0;
        }
    }
}

/** The products, by two warpgroups. */
template <class T, int BM, int BN, bool A_BY_K, bool B_BY_K>
DEV void empty_ring(T* shared, u64* full, u64* empty, T* c, float* partial, const T* bias, const Product& p, float alpha, float beta) {
    typedef Ring<BM, BN, A_BY_K, B_BY_K> R;
    typedef Job<BM, BN, DEEP> J;
    const int BLOCKS = BM / 128;   // of 64 rows, for each warpgroup
    int group = shfl((int)threadIdx.x >> 7, 0) - 1, warp = shfl((int)threadIdx.x >> 5, 0) - 4;
    T* staged = shared + R::STAGED + warp * 16 * LINE;
    Place<R::STAGES> now;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < J::count(p); id += gridDim.x) {
        const J j(p, id);
        float d[BLOCKS][BN / 2];
        const T* tile;   // the warpgroup's rows of A
        auto arrived = [&] {
            mbarrier_wait(full + now.slot, now.round);
            tile = shared + now.slot * R::STAGE + group * BLOCKS * 64 * DEEP;
        };
        auto right = [&] { return shared + now.slot * R::STAGE + R::B; };
        auto release = [&](int slot) {
            if (lane() == 0) mbarrier_arrive(empty + slot);
        };
        int products = j.end > j.first ? (int)p.k2 - (j.end - 1 - j.first) * DEEP : (int)p.k - (j.end - 1) * DEEP;   // of the last tile
        int whole = whole_tiles(j.begin, j.end, products);
        if (j.begin < whole) {
            arrived();
            multiply_tile<T, BLOCKS, BN, A_BY_K, B_BY_K>(d, tile, right(), 0);
            int before = now.slot;   // of the tile before
            now.step();
#pragma unroll 1
            for (int t = j.begin + 1; t < whole; t++) {
                arrived();
                multiply_tile<T, BLOCKS, BN, A_BY_K, B_BY_K>(d, tile, right(), 1);
                wgmma_wait<1>();
                release(before);
                before = now.slot;
                now.step();
            }
            wgmma_wait<0>(d);
            release(before);
        } else {
#pragma unroll
            for (int i = 0; i < BLOCKS; i++) {
#pragma unroll
                for (float& x : d[i]) x = 0.f;
            }
        }
        if (whole < j.end) {
            arrived();
            multiply_tail<T, BLOCKS, BN, A_BY_K, B_BY_K>(d, tile, right(), products);
            release(now.slot);
            now.step();
        }
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            int row = j.m0 + (group * BLOCKS + i) * 64 + (warp & 3) * 16;
            store_rows<T, BN>(d[i], staged, row, j.n0, c, partial, bias, p, j.batch, j.split, alpha, beta);
        }
    }
}

/** Tiles of C by 384 threads. Grid: x at most the tiles of C, y splits of k; all shared memory that a block of Hopper can have. */
template <class T, int BM, int BN, bool A_BY_K, bool B_BY_K>
DEV void gemm_hopper_bulk(T* shared, const TensorMap& a, const TensorMap& b, T* c, const T* bias, const TensorMap& a2, const TensorMap& b2, float* partial,
                          const Product& p, float alpha, float beta) {
    typedef Ring<BM, BN, A_BY_K, B_BY_K> R;
    u64* full = (u64*)(shared + R::BARRIERS);
    u64* empty = full + R::STAGES;
    if (threadIdx.x < R::STAGES) {
        mbarrier_init(full + threadIdx.x, 1);
        mbarrier_init(empty + threadIdx.x, 8);
        fence_proxy_async();   // the copying unit sees the barriers
    }
    __syncthreads();
    if (shfl((int)threadIdx.x >> 7, 0) == 0) {
        registers_give<40>();   // of 168 that a thread has at first
        if (threadIdx.x == 0) fill_ring<T, BM, BN, A_BY_K, B_BY_K>(shared, full, empty, a, b, a2, b2, p);
    } else {
        registers_take<232>();
        empty_ring<T, BM, BN, A_BY_K, B_BY_K>(shared, full, empty, c, partial, bias, p, alpha, beta);
    }
}

#define GEMM_BULK_ONE(T, type, BM, BN, suffix, AK, BK)                                                                                    \
    KERNEL_BOUNDS(gemm_hopper_bulk_##BM##x##BN##_##suffix##_##type, 384, 1)                                                               \
    (const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, T* c, const T* bias, const __grid_constant__ TensorMap a2, \
     const __grid_constant__ TensorMap b2, float* partial, Product p, float alpha, float beta) {                                          \
        DYN_SHARED(T, shared);                                                                                                            \
        gemm_hopper_bulk<T, BM, BN, AK, BK>(shared, a, b, c, bias, a2, b2, partial, p, alpha, beta);                                      \
    }                                                                                                                                     \
    EMU_EXPORT(gemm_hopper_bulk_##BM##x##BN##_##suffix##_##type)
#define GEMM_BULK_SHAPE(T, type, BM, BN)               \
    GEMM_BULK_ONE(T, type, BM, BN, kk, true, true)     \
    GEMM_BULK_ONE(T, type, BM, BN, kr, true, false)    \
    GEMM_BULK_ONE(T, type, BM, BN, rk, false, true)    \
    GEMM_BULK_ONE(T, type, BM, BN, rr, false, false)
#define GEMM_BULK_FAMILY(T, type)        \
    GEMM_BULK_SHAPE(T, type, 128, 128)   \
    GEMM_BULK_SHAPE(T, type, 256, 160)   \
    GEMM_BULK_SHAPE(T, type, 128, 256)

#endif
