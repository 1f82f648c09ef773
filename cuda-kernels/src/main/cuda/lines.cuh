// SPDX-License-Identifier: Apache-2.0
//
// Lines: the elements of a dense tensor [outer, n, inner] along its middle axis. Line number l = o * inner + j starts at (o * n) * inner + j and goes in
// steps of inner. A block of (x, y) threads holds blockDim.x lines, blockDim.y threads (a power of two) for each; 512 threads at most.
#ifndef SFUMATO_LINES_CUH
#define SFUMATO_LINES_CUH

#include "dev.h"

DEV float exp_of(float x) { return expf(x); }
DEV double exp_of(double x) { return exp(x); }
DEV float log_of(float x) { return logf(x); }
DEV double log_of(double x) { return log(x); }

struct Line {
    i64 number, start;
    bool active;
};

DEV Line line_of(i64 n, i64 inner, i64 lines) {
    Line l;
    l.number = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    l.active = l.number < lines;
    i64 o = l.number / inner;
    l.start = o * n * inner + (l.number - o * inner);
    return l;
}

/** The sum over the threads of each line, in all of them. Every thread of the block calls; the order is fixed. */
template <class F> DEV F line_sum(F x) {
    __shared__ F part[512];
    int t = thread_index();
    part[t] = x;
    for (int half = (int)blockDim.y / 2; half > 0; half >>= 1) {
        __syncthreads();
        if ((int)threadIdx.y < half) part[t] += part[t + half * (int)blockDim.x];
    }
    __syncthreads();
    x = part[threadIdx.x];
    __syncthreads();
    return x;
}

/** The largest over the threads of each line; NaN if one is. */
template <class F> DEV F line_max(F x) {
    __shared__ F part[512];
    int t = thread_index();
    part[t] = x;
    for (int half = (int)blockDim.y / 2; half > 0; half >>= 1) {
        __syncthreads();
        if ((int)threadIdx.y < half) part[t] = max_nan(part[t], part[t + half * (int)blockDim.x]);
    }
    __syncthreads();
    x = part[threadIdx.x];
    __syncthreads();
    return x;
}

/** A running maximum and the sum of e^(x - max) of a thread; the sum in units of e^max. */
template <class F> struct Exponentials {
    F max, sum;
    DEVM void add(F x) {
        if (x == max) {
            sum += 1;
        } else if (x > max) {
            sum = 1 + sum * exp_of(max - x);
            max = x;
        } else {
            sum += exp_of(x - max);   // NaN comes here and stays
        }
    }
};

/** The maximum of a line, and the sum of e^(x - max). NaN if one is NaN or all are infinite. */
template <class F> DEV Exponentials<F> line_exponentials(Exponentials<F> e) {
    Exponentials<F> all;
    all.max = line_max(e.max);
    all.sum = line_sum(e.sum == 0 ? F(0) : e.sum * exp_of(e.max - all.max));
    return all;
}

#endif
