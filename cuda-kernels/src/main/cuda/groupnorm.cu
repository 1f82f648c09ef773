// SPDX-License-Identifier: Apache-2.0
//
// Group normalisation (Wu and He 2018), with SiLU after it if asked for, of x [N, C, S] in channels-last ([N, S, C]) or channels-first order:
//
//   z = (x - mean) rstd w + b,   y = z or z sigmoid(z),   mean and rstd = 1 / sqrt(variance + eps) of each sample and group, in f32
//
// `fused`: a block keeps all pixels of a tile of channels in registers; the variance comes from differences to the mean. One launch.
// Larger slabs: `moments` (a block reads a chunk of the pixels, each thread sums differences to its first value, so large means do not cancel: the error
// of the variance is at most that of summing its thread's few values) and `apply`, whose blocks join the moments of the chunks (Chan et al. 1979) and
// normalise; they walk backwards, as what was read last is still in the second cache. A launch (`step`) does either, or the second of some samples beside
// the first of others. `any`: a block per group, every size and alignment.
#include "groupnorm.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** All pixels of a tile in registers, at most K vectors per thread. */
template <class T, bool LAST, int K>
DEV void forward_fused(const T* x, T* y, const T* w, const T* b, float* mean, float* rstd, const Slabs& s, float eps, int with_silu) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(float, shared);
    int tiled = s.tile / s.per;
    float *means = shared, *rstds = shared + tiled, *entry = shared + 2 * tiled;
    Place<T, LAST> p(s, (int)blockIdx.x);
    int rows = p.active ? s.rows : 0;
    float size = (float)s.per * (float)s.pixels;
    Vec<T, V> v[K];
#pragma unroll
    for (int k = 0; k < K; k++) {
        int r = p.lane + k * s.lanes;
        if (r < rows) v[k] = load_stream<V>(x + p.base + r * p.stride);
    }
    Weights<T> weights;
    if constexpr (K < 16) weights.template load<LAST>(s, p, w, b);  // early, where registers allow
    float sum[V];
#pragma unroll
    for (int i = 0; i < V; i++) sum[i] = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if (p.lane + k * s.lanes < rows) {
#pragma unroll
            for (int i = 0; i < V; i++) sum[i] += to_float(v[k][i]);
        }
    }
    stay_packed<T>(v);
    group_sums<T, LAST>(s, p, sum, entry, means);
    for (int g = (int)threadIdx.x; g < tiled; g += (int)blockDim.x) means[g] /= size;
    __syncthreads();
    float m[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        m[i] = p.active ? means[p.channel_of(i) / s.per] : 0.f;
        sum[i] = 0.f;
    }
#pragma unroll
    for (int k = 0; k < K; k++) {
        if (p.lane + k * s.lanes < rows) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                float d = to_float(v[k][i]) - m[i];
                sum[i] += d * d;
            }
        }
    }
    stay_packed<T>(v);
    group_sums<T, LAST>(s, p, sum, entry, rstds);
    for (int g = (int)threadIdx.x; g < tiled; g += (int)blockDim.x) {
        float r = 1.f / sqrtf(rstds[g] / size + eps);
        i64 at = (i64)p.sample * s.groups + p.tile * tiled + g;
        rstds[g] = rstd[at] = r;
        mean[at] = means[g];
    }
    __syncthreads();
    if (!p.active) return;
    Lines<T> lines;
    if constexpr (K < 16) {
        lines.template load<LAST>(s, p, means, rstds, weights);
    } else {
        lines.template load<LAST>(s, p, means, rstds, w, b);
    }
#pragma unroll
    for (int k = 0; k < K; k++) {
        int r = p.lane + k * s.lanes;
        if (r < rows) store_vec(y + p.base + r * p.stride, normalised(lines, v[k], with_silu));
    }
}

/** Mean and sum of squared differences to it of each group of a chunk: part [N, chunks, groups, 2]. */
template <class T, bool LAST> DEV void moments(const T* x, float* part, const Slabs& s, int block) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(float, shared);
    Place<T, LAST> p(s, block);
    int first = p.chunk * s.chunk, rows = s.rows_of(p.chunk), count = p.active ? s.count(p.lane, rows) : 0;
    const T* from = x + p.base + (first + p.lane) * p.stride;
    i64 step = s.lanes * p.stride;
    Moments<T> mine;
    if (count > 0) mine.start(load_vec<V>(from));
#pragma unroll 4
    for (int k = 1; k < count; k++) mine.add(load_vec<V>(from + k * step));
    float* to = part + 2 * (((i64)p.sample * s.chunks + p.chunk) * s.groups + p.tile * (s.tile / s.per));
    group_moments<T, LAST>(s, p, mine, rows, shared, [&](int g, float m, float q) {
        to[2 * g] = m;
        to[2 * g + 1] = q;
    });
}

/** Joins the moments of the chunks and normalises one chunk. */
template <class T, bool LAST>
DEV void apply(const T* x, T* y, const T* w, const T* b, const float* part, float* mean, float* rstd, const Slabs& s, float eps, int with_silu,
               int block, bool streamed) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(float, shared);
    int tiled = s.tile / s.per;
    float *means = shared, *rstds = shared + tiled;
    Place<T, LAST> p(s, block);
    for (int g = warp_index(); g < tiled; g += block_threads() >> 5) {
        const float* from = part + 2 * ((i64)p.sample * s.chunks * s.groups + p.tile * tiled + g);
        float m, r;
        i64 step = (i64)2 * s.groups;
        join_chunks<T, LAST>(s, eps, m, r, [&](int c) { return from[c * step]; }, [&](int c) { return from[c * step + 1]; });
        if (lane() == 0) {
            means[g] = m;
            rstds[g] = r;
            if (p.chunk == 0) {
                mean[(i64)p.sample * s.groups + p.tile * tiled + g] = m;
                rstd[(i64)p.sample * s.groups + p.tile * tiled + g] = r;
            }
        }
    }
    __syncthreads();
    if (!p.active) return;
    Lines<T> lines;
    lines.template load<LAST>(s, p, means, rstds, w, b);
    int count = s.count(p.lane, s.rows_of(p.chunk));
    i64 at = p.base + (p.chunk * s.chunk + p.lane) * p.stride, step = s.lanes * p.stride;
#pragma unroll 4
    for (int k = count - 1; k >= 0; k--) {
        put_vec(y + at + k * step, normalised(lines, load_stream<V>(x + at + k * step), with_silu), streamed);
    }
}

/** A block per group; strides of channels and pixels, `last`: neighbours in memory are channels. */
template <class T>
DEV void forward_any(const T* x, T* y, const T* w, const T* b, float* mean, float* rstd, int groups, int per, int pixels, int last, float eps,
                     int with_silu) {
    int sample = (int)blockIdx.x / groups, group = (int)blockIdx.x % groups, channels = groups * per;
    i64 base = (i64)sample * channels * pixels + (i64)group * per * (last ? 1 : pixels);
    int inner = last ? per : pixels;  // neighbours in memory
    i64 stride = last ? channels : pixels;
    i64 size = (i64)per * pixels;
    float m = 0.f;
    for (i64 i = threadIdx.x; i < size; i += blockDim.x) m += to_float(x[base + i / inner * stride + i % inner]);
    m = block_sum(m) / size;
    float q = 0.f;
    for (i64 i = threadIdx.x; i < size; i += blockDim.x) {
        float d = to_float(x[base + i / inner * stride + i % inner]) - m;
        q += d * d;
    }
    float r = 1.f / sqrtf(block_sum(q) / size + eps);
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = m;
        rstd[blockIdx.x] = r;
    }
    for (i64 i = threadIdx.x; i < size; i += blockDim.x) {
        i64 at = base + i / inner * stride + i % inner;
        int c = group * per + (int)(last ? i % inner : i / inner);
        float z = (to_float(x[at]) - m) * (w ? r * to_float(w[c]) : r) + (b ? to_float(b[c]) : 0.f);
        y[at] = from_float<T>(with_silu ? silu(z) : z);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// Suffix, type, order's name, whether channels-last, vectors per thread.
#define SIZES(X, S, T, O, L) X(S, T, O, L, 1) X(S, T, O, L, 2) X(S, T, O, L, 4) X(S, T, O, L, 8) X(S, T, O, L, 16)
#define ORDERS(X) X(f32, float, last, true) X(f32, float, first, false) X(bf16, bf16, last, true) X(bf16, bf16, first, false) \
    X(f16, f16, last, true) X(f16, f16, first, false)
#define FUSED(X)                                                                                                                             \
    SIZES(X, f32, float, last, true) SIZES(X, f32, float, first, false) SIZES(X, bf16, bf16, last, true) SIZES(X, bf16, bf16, first, false)  \
    SIZES(X, f16, f16, last, true) SIZES(X, f16, f16, first, false)
#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)

// x, y [N, C, S] in the order of the name, w and b [C] or null, mean and rstd [N, groups]. Grid: N * (C / tile), chunks = 1.
#define FORWARD_FUSED(S, T, O, L, K)                                                                                                         \
    KERNEL_BOUNDS(group_norm_fused_##O##_k##K##_##S, 512, 1)                                                                                 \
    (const T* x, T* y, const T* w, const T* b, float* mean, float* rstd, Slabs s, float eps, int with_silu) {                                \
        forward_fused<T, L, K>(x, y, w, b, mean, rstd, s, eps, with_silu);                                                                   \
    }
// x, y [N, C, S], w and b [C] or null, part [N, chunks, groups, 2], mean and rstd [N, groups]. Grid: the blocks of the step, of N * (C / tile) * chunks.
#define FORWARD_STEP(S, T, O, L)                                                                                                             \
    KERNEL_BOUNDS(group_norm_step_##O##_##S, 512, 2)                                                                                         \
    (const T* x, T* y, const T* w, const T* b, float* part, float* mean, float* rstd, Slabs s, float eps, int with_silu, Step step,          \
     int streamed) {                                                                                                                         \
        int block;                                                                                                                           \
        if (step.writes(block)) {                                                                                                            \
            apply<T, L>(x, y, w, b, part, mean, rstd, s, eps, with_silu, block, streamed);                                                   \
        } else {                                                                                                                             \
            moments<T, L>(x, part, s, block);                                                                                                \
        }                                                                                                                                    \
    }
// x, y [N, C, S], channels-last or not, w and b [C] or null, mean and rstd [N, groups]. Grid: N * groups.
#define FORWARD_ANY(S, T)                                                                                                                    \
    KERNEL_BOUNDS(group_norm_any_##S, 512, 1)                                                                                                \
    (const T* x, T* y, const T* w, const T* b, float* mean, float* rstd, int groups, int per, int pixels, int last, float eps, int silu) {   \
        forward_any<T>(x, y, w, b, mean, rstd, groups, per, pixels, last, eps, silu);                                                        \
    }
FUSED(FORWARD_FUSED)
ORDERS(FORWARD_STEP)
TYPES(FORWARD_ANY)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_FUSED(S, T, O, L, K) EMU_EXPORT(group_norm_fused_##O##_k##K##_##S)
#define EXPORT_ORDER(S, T, O, L) EMU_EXPORT(group_norm_step_##O##_##S)
#define EXPORT_ANY(S, T) EMU_EXPORT(group_norm_any_##S)
FUSED(EXPORT_FUSED)
ORDERS(EXPORT_ORDER)
TYPES(EXPORT_ANY)
