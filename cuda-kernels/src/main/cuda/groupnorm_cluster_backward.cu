// SPDX-License-Identifier: Apache-2.0
//
// Gradients of group normalisation of x [N, S, C] (channels-last) on Hopper: formulas in groupnorm_backward.cu, structure in groupnorm_cluster.cuh, with
// slots for dy and x. The first pass sums dz (x - mean) and dz by channel, the second writes dx.
// arch: 90a only
#include "groupnorm_cluster.cuh"

#include "groupnorm_backward.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** Rows of parts that totals_of_channels leaves in shared memory: of warps, which cover all columns if there are few of them, or of lanes. */
DEV int part_rows(const Slabs& s) { return s.columns < 32 ? block_threads() >> 5 : s.lanes; }

/**
 * Sums over the block's threads of the tile's channels: total [2, tile] = (B, A), from each thread's sums of dz d and dz, zero where it is not active.
 * `parts` [part_rows, 2, tile] in shared memory. Ends with a barrier.
 */
template <class T>
DEV void totals_of_channels(const Slabs& s, const Place<T, true>& p, float (&b)[Wide<T>::N], float (&a)[Wide<T>::N], const float* rstds, float* parts,
                            float* total) {
    constexpr int V = Wide<T>::N;
    int width = 2 * s.tile;
    // Lanes l, l + columns, ... of a warp have one column: lane l ends with the sum of those from l on.
    for (int o = s.columns; o < 32; o *= 2) {
        bool more = lane() + o < 32;
#pragma unroll
        for (int i = 0; i < V; i++) {
            float b2 = shfl_down(b[i], o), a2 = shfl_down(a[i], o);
            b[i] += more ? b2 : 0.f;
            a[i] += more ? a2 : 0.f;
        }
    }
    bool few = s.columns < 32;
    if (few ? lane() < s.columns : p.active) {
        float* mine = parts + (few ? warp_index() : p.lane) * width + p.channel;
#pragma unroll
        for (int i = 0; i < V; i++) {
            mine[i] = b[i];
            mine[s.tile + i] = a[i];
        }
    }
    __syncthreads();
    int rows = part_rows(s);
    for (int c = (int)threadIdx.x; c < width; c += (int)blockDim.x) {
        float sum = 0.f;
#pragma unroll 4
        for (int r = 0; r < rows; r++) sum += parts[r * width + c];
        total[c] = c < s.tile ? sum * rstds[c / s.per] : sum;
    }
    __syncthreads();
}

/** x and dz of a thread's vectors of dy and x. */
template <class T>
DEV void slopes_of(const Slopes<T>& slopes, const Row<T, 2>& row, int with_silu, float (&x)[Wide<T>::N], float (&dz)[Wide<T>::N]) {
    constexpr int V = Wide<T>::N;
    spread(row.v[0], dz);
    spread(row.v[1], x);
    if (with_silu) {
        float z[V], sigmoid[V];
        slopes.apply(x, z);
        sigmoids<T>(z, sigmoid);
#pragma unroll
        for (int i = 0; i < V; i++) dz[i] *= sigmoid[i] * (1.f + z[i] * (1.f - sigmoid[i]));
    }
}

/**
 * Shared memory: the slots; total [2, tile] of this block's rows; own [groups of the tile, 2], their s1 and s2; the item's constants; the parts of
 * totals_of_channels.
 */
template <class T>
DEV void backward_cluster(const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, T* dx, float* sums, const Slabs& s,
                          int with_silu) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(T, shared);
    int tiled = s.tile / s.per, rank = cluster_rank();
    float* total = (float*)(shared + Slots<T, 2>::size(s));
    float* own = total + 2 * s.tile;
    Constants constants(s, own + 2 * tiled);
    float* parts = own + 4 * tiled;
    Slots<T, 2> slots(shared, s);
    Place<T, true> p(s, (int)blockIdx.x);
    int count = p.active ? s.count(p.lane, s.rows_of(rank)) : 0;
    const T* from[2] = {dy + slots.start(s, p), x + slots.start(s, p)};
    slots.fetch_all(from, count);
    i64 statistics = (i64)p.sample * s.groups + p.tile * tiled;
    Slopes<T> slopes;
    Weights<T> weights;
    weights.template load<true>(s, p, w, b);
    slopes.load(s, p, mean + statistics, rstd + statistics, weights);
    float sum_b[V], sum_a[V];
#pragma unroll
    for (int i = 0; i < V; i++) sum_b[i] = sum_a[i] = 0.f;
    slots.as_they_come(count, [&](const Row<T, 2>& row, int) {
        float v[V], dz[V];
        slopes_of(slopes, row, with_silu, v, dz);
#pragma unroll
        for (int i = 0; i < V; i++) {
            sum_b[i] += dz[i] * (v[i] - slopes.lines.mean[i]);
            sum_a[i] += dz[i];
        }
    });
    totals_of_channels<T>(s, p, sum_b, sum_a, rstd + statistics, parts, total);
    join_channels(s, p, total, total + s.tile, w, [&](int g, float s1, float s2) {
        own[2 * g] = s1;
        own[2 * g + 1] = s2;
    });
    cluster_sync();
    for (int g = warp_index(); g < tiled; g += block_threads() >> 5) {
        bool one = lane() < CLUSTER;
        float s1 = warp_sum(one ? load_cluster(own + 2 * g, lane()) : 0.f);
        float s2 = warp_sum(one ? load_cluster(own + 2 * g + 1, lane()) : 0.f);
        if (lane() == 0) constants.put(g, s1, s2, rstd[statistics + g]);
    }
    if (sums) {
        int share = div_up(2 * s.tile, CLUSTER), end = (rank + 1) * share < 2 * s.tile ? (rank + 1) * share : 2 * s.tile;
        for (int i = rank * share + (int)threadIdx.x; i < end; i += (int)blockDim.x) {
            float sum = 0.f;
#pragma unroll
            for (int c = 0; c < CLUSTER; c++) sum += load_cluster(total + i, c);
            sums[(2 * (i64)p.sample + i / s.tile) * s.channels + p.tile * s.tile + i % s.tile] = sum;
        }
    }
    cluster_arrive();
    float c0[V], c1[V];
    constants.get(s, p, c0, c1);
    if constexpr (SPARED<T>) {
#pragma unroll
        for (int i = 0; i < V; i++) c0[i] -= slopes.lines.mean[i] * c1[i];
    }
    slots.write(count, dx + slots.start(s, p), [&](const Row<T, 2>& row) {
        float v[V], dz[V];
        slopes_of(slopes, row, with_silu, v, dz);
        Vec<T, V> result;
#pragma unroll
        for (int i = 0; i < V; i++) {
            float d = SPARED<T> ? v[i] : v[i] - slopes.lines.mean[i];
            result[i] = from_float<T>(slopes.lines.factor[i] * dz[i] - c0[i] - d * c1[i]);
        }
        return result;
    });
    cluster_wait();
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)

// dy, x, dx [N, S, C], mean and rstd [N, groups], w and b [C] or null, sums [N, 2, C] or null. Grid: N * (C / tile) * 8. 96 registers per thread: two
// blocks of 320 threads fit a multiprocessor.
#define BACKWARD_CLUSTER(S, T)                                                                                                               \
    KERNEL_CLUSTER(group_norm_backward_cluster_##S, 640, 1, CLUSTER)                                                                         \
    (const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, T* dx, float* sums, Slabs s, int with_silu) {    \
        backward_cluster<T>(dy, x, mean, rstd, w, b, dx, sums, s, with_silu);                                                                \
    }
TYPES(BACKWARD_CLUSTER)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_CLUSTER(S, T) EMU_EXPORT(group_norm_backward_cluster_##S)
TYPES(EXPORT_CLUSTER)
