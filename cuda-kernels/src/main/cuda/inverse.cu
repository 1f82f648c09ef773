// SPDX-License-Identifier: Apache-2.0
//
// Inverses of square matrices a [count, n, n], row-major: Gauss-Jordan elimination with row pivoting in f64, as the reference does it. A block takes one
// matrix.
//   inverse         n at most 48: thread j of 96 holds column j of [A | I], which lies in shared memory
//   inverse_large   any n: [A | I] lies in work [count, n, 2 n], the 256 threads of a block share its columns
#include "dev.h"

enum { MOST = 48, PITCH = 2 * MOST + 1, THREADS = 2 * MOST, MANY = 256 };

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** a, y [count, n, n]. */
template <class T> DEV void inverse(const T* a, T* y, int n) {
    __shared__ double m[MOST * PITCH];
    __shared__ int pivot;
    int j = (int)threadIdx.x;
    i64 base = (i64)blockIdx.x * n * n;
    if (j < 2 * n) {
        for (int i = 0; i < n; i++) m[i * PITCH + j] = j < n ? (double)to_acc(a[base + i * n + j]) : j - n == i ? 1.0 : 0.0;
    }
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
        if (j < 2 * n) {
            double row = m[k * PITCH + j] *= scale;
            for (int i = 0; j != k && i < n; i++) {
                if (i != k) m[i * PITCH + j] -= m[i * PITCH + k] * row;
            }
        }
        __syncthreads();
        if (j < n && j != k) m[j * PITCH + k] = 0.0;
    }
    if (j >= n && j < 2 * n) {
        for (int i = 0; i < n; i++) y[base + i * n + j - n] = from_acc<T>((Acc<T>)m[i * PITCH + j]);
    }
}

/** a, y [count, n, n]; work [count, n, 2 n]. */
template <class T> DEV void inverse_large(const T* a, T* y, double* work, int n) {
    __shared__ int pivot;
    int t = (int)threadIdx.x, width = 2 * n;
    i64 base = (i64)blockIdx.x * n * n;
    double* m = work + (i64)blockIdx.x * n * width;
    for (i64 p = t; p < (i64)n * width; p += MANY) {
        int i = (int)(p / width), j = (int)(p % width);
        m[p] = j < n ? (double)to_acc(a[base + (i64)i * n + j]) : j - n == i ? 1.0 : 0.0;
    }
    __syncthreads();
    for (int k = 0; k < n; k++) {
        double* row = m + (i64)k * width;
        if (t == 0) {
            int best = k;
            for (int i = k + 1; i < n; i++) {
                double one = m[(i64)i * width + k], two = m[(i64)best * width + k];
                if ((one < 0 ? -one : one) > (two < 0 ? -two : two)) best = i;
            }
            pivot = best;
        }
        __syncthreads();
        double* chosen = m + (i64)pivot * width;
        double scale = 1.0 / chosen[k];
        __syncthreads();
        for (int j = t; j < width; j += MANY) {
            double v = chosen[j];
            if (chosen != row) chosen[j] = row[j];
            row[j] = v * scale;
        }
        __syncthreads();
        for (i64 p = t; p < (i64)n * width; p += MANY) {
            int i = (int)(p / width), j = (int)(p % width);
            if (i != k && j != k) m[p] -= m[(i64)i * width + k] * row[j];
        }
        __syncthreads();
        for (int i = t; i < n; i += MANY) {
            if (i != k) m[(i64)i * width + k] = 0.0;
        }
    }
    for (i64 p = t; p < (i64)n * n; p += MANY) y[base + p] = from_acc<T>((Acc<T>)m[p / n * width + n + p % n]);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define INVERSE(T, type)                                                                                                                          \
    KERNEL_BOUNDS(inverse_##type, THREADS, 2)(const T* a, T* y, int n) { inverse(a, y, n); }                                                      \
    KERNEL_BOUNDS(inverse_large_##type, MANY, 2)(const T* a, T* y, double* work, int n) { inverse_large(a, y, work, n); }                         \
    EMU_EXPORT(inverse_##type)                                                                                                                    \
    EMU_EXPORT(inverse_large_##type)

INVERSE(float, f32)
INVERSE(bf16, bf16)
INVERSE(f16, f16)
INVERSE(double, f64)
