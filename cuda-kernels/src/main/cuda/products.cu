// SPDX-License-Identifier: Apache-2.0
//
// The gradient of a product of elements over any axes: dx_i = g Π x_j over j ≠ i, exact where elements are zero: where one is, only it has a gradient;
// where several are, none has. Products are those of the elements that are not zero, in f64, divided by the element: f32 has no element that f64 does not
// hold the product of a few of.
//
// The lanes of a warp, or a block of more than 32 threads, share the elements of one result. x and dx lie alike; g is row-major over the kept axes.
#include "reduce.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** The product, and the number of zeros, over the blockDim.x threads of a result, in all of them. */
DEV void product_of_all(double& product, int& zeros) {
    int width = blockDim.x < 32 ? (int)blockDim.x : 32;
    for (int o = width / 2; o > 0; o >>= 1) {
        product *= shfl_xor(product, o);
        zeros += shfl_xor(zeros, o);
    }
    if (blockDim.x <= 32) return;
    __shared__ double products[32];
    __shared__ int counts[32];
    if (lane() == 0) {
        products[warp_index()] = product;
        counts[warp_index()] = zeros;
    }
    __syncthreads();
    product = 1;
    zeros = 0;
    for (int w = 0; w < (int)blockDim.x / 32; w++) {
        product *= products[w];
        zeros += counts[w];
    }
}

template <class T> DEV void prod_backward(const T* x, const T* g, T* dx, const ReduceShape& s) {
    i64 result = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    bool there = result < s.results;
    i64 at = 0, of = 0;
    if (there) kept_position(s, result, (int)s.kept, at, of);
    double product = 1;
    int zeros = 0;
    if (there) {
        for (i64 i = threadIdx.x; i < s.n; i += blockDim.x) {
            double v = (double)to_acc(x[at + reduced_position(s, i)]);
            if (v == 0) {
                zeros++;
            } else {
                product *= v;
            }
        }
    }
    product_of_all(product, zeros);
    if (!there) return;
    double scaled = (double)to_acc(g[of]) * product;
    for (i64 i = threadIdx.x; i < s.n; i += blockDim.x) {
        i64 p = at + reduced_position(s, i);
        double v = (double)to_acc(x[p]);
        double d = zeros == 0 ? scaled / v : zeros == 1 && v == 0 ? scaled : 0;
        dx[p] = from_acc<T>((Acc<T>)d);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define PROD_BACKWARD(T, type)                                                                                                                    \
    KERNEL_BOUNDS(prod_backward_##type, 256, 4)(const T* x, const T* g, T* dx, ReduceShape s) { prod_backward<T>(x, g, dx, s); } \
    EMU_EXPORT(prod_backward_##type)

PROD_BACKWARD(float, f32)
PROD_BACKWARD(bf16, bf16)
PROD_BACKWARD(f16, f16)
PROD_BACKWARD(double, f64)
