// SPDX-License-Identifier: Apache-2.0
// A linear layer with a low-rank change in one pass on Hopper: C [m, n] = x Wᵀ + t Bᵀ + bias, t = scale x Aᵀ rounded to T, for ranks up to 16; also the
// gradient of its input, where W and A lie the other way.
//
// A block computes tiles of 256 x 160 of C as gemm_hopper_bulk.cuh does. A buffer of its ring has 64 columns of x, of W, and of all rows of A: the warpgroups
// multiply x with both. When the sums are complete t is rounded in registers and is the left operand of one more product, with the tile of B that comes
// through the ring after the last one of W. So x is read once, and t never leaves the block; each block computes it for its own rows, a tenth of its work.
// All operands come by tensor maps; beyond k, and beyond the rank, there are zeros.
#ifndef SFUMATO_LOW_RANK_HOPPER_CUH
#define SFUMATO_LOW_RANK_HOPPER_CUH
#include "gemm_hopper_bulk.cuh"

/** The sizes of the ring, in values of T. BY_K: lines of W and A go along the axis of the sum; else those of W, A and B go along n and the rank. */
template <bool BY_K> struct LowRankRing {
    static const int BM = 256, BN = 160, RANK = 16, STAGES = 3;
    static const int W_LINES = BY_K ? BN : 192, A_LINES = BY_K ? RANK : 64;
    static const int W = BM * DEEP, A = W + W_LINES * DEEP, STAGE = A + A_LINES * DEEP;   // where they begin in a buffer, and its size
    static const int STAGED = STAGES * STAGE, BARRIERS = STAGED + 8 * STAGED_BYTES / 2;
    typedef Job<BM, BN, DEEP> Tile;
};

/** The copies, by one thread. */
template <class T, bool BY_K>
DEV void fill_low_rank(T* shared, u64* full, u64* empty, const TensorMap& x, const TensorMap& w, const TensorMap& a, const TensorMap& b, const Product& p) {
    typedef LowRankRing<BY_K> R;
    typedef typename R::Tile Tile;
    Place<R::STAGES> next;
    bool again = false;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < Tile::count(p); id += gridDim.x) {
        const Tile j(p, id);
#pragma unroll 1
        for (int t = 0; t <= j.first; t++) {
            if (again) mbarrier_wait(empty + next.slot, next.round ^ 1);
            T* to = shared + next.slot * R::STAGE;
            u64* barrier = full + next.slot;
            if (t < j.first) {
                mbarrier_expect(barrier, R::STAGE * (int)sizeof(T));
                load_boxes<T, R::BM, true>(to, x, barrier, j.m0, t * DEEP);
                load_boxes<T, R::BN, BY_K>(to + R::W, w, barrier, j.n0, t * DEEP);
                load_boxes<T, R::RANK, BY_K>(to + R::A, a, barrier, 0, t * DEEP);
            } else {
                mbarrier_expect(barrier, R::W_LINES * LINE_BYTES);
                load_boxes<T, R::BN, BY_K>(to + R::W, b, barrier, j.n0, 0);
            }
            next.step();
            again = again || next.slot == 0;
        }
    }
}

/** The products, by two warpgroups: two blocks of 64 rows each. */
template <class T, bool BY_K> DEV void multiply_low_rank(T* shared, u64* full, u64* empty, T* c, const T* bias, const Product& p, float scale) {
    typedef LowRankRing<BY_K> R;
    typedef typename R::Tile Tile;
    int group = shfl((int)threadIdx.x >> 7, 0) - 1, warp = shfl((int)threadIdx.x >> 5, 0) - 4;
    T* staged = shared + R::STAGED + warp * 16 * LINE;
    Place<R::STAGES> now;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < Tile::count(p); id += gridDim.x) {
        const Tile j(p, id);
        float y[2][R::BN / 2], thin[2][R::RANK / 2];
        auto multiply = [&](int accumulate) {
            mbarrier_wait(full + now.slot, now.round);
            const T* tile = shared + now.slot * R::STAGE;
            wgmma_fence();
#pragma unroll
            for (int k = 0; k < DEEP; k += 16) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const T* rows = tile + (group * 2 + i) * 64 * DEEP;
                    multiply16<T, R::BN, true, BY_K>(y[i], rows, tile + R::W, k, k == 0 ? accumulate : 1);
                    multiply16<T, R::RANK, true, BY_K>(thin[i], rows, tile + R::A, k, k == 0 ? accumulate : 1);
                }
            }
            wgmma_commit();
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
        wgmma_wait<0>(y, thin);
        release(before);

        unsigned f[2][4];   // t
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int e = 0; e < 4; e++) f[i][e] = pack2<T>(thin[i][2 * e] * scale, thin[i][2 * e + 1] * scale);
        }
        mbarrier_wait(full + now.slot, now.round);
        u64 right = Operand<BY_K>::of(shared + now.slot * R::STAGE + R::W, BLOCK_BYTES);
        wgmma_fence(y, f);
#pragma unroll
        for (int i = 0; i < 2; i++) Wgmma<T, R::BN>::template registers<!BY_K>(y[i], f[i], right, 1);
        wgmma_commit();
        wgmma_wait<0>(y);
        release(now.slot);
        now.step();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int row = j.m0 + (group * 2 + i) * 64 + (warp & 3) * 16;
            store_lines<T, R::BN>(y[i], staged, row, j.n0, c, bias, p, 1.f);
        }
    }
}

template <class T, bool BY_K>
DEV void low_rank_hopper(T* shared, const TensorMap& x, const TensorMap& w, const TensorMap& a, const TensorMap& b, T* c, const T* bias, const Product& p,
                         float scale) {
    typedef LowRankRing<BY_K> R;
    u64* full = (u64*)(shared + R::BARRIERS);
    u64* empty = full + R::STAGES;
    if (threadIdx.x < R::STAGES) {
        mbarrier_init(full + threadIdx.x, 1);
        mbarrier_init(empty + threadIdx.x, 8);
        fence_proxy_async();   // the copying unit sees the barriers
    }
    __syncthreads();
    if (shfl((int)threadIdx.x >> 7, 0) == 0) {
        registers_give<24>();   // of 168 that a thread has at first
        if (threadIdx.x == 0) fill_low_rank<T, BY_K>(shared, full, empty, x, w, a, b, p);
    } else {
        registers_take<240>();
        multiply_low_rank<T, BY_K>(shared, full, empty, c, bias, p, scale);
    }
}

// C [m, n] and bias [n] or null, with rows at multiples of 16 bytes, n a multiple of 8, k > 0. Maps of boxes of 64 values by so many lines:
//   k   x [m, k] 256, W [n, k] 160, A [r, k] 16, B [n, r] 160
//   r   x [m, k] 256, W [k, n] 64, A [k, r] 64, B [r, n] 64
// 384 threads; blocks: at most the tiles of C.
#define LOW_RANK_HOPPER_ONE(T, type, suffix, BY_K)                                                                                        \
    KERNEL_BOUNDS(low_rank_hopper_##suffix##_##type, 384, 1)                                                                              \
    (const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, const __grid_constant__ TensorMap a,                       \
     const __grid_constant__ TensorMap b, T* c, const T* bias, Product p, float scale) {                                                  \
        DYN_SHARED(T, shared);                                                                                                            \
        low_rank_hopper<T, BY_K>(shared, x, w, a, b, c, bias, p, scale);                                                                  \
    }                                                                                                                                     \
    EMU_EXPORT(low_rank_hopper_##suffix##_##type)
#define LOW_RANK_HOPPER(T, type)             \
    LOW_RANK_HOPPER_ONE(T, type, k, true)    \
    LOW_RANK_HOPPER_ONE(T, type, r, false)

#endif
