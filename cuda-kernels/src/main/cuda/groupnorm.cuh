// SPDX-License-Identifier: Apache-2.0
//
// How the kernels of group normalisation cut a sample [C, S] (S pixels) into slabs. A block takes a tile of channels, whole groups, and all pixels or a
// chunk of them. Its threads form `columns` x `lanes`: a thread stays in its column and walks over rows lane, lane + lanes, ...
//
//                     memory order of a sample   column           row        16-byte vector of a thread
//   channels-last     [S, C]                     V channels       a pixel    V channels of one pixel
//   channels-first    [C, S]                     one channel      V pixels   V pixels of one channel
//
// C (channels-last) or S (channels-first) is a multiple of V. Whatever is per channel is held V-fold by a thread; channels-first the V copies are equal.
#ifndef SFUMATO_GROUPNORM_CUH
#define SFUMATO_GROUPNORM_CUH
#include "spread.cuh"

/** Sizes, as the launcher passes them. */
struct Slabs {
    int channels;  // C
    int groups;
    int per;       // C / groups
    int tile;      // channels of a block, a multiple of per (and of V if channels-last)
    int columns;   // tile / V, or tile
    int lanes;     // columns * lanes <= threads of the block
    int rows;      // S, or S / V
    int chunks;    // blocks along the rows
    int chunk;     // rows of one
    int pixels;    // S

    /** Rows of a chunk. */
    DEVM int rows_of(int c) const { return (c + 1) * chunk < rows ? chunk : rows - c * chunk; }

    /** How many of a chunk's rows a lane takes. */
    DEVM int count(int lane, int of) const { return lane < of ? div_up(of - lane, lanes) : 0; }
};

/** Largest common divisor of the channels of a group and a vector: that many neighbours in a thread surely share a group. */
template <int V> DEV int together(int per) {
    int low = per & -per;
    return low < V ? low : V;
}

/** A thread's place. */
template <class T, bool LAST> struct Place {
    static constexpr int V = Wide<T>::N;
    int sample, tile, chunk;  // of the block
    int column, lane;         // of the thread
    bool active;
    int channel;              // the thread's first, in the tile
    i64 base;                 // offset of row 0
    i64 stride;               // from row to row

    DEVM Place(const Slabs& s, int block) {
        int tiles = s.channels / s.tile;
        chunk = block % s.chunks;
        int rest = block / s.chunks;
        tile = rest % tiles;
        sample = rest / tiles;
        int t = (int)threadIdx.x;
        active = t < s.columns * s.lanes;
        column = LAST ? t % s.columns : t / s.lanes;
        lane = LAST ? t / s.columns : t % s.lanes;
        channel = LAST ? column * V : column;
        i64 first = (i64)sample * s.channels * s.pixels;
        i64 c = (i64)tile * s.tile + channel;
        base = first + (LAST ? c : c * s.pixels);
        stride = LAST ? s.channels : V;
    }

    /** The i-th of the thread's V channels, in the tile. */
    DEVM int channel_of(int i) const { return LAST ? channel + i : channel; }
};

// Shared memory of the sums over groups: [groups of the tile][lanes][entries], entries = per / u, where u neighbours of a thread were added before.

/** Joins a thread's V values u at a time: add(i, n) for the n-th of a run (from 0), put(entry) at its end. Channels-first all V are one run. */
template <int V, bool LAST, class Add, class Put> DEV void join_entries(const Slabs& s, int column, int lane, int u, Add&& add, Put&& put) {
    int entries = LAST ? s.per / u : s.per;
    int e = LAST ? column * V / u : column;
    int g = e / entries;
    e -= g * entries;
#pragma unroll
    for (int i = 0; i < V; i++) {
        add(i, LAST ? i & (u - 1) : i);
        if (LAST ? ((i + 1) & (u - 1)) == 0 : i == V - 1) {
            put((g * s.lanes + lane) * entries + e);
            if (++e == entries) {
                e = 0;
                g++;
            }
        }
    }
}

/**
 * Sums over the groups of a tile: adds up v over the block's threads into total[groups of the tile]. Both in shared memory, `entry` for one value of each
 * thread and u channels. Ends with a barrier.
 */
template <class T, bool LAST>
DEV void group_sums(const Slabs& s, const Place<T, LAST>& p, const float (&v)[Wide<T>::N], float* entry, float* total) {
    constexpr int V = Wide<T>::N;
    int u = together<V>(s.per);
    if (p.active) {
        float sum = 0.f;
        join_entries<V, LAST>(
            s, p.column, p.lane, u, [&](int i, int n) { sum = n == 0 ? v[i] : sum + v[i]; }, [&](int at) { entry[at] = sum; });
    }
    __syncthreads();
    int count = s.lanes * (LAST ? s.per / u : s.per);
    for (int g = warp_index(); g < s.tile / s.per; g += block_threads() >> 5) {
        float sum = 0.f;
        for (int i = lane(); i < count; i += 32) sum += entry[g * count + i];
        sum = warp_sum(sum);
        if (lane() == 0) total[g] = sum;
    }
    __syncthreads();
}

/** Mean, and sum of squares, of each of a thread's V channels; from differences to its first value, so that large means do not cancel. */
template <class T> struct Moments {
    static constexpr int V = Wide<T>::N;
    float shift[V], sum[V], square[V];

    DEVM void start(const Vec<T, V>& first) {
        spread(first, shift);
#pragma unroll
        for (int i = 0; i < V; i++) {
            sum[i] = square[i] = 0.f;
        }
    }

    DEVM void add(const Vec<T, V>& v) {
        float x[V];
        spread(v, x);
#pragma unroll
        for (int i = 0; i < V; i++) {
            float d = x[i] - shift[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }

    /** After `count` values, 0 to do without any: sum is their mean, square of the differences to it. */
    DEVM void finish(int count) {
        float each = count > 0 ? 1.f / (float)count : 0.f;
#pragma unroll
        for (int i = 0; i < V; i++) {
            if (count == 0) shift[i] = sum[i] = square[i] = 0.f;
            float d = sum[i] * each;
            square[i] -= sum[i] * d;
            sum[i] = shift[i] + d;
        }
    }
};

/**
 * Joins the moments of a block's threads, which have taken `rows` rows of a chunk: put(g, mean, squares) of each group of the tile, in one lane of a warp.
 * Shared memory for two values of each thread and u channels; one barrier, before it is read.
 */
template <class T, bool LAST, class Put>
DEV void group_moments(const Slabs& s, const Place<T, LAST>& p, Moments<T>& mine, int rows, float* shared, Put&& put) {
    constexpr int V = Wide<T>::N;
    int u = LAST ? together<V>(s.per) : V;
    int entries = LAST ? s.per / u : s.per, tiled = s.tile / s.per;
    int per_group = s.lanes * entries;
    float *means = shared, *squares = shared + per_group * tiled;
    if (p.active) {
        int count = s.count(p.lane, rows);
        mine.finish(count);
        float each = rcp_fast((float)u), shift = 0.f, sum = 0.f, square = 0.f, q = 0.f;  // of a run of channels' means, all of the same count
        join_entries<V, LAST>(
            s, p.column, p.lane, u,
            [&](int i, int n) {
                if (n == 0) {
                    shift = mine.sum[i];
                    sum = square = q = 0.f;
                }
                float d = mine.sum[i] - shift;
                sum += d;
                square += d * d;
                q += mine.square[i];
            },
            [&](int at) {
                means[at] = shift + sum * each;
                squares[at] = q + count * (square - sum * (sum * each));
            });
    }
    __syncthreads();
    float total = (float)rows * entries;  // in units of u values
    int least = rows / s.lanes, more = rows % s.lanes * entries;  // the first entries are of lanes with one row more
    for (int g = warp_index(); g < tiled; g += block_threads() >> 5) {
        float m = 0.f, q = 0.f;
        for (int i = lane(); i < per_group; i += 32) m += (least + (i < more)) * means[g * per_group + i];
        m = warp_sum(m) / total;
        for (int i = lane(); i < per_group; i += 32) {
            float d = means[g * per_group + i] - m;
            q += squares[g * per_group + i] + (least + (i < more)) * u * (d * d);
        }
        q = warp_sum(q);
        if (lane() == 0) put(g, m, q);
    }
}

/** Mean and 1 / deviation of a group from its chunks' means and squares, in every lane of a warp (Chan et al. 1979). */
template <class T, bool LAST, class Mean, class Squares>
DEV void join_chunks(const Slabs& s, float eps, float& mean, float& rstd, Mean&& mean_of, Squares&& squares_of) {
    float m = 0.f, q = 0.f;
    for (int c = lane(); c < s.chunks; c += 32) m += s.rows_of(c) * mean_of(c);
    m = warp_sum(m) / s.rows;
    float row = (float)s.per * (LAST ? 1 : Wide<T>::N);  // values of a group in a row
    for (int c = lane(); c < s.chunks; c += 32) {
        float d = mean_of(c) - m;
        q += squares_of(c) + s.rows_of(c) * row * (d * d);
    }
    mean = m;
    rstd = 1.f / sqrtf(warp_sum(q) / (row * s.rows) + eps);
}

/** Weights and biases of a thread's V channels; 1 and 0 where there are none. */
template <class T> struct Weights {
    static constexpr int V = Wide<T>::N;
    Vec<T, V> w, b;

    /** w and b [C] or null. */
    template <bool LAST> DEVM void load(const Slabs& s, const Place<T, LAST>& p, const T* weights, const T* biases) {
        fill<LAST>(s, p, weights, 1.f, w);
        fill<LAST>(s, p, biases, 0.f, b);
    }

    template <bool LAST> DEVM static void fill(const Slabs& s, const Place<T, LAST>& p, const T* from, float absent, Vec<T, V>& to) {
        int c = p.tile * s.tile + p.channel;
        if (from && p.active && LAST && is_aligned(from, 16)) {
            to = load_vec<V>(from + c);
        } else {
#pragma unroll
            for (int i = 0; i < V; i++) to[i] = from && p.active ? from[c + (LAST ? i : 0)] : from_float<T>(absent);
        }
    }
};

/** What a thread needs to normalise V values: z = (x - mean) factor + bias. */
template <class T> struct Lines {
    static constexpr int V = Wide<T>::N;
    float mean[V], factor[V], bias[V];

    /** Statistics of the tile's groups. */
    template <bool LAST> DEVM void load(const Slabs& s, const Place<T, LAST>& p, const float* means, const float* rstds, const Weights<T>& weights) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            int g = p.channel_of(i) / s.per;
            mean[i] = means[g];
            factor[i] = rstds[g] * to_float(weights.w[i]);
            bias[i] = to_float(weights.b[i]);
        }
    }

    /** The same from w and b [C] or null: fewer registers, later loads. */
    template <bool LAST> DEVM void load(const Slabs& s, const Place<T, LAST>& p, const float* means, const float* rstds, const T* w, const T* b) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            int c = p.channel_of(i), g = c / s.per;
            c += p.tile * s.tile;
            mean[i] = means[g];
            factor[i] = rstds[g] * (w ? to_float(w[c]) : 1.f);
            bias[i] = b ? to_float(b[c]) : 0.f;
        }
    }
};

/**
 * The blocks of a launch that goes over the slabs of some samples for the first time and of others for the second time, in turns: so the second reads
 * find in the second cache what the launch before has read, while the memory is busy with the first reads.
 */
struct Step {
    int first, firsts;    // blocks [first, first + firsts) of the slabs are summed up
    int second, seconds;  // blocks [second, second + seconds) are written

    /** Whether this block writes, and which block of the slabs it is. */
    DEVM bool writes(int& block) const {
        int i = (int)blockIdx.x, pairs = firsts < seconds ? firsts : seconds;
        bool second_time = i < 2 * pairs ? (i & 1) != 0 : seconds > firsts;
        block = (second_time ? second : first) + (i < 2 * pairs ? i >> 1 : i - pairs);
        return second_time;
    }
};

/** Stores a vector; `streamed`: it does not stay in the second cache. */
template <int V, class T> DEV void put_vec(T* p, const Vec<T, V>& v, bool streamed) {
    if (streamed) {
        store_stream(p, v);
    } else {
        store_vec(p, v);
    }
}

DEV float silu(float z) { return z * sigmoid_fast(z); }

/** The derivative of z sigmoid(z). */
DEV float silu_slope(float z) {
    float s = sigmoid_fast(z);
    return s * (1.f + z * (1.f - s));
}

template <class T> DEV Vec<T, Wide<T>::N> normalised(const Lines<T>& lines, const Vec<T, Wide<T>::N>& x, int with_silu) {
    Vec<T, Wide<T>::N> y;
    float v[Wide<T>::N];
    spread(x, v);
#pragma unroll
    for (int i = 0; i < Wide<T>::N; i++) {
        float z = (v[i] - lines.mean[i]) * lines.factor[i] + lines.bias[i];
        y[i] = from_float<T>(with_silu ? silu(z) : z);
    }
    return y;
}

#endif
