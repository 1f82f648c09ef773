// SPDX-License-Identifier: Apache-2.0
//
// Inverses of small square matrices a [count, n, n], n at most 48, row-major, f32, bf16 and f16: Gauss-Jordan elimination with row pivoting in f64, as
// the reference does it.
//
// A block takes one matrix; its thread j holds column j of [A | I], which lies in shared memory. Grid: one block of 96 threads for each matrix.
#include "dev.h"

enum { MOST = 48, PITCH = 2 * MOST + 1, THREADS = 2 * MOST };

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** a, y [count, n, n]. */
template <class T> DEV void inverse(const T* a, T* y, int n) {
    __shared__ double m[MOST * PITCH];
    __shared__ int pivot;
    int j = (int)threadIdx.x;
    i64 base = (i64)blockIdx.x * n * n;
    if (j < 2 * n) {
        for (int i = 0; i < n; i++) m[i * PITCH + j] = j < n ? (double)to_float(a[base + i * n + j]) : j - n == i ? 1.0 : 0.0;
    }
    __syncthreads();
    for (int k = 0; k < n; k++) {
        if (j == 0) {
            int best = k;
            for (int i = k + 1; i < n; i++) {
                double one = m[i * PITCH + k], two = m[best * PITCH + k];
                if ((one < 0 ? -one : one) > (two < 0 ? -two : two)) best = i;
            }
            pivot = best;
        }
        __syncthreads();
        int p = pivot;
        if (j < 2 * n && p != k) {
            double t = m[k * PITCH + j];
            m[k * PITCH + j] = m[p * PITCH + j];
            m[p * PITCH + j] = t;
        }
        __syncthreads();
        double scale = 1.0 / m[k * PITCH + k];
        __syncthreads();
        if (j < 2 * n) m[k * PITCH + j] *= scale;
        __syncthreads();
        if (j < 2 * n && j != k) {
            double row = m[k * PITCH + j];
            for (int i = 0; i < n; i++) {
                if (i != k) m[i * PITCH + j] -= m[i * PITCH + k] * row;
            }
        }
        __syncthreads();
        if (j < n && j != k) m[j * PITCH + k] = 0.0;
        __syncthreads();
    }
    if (j >= n && j < 2 * n) {
        for (int i = 0; i < n; i++) y[base + i * n + j - n] = from_float<T>((float)m[i * PITCH + j]);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define INVERSE(T, type)                                                                     \
    KERNEL_BOUNDS(inverse_##type, THREADS, 2)(const T* a, T* y, int n) { inverse(a, y, n); } \
    EMU_EXPORT(inverse_##type)

INVERSE(float, f32)
INVERSE(bf16, bf16)
INVERSE(f16, f16)
