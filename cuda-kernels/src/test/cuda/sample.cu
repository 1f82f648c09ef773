// SPDX-License-Identifier: Apache-2.0
//
// One small kernel for each group of primitives of dev.h: the emulator is tested with them, and on a GPU they confirm what the emulator assumes.
#include "dev.h"

/** out[4 i ..] = shuffles of x[i] by xor, down, up, index, for one warp in each block. */
template <class T> DEV void shuffles(const T* x, T* out) {
    int i = blockIdx.x * 32 + lane();
    T v = x[i];
    Vec<T, 4> r;
    r[0] = shfl_xor(v, 5);
    r[1] = shfl_down(v, 3);
    r[2] = shfl_up(v, 7);
    r[3] = shfl(v, 13);
    for (int k = 0; k < 4; k++) out[4 * i + k] = r[k];
}
KERNEL(sample_shuffle_f32)(const float* x, float* out) { shuffles(x, out); }
KERNEL(sample_shuffle_f64)(const double* x, double* out) { shuffles(x, out); }
KERNEL(sample_shuffle_i64)(const i64* x, i64* out) { shuffles(x, out); }

/** out[b] = sum, out[gridDim + b] = maximum of x[b][0..n) by block b. */
KERNEL(sample_reduce)(const float* x, float* out, int n) {
    float s = 0, m = -INFINITY;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        float v = x[(i64)blockIdx.x * n + i];
        s += v;
        m = max_nan(m, v);
    }
    s = block_sum(s);
    m = block_max(m);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = s;
        out[gridDim.x + blockIdx.x] = m;
    }
}

/** Conversions there and back: from_float<T>(x), then as float. */
template <class T> DEV void convert(const float* x, float* out, u16* raw, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    T v = from_float<T>(x[i]);
    out[i] = to_float(v);
    raw[i] = v.bits;
    unsigned p = pack2<T>(x[i], -x[i]);
    if ((p & 0xffffu) != v.bits || (v.bits ^ p >> 16) != 0x8000u) raw[i] = (x[i] != x[i]) ? raw[i] : 0xdead;
}
KERNEL(sample_convert_bf16)(const float* x, float* out, u16* raw, int n) { convert<bf16>(x, out, raw, n); }
KERNEL(sample_convert_f16)(const float* x, float* out, u16* raw, int n) { convert<f16>(x, out, raw, n); }

/** out[8 i ..] = functions of x[i]. */
KERNEL(sample_math)(const float* x, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    float* o = out + 8 * i;
    o[0] = exp2_fast(v);
    o[1] = rcp_fast(v);
    o[2] = rsqrt_fast(fabsf(v));
    o[3] = tanhf(v);
    o[4] = erff(v);
    o[5] = fma_rn(v, v, -mul_rn(v, v));
    o[6] = sigmoid_fast(v);
    o[7] = __uint_as_float(float_to_tf32(v));
}

/** Upper and lower halves of a[i] * b[i]. */
KERNEL(sample_product)(const u64* a, const u64* b, u64* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[2 * i] = mul_hi(a[i], b[i]);
    out[2 * i + 1] = a[i] * b[i];
}

/** Adds one from every thread to counters of each type; out of ints also the maximum index. */
KERNEL(sample_atomics)(float* f, double* d, int* n, u64* l, int* largest) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(f, 1.f);
    atomicAdd(d, 1.0);
    atomicAdd(n, 1);
    atomicAdd(l, (u64)1);
    atomicMax(largest, i);
    __threadfence();
}

/** out[t] = in[t ^ 32] by halves of a block that meet at named barriers, then over the whole block; count of odd values in out[blockDim]. */
KERNEL(sample_barriers)(const int* in, int* out) {
    __shared__ int s[256];
    int t = threadIdx.x, half = t >> 7;
    s[t] = in[t];
    bar_sync(1 + half, 128);
    int v = s[t ^ 32];
    int odd = __syncthreads_count(v & 1);
    s[t] = v;
    __syncthreads();
    out[t] = s[255 - t];
    if (t == 0) out[256] = odd;
    if (__syncthreads_or(v < 0)) out[t] = -1;
}

/** y[i] = x[i] through shared memory by asynchronous copies of 16, 8, 4 bytes; what lies at n or after is zero. 128 threads, 512 floats a block. */
template <int BYTES> DEV void copy(const float* x, float* y, int n) {
    __shared__ __align__(16) float s[512];
    const int W = BYTES / 4;
    int base = blockIdx.x * 512;
    bool whole = base + 512 <= n; // of the block: see ptx.h for what a test of `bytes` itself is compiled to
    for (int i = threadIdx.x * W; i < 512; i += 128 * W) {
        int left = (n - base - i) * 4, bytes = left < 0 ? 0 : left < BYTES ? left : BYTES;
        const float* from = bytes > 0 ? x + base + i : x;
        if constexpr (BYTES == 16)
            whole ? cp_async16(s + i, from) : cp_async16_zfill(s + i, from, bytes);
        else if constexpr (BYTES == 8)
            whole ? cp_async8(s + i, from) : cp_async8_zfill(s + i, from, bytes);
        else
            whole ? cp_async4(s + i, from) : cp_async4_zfill(s + i, from, bytes);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int i = threadIdx.x; i < 512; i += 128) y[base + i] = s[511 - i];
}
KERNEL(sample_copy_16)(const float* x, float* y, int n) { copy<16>(x, y, n); }
KERNEL(sample_copy_8)(const float* x, float* y, int n) { copy<8>(x, y, n); }
KERNEL(sample_copy_4)(const float* x, float* y, int n) { copy<4>(x, y, n); }

/** y[i] = 2 x[i], vectors of 8 with streaming loads and stores. */
template <class T> DEV void twice(const T* x, T* y, int n8) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n8) return;
    Vec<float, 8> v = to_float(load_stream<8>(x + 8 * i));
    for (int k = 0; k < 8; k++) v[k] *= 2;
    store_stream(y + 8 * i, from_float<T>(v));
}
KERNEL(sample_twice_bf16)(const bf16* x, bf16* y, int n8) { twice(x, y, n8); }
KERNEL(sample_twice_f16)(const f16* x, f16* y, int n8) { twice(x, y, n8); }

/** One warp: C[16][8] = A[16][16] B, all row major; B[16][8] through ldmatrix.trans, or its transpose BT[8][16] through plain ldmatrix. k16 and twice k8. */
template <class T, bool K8, bool TRANSPOSED> DEV void product(const T* a, const T* b, float* c) {
    __shared__ __align__(16) T sa[16][24];
    __shared__ __align__(16) T sb[16][24];
    int l = lane(), g = l >> 2, t = l & 3;
    for (int i = l; i < 256; i += 32) sa[i / 16][i % 16] = a[i];
    for (int i = l; i < 128; i += 32)
        if (TRANSPOSED)
            sb[i / 16][i % 16] = b[i];
        else
            sb[i / 8][i % 8] = b[i];
    __syncwarp();
    unsigned fa[4], fb[2];
    ldmatrix_x4(fa, &sa[l & 15][(l >> 4) * 8]);
    if (TRANSPOSED) {
        ldmatrix_x1(fb[0], &sb[l & 7][0]);
        ldmatrix_x2(fb, &sb[l & 7][(l >> 3 & 1) * 8]);
    } else {
        ldmatrix_x1_trans(fb[1], &sb[8 + (l & 7)][0]);
        unsigned f[2];
        ldmatrix_x2_trans(f, &sb[l & 15][0]);
        fb[0] = f[0];
        if (fb[1] != f[1]) fb[1] = 0x7fff7fffu;
    }
    float r[4] = {0, 0, 0, 0};
    if (K8) {
        unsigned lo[2] = {fa[0], fa[1]}, hi[2] = {fa[2], fa[3]};
        Mma<T>::k8(r, lo, fb[0]);
        Mma<T>::k8(r, hi, fb[1]);
    } else {
        Mma<T>::k16(r, fa, fb);
    }
    for (int i = 0; i < 4; i++) c[(g + (i >> 1) * 8) * 8 + 2 * t + (i & 1)] = r[i];
}
KERNEL(sample_mma_bf16)(const bf16* a, const bf16* b, float* c) { product<bf16, false, false>(a, b, c); }
KERNEL(sample_mma_bf16_bt)(const bf16* a, const bf16* b, float* c) { product<bf16, false, true>(a, b, c); }
KERNEL(sample_mma_f16)(const f16* a, const f16* b, float* c) { product<f16, false, false>(a, b, c); }
KERNEL(sample_mma_bf16_k8)(const bf16* a, const bf16* b, float* c) { product<bf16, true, false>(a, b, c); }
KERNEL(sample_mma_f16_k8)(const f16* a, const f16* b, float* c) { product<f16, true, true>(a, b, c); }

/** One warp: C[16][8] = A[16][8] B[8][8] in tf32. */
KERNEL(sample_mma_tf32)(const float* a, const float* b, float* c) {
    int l = lane(), g = l >> 2, t = l & 3;
    unsigned fa[4], fb[2];
    for (int i = 0; i < 4; i++) fa[i] = float_to_tf32(a[(g + (i & 1) * 8) * 8 + t + (i >> 1) * 4]);
    for (int i = 0; i < 2; i++) fb[i] = float_to_tf32(b[(t + i * 4) * 8 + g]);
    float r[4] = {0, 0, 0, 0};
    mma_tf32_1688(r, fa, fb);
    for (int i = 0; i < 4; i++) c[(g + (i >> 1) * 8) * 8 + 2 * t + (i & 1)] = r[i];
}

/** One warp and one instruction: C[16][8] += A[16][16] B[16][8], all row major. */
template <class T> DEV void accumulate(const T* a, const T* b, float* c) {
    int g = lane() >> 2, t = lane() & 3;
    unsigned fa[4], fb[2];
    for (int i = 0; i < 4; i++) {
        const T* p = a + (g + (i & 1) * 8) * 16 + 2 * t + (i >> 1) * 8;
        fa[i] = p[0].bits | (unsigned)p[1].bits << 16;
    }
    for (int i = 0; i < 2; i++) {
        const T* p = b + (2 * t + i * 8) * 8 + g;
        fb[i] = p[0].bits | (unsigned)p[8].bits << 16;
    }
    float* to = c + g * 8 + 2 * t;
    float r[4] = {to[0], to[1], to[64], to[65]};
    Mma<T>::k16(r, fa, fb);
    for (int i = 0; i < 4; i++) to[(i >> 1) * 64 + (i & 1)] = r[i];
}
KERNEL(sample_accumulate_bf16)(const bf16* a, const bf16* b, float* c) { accumulate(a, b, c); }
KERNEL(sample_accumulate_f16)(const f16* a, const f16* b, float* c) { accumulate(a, b, c); }

/** The same over 8 columns and rows in tf32. */
KERNEL(sample_accumulate_tf32)(const float* a, const float* b, float* c) {
    int g = lane() >> 2, t = lane() & 3;
    unsigned fa[4], fb[2];
    for (int i = 0; i < 4; i++) fa[i] = __float_as_uint(a[(g + (i & 1) * 8) * 8 + t + (i >> 1) * 4]);
    for (int i = 0; i < 2; i++) fb[i] = __float_as_uint(b[(t + i * 4) * 8 + g]);
    float* to = c + g * 8 + 2 * t;
    float r[4] = {to[0], to[1], to[64], to[65]};
    mma_tf32_1688(r, fa, fb);
    for (int i = 0; i < 4; i++) to[(i >> 1) * 64 + (i & 1)] = r[i];
}

/** y[i] = x[n - 1 - i] through dynamic shared memory of n floats; bad = 1 leaves out the barrier, 2 diverges at it, 3 writes past the end, 4 traps. */
KERNEL_BOUNDS(sample_dynamic, 1024, 1)(const float* x, float* y, int n, int bad) {
    DYN_SHARED(float, s);
    int t = threadIdx.x;
    if (t < n) s[t] = x[t];
    if (bad == 2 && t < n / 2) return;
    if (bad == 2) bar_sync(1, (n + 31) / 32 * 32);
    if (bad != 1) __syncthreads();
    if (bad == 3 && t == 0) s[n] = 1;
    if (bad == 4) trap();
    if (t < n) y[t] = s[n - 1 - t];
}

EMU_EXPORT(sample_shuffle_f32) EMU_EXPORT(sample_shuffle_f64) EMU_EXPORT(sample_shuffle_i64) EMU_EXPORT(sample_reduce)
EMU_EXPORT(sample_convert_bf16) EMU_EXPORT(sample_convert_f16) EMU_EXPORT(sample_math) EMU_EXPORT(sample_product) EMU_EXPORT(sample_atomics)
EMU_EXPORT(sample_barriers) EMU_EXPORT(sample_copy_16) EMU_EXPORT(sample_copy_8) EMU_EXPORT(sample_copy_4) EMU_EXPORT(sample_twice_bf16)
EMU_EXPORT(sample_twice_f16) EMU_EXPORT(sample_mma_bf16) EMU_EXPORT(sample_mma_bf16_bt) EMU_EXPORT(sample_mma_f16) EMU_EXPORT(sample_mma_bf16_k8)
EMU_EXPORT(sample_mma_f16_k8) EMU_EXPORT(sample_mma_tf32) EMU_EXPORT(sample_accumulate_bf16) EMU_EXPORT(sample_accumulate_f16) EMU_EXPORT(sample_accumulate_tf32)
EMU_EXPORT(sample_dynamic)
