// SPDX-License-Identifier: Apache-2.0
// A linear layer with a low-rank change in one pass on Hopper: C [m, n] = x Wᵀ + t Bᵀ + bias, t = scale x Aᵀ rounded to T, for ranks up to 16.
//
// A block computes tiles of 256 x 160 of C as gemm_hopper_bulk.cuh does. In the buffers the rows of A follow those of W, so that one product has both: its last
// 16 columns are t. When the sums are complete t is rounded in registers and is the left operand of one more product, with the tile of B that comes through the
// ring after the last one of W. So x is read once, and t never leaves the block; each block computes it for its own rows, which is a tenth of its work.
// x, W, A and B come by tensor maps of lines along the axis of the sum; beyond k, and beyond the rank, there are zeros.
#ifndef SFUMATO_LOW_RANK_HOPPER_CUH
#define SFUMATO_LOW_RANK_HOPPER_CUH
#include "gemm_hopper_bulk.cuh"

/** The sizes of the ring, in values of T; RANK rows of A. */
struct LowRankRing {
    static const int BM = 256, BN = 160, RANK = 16, STAGES = 3;
    static const int W = BM * DEEP, A = W + BN * DEEP, STAGE = A + RANK * DEEP;   // where they begin in a buffer, and its size
    static const int STAGED = STAGES * STAGE, BARRIERS = STAGED + 8 * STAGED_BYTES / 2;
    typedef Job<BM, BN, DEEP> Tile;
};

/** The copies, by one thread. */
template <class T>
DEV void fill_low_rank(T* shared, u64* full, u64* empty, const TensorMap& x, const TensorMap& w, const TensorMap& a, const TensorMap& b, const Product& p) {
    typedef LowRankRing R;
    Place<R::STAGES> next;
    bool again = false;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < R::Tile::count(p); id += gridDim.x) {
        const R::Tile j(p, id);
#pragma unroll 1
        for (int t = 0; t <= j.first; t++) {
            if (again) mbarrier_wait(empty + next.slot, next.round ^ 1);
            T* to = shared + next.slot * R::STAGE;
            u64* barrier = full + next.slot;
            if (t < j.first) {
                mbarrier_expect(barrier, R::STAGE * (int)sizeof(T));
                bulk_load(to, x, barrier, t * DEEP, j.m0);
                bulk_load(to + R::W, w, barrier, t * DEEP, j.n0);
                bulk_load(to + R::A, a, barrier, t * DEEP, 0);
            } else {
                mbarrier_expect(barrier, R::BN * LINE_BYTES);
                bulk_load(to + R::W, b, barrier, 0, j.n0);
            }
            next.step();
            again = again || next.slot == 0;
        }
    }
}

/** The products, by two warpgroups: two blocks of 64 rows each. */
template <class T> DEV void multiply_low_rank(T* shared, u64* full, u64* empty, T* c, const T* bias, const Product& p, float scale) {
    typedef LowRankRing R;
    const int N = R::BN + R::RANK, OF_T = R::BN / 2;   // where t begins among a thread's results
    int group = shfl((int)threadIdx.x >> 7, 0) - 1, warp = shfl((int)threadIdx.x >> 5, 0) - 4;
    T* staged = shared + R::STAGED + warp * 16 * LINE;
    Place<R::STAGES> now;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < R::Tile::count(p); id += gridDim.x) {
        const R::Tile j(p, id);
        float d[2][N / 2];
        auto multiply = [&](int accumulate) {
            mbarrier_wait(full + now.slot, now.round);
            const T* tile = shared + now.slot * R::STAGE;
            multiply_tile<T, 2, N, true, true>(d, tile + group * 128 * DEEP, tile + R::W, accumulate);
        };
        auto release = [&](int slot) {
            if (lane() == 0) mbarrier_arrive(empty + slot);
        };
        multiply(0);
        int before = now.slot;   // of the tile before
        now.step();
#pragma unroll 1
        for (int t = 1; t < j.first; t++) {
            multiply(1);
            wgmma_wait<1>();
            release(before);
            before = now.slot;
            now.step();
        }
        wgmma_wait<0>(d);
        release(before);

        unsigned f[2][4];
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int e = 0; e < 4; e++) f[i][e] = pack2<T>(d[i][OF_T + 2 * e] * scale, d[i][OF_T + 2 * e + 1] * scale);
        }
        mbarrier_wait(full + now.slot, now.round);
        u64 right = Operand<true>::of(shared + now.slot * R::STAGE + R::W, BLOCK_BYTES);
        wgmma_fence(d, f);
#pragma unroll
        for (int i = 0; i < 2; i++) Wgmma<T, R::BN>::template registers<false>(*reinterpret_cast<float(*)[R::BN / 2]>(&d[i]), f[i], right, 1);
        wgmma_commit();
        wgmma_wait<0>(d);
        release(now.slot);
        now.step();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int row = j.m0 + (group * 2 + i) * 64 + (warp & 3) * 16;
            store_lines<T, R::BN>(*reinterpret_cast<const float(*)[R::BN / 2]>(&d[i]), staged, row, j.n0, c, bias, p, 1.f);
        }
    }
}

template <class T>
DEV void low_rank_hopper(T* shared, const TensorMap& x, const TensorMap& w, const TensorMap& a, const TensorMap& b, T* c, const T* bias, const Product& p,
                         float scale) {
    typedef LowRankRing R;
    u64* full = (u64*)(shared + R::BARRIERS);
    u64* empty = full + R::STAGES;
    if (threadIdx.x < R::STAGES) {
        mbarrier_init(full + threadIdx.x, 1);
        mbarrier_init(empty + threadIdx.x, 8);
        fence_proxy_async();   // the copying unit sees the barriers
    }
    __syncthreads();
    if (shfl((int)threadIdx.x >> 7, 0) == 0) {
        registers_give<40>();
        if (threadIdx.x == 0) fill_low_rank<T>(shared, full, empty, x, w, a, b, p);
    } else {
        registers_take<232>();
        multiply_low_rank<T>(shared, full, empty, c, bias, p, scale);
    }
}

// Maps of x [m, k], W [n, k], A [r, k], B [n, r] in boxes of 64 by 256, 160, 16 and 160; c [m, n] and bias [n] or null, with rows at multiples of 16 bytes and
// n a multiple of 8; k > 0. 384 threads; blocks: at most the tiles of C.
#define LOW_RANK_HOPPER(T, type)                                                                                                          \
    KERNEL_BOUNDS(low_rank_hopper_##type, 384, 1)                                                                                         \
    (const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, const __grid_constant__ TensorMap a,                       \
     const __grid_constant__ TensorMap b, T* c, const T* bias, Product p, float scale) {                                                  \
        DYN_SHARED(T, shared);                                                                                                            \
        low_rank_hopper<T>(shared, x, w, a, b, c, bias, p, scale);                                                                        \
    }                                                                                                                                     \
    EMU_EXPORT(low_rank_hopper_##type)

#endif
