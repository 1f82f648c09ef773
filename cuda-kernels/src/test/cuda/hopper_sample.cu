// SPDX-License-Identifier: Apache-2.0
//
// One small kernel for each primitive of hopper.h: the emulator is tested with them, and on a GPU they confirm what the emulator assumes.
// arch: 90a only
#include "hopper.h"

/**
 * One warpgroup: D[64][N] = A[64][K] B[K][N] of two tiles of 64 products, K = 128. A is [64][K] if it is by k, else [K][64]; B is [N][K] or [K][N].
 * BAD: 1 leaves out the fence of the proxies, 2 the fence of the registers, 3 the wait, 4 writes to an accumulator in flight, 5 waits for one group less.
 */
template <class T, int N, bool A_BY_K, bool B_BY_K, bool REGISTERS, int BAD> DEV void product(const T* a, const T* b, float* out) {
    DYN_SHARED(T, shared);
    const int K = 128, COLUMNS = (N + 63) / 64 * 64;
    T* tileA = shared;                   // [K / 64][64 lines]
    T* tileB = shared + 2 * 64 * LINE;   // [K / 64][COLUMNS lines]
    for (int i = threadIdx.x; i < 2 * 64 * 8; i += 128) {
        int part = i / 512, line = i / 8 % 64, chunk = i % 8;
        const T* from = A_BY_K ? a + line * K + part * 64 + chunk * 8 : a + (part * 64 + line) * 64 + chunk * 8;
        cp_async16(tileA + part * 64 * LINE + chunk_at(line, chunk), from);
    }
    for (int i = threadIdx.x; i < 2 * COLUMNS * 8; i += 128) {
        int part = i / (COLUMNS * 8), line = i / 8 % COLUMNS, chunk = i % 8;
        int column = B_BY_K ? line : line / 64 * 64 + chunk * 8;
        int k = part * 64 + (B_BY_K ? chunk * 8 : line % 64);
        int bytes = N - column < 0 ? 0 : B_BY_K ? (column < N ? 16 : 0) : N - column < 8 ? (N - column) * 2 : 16;
        const T* from = bytes == 0 ? b : B_BY_K ? b + column * K + k : b + k * N + column;
        cp_async16_zfill(tileB + part * COLUMNS * LINE + chunk_at(line, chunk), from, bytes);
    }
    cp_async_commit();
    cp_async_wait<0>();
    if (BAD != 1) fence_proxy_async();
    __syncthreads();
    float d[N / 2];
    unsigned fragments[8][4];
    for (int i = 0; i < N / 2; i++) d[i] = 0;
    int g = lane() >> 2, t = lane() & 3, row = warp_index() * 16 + g;
    if (REGISTERS) {
#pragma unroll
        for (int s = 0; s < 8; s++) {
#pragma unroll
            for (int i = 0; i < 4; i++) fragments[s][i] = *(const unsigned*)(a + (row + i % 2 * 8) * K + s * 16 + i / 2 * 8 + 2 * t);
        }
    }
    if (BAD != 2) wgmma_fence(d, fragments);
#pragma unroll
    for (int part = 0; part < 2; part++) {
        u64 da = Operand<A_BY_K>::of(tileA + part * 64 * LINE, 64 * LINE_BYTES);
        u64 db = Operand<B_BY_K>::of(tileB + part * COLUMNS * LINE, 64 * LINE_BYTES);
        if (REGISTERS) wgmma_fence();
#pragma unroll
        for (int s = 0; s < 4; s++) {
            u64 right = db + Operand<B_BY_K>::products(16 * s);
            int accumulate = part + s > 0;
            if constexpr (REGISTERS)
                Wgmma<T, N>::template registers<!B_BY_K>(d, fragments[4 * part + s], right, accumulate);
            else
                Wgmma<T, N>::template shared<!A_BY_K, !B_BY_K>(d, da + Operand<A_BY_K>::products(16 * s), right, accumulate);
        }
        wgmma_commit();
    }
    if (BAD == 4) d[0] = 1;
    if (BAD == 5)
        wgmma_wait<1>(d);
    else if (BAD != 3)
        wgmma_wait<0>(d);
    for (int i = 0; i < N / 2; i++) out[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + 2 * t + i % 2] = d[i];
}

#define PRODUCT(T, type, N, suffix, AK, BK, REGISTERS, BAD)                                                    \
    KERNEL_BOUNDS(hopper_sample_##type##_##N##_##suffix, 128, 1)(const T* a, const T* b, float* out) {         \
        product<T, N, AK, BK, REGISTERS, BAD>(a, b, out);                                                      \
    }                                                                                                          \
    EMU_EXPORT(hopper_sample_##type##_##N##_##suffix)
#define PRODUCTS(T, type, N)                          \
    PRODUCT(T, type, N, kk, true, true, false, 0)        \
    PRODUCT(T, type, N, kr, true, false, false, 0)       \
    PRODUCT(T, type, N, rk, false, true, false, 0)       \
    PRODUCT(T, type, N, rr, false, false, false, 0)      \
    PRODUCT(T, type, N, register_k, true, true, true, 0) \
    PRODUCT(T, type, N, register_r, true, false, true, 0)
PRODUCTS(bf16, bf16, 8)
PRODUCTS(bf16, bf16, 40)
PRODUCTS(bf16, bf16, 128)
PRODUCTS(bf16, bf16, 256)
PRODUCTS(f16, f16, 80)
#ifndef __CUDACC__   // what is undefined is tried on the emulator alone
PRODUCT(bf16, bf16, 40, bad_1, true, true, false, 1)
PRODUCT(bf16, bf16, 40, bad_2, true, true, false, 2)
PRODUCT(bf16, bf16, 40, bad_3, true, true, false, 3)
PRODUCT(bf16, bf16, 40, bad_4, true, true, false, 4)
PRODUCT(bf16, bf16, 40, bad_5, true, true, false, 5)
#endif

/** out[64][64] = a box of a matrix by its map, from (column, row) on; zeros outside. */
template <class T> DEV void box(const TensorMap& map, T* out, int column, int row) {
    DYN_SHARED(T, shared);
    u64* barrier = (u64*)(shared + 64 * LINE);
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        fence_proxy_async();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        mbarrier_expect(barrier, 64 * LINE_BYTES);
        bulk_load(shared, map, barrier, column, row);
    }
    mbarrier_wait(barrier, 0);
    for (int i = threadIdx.x; i < 64 * 64; i += 128) out[i] = shared[chunk_at(i / 64, i / 8 % 8) + i % 8];
}
KERNEL_BOUNDS(hopper_sample_box, 128, 1)(const __grid_constant__ TensorMap map, f16* out, int column, int row) { box(map, out, column, row); }
EMU_EXPORT(hopper_sample_box)

/**
 * y[i] = 2 x[i] in blocks of 128 values that are turned round, n a multiple of 128: 128 threads write to a ring of two buffers and 128 read from it, with
 * barriers in shared memory. bad: 1 does not wait for a free buffer.
 */
DEV void ring(const float* x, float* y, int n, int bad) {
    DYN_SHARED(char, shared);
    u64* full = (u64*)shared;   // [2]
    u64* empty = full + 2;      // [2]
    float* values = (float*)(empty + 2);
    int t = threadIdx.x & 127;
    if (threadIdx.x < 2) mbarrier_init(full + threadIdx.x, 128), mbarrier_init(empty + threadIdx.x, 128);
    __syncthreads();
    bool writes = threadIdx.x < 128;
    if (writes)
        registers_give<40>();
    else
        registers_take<232>();
    for (int i = 0; i < n / 128; i++) {
        int slot = i & 1, round = i >> 1 & 1;
        if (writes) {
            if (i >= 2 && bad != 1) mbarrier_wait(empty + slot, round ^ 1);
            values[slot * 128 + t] = x[i * 128 + t];
            mbarrier_arrive(full + slot);
        } else {
            mbarrier_wait(full + slot, round);
            y[i * 128 + t] = 2 * values[slot * 128 + 127 - t];
            mbarrier_arrive(empty + slot);
        }
    }
}
KERNEL_BOUNDS(hopper_sample_ring, 256, 1)(const float* x, float* y, int n, int bad) { ring(x, y, n, bad); }
EMU_EXPORT(hopper_sample_ring)
