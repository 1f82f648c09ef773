// SPDX-License-Identifier: Apache-2.0
//
// Group normalisation on Hopper with one read of each tensor. A cluster of 8 blocks (cluster.h) takes an item, all pixels of a sample's tile of channels
// (whole groups), and keeps it in shared memory between its two passes: block r has chunk r of the pixels, [rows of the chunk][tile] of x.
//
//   global --cp.async--> slots of a thread --1st pass--> sums of the block --cluster--> sums of the item --2nd pass--> global
//
// A thread copies the vectors that it reads itself (columns and lanes as in groupnorm.cuh, so a row is contiguous in global and in shared memory): it waits
// for no one. Copies come in PARTS groups, so that the first pass starts when a quarter is there. Clusters that stay and refill their slots for a next item
// were slower on an H200 than one cluster per item.
//
// Values of 16 bits keep the processors as busy as the memory, so they are spared work: z = x factor + (bias - mean factor) in one operation, whose rounding,
// mean 2^-24, is far below that of x itself; and two sigmoids share a reciprocal.
#ifndef SFUMATO_GROUPNORM_CLUSTER_CUH
#define SFUMATO_GROUPNORM_CLUSTER_CUH
#include "cluster.h"
#include "groupnorm.cuh"

static const int CLUSTER = 8, PARTS = 4;
static const float LOG2E = 1.4426950408889634f;

/** Whether values of a type are spared work. */
template <class T> constexpr bool SPARED = sizeof(T) == 2;

/** Sigmoids; of spared types two from one reciprocal, 1 / a = b / (a b), with e^-z up to 2^60, so that a b is finite. */
template <class T> DEV void sigmoids(const float (&z)[Wide<T>::N], float (&s)[Wide<T>::N]) {
#pragma unroll
    for (int i = 0; i < Wide<T>::N; i += 2) {
        if constexpr (SPARED<T>) {
            float a = 1.f + exp2_fast(fminf(z[i] * -LOG2E, 60.f)), b = 1.f + exp2_fast(fminf(z[i + 1] * -LOG2E, 60.f));
            float r = rcp_fast(a * b);
            s[i] = r * b;
            s[i + 1] = r * a;
        } else {
            s[i] = sigmoid_fast(z[i]);
            s[i + 1] = sigmoid_fast(z[i + 1]);
        }
    }
}

/** z of a thread's channels. */
template <class T> struct Slopes {
    static constexpr int V = Wide<T>::N;
    Lines<T> lines;  // of spared types with bias - mean factor as bias

    DEVM void load(const Slabs& s, const Place<T, true>& p, const float* means, const float* rstds, const Weights<T>& weights) {
        lines.template load<true>(s, p, means, rstds, weights);
        if constexpr (SPARED<T>) {
#pragma unroll
            for (int i = 0; i < V; i++) lines.bias[i] -= lines.mean[i] * lines.factor[i];
        }
    }

    DEVM void apply(const float (&x)[V], float (&z)[V]) const {
#pragma unroll
        for (int i = 0; i < V; i++) z[i] = (SPARED<T> ? x[i] : x[i] - lines.mean[i]) * lines.factor[i] + lines.bias[i];
    }
};

/** Waits for all but the last PARTS - 1 - part groups of copies. */
DEV void wait_for(int part) {
    if (part == 0) cp_async_wait<3>();
    if (part == 1) cp_async_wait<2>();
    if (part == 2) cp_async_wait<1>();
    if (part == 3) cp_async_wait<0>();
}

/** A thread's vectors of a row of N tensors: values of `tensor` apart from tensor to tensor. */
template <class T, int N> struct Row {
    static constexpr int V = Wide<T>::N;
    Vec<T, V> v[N];

    DEVM Row(const T* at, int tensor) {
#pragma unroll
        for (int t = 0; t < N; t++) v[t] = load_vec<V>(at + t * tensor);
    }
};

/** A thread's slots: N vectors (of N tensors) for each of its rows. */
template <class T, int N> struct Slots {
    static constexpr int V = Wide<T>::N;
    T* first;
    int step;    // from row to row
    int tensor;  // from tensor to tensor
    int quarter; // rows of a part
    i64 row;     // from row to row in global memory

    DEVM Slots(T* shared, const Slabs& s) {
        first = shared + (int)threadIdx.x * V;
        tensor = s.columns * s.lanes * V;
        step = N * tensor;
        quarter = div_up(div_up(s.chunk, s.lanes), PARTS);
        row = (i64)s.lanes * s.channels;
    }

    /** Values of the block's slots. */
    DEVM static int size(const Slabs& s) { return N * div_up(s.chunk, s.lanes) * s.columns * s.lanes * V; }

    /** Where in the tensors a thread's first row is. */
    DEVM static i64 start(const Slabs& s, const Place<T, true>& p) { return p.base + (i64)(p.chunk * s.chunk + p.lane) * p.stride; }

    DEVM int end_of(int part, int count) const { return (part + 1) * quarter < count ? (part + 1) * quarter : count; }

    /** Starts to copy `count` rows that begin at `from`. */
    DEVM void fetch_all(const T* (&from)[N], int count) const {
        T* to = first;
        for (int part = 0; part < PARTS; part++) {
#pragma unroll 4
            for (int k = part * quarter; k < end_of(part, count); k++) {
#pragma unroll
                for (int t = 0; t < N; t++) {
                    cp_async16(to + t * tensor, from[t]);
                    from[t] += row;
                }
                to += step;
            }
            cp_async_commit();
        }
    }

    /** f(vectors, k) for each row, as they arrive. */
    template <class F> DEVM void as_they_come(int count, F&& f) const {
        const T* at = first;
        for (int part = 0; part < PARTS; part++) {
            wait_for(part);
#pragma unroll 2
            for (int k = part * quarter; k < end_of(part, count); k++) {
                f(Row<T, N>(at, tensor), k);
                at += step;
            }
        }
    }

    /** Writes f(vectors) of each row from `to` on. */
    template <class F> DEVM void write(int count, T* to, F&& f) const {
        const T* at = first;
#pragma unroll 2
        for (int k = 0; k < count; k++) {
            store_vec(to, f(Row<T, N>(at, tensor)));
            at += step;
            to += row;
        }
    }
};

#endif
