// SPDX-License-Identifier: Apache-2.0
//
// Group normalisation (Wu and He 2018), with SiLU after it if asked for, of x [N, S, C] (channels-last) on Hopper: formulas in groupnorm.cu, structure in
// groupnorm_cluster.cuh. The variance comes from moments about each thread's first value, joined within the block and then over the cluster's blocks as
// groupnorm.cu joins chunks.
// arch: 90a only
#include "groupnorm_cluster.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** Shared memory: the slots; what group_moments needs; [groups of the tile, 2] means and squares of this block's rows; [2, groups] of the whole item. */
template <class T> DEV void forward_cluster(const T* x, T* y, const T* w, const T* b, float* mean, float* rstd, const Slabs& s, float eps, int with_silu) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(T, shared);
    int tiled = s.tile / s.per, rank = cluster_rank();
    float* own = (float*)(shared + Slots<T, 1>::size(s));
    float *means = own + 2 * tiled, *rstds = means + tiled, *entries = rstds + tiled;
    Slots<T, 1> slots(shared, s);
    int rows = s.rows_of(rank);
    Place<T, true> p(s, (int)blockIdx.x);
    int count = p.active ? s.count(p.lane, rows) : 0;
    const T* from[1] = {x + slots.start(s, p)};
    slots.fetch_all(from, count);
    Moments<T> mine;
    slots.as_they_come(count, [&](const Row<T, 1>& row, int k) {
        if (k == 0) {
            mine.start(row.v[0]);
        } else {
            mine.add(row.v[0]);
        }
    });
    group_moments<T, true>(s, p, mine, rows, entries, [&](int g, float m, float q) {
        own[2 * g] = m;
        own[2 * g + 1] = q;
    });
    Weights<T> weights;
    weights.template load<true>(s, p, w, b);
    cluster_sync();
    for (int g = warp_index(); g < tiled; g += block_threads() >> 5) {
        float m, r;
        join_chunks<T, true>(
            s, eps, m, r, [&](int c) { return load_cluster(own + 2 * g, c); }, [&](int c) { return load_cluster(own + 2 * g + 1, c); });
        if (lane() == 0) {
            means[g] = m;
            rstds[g] = r;
            if (rank == 0) {
                mean[(i64)p.sample * s.groups + p.tile * tiled + g] = m;
                rstd[(i64)p.sample * s.groups + p.tile * tiled + g] = r;
            }
        }
    }
    cluster_arrive();
    __syncthreads();
    Slopes<T> slopes;
    slopes.load(s, p, means, rstds, weights);
    T* to = y + slots.start(s, p);
    auto write = [&](auto&& after) {
        slots.write(count, to, [&](const Row<T, 1>& row) {
            float v[V], z[V];
            spread(row.v[0], v);
            slopes.apply(v, z);
            after(z);
            Vec<T, V> result;
#pragma unroll
            for (int i = 0; i < V; i++) result[i] = from_float<T>(z[i]);
            return result;
        });
    };
    if (with_silu) {
        write([](float(&z)[V]) {
            float sigmoid[V];
            sigmoids<T>(z, sigmoid);
#pragma unroll
            for (int i = 0; i < V; i++) z[i] *= sigmoid[i];
        });
    } else {
        write([](float(&)[V]) {});
    }
    cluster_wait();
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)

// x, y [N, S, C], w and b [C] or null, mean and rstd [N, groups]. Grid: N * (C / tile) * 8. 80 registers per thread, 64 for f32: two blocks of 384 or 512
// threads fit a multiprocessor.
#define FORWARD_CLUSTER(S, T)                                                                                                                \
    KERNEL_CLUSTER(group_norm_cluster_##S, SPARED<T> ? 768 : 1024, 1, CLUSTER)                                                               \
    (const T* x, T* y, const T* w, const T* b, float* mean, float* rstd, Slabs s, float eps, int with_silu) {                                \
        forward_cluster<T>(x, y, w, b, mean, rstd, s, eps, with_silu);                                                                       \
    }
TYPES(FORWARD_CLUSTER)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_CLUSTER(S, T) EMU_EXPORT(group_norm_cluster_##S)
TYPES(EXPORT_CLUSTER)
