// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of group normalisation's gradients share; groupnorm_backward.cu says what A, B, s1, s2 and M are.
#ifndef SFUMATO_GROUPNORM_BACKWARD_CUH
#define SFUMATO_GROUPNORM_BACKWARD_CUH
#include "groupnorm.cuh"

/** dz of one value; d = x - mean. */
DEV float before_silu(float dy, float d, float factor, float bias, int with_silu) { return with_silu ? dy * silu_slope(d * factor + bias) : dy; }

/** Adds (dz d, dz) of a vector to a thread's sums. */
template <class T>
DEV void add_up(const Lines<T>& lines, const Vec<T, Wide<T>::N>& dy, const Vec<T, Wide<T>::N>& x, int with_silu, float (&b)[Wide<T>::N],
                float (&a)[Wide<T>::N]) {
    float given[Wide<T>::N], values[Wide<T>::N];
    spread(dy, given);
    spread(x, values);
#pragma unroll
    for (int i = 0; i < Wide<T>::N; i++) {
        float d = values[i] - lines.mean[i];
        float dz = before_silu(given[i], d, lines.factor[i], lines.bias[i], with_silu);
        b[i] += dz * d;
        a[i] += dz;
    }
}

/** dx of a vector: factor dz - c0 - (x - mean) c1. */
template <class T>
DEV Vec<T, Wide<T>::N> gradient(const Lines<T>& lines, const Vec<T, Wide<T>::N>& dy, const Vec<T, Wide<T>::N>& x, int with_silu,
                                const float (&c0)[Wide<T>::N], const float (&c1)[Wide<T>::N]) {
    Vec<T, Wide<T>::N> dx;
    float given[Wide<T>::N], values[Wide<T>::N];
    spread(dy, given);
    spread(x, values);
#pragma unroll
    for (int i = 0; i < Wide<T>::N; i++) {
        float d = values[i] - lines.mean[i];
        float dz = before_silu(given[i], d, lines.factor[i], lines.bias[i], with_silu);
        dx[i] = from_float<T>(lines.factor[i] * dz - c0[i] - d * c1[i]);
    }
    return dx;
}

/** s1 and s2 of each group of the tile from B and A of its channels in shared memory: put(g, s1, s2) in one lane of a warp. */
template <class T, bool LAST, class Put>
DEV void join_channels(const Slabs& s, const Place<T, LAST>& p, const float* b, const float* a, const T* w, Put&& put) {
    for (int g = warp_index(); g < s.tile / s.per; g += block_threads() >> 5) {
        float s1 = 0.f, s2 = 0.f;
        for (int i = lane(); i < s.per; i += 32) {
            int c = g * s.per + i;
            float f = w ? to_float(w[p.tile * s.tile + c]) : 1.f;
            s1 += f * a[c];
            s2 += f * b[c];
        }
        s1 = warp_sum(s1);
        s2 = warp_sum(s2);
        if (lane() == 0) put(g, s1, s2);
    }
}

/** The constants of dx of the tile's groups: c0 = rstd s1 / M, c1 = rstd^2 s2 / M. */
struct Constants {
    float* shared;  // [2, groups of the tile]
    int tiled;
    float size;  // M

    DEVM Constants(const Slabs& s, float* at) : shared(at), tiled(s.tile / s.per), size((float)s.per * (float)s.pixels) {}

    DEVM void put(int g, float s1, float s2, float r) const {
        shared[g] = r * (s1 / size);
        shared[tiled + g] = r * r * (s2 / size);
    }

    /** Those of a thread. Begins with a barrier. */
    template <class T, bool LAST> DEVM void get(const Slabs& s, const Place<T, LAST>& p, float (&c0)[Wide<T>::N], float (&c1)[Wide<T>::N]) const {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < Wide<T>::N; i++) {
            int g = p.active ? p.channel_of(i) / s.per : 0;
            c0[i] = shared[g];
            c1[i] = shared[tiled + g];
        }
    }
};

#endif
