// SPDX-License-Identifier: Apache-2.0
// Products of f32 matrices with few rows, C [m, n] = alpha A [m, k] B [k, n] + beta C + bias[n]: B is read at the speed of memory, by many blocks even
// where C is small. A is contiguous by k; B is contiguous by k (kernels kk) or by n (kernels kr); k, the strides and for kr also n are multiples of 4,
// addresses of 16 bytes. A block takes 8 rows.
#include "dev.h"

static const int ROWS = 8;

/** Strides of rows: of A, of B's contiguous rows, of C. */
struct FewRows {
    i64 m, n, k, aRow, bRow, cRow;
};

DEV void put(float* c, const float* bias, const FewRows& s, int row, int column, float sum, float alpha, float beta) {
    float* at = c + row * s.cRow + column;
    float v = alpha * sum;
    if (beta != 0) v += beta * *at;
    if (bias) v += bias[column];
    *at = v;
}

/** A warp computes COLUMNS columns: each lane the products of every 32nd piece of 4. grid (columns / (8 COLUMNS), rows / 8), 256 threads. */
template <int COLUMNS> DEV void by_k(const float* a, const float* b, float* c, const float* bias, const FewRows& s, float alpha, float beta) {
    int column = ((int)blockIdx.x * 8 + warp_index()) * COLUMNS, row0 = blockIdx.y * ROWS, l = lane();
    int n = (int)s.n - column, m = (int)s.m - row0;
    if (n <= 0) return;
    a += row0 * s.aRow;
    b += column * s.bRow;
    const int UNROLL = COLUMNS == 1 ? 2 : 1;
    float sum[ROWS][COLUMNS];
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) sum[i][j] = 0;
    }
#pragma unroll UNROLL
    for (int k = 4 * l; k < (int)s.k; k += 128) {
        Vec<float, 4> y[COLUMNS];
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) y[j] = load_vec<4>(b + (j < n ? j : 0) * s.bRow + k);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            Vec<float, 4> x = load_vec<4>(a + (i < m ? i : 0) * s.aRow + k);
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
                for (int e = 0; e < 4; e++) sum[i][j] += x[e] * y[j][e];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            float v = warp_sum(sum[i][j]);
            if (l == i * COLUMNS + j && i < m && j < n) put(c, bias, s, row0 + i, column + j, v, alpha, beta);
        }
    }
}

/** A block computes 32 columns, a thread 4 of them from every 32nd piece of 4 products. grid (columns / 32, rows / 8), 256 threads. */
DEV void by_n(const float* a, const float* b, float* c, const float* bias, const FewRows& s, float alpha, float beta) {
    __shared__ Vec<float, 4> shared[8 * ROWS * 8];
    int quad = lane() & 7, part = threadIdx.x >> 3;
    int column = blockIdx.x * 32 + quad * 4, row0 = blockIdx.y * ROWS, m = (int)s.m - row0;
    a += row0 * s.aRow;
    float sum[ROWS][4];
#pragma unroll
    for (int i = 0; i < ROWS; i++) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0;
    if (column < (int)s.n) {
        for (int k = part * 4; k < (int)s.k; k += 128) {
            Vec<float, 4> y[4];
#pragma unroll
            for (int e = 0; e < 4; e++) y[e] = load_vec<4>(b + (k + e) * s.bRow + column);
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                Vec<float, 4> x = load_vec<4>(a + (i < m ? i : 0) * s.aRow + k);
#pragma unroll
                for (int e = 0; e < 4; e++) {
#pragma unroll
                    for (int j = 0; j < 4; j++) sum[i][j] += x[e] * y[e][j];
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        Vec<float, 4> v;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float x = sum[i][j];
            x += shfl_xor(x, 8);
            v[j] = x + shfl_xor(x, 16);
        }
        if (lane() < 8) shared[(warp_index() * ROWS + i) * 8 + quad] = v;
    }
    __syncthreads();
    const float* sums = (const float*)shared;
    int row = threadIdx.x >> 5, at = threadIdx.x & 31;
    float v = 0;
#pragma unroll
    for (int w = 0; w < 8; w++) v += sums[(w * ROWS + row) * 32 + at];
    if (row < m && (int)blockIdx.x * 32 + at < (int)s.n) put(c, bias, s, row0 + row, blockIdx.x * 32 + at, v, alpha, beta);
}

#define FEW_ROWS_PARAMETERS const float *a, const float *b, float *c, const float *bias, FewRows s, float alpha, float beta

KERNEL_BOUNDS(gemm_rows_kk_1_f32, 256, 2)(FEW_ROWS_PARAMETERS) { by_k<1>(a, b, c, bias, s, alpha, beta); }
KERNEL_BOUNDS(gemm_rows_kk_4_f32, 256, 2)(FEW_ROWS_PARAMETERS) { by_k<4>(a, b, c, bias, s, alpha, beta); }
KERNEL_BOUNDS(gemm_rows_kr_f32, 256, 2)(FEW_ROWS_PARAMETERS) { by_n(a, b, c, bias, s, alpha, beta); }

EMU_EXPORT(gemm_rows_kk_1_f32)
EMU_EXPORT(gemm_rows_kk_4_f32)
EMU_EXPORT(gemm_rows_kr_f32)
