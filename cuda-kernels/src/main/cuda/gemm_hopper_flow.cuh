// SPDX-License-Identifier: Apache-2.0
// The products of gemm_hopper.cuh with a division of labour: of a block's three warpgroups one copies tiles into the ring and two multiply, and the block
// goes on to its next tile of C while results of the last one are still stored. Barriers in shared memory hand buffers on: `full` when the tile is there,
// `empty` when both warpgroups have done with it.
//   A buffer is full when all 128 threads have waited for their part of it and fenced the proxies, which they do LAG tiles after they started it.
//   It is empty when each warp that multiplies has waited for its wgmmas, which it does one tile later. So LAG is STAGES - 2 at most.
#ifndef SFUMATO_GEMM_HOPPER_FLOW_CUH
#define SFUMATO_GEMM_HOPPER_FLOW_CUH
#include "gemm_hopper.cuh"

/** A place in the ring. */
template <int STAGES> struct Place {
    int slot = 0, round = 0;   // round: parity of the phase of `full` that the slot's next tile ends
    DEVM void step() {
        if (++slot == STAGES) slot = 0, round ^= 1;
    }
};

/** The tile of C, and the part of its sum, that a block computes next. */
template <int BN> using FlowJob = Job<128, BN, DEEP>;

/** The copies, by threads 0 to 127. */
template <class T, int BN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void fill_ring(T* shared, u64* full, u64* empty, const T* a, const T* b, const T* a2, const T* b2, const Product& p) {
    const int STAGE = (128 + BN) * DEEP, LAG = STAGES - 2;
    Place<STAGES> next, ready;
    int started = 0;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < FlowJob<BN>::count(p); id += gridDim.x) {
        const FlowJob<BN> j(p, id);
        const T *left = j.a_of(a, p), *right = j.b_of(b, p);
#pragma unroll 1
        for (int t = j.begin; t < j.end; t++) {
            if (started >= STAGES) mbarrier_wait(empty + next.slot, next.round ^ 1);
            T* to = shared + next.slot * STAGE;
            bool more = t >= j.first;
            int k0 = (more ? t - j.first : t) * DEEP, k = (int)(more ? p.k2 : p.k);
            load_lines<T, 128, A_BY_K, 128>(to, more ? a2 : left, more ? p.a2Outer : p.aOuter, j.m0, k0, (int)p.m, k);
            load_lines<T, BN, B_BY_K, 128>(to + 128 * DEEP, more ? b2 : right, more ? p.b2Outer : p.bOuter, j.n0, k0, (int)p.n, k);
            cp_async_commit();
            next.step();
            if (++started > LAG) {
                cp_async_wait<LAG>();
                fence_proxy_async();
                mbarrier_arrive(full + ready.slot);
                ready.step();
            }
        }
    }
    cp_async_wait<0>();
    fence_proxy_async();
    for (int i = 0; i < (started < LAG ? started : LAG); i++) {
        mbarrier_arrive(full + ready.slot);
        ready.step();
    }
}

/** The products, by two warpgroups. */
template <class T, int BN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void empty_ring(const T* shared, u64* full, u64* empty, T* c, float* partial, const T* bias, const Product& p, float alpha, float beta) {
    const int STAGE = (128 + BN) * DEEP;
    int group = shfl((int)threadIdx.x >> 7, 0) - 1;
    Place<STAGES> now;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < FlowJob<BN>::count(p); id += gridDim.x) {
        const FlowJob<BN> j(p, id);
        float acc[1][BN / 8][4];
        float(&d)[BN / 2] = *reinterpret_cast<float(*)[BN / 2]>(&acc);
        const T* tile;
        auto arrived = [&] {
            mbarrier_wait(full + now.slot, now.round);
            tile = shared + now.slot * STAGE;
        };
        auto release = [&](int slot) {
            if (lane() == 0) mbarrier_arrive(empty + slot);
        };
        int products = j.end > j.first ? (int)p.k2 - (j.end - 1 - j.first) * DEEP : (int)p.k - (j.end - 1) * DEEP;   // of the last tile
        int whole = whole_tiles(j.begin, j.end, products);
        if (j.begin < whole) {
            arrived();
            multiply_tile<T, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + 128 * DEEP, 0);
            int before = now.slot;   // of the tile before
            now.step();
#pragma unroll 1
            for (int t = j.begin + 1; t < whole; t++) {
                arrived();
                multiply_tile<T, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + 128 * DEEP, 1);
                wgmma_wait<1>();
                release(before);
                before = now.slot;
                now.step();
            }
            wgmma_wait<0>(d);
            release(before);
        } else {
#pragma unroll
            for (int i = 0; i < BN / 2; i++) d[i] = 0.f;
        }
        if (whole < j.end) {
            arrived();
            multiply_tail<T, BN, A_BY_K, B_BY_K>(d, tile + group * 64 * DEEP, tile + 128 * DEEP, products);
            release(now.slot);
            now.step();
        }
        int row = j.m0 + group * 64 + ((int)threadIdx.x >> 5 & 3) * 16;
        store_warp<T, BN>(acc, row, j.n0, c, partial, bias, p, j.batch, j.split, alpha, beta);
    }
}

/**
 * Tiles of C by 384 threads. Grid: x at most batches * tiles of C, y splits of k; dynamic shared memory: STAGES * (128 + BN) * DEEP elements and 16 * STAGES
 * bytes.
 */
template <class T, int BN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void gemm_hopper_flow(T* shared, const T* a, const T* b, T* c, const T* bias, const T* a2, const T* b2, float* partial, const Product& p, float alpha,
                          float beta) {
    u64* full = (u64*)(shared + STAGES * (128 + BN) * DEEP);
    u64* empty = full + STAGES;
    if (threadIdx.x < STAGES) {
        mbarrier_init(full + threadIdx.x, 128);
        mbarrier_init(empty + threadIdx.x, 8);
    }
    __syncthreads();
    if (shfl((int)threadIdx.x >> 7, 0) == 0) {
        registers_give<72>();   // of 168 that a thread has at first
        fill_ring<T, BN, A_BY_K, B_BY_K, STAGES>(shared, full, empty, a, b, a2, b2, p);
    } else {
        registers_take<216>();
        empty_ring<T, BN, A_BY_K, B_BY_K, STAGES>(shared, full, empty, c, partial, bias, p, alpha, beta);
    }
}

#define GEMM_FLOW_ONE(T, type, BN, suffix, AK, BK, STAGES)                                                       \
    KERNEL_BOUNDS(gemm_hopper_flow_##BN##_##suffix##_##type, 384, 1)(GEMM_PARAMETERS(T)) {                       \
        DYN_SHARED(T, shared);                                                                                   \
        gemm_hopper_flow<T, BN, AK, BK, STAGES>(shared, a, b, c, bias, a2, b2, partial, p, alpha, beta);         \
    }                                                                                                            \
    EMU_EXPORT(gemm_hopper_flow_##BN##_##suffix##_##type)
#define GEMM_FLOW_SHAPE(T, type, BN, STAGES)               \
    GEMM_FLOW_ONE(T, type, BN, kk, true, true, STAGES)     \
    GEMM_FLOW_ONE(T, type, BN, kr, true, false, STAGES)    \
    GEMM_FLOW_ONE(T, type, BN, rk, false, true, STAGES)    \
    GEMM_FLOW_ONE(T, type, BN, rr, false, false, STAGES)
#define GEMM_FLOW_FAMILY(T, type)            \
    GEMM_FLOW_SHAPE(T, type, 128, 6)         \
    GEMM_FLOW_SHAPE(T, type, 256, 4)

#endif
