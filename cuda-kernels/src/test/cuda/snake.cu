// SPDX-License-Identifier: Apache-2.0
//
// The snake activation y = x + sin²(a x) / a and its gradients; the kernels of docs/guides/add-an-op-with-a-cuda-kernel.md. Row-major x, y, dy, dx [N, C];
// a, da [C].
// @start region="cuda"
#include "dev.h" // KERNEL, f32 math, and what blocks need: nothing of the CUDA toolkit

KERNEL(snake_f32)(const float* x, const float* a, float* y, i64 n, int c) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float f = a[i % c];
    float s = sinf(f * x[i]);
    y[i] = x[i] + s * s / f;
}

/** One block per channel: dx for its column, and the sum over the column for da. */
KERNEL(snake_backward_f32)(const float* x, const float* a, const float* dy, float* dx, float* da, int rows, int c) {
    int k = blockIdx.x;
    float f = a[k], sum = 0;
    for (int r = threadIdx.x; r < rows; r += blockDim.x) {
        i64 i = (i64)r * c + k;
        float s = sinf(f * x[i]), twice = sinf(2 * f * x[i]); // sin(2 z) = 2 sin(z) cos(z)
        dx[i] = dy[i] * (1 + twice);
        sum += dy[i] * (twice * x[i] / f - s * s / (f * f));
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) da[k] = sum;
}

EMU_EXPORT(snake_f32) // for the tests that run on the CPU
EMU_EXPORT(snake_backward_f32)
// @end
