// SPDX-License-Identifier: Apache-2.0
//
// Other ways to normalise rows of bf16 of up to 1280 values, for timings beside layernorm.cu (LayerNormTrials.java): rows come by asynchronous copies to
// shared memory, `DEPTH` steps ahead, where each lane finds what it fetched itself; a warp takes ROWS rows in a step, whose sums over lanes overlap.
// STREAMED: results leave the second cache first. The present kernel has one row ahead, in registers.
#include "layernorm.cuh"

/** Shared memory: [DEPTH][ROWS][K][threads] vectors, then gain and offset [2][n], both present. */
template <int K, int ROWS, int DEPTH, bool STREAMED>
DEV void ring(const bf16* x, bf16* y, float* mean, float* rstd, const bf16* gain, const bf16* offset, i64 gain_stride, i64 offset_stride, float plus,
              float eps, int chunks, int per, int n) {
    constexpr int V = 8;
    DYN_SHARED(bf16, shared);
    int batch, first, last;
    rows_of_block(per, chunks, batch, first, last);
    int vector = (int)blockDim.x * V, stage_size = ROWS * K * vector, step = (int)blockDim.x / 32 * ROWS;
    bf16* slots = shared + (int)threadIdx.x * V;
    bf16* gains = shared + DEPTH * stage_size;
    auto fetch = [&](int stage, int row) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const bf16* from = x + (i64)(row + i) * n + lane() * V;
            bf16* to = slots + stage * stage_size + i * K * vector;
            int mine = row + i < last ? n - lane() * V : 0;
#pragma unroll
            for (int k = 0; k < K; k++) {
                if (k * 32 * V < mine) cp_async16(to + k * vector, from + k * 32 * V);
            }
        }
        cp_async_commit();
    };
    int row = first + warp_index() * ROWS;
#pragma unroll
    for (int d = 0; d < DEPTH; d++) fetch(d, row + d * step);
    for (int j = (int)threadIdx.x * V; j < n; j += vector) {
        store_vec(gains + j, load_vec<V>(gain + batch * gain_stride + j));
        store_vec(gains + n + j, load_vec<V>(offset + batch * offset_stride + j));
    }
    __syncthreads();
    int stage = 0;
    for (; row < last; row += step) {
        cp_async_wait<DEPTH - 1>();
        Vec<bf16, V> v[ROWS][K];
        float sum[ROWS], square[ROWS];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            sum[i] = square[i] = 0.f;
            int mine = row + i < last ? n - lane() * V : 0;
#pragma unroll
            for (int k = 0; k < K; k++) {
                if (k * 32 * V < mine) {
                    v[i][k] = load_vec<V>(slots + stage * stage_size + (i * K + k) * vector);
                    float value[V];
                    spread(v[i][k], value);
#pragma unroll
                    for (int e = 0; e < V; e++) sum[i] += value[e];
                }
            }
            stay_packed<bf16>(v[i]);
        }
        fetch(stage, row + DEPTH * step);
        row_sums<32>(sum);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            sum[i] /= n;
            int mine = row + i < last ? n - lane() * V : 0;
#pragma unroll
            for (int k = 0; k < K; k++) {
                if (k * 32 * V < mine) {
                    float value[V];
                    spread(v[i][k], value);
#pragma unroll
                    for (int e = 0; e < V; e++) {
                        float d = value[e] - sum[i];
                        square[i] += d * d;
                    }
                }
            }
            stay_packed<bf16>(v[i]);
        }
        row_sums<32>(square);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (row + i >= last) break;
            float r = 1.f / sqrtf(square[i] / n + eps);
            if (lane() == 0) {
                mean[row + i] = sum[i];
                rstd[row + i] = r;
            }
            bf16* to = y + (i64)(row + i) * n + lane() * V;
            const bf16* g = gains + lane() * V;
#pragma unroll
            for (int k = 0; k < K; k++) {
                if (k * 32 * V < n - lane() * V) {
                    Vec<bf16, V> z = affine_of_row(v[i][k], sum[i], r, plus * r, g + k * 32 * V, g + n + k * 32 * V);
                    if (STREAMED) {
                        store_stream(to + k * 32 * V, z);
                    } else {
                        store_vec(to + k * 32 * V, z);
                    }
                }
            }
        }
        stage = stage + 1 < DEPTH ? stage + 1 : 0;
    }
}

// Rows of a step, steps ahead, blocks of 128 threads per multiprocessor, whether streamed.
#define TRIALS(X) X(1, 2, 7, false) X(1, 3, 6, false) X(1, 3, 6, true) X(1, 4, 4, false) X(2, 2, 4, false) X(2, 2, 4, true)

// As layernorm.cu's kernels with lanes.
#define TRIAL(ROWS, DEPTH, BLOCKS, STREAMED)                                                                                                 \
    KERNEL_BOUNDS(layer_norm_trial_##ROWS##_##DEPTH##_##BLOCKS##_##STREAMED, 128, BLOCKS)                                                    \
    (const bf16* x, bf16* y, float* mean, float* rstd, const bf16* gain, const bf16* offset, i64 gain_stride, i64 offset_stride, float plus, \
     float eps, int chunks, int per, int n) {                                                                                                \
        ring<5, ROWS, DEPTH, STREAMED>(x, y, mean, rstd, gain, offset, gain_stride, offset_stride, plus, eps, chunks, per, n);               \
    }
TRIALS(TRIAL)

#define EXPORT_TRIAL(ROWS, DEPTH, BLOCKS, STREAMED) EMU_EXPORT(layer_norm_trial_##ROWS##_##DEPTH##_##BLOCKS##_##STREAMED)
TRIALS(EXPORT_TRIAL)
