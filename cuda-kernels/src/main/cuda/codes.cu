// SPDX-License-Identifier: Apache-2.0
//
// Vector quantisation: for each vector of x [n, d] the code of a codebook [size, d] at the least squared distance, of several the first. Row-major,
// f32, bf16 and f16; distances are sums of squared differences in f32, for |x|^2 - 2 x c + |c|^2 would lose what tells close codes apart.
//
// A block takes ROWS vectors and goes through the codebook in tiles of CODES codes; a thread has 4 x 4 distances of a tile in registers and keeps the
// least of each of its vectors, so no distance is ever stored. Grid: one block of 256 threads for each ROWS vectors.
#include "dev.h"

enum { ROWS = 64, CODES = 64, DEPTH = 16, PITCH = ROWS + 4, THREADS = 256, NONE = 0x7fffffff };

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** Copies rows `first`.. of a matrix [rows, d], elements `k0`.., to a tile [DEPTH][PITCH]; zero beyond the matrix. */
template <class T> DEV void load_transposed(float* tile, const T* matrix, i64 first, i64 rows, int k0, int d) {
#pragma unroll
    for (int i = 0; i < ROWS * DEPTH / THREADS; i++) {
        int id = (int)threadIdx.x + i * THREADS;
        int row = id / DEPTH, k = id % DEPTH;
        bool inside = first + row < rows && k0 + k < d;
        tile[k * PITCH + row] = inside ? to_float(matrix[(first + row) * d + k0 + k]) : 0.f;
    }
}

/** x [n, d], codebook [size, d]; index [n]. */
template <class T> DEV void nearest_code(const T* x, const T* codebook, i64* index, i64 n, int size, int d) {
    __shared__ Vec<float, 4> vectors[DEPTH * PITCH / 4], codes[DEPTH * PITCH / 4];
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    i64 row0 = (i64)blockIdx.x * ROWS;
    float least[4];
    int best[4];
#pragma unroll
    for (int i = 0; i < 4; i++) least[i] = INFINITY, best[i] = NONE;

    for (int code0 = 0; code0 < size; code0 += CODES) {
        float distance[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) distance[i][j] = 0.f;
        }
        for (int k0 = 0; k0 < d; k0 += DEPTH) {
            load_transposed((float*)vectors, x, row0, n, k0, d);
            load_transposed((float*)codes, codebook, code0, size, k0, d);
            __syncthreads();
#pragma unroll
            for (int k = 0; k < DEPTH; k++) {
                Vec<float, 4> a = vectors[k * (PITCH / 4) + ty], b = codes[k * (PITCH / 4) + tx];
#pragma unroll
                for (int i = 0; i < 4; i++) {
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        float difference = a[i] - b[j];
                        distance[i][j] += difference * difference;
                    }
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int code = code0 + tx * 4 + j;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (code < size && distance[i][j] < least[i]) least[i] = distance[i][j], best[i] = code;
            }
        }
    }

    // The 16 threads that share vectors are neighbours in a warp.
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int o = 8; o > 0; o >>= 1) {
            float other = shfl_xor(least[i], o);
            int code = shfl_xor(best[i], o);
            if (other < least[i] || (other == least[i] && code < best[i])) least[i] = other, best[i] = code;
        }
        i64 row = row0 + ty * 4 + i;
        if (tx == 0 && row < n) index[row] = best[i] == NONE ? 0 : best[i];
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define NEAREST_CODE(T, type)                                                                                                               \
    KERNEL_BOUNDS(nearest_code_##type, THREADS, 2)(const T* x, const T* codebook, i64* index, i64 n, int size, int d) {                      \
        nearest_code(x, codebook, index, n, size, d);                                                                                       \
    }                                                                                                                                       \
    EMU_EXPORT(nearest_code_##type)

NEAREST_CODE(float, f32)
NEAREST_CODE(bf16, bf16)
NEAREST_CODE(f16, f16)
