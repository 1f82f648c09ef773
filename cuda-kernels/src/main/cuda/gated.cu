// SPDX-License-Identifier: Apache-2.0
//
// The gated residual sum y = x + gate h and its gradients. Forward: any memory orders, see walk.cuh. Backward: row-major h, dy, dh [B, N, D]; gate [B, D]
// with rows `gate_step` apart; dgate [B, D]. A block of 256 threads has all tokens of one sample for four vectors of columns, so that the sum over tokens
// is complete in it: each thread adds every 64th token, then lanes and warps are added in a fixed order.
#include "walk.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

template <class C, class T> DEV void gated_residual(const T* x, const T* h, const T* gate, T* y, const Walk<4>& w) {
    const int V = WalkVector<T>::N;
    C v[3][WALK_PER_THREAD];
    walk_load<V>(w, v, x, h, gate);
#pragma unroll
    for (int j = 0; j < WALK_PER_THREAD; j++) v[0][j] += v[1][j] * v[2][j];
    walk_store<V>(w, v[0], y);
}

const int GATED_LANES = 4;                  // vectors of a block's columns
const int GATED_ROWS = 256 / GATED_LANES;   // tokens it takes at once

template <class C, int V, class T>
DEV void gated_backward(const T* h, const T* gate, const T* dy, T* dh, T* dgate, int tokens, int d, i64 gate_step) {
    __shared__ C part[8][GATED_LANES * V];
    int tiles = (d + GATED_LANES * V - 1) / (GATED_LANES * V);
    i64 sample = blockIdx.x / tiles;
    int column = ((int)(blockIdx.x % tiles) * GATED_LANES + (int)threadIdx.x % GATED_LANES) * V;
    C sum[V], scale[V];
#pragma unroll
    for (int j = 0; j < V; j++) sum[j] = 0;
    if (column < d) {
        Vec<T, V> g = load_vec<V>(gate + sample * gate_step + column);
#pragma unroll
        for (int j = 0; j < V; j++) scale[j] = Convert<C, T>::widen(g[j]);
        i64 at = sample * tokens * d + column;
#pragma unroll 4
        for (int t = (int)threadIdx.x / GATED_LANES; t < tokens; t += GATED_ROWS) {
            i64 i = at + (i64)t * d;
            Vec<T, V> a = load_vec<V>(dy + i), b = load_vec<V>(h + i), r;
#pragma unroll
            for (int j = 0; j < V; j++) {
                C s = Convert<C, T>::widen(a[j]);
                sum[j] += s * Convert<C, T>::widen(b[j]);
                r[j] = Convert<C, T>::narrow(s * scale[j]);
            }
            store_vec(dh + i, r);
        }
    }
#pragma unroll
    for (int j = 0; j < V; j++) {
        sum[j] += shfl_xor(sum[j], 4);
        sum[j] += shfl_xor(sum[j], 8);
        sum[j] += shfl_xor(sum[j], 16);
        if (lane() < GATED_LANES) part[warp_index()][lane() * V + j] = sum[j];
    }
    __syncthreads();
    int k = (int)threadIdx.x;
    int own = (int)(blockIdx.x % tiles) * GATED_LANES * V + k;
    if (k < GATED_LANES * V && own < d) {
        C all = 0;
#pragma unroll
        for (int w = 0; w < 8; w++) all += part[w][k];
        dgate[sample * d + own] = Convert<C, T>::narrow(all);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define GATED(T, name, C, V)                                                                                                              \
    KERNEL(gated_residual_##name)(const T* __restrict__ x, const T* __restrict__ h, const T* __restrict__ gate, T* __restrict__ y,        \
                                  const __grid_constant__ Walk<4> w) {                                                                    \
        gated_residual<C>(x, h, gate, y, w);                                                                                              \
    }                                                                                                                                     \
    KERNEL_BOUNDS(gated_backward_##name, 256, 4)(const T* __restrict__ h, const T* __restrict__ gate, const T* __restrict__ dy,           \
                                                 T* __restrict__ dh, T* __restrict__ dgate, int tokens, int d, i64 gate_step) {           \
        gated_backward<C, V>(h, gate, dy, dh, dgate, tokens, d, gate_step);                                                               \
    }                                                                                                                                     \
    KERNEL_BOUNDS(gated_backward_narrow_##name, 256, 4)(const T* __restrict__ h, const T* __restrict__ gate, const T* __restrict__ dy,    \
                                                        T* __restrict__ dh, T* __restrict__ dgate, int tokens, int d, i64 gate_step) {    \
        gated_backward<C, 1>(h, gate, dy, dh, dgate, tokens, d, gate_step);                                                               \
    }                                                                                                                                     \
    EMU_EXPORT(gated_residual_##name)                                                                                                     \
    EMU_EXPORT(gated_backward_##name)                                                                                                     \
    EMU_EXPORT(gated_backward_narrow_##name)

GATED(float, f32, float, 4)
GATED(bf16, bf16, float, 8)
GATED(f16, f16, float, 8)
GATED(double, f64, double, 2)
