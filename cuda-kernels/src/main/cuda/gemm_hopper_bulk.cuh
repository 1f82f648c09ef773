// SPDX-License-Identifier: Apache-2.0
// The products of gemm_hopper_flow.cuh with copies by tensor maps: one thread starts them, the unit finds addresses, fills with zeros what lies outside,
// swizzles, and tells the barrier how many bytes came. One product, no batches. A map's box is 64 values by 128 (A) or BN (B) rows for operands by k, 64 by
// 64 for operands by r.
#ifndef SFUMATO_GEMM_HOPPER_BULK_CUH
#define SFUMATO_GEMM_HOPPER_BULK_CUH
#include "gemm_hopper_flow.cuh"

/** Starts the copies of R rows from row0, DEEP products from k0. */
template <class T, int R, bool BY_K> DEV void load_boxes(T* tile, const TensorMap& map, u64* barrier, int row0, int k0) {
    if (BY_K) {
        bulk_load(tile, map, barrier, k0, row0);
    } else {
#pragma unroll
        for (int i = 0; i < R / 64; i++) bulk_load(tile + i * 64 * DEEP, map, barrier, row0 + i * 64, k0);
    }
}

/** The copies, by one thread. */
template <class T, int BN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void fill_ring(T* shared, u64* full, u64* empty, const TensorMap& a, const TensorMap& b, const TensorMap& a2, const TensorMap& b2, const Product& p) {
    const int STAGE = (128 + BN) * DEEP;
    Place<STAGES> next;
    bool again = false;
#pragma unroll 1
    for (u32 id = blockIdx.x; id < FlowJob<BN>::count(p); id += gridDim.x) {
        const FlowJob<BN> j(p, id);
#pragma unroll 1
        for (int t = j.begin; t < j.end; t++) {
            if (again) mbarrier_wait(empty + next.slot, next.round ^ 1);
            T* to = shared + next.slot * STAGE;
            u64* barrier = full + next.slot;
            bool more = t >= j.first;
            int k0 = (more ? t - j.first : t) * DEEP;
            mbarrier_expect(barrier, STAGE * (int)sizeof(T));
            load_boxes<T, 128, A_BY_K>(to, more ? a2 : a, barrier, j.m0, k0);
            load_boxes<T, BN, B_BY_K>(to + 128 * DEEP, more ? b2 : b, barrier, j.n0, k0);
            next.step();
            again = again || next.slot == 0;
        }
    }
}

/** Tiles of C by 384 threads; grid and shared memory as in gemm_hopper_flow.cuh. */
template <class T, int BN, bool A_BY_K, bool B_BY_K, int STAGES>
DEV void gemm_hopper_bulk(T* shared, const TensorMap& a, const TensorMap& b, T* c, const T* bias, const TensorMap& a2, const TensorMap& b2, float* partial,
                          const Product& p, float alpha, float beta) {
    u64* full = (u64*)(shared + STAGES * (128 + BN) * DEEP);
    u64* empty = full + STAGES;
    if (threadIdx.x < STAGES) {
        mbarrier_init(full + threadIdx.x, 1);
        mbarrier_init(empty + threadIdx.x, 8);
        fence_proxy_async();   // the copying unit sees the barriers
    }
    __syncthreads();
    if (shfl((int)threadIdx.x >> 7, 0) == 0) {
        registers_give<40>();   // of 168 that a thread has at first
        if (threadIdx.x == 0) fill_ring<T, BN, A_BY_K, B_BY_K, STAGES>(shared, full, empty, a, b, a2, b2, p);
    } else {
        registers_take<232>();
        empty_ring<T, BN, A_BY_K, B_BY_K, STAGES>(shared, full, empty, c, partial, bias, p, alpha, beta);
    }
}

#define GEMM_BULK_ONE(T, type, BN, suffix, AK, BK, STAGES)                                                                              \
    KERNEL_BOUNDS(gemm_hopper_bulk_##BN##_##suffix##_##type, 384, 1)                                                                    \
    (const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, T* c, const T* bias, const __grid_constant__ TensorMap a2, \
     const __grid_constant__ TensorMap b2, float* partial, Product p, float alpha, float beta) {                                        \
        DYN_SHARED(T, shared);                                                                                                          \
        gemm_hopper_bulk<T, BN, AK, BK, STAGES>(shared, a, b, c, bias, a2, b2, partial, p, alpha, beta);                                \
    }                                                                                                                                   \
    EMU_EXPORT(gemm_hopper_bulk_##BN##_##suffix##_##type)
#define GEMM_BULK_SHAPE(T, type, BN, STAGES)               \
    GEMM_BULK_ONE(T, type, BN, kk, true, true, STAGES)     \
    GEMM_BULK_ONE(T, type, BN, kr, true, false, STAGES)    \
    GEMM_BULK_ONE(T, type, BN, rk, false, true, STAGES)    \
    GEMM_BULK_ONE(T, type, BN, rr, false, false, STAGES)
#define GEMM_BULK_FAMILY(T, type)            \
    GEMM_BULK_SHAPE(T, type, 128, 6)         \
    GEMM_BULK_SHAPE(T, type, 256, 4)

#endif
