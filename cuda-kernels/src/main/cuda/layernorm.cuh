// SPDX-License-Identifier: Apache-2.0
//
// What the kernels that normalise rows share: threads of a row, factors of its columns, and sums of columns over the rows of a block. A row belongs to G
// lanes of a warp, or to a block (G = 0); a thread holds vectors t, t + threads, ... of it.
#ifndef SFUMATO_LAYERNORM_CUH
#define SFUMATO_LAYERNORM_CUH
#include "spread.cuh"

/** Sums over the threads of a row: G lanes, or the block if G = 0. */
template <int G, int N> DEV void row_sums(float (&x)[N]) {
    if constexpr (G == 0) {
        block_sum(x);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) x[i] = warp_sum<G>(x[i]);
    }
}

template <int G> DEV float row_sum(float x) {
    float v[1] = {x};
    row_sums<G>(v);
    return v[0];
}

/** Factors of V values from `gain` on. */
template <int V, class T> DEV void factors(const T* gain, float plus, float (&f)[V]) {
    if (gain) {
        spread(load_vec<V>(gain), f);
#pragma unroll
        for (int i = 0; i < V; i++) f[i] += plus;
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) f[i] = 1.f;
    }
}

/**
 * (x - m) r (plus + gain) + offset of V values, gain and offset from shared memory; `plus_r` = plus r. Without branches, and three operations per value
 * beside conversions: 16-bit rows keep the processors as busy as the memory.
 */
template <class T>
DEV Vec<T, Wide<T>::N> affine_of_row(const Vec<T, Wide<T>::N>& v, float m, float r, float plus_r, const T* gain, const T* offset) {
    constexpr int V = Wide<T>::N;
    float x[V], g[V], b[V];
    spread(v, x);
    spread(load_vec<V>(gain), g);
    spread(load_vec<V>(offset), b);
    Vec<T, V> out;
#pragma unroll
    for (int i = 0; i < V; i++) out[i] = from_float<T>((x[i] - m) * (g[i] * r + plus_r) + b[i]);
    return out;
}

/** Rows [first, last) of the batch that belong to this block, as rows of x. */
DEV void rows_of_block(int per, int chunks, int& batch, int& first, int& last) {
    int length = div_up(per, chunks);
    batch = (int)blockIdx.x / chunks;
    first = (int)blockIdx.x % chunks * length;
    last = first + length < per ? first + length : per;
    first += batch * per;
    last += batch * per;
}

/**
 * Adds up M sums of each of K V columns over the block's groups of G lanes, in the order of the warps, and hands them to put(column, sums). Dynamic
 * shared memory [warps][M][G V].
 */
template <int G, int M, int K, int V, class Put> DEV void put_lane_sums(float (&sums)[M][K][V], int n, Put&& put) {
    DYN_SHARED(float, shared);
    int t = (int)threadIdx.x % G, warps = (int)blockDim.x / 32;
#pragma unroll
    for (int k = 0; k < K; k++) {
        __syncthreads();
        float* mine = shared + warp_index() * M * G * V;
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                float sum = sums[m][k][i];
#pragma unroll
                for (int o = G; o < 32; o *= 2) sum += shfl_xor(sum, o);
                if (lane() < G) mine[(m * G + t) * V + i] = sum;
            }
        }
        __syncthreads();
        for (int c = (int)threadIdx.x; c < G * V && k * G * V + c < n; c += (int)blockDim.x) {
            float total[M];
#pragma unroll
            for (int m = 0; m < M; m++) {
                total[m] = 0.f;
                for (int w = 0; w < warps; w++) total[m] += shared[(w * M + m) * G * V + c];
            }
            put(k * G * V + c, total);
        }
    }
}

// Tables of the kernels.
// Short rows: suffix, type, vectors per lane, lanes per row. At most 40 values per lane.
#define SHORT_16(X, S, T) X(S, T, 1, 8) X(S, T, 1, 16) X(S, T, 1, 32) X(S, T, 2, 32) X(S, T, 3, 32) X(S, T, 5, 32)
#define LAYER_NORM_SHORT(X)                                                                                                                        \
    X(f32, float, 1, 8) X(f32, float, 1, 16) X(f32, float, 1, 32) X(f32, float, 2, 32) X(f32, float, 3, 32) X(f32, float, 6, 32)             \
    X(f32, float, 10, 32) SHORT_16(X, bf16, bf16) SHORT_16(X, f16, f16)
// Long rows: suffix, type, vectors per thread; up to 512 threads.
#define LAYER_NORM_LONG(X)                                                                                                                   \
    X(f32, float, 2) X(f32, float, 4) X(bf16, bf16, 1) X(bf16, bf16, 2) X(bf16, bf16, 4) X(f16, f16, 1) X(f16, f16, 2) X(f16, f16, 4)
#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)

#endif
