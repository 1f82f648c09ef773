// SPDX-License-Identifier: Apache-2.0
//
// Gradients of group normalisation (Wu and He 2018) with or without SiLU, x [N, C, S] in channels-last ([N, S, C]) or channels-first order. With
// x^ = (x - mean) rstd, z = x^ w + b, dz = dy or dy silu'(z), and M = S C / groups values per group:
//
//   of each sample and channel:  A = sum dz,  B = sum dz x^            db = sum over samples of A,  dw = sum over samples of B
//   of each sample and group:    s1 = sum w A,  s2 = sum w B           dx = rstd (dz w - s1 / M - x^ s2 / M)
//
// `fused`: a block keeps x and dy of all pixels of a tile of channels in registers. Larger slabs: sums of chunks of the pixels, then dx, whose blocks
// join the chunks; a launch (`step`) does either, or the second of some samples beside the first of others. `any`: a block per group, every size and
// alignment. All leave [N, 2, C] = (B, A) for dw and db, which
// layer_norm_finish adds up over samples; with one sample, `fused` writes dw and db itself.
#include "groupnorm_backward.cuh"

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** In how many parts the lanes of a channel are added up. */
DEV int slices_of(int width) {
    int n = (int)blockDim.x / width;
    return n < 1 ? 1 : n < 16 ? n : 16;
}

/**
 * Sums over the block's threads of a tile's channels: total [2, tile] = (B, A), from each thread's sums of dz d and dz. In shared memory, followed by
 * room for [slices, 2, tile] and [lanes, 2, tile]; ends with a barrier.
 */
template <class T, bool LAST>
DEV void channel_sums(const Slabs& s, const Place<T, LAST>& p, const float (&b)[Wide<T>::N], const float (&a)[Wide<T>::N], const float* rstds,
                      float* total) {
    constexpr int V = Wide<T>::N;
    int width = 2 * s.tile, threads = (int)blockDim.x, t = (int)threadIdx.x;
    int slices = slices_of(width);
    float* slice = total + width;
    float* entry = slice + slices * width;
    if (p.active) {
        float* mine = entry + p.lane * width + p.channel;
        if constexpr (LAST) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                mine[i] = b[i];
                mine[s.tile + i] = a[i];
            }
        } else {
            float sum_b = 0.f, sum_a = 0.f;
#pragma unroll
            for (int i = 0; i < V; i++) {
                sum_b += b[i];
                sum_a += a[i];
            }
            mine[0] = sum_b;
            mine[s.tile] = sum_a;
        }
    }
    __syncthreads();
    for (int i = t; i < slices * width; i += threads) {
        float sum = 0.f;
        for (int l = i / width; l < s.lanes; l += slices) sum += entry[l * width + i % width];
        slice[i] = sum;
    }
    __syncthreads();
    for (int c = t; c < width; c += threads) {
        float sum = 0.f;
        for (int i = 0; i < slices; i++) sum += slice[i * width + c];
        total[c] = c < s.tile ? sum * rstds[c / s.per] : sum;
    }
    __syncthreads();
}

/** All pixels of a tile in registers, at most K vectors of x and of dy per thread. */
template <class T, bool LAST, int K>
DEV void backward_fused(const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, T* dx, float* sums, T* dw, T* db,
                        const Slabs& s, int with_silu) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(float, total);
    Place<T, LAST> p(s, (int)blockIdx.x);
    int rows = p.active ? s.rows : 0, tiled = s.tile / s.per;
    i64 statistics = (i64)p.sample * s.groups + p.tile * tiled;
    const float *means = mean + statistics, *rstds = rstd + statistics;
    Vec<T, V> u[K], v[K];
#pragma unroll
    for (int k = 0; k < K; k++) {
        int r = p.lane + k * s.lanes;
        if (r < rows) {
            u[k] = load_stream<V>(dy + p.base + r * p.stride);
            v[k] = load_stream<V>(x + p.base + r * p.stride);
        }
    }
    Lines<T> lines;
    Weights<T> weights;
    weights.template load<LAST>(s, p, w, b);
    if (p.active) lines.template load<LAST>(s, p, means, rstds, weights);
    float sum_b[V], sum_a[V];
#pragma unroll
    for (int i = 0; i < V; i++) sum_b[i] = sum_a[i] = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if (p.lane + k * s.lanes < rows) add_up(lines, u[k], v[k], with_silu, sum_b, sum_a);
    }
    stay_packed<T>(u);
    stay_packed<T>(v);
    channel_sums<T, LAST>(s, p, sum_b, sum_a, rstds, total);
    i64 first = (i64)p.tile * s.tile;
    for (int c = (int)threadIdx.x; c < s.tile; c += (int)blockDim.x) {
        if (sums) {
            sums[2 * (i64)p.sample * s.channels + first + c] = total[c];
            sums[(2 * (i64)p.sample + 1) * s.channels + first + c] = total[s.tile + c];
        }
        if (dw) dw[first + c] = from_float<T>(total[c]);
        if (db) db[first + c] = from_float<T>(total[s.tile + c]);
    }
    float c0[V], c1[V];
    Constants constants(s, total + 2 * s.tile);
    join_channels(s, p, total, total + s.tile, w, [&](int g, float s1, float s2) { constants.put(g, s1, s2, rstds[g]); });
    constants.get(s, p, c0, c1);
#pragma unroll
    for (int k = 0; k < K; k++) {
        int r = p.lane + k * s.lanes;
        if (r < rows) store_vec(dx + p.base + r * p.stride, gradient(lines, u[k], v[k], with_silu, c0, c1));
    }
}

/** Sums of the chunks of a sample's pixels. */
struct Parts {
    float* channels;  // [N, chunks, 2, C]: B and A
    float* groups;    // [N, chunks, groups, 2]: s1 and s2
};

/** B and A, s1 and s2 of a chunk of the pixels. */
template <class T, bool LAST>
DEV void chunk_sums(const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, const Parts& parts, const Slabs& s,
                    int with_silu, int block) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(float, total);
    Place<T, LAST> p(s, block);
    int tiled = s.tile / s.per;
    i64 statistics = (i64)p.sample * s.groups + p.tile * tiled;
    float sum_b[V], sum_a[V];
#pragma unroll
    for (int i = 0; i < V; i++) sum_b[i] = sum_a[i] = 0.f;
    if (p.active) {
        Lines<T> lines;
        lines.template load<LAST>(s, p, mean + statistics, rstd + statistics, w, b);
        int first = p.chunk * s.chunk, last = first + s.chunk < s.rows ? first + s.chunk : s.rows;
        i64 at = p.base + (first + p.lane) * p.stride, step = s.lanes * p.stride;
#pragma unroll 2
        for (int r = first + p.lane; r < last; r += s.lanes) {
            add_up(lines, load_vec<V>(dy + at), load_vec<V>(x + at), with_silu, sum_b, sum_a);
            at += step;
        }
    }
    channel_sums<T, LAST>(s, p, sum_b, sum_a, rstd + statistics, total);
    i64 chunk = (i64)p.sample * s.chunks + p.chunk;
    float* to = parts.channels + 2 * chunk * s.channels + (i64)p.tile * s.tile;
    for (int c = (int)threadIdx.x; c < s.tile; c += (int)blockDim.x) {
        to[c] = total[c];
        to[s.channels + c] = total[s.tile + c];
    }
    to = parts.groups + 2 * (chunk * s.groups + p.tile * tiled);
    join_channels(s, p, total, total + s.tile, w, [&](int g, float s1, float s2) {
        to[2 * g] = s1;
        to[2 * g + 1] = s2;
    });
}

/** dx of a chunk of the pixels; backwards, as what was read last is still in the second cache. Adds up a share of the tile's channels in sums [N, 2, C]. */
template <class T, bool LAST>
DEV void apply_backward(const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, const Parts& parts, float* sums, T* dx,
                        const Slabs& s, int with_silu, int block, bool streamed) {
    constexpr int V = Wide<T>::N;
    DYN_SHARED(float, shared);
    Place<T, LAST> p(s, block);
    int tiled = s.tile / s.per;
    i64 statistics = (i64)p.sample * s.groups + p.tile * tiled, chunk = (i64)p.sample * s.chunks;
    Constants constants(s, shared);
    for (int g = warp_index(); g < tiled; g += block_threads() >> 5) {
        const float* from = parts.groups + 2 * (chunk * s.groups + p.tile * tiled + g);
        float s1 = 0.f, s2 = 0.f;
        for (int c = lane(); c < s.chunks; c += 32) {
            s1 += from[(i64)2 * c * s.groups];
            s2 += from[(i64)2 * c * s.groups + 1];
        }
        s1 = warp_sum(s1);
        s2 = warp_sum(s2);
        if (lane() == 0) constants.put(g, s1, s2, rstd[statistics + g]);
    }
    float c0[V], c1[V];
    constants.get(s, p, c0, c1);
    if (sums) {
        int share = div_up(2 * s.tile, s.chunks), end = (p.chunk + 1) * share < 2 * s.tile ? (p.chunk + 1) * share : 2 * s.tile;
        for (int i = p.chunk * share + (int)threadIdx.x; i < end; i += (int)blockDim.x) {
            i64 column = (i64)(i / s.tile) * s.channels + p.tile * s.tile + i % s.tile;
            const float* from = parts.channels + 2 * chunk * s.channels + column;
            float sum = 0.f;
#pragma unroll 4
            for (int c = 0; c < s.chunks; c++) sum += from[(i64)2 * c * s.channels];
            sums[2 * (i64)p.sample * s.channels + column] = sum;
        }
    }
    if (!p.active) return;
    Lines<T> lines;
    lines.template load<LAST>(s, p, mean + statistics, rstd + statistics, w, b);
    int first = p.chunk * s.chunk, last = first + s.chunk < s.rows ? first + s.chunk : s.rows;
    int count = p.lane < last - first ? div_up(last - first - p.lane, s.lanes) : 0;
    i64 step = s.lanes * p.stride, at = p.base + (first + p.lane) * p.stride + (count - 1) * step;
#pragma unroll 2
    for (int k = 0; k < count; k++) {
        put_vec(dx + at, gradient(lines, load_stream<V>(dy + at), load_stream<V>(x + at), with_silu, c0, c1), streamed);
        at -= step;
    }
}

/** A block per group: a warp per channel, then dx. `last`: neighbours in memory are channels. */
template <class T>
DEV void backward_any(const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, T* dx, float* sums, int groups, int per,
                      int pixels, int last, int with_silu) {
    int sample = (int)blockIdx.x / groups, group = (int)blockIdx.x % groups, channels = groups * per;
    i64 base = (i64)sample * channels * pixels;
    i64 channel_stride = last ? 1 : pixels, pixel_stride = last ? channels : 1;
    float m = mean[blockIdx.x], r = rstd[blockIdx.x];
    float s[2] = {0.f, 0.f};
    for (int i = warp_index(); i < per; i += block_threads() >> 5) {
        int c = group * per + i;
        float f = w ? to_float(w[c]) : 1.f, bias = b ? to_float(b[c]) : 0.f;
        float sum_b = 0.f, sum_a = 0.f;
        for (int q = lane(); q < pixels; q += 32) {
            i64 at = base + c * channel_stride + q * pixel_stride;
            float d = to_float(x[at]) - m;
            float dz = before_silu(to_float(dy[at]), d, r * f, bias, with_silu);
            sum_b += dz * d;
            sum_a += dz;
        }
        sum_b = warp_sum(sum_b) * r;
        sum_a = warp_sum(sum_a);
        if (lane() == 0) {
            if (sums) {
                sums[2 * (i64)sample * channels + c] = sum_b;
                sums[(2 * (i64)sample + 1) * channels + c] = sum_a;
            }
            s[0] += f * sum_a;
            s[1] += f * sum_b;
        }
    }
    block_sum(s);
    i64 size = (i64)per * pixels;
    float c0 = r * (s[0] / size), c1 = r * r * (s[1] / size);
    for (i64 i = threadIdx.x; i < size; i += blockDim.x) {
        int c = group * per + (int)(last ? i % per : i / pixels);
        i64 at = base + c * channel_stride + (last ? i / per : i % pixels) * pixel_stride;
        float f = w ? to_float(w[c]) : 1.f, bias = b ? to_float(b[c]) : 0.f;
        float d = to_float(x[at]) - m;
        float dz = before_silu(to_float(dy[at]), d, r * f, bias, with_silu);
        dx[at] = from_float<T>(r * f * dz - c0 - d * c1);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// Suffix, type, order's name, whether channels-last, vectors per thread.
#define SIZES(X, S, T, O, L) X(S, T, O, L, 1) X(S, T, O, L, 2) X(S, T, O, L, 4) X(S, T, O, L, 8) X(S, T, O, L, 16)
#define FUSED(X)                                                                                                                             \
    SIZES(X, f32, float, last, true) SIZES(X, f32, float, first, false) SIZES(X, bf16, bf16, last, true) SIZES(X, bf16, bf16, first, false)  \
    SIZES(X, f16, f16, last, true) SIZES(X, f16, f16, first, false)
#define ORDERS(X)                                                                                                                            \
    X(f32, float, last, true) X(f32, float, first, false) X(bf16, bf16, last, true) X(bf16, bf16, first, false) X(f16, f16, last, true)      \
    X(f16, f16, first, false)
#define TYPES(X) X(f32, float) X(bf16, bf16) X(f16, f16)

// dy, x, dx [N, C, S] in the order of the name, mean and rstd [N, groups], w and b [C] or null, sums [N, 2, C] or null, dw and db [C] or null (non-null
// for one sample only). Grid: N * (C / tile), chunks = 1.
#define BACKWARD_FUSED(S, T, O, L, K)                                                                                                        \
    KERNEL_BOUNDS(group_norm_backward_fused_##O##_k##K##_##S, 256, 1)                                                                        \
    (const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, T* dx, float* sums, T* dw, T* db, Slabs s,       \
     int with_silu) {                                                                                                                        \
        backward_fused<T, L, K>(dy, x, mean, rstd, w, b, dx, sums, dw, db, s, with_silu);                                                    \
    }
// channels [N, chunks, 2, C], group_parts [N, chunks, groups, 2], sums [N, 2, C] or null. Grid: the blocks of the step, of N * (C / tile) * chunks.
#define BACKWARD_STEP(S, T, O, L)                                                                                                            \
    KERNEL_BOUNDS(group_norm_backward_step_##O##_##S, 256, 3)                                                                                \
    (const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, float* channels, float* group_parts,             \
     float* sums, T* dx, Slabs s, int with_silu, Step step, int streamed) {                                                                  \
        int block;                                                                                                                           \
        if (step.writes(block)) {                                                                                                            \
            apply_backward<T, L>(dy, x, mean, rstd, w, b, Parts{channels, group_parts}, sums, dx, s, with_silu, block, streamed);            \
        } else {                                                                                                                             \
            chunk_sums<T, L>(dy, x, mean, rstd, w, b, Parts{channels, group_parts}, s, with_silu, block);                                    \
        }                                                                                                                                    \
    }
// Channels-last or not; sums [N, 2, C] or null. Grid: N * groups.
#define BACKWARD_ANY(S, T)                                                                                                                   \
    KERNEL_BOUNDS(group_norm_backward_any_##S, 512, 1)                                                                                       \
    (const T* dy, const T* x, const float* mean, const float* rstd, const T* w, const T* b, T* dx, float* sums, int groups, int per,         \
     int pixels, int last, int with_silu) {                                                                                                  \
        backward_any<T>(dy, x, mean, rstd, w, b, dx, sums, groups, per, pixels, last, with_silu);                                            \
    }
FUSED(BACKWARD_FUSED)
ORDERS(BACKWARD_STEP)
TYPES(BACKWARD_ANY)

// ---- For the emulator --------------------------------------------------------------------------------------------------------------------------------

#define EXPORT_FUSED(S, T, O, L, K) EMU_EXPORT(group_norm_backward_fused_##O##_k##K##_##S)
#define EXPORT_ORDER(S, T, O, L) EMU_EXPORT(group_norm_backward_step_##O##_##S)
#define EXPORT_ANY(S, T) EMU_EXPORT(group_norm_backward_any_##S)
FUSED(EXPORT_FUSED)
ORDERS(EXPORT_ORDER)
TYPES(EXPORT_ANY)
