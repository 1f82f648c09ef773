// SPDX-License-Identifier: Apache-2.0
// Convolutions as implicit matrix products on tensor cores (mma.sync), sums in f32: of 16-bit tensors, and
// of f32 tensors whose values are rounded to tf32 on the way from shared memory to registers.
//
// conv_gather (see conv.cuh): g [images, d, h, w, channels], w [groups][N][kernel][C], bias [groups * N]
// or null, y [images, d, h, w, groups * N], all row-major; N and C count channels of one group.
// A block makes a tile BM x BN of y. It walks over K = (tap, c) by 64 bytes, BK values; four stages of
// A [BM][BK] and B [BN][BK] in shared memory are filled by cp.async, with zeros where a tap lies outside.
// conv_weight: dy [pixels, groups * M], x as g above, parts [splits][groups * M][kernel][C] in f32.
// A block makes a tile BM x BN of dw over the pixels of its split, stages A [BK][BM] and B [BK][BN].
// Rows in shared memory are 16-byte chunks whose order depends on the row, so that the eight rows
// that ldmatrix reads, or the four of a tf32 fragment, lie in different banks.
#pragma once
#include "conv.cuh"

constexpr int STAGES = 4;

/** Values of T in 16 bytes, and in a row of a stage. */
template <class T> constexpr int CHUNK = 16 / (int)sizeof(T);
template <class T> constexpr int DEPTH = 4 * CHUNK<T>;
/** Threads of a block whose warps make WM x WN of a tile each. */
template <int BM, int BN, int WM, int WN> constexpr int THREADS_OF = 32 * (BM / WM) * (BN / WN);

// ---- device functions ----

DEV void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], bf16) { mma_bf16_16816(c, a, b); }
DEV void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], f16) { mma_f16_16816(c, a, b); }
DEV void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], float) { mma_tf32_1688(c, a, b); }

template <class T, int N> DEV void round_operand(unsigned (&r)[N]) {
    if constexpr (sizeof(T) == 4) {
        #pragma unroll
        for (int i = 0; i < N; i++) r[i] = float_to_tf32(__uint_as_float(r[i]));
    }
}

/** Values before chunk c of row r, for rows of CHUNKS chunks; ACROSS if fragments are read down the rows. */
template <class T, int CHUNKS, bool ACROSS> DEV int chunk_at(int r, int c) {
    int turn = sizeof(T) == 4 && ACROSS ? (r & 3) * 2 : CHUNKS >= 8 ? r & 7 : r >> 1 & 3;
    return (r * CHUNKS + (c ^ turn)) * CHUNK<T>;
}

/** One value of f32 rows [K][CHUNKS chunks]. */
template <int CHUNKS> DEV unsigned value_at(const float* s, int k, int m) {
    return __float_as_uint(s[chunk_at<float, CHUNKS, true>(k, m / 4) + m % 4]);
}

/** acc += A B for one stage; rows of A and B run along K ([BM][BK], [BN][BK]), or K over rows (ACROSS). */
template <class T, int BM, int BN, int WM, int WN, bool ACROSS>
DEV void multiply(float (&acc)[WM / 16][WN / 8][4], const T* a, const T* b, int wm, int wn) {
    constexpr int E = CHUNK<T>;
    int l = lane(), r8 = l & 7, m8 = l >> 3;
    #pragma unroll
    for (int k = 0; k < DEPTH<T>; k += 2 * E) {
        unsigned fa[WM / 16][4], fb[WN / 8][2];
        #pragma unroll
        for (int i = 0; i < WM / 16; i++) {
            int m = wm + i * 16;
            if constexpr (!ACROSS) ldmatrix_x4(fa[i], a + chunk_at<T, 4, false>(m + (l & 15), k / E + (l >> 4)));
            else if constexpr (sizeof(T) == 2) ldmatrix_x4_trans(fa[i], a + chunk_at<T, BM / E, true>(k + (m8 >> 1) * 8 + r8, m / E + (m8 & 1)));
            else
                #pragma unroll
                for (int e = 0; e < 4; e++) fa[i][e] = value_at<BM / E>(a, k + (l & 3) + (e >> 1) * 4, m + (l >> 2) + (e & 1) * 8);
            round_operand<T>(fa[i]);
        }
        #pragma unroll
        for (int j = 0; j < WN / 16; j++) {
            unsigned four[4];
            int n = wn + j * 16;
            if constexpr (!ACROSS) ldmatrix_x4(four, b + chunk_at<T, 4, false>(n + (m8 >> 1) * 8 + r8, k / E + (m8 & 1)));
            else if constexpr (sizeof(T) == 2) ldmatrix_x4_trans(four, b + chunk_at<T, BN / E, true>(k + (m8 & 1) * 8 + r8, n / E + (m8 >> 1)));
            else
                #pragma unroll
                for (int e = 0; e < 4; e++) four[e] = value_at<BN / E>(b, k + (l & 3) + (e & 1) * 4, n + (l >> 2) + (e >> 1) * 8);
            round_operand<T>(four);
            fb[2 * j][0] = four[0];
            fb[2 * j][1] = four[1];
            fb[2 * j + 1][0] = four[2];
            fb[2 * j + 1][1] = four[3];
        }
        #pragma unroll
        for (int i = 0; i < WM / 16; i++)
            #pragma unroll
            for (int j = 0; j < WN / 8; j++) mma(acc[i][j], fa[i], fb[j], T{});
    }
}

template <int I, int J> DEV void clear(float (&acc)[I][J][4]) {
    #pragma unroll
    for (int i = 0; i < I; i++)
        #pragma unroll
        for (int j = 0; j < J; j++)
            #pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0.f;
}

template <class T, int BM, int BN, int WM, int WN, bool VEC>
DEV void gather(const T* g, const T* w, const T* bias, T* y, float* parts, const Walk& p) {
    constexpr int THREADS = THREADS_OF<BM, BN, WM, WN>, ROWS = THREADS / 4;  // rows that one pass of all threads fetches
    constexpr int E = CHUNK<T>, BK = DEPTH<T>, AROWS = BM / ROWS, BROWS = BN / ROWS;
    __shared__ Phase f;
    __shared__ Taps taps;
    DYN_SHARED(T, stages);  // STAGES x ([BM][BK], [BN][BK]); then the tile [BM][BN + 8]
    int t = threadIdx.x, phases = p.lattice[0] * p.lattice[1] * p.lattice[2];
    int group = blockIdx.y / phases;
    if (t == 0) phase_of(f, p, blockIdx.y % phases);
    __syncthreads();
    int n = p.oc / p.groups, channels = p.gc / p.groups, all = p.kernel[0] * p.kernel[1] * p.kernel[2];
    int tiles = (n + BN - 1) / BN;
    int m0 = blockIdx.x / tiles * BM, n0 = blockIdx.x % tiles * BN;
    if (m0 >= f.pixels) return;
    if (VEC && t < f.taps) tap_of(p, f, t, taps.distance[t], taps.number[t]);
    if (VEC) __syncthreads();
    g += group * channels;
    w += (i64)group * n * all * channels;

    int steps = (f.taps * channels + BK - 1) / BK, share = (steps + p.splits - 1) / p.splits;
    int from = blockIdx.z * share, to = from + share < steps ? from + share : steps;

    // This thread fetches the chunk q of K for rows t / 4 + ROWS i of both tiles.
    int q = t & 3, r0 = t >> 2;
    int k = from * BK + q * E, tap = k / channels, c = k % channels;
    const T* rows[AROWS];
    u64 inside_bits[AROWS];
    if (VEC) {
        #pragma unroll
        for (int i = 0; i < AROWS; i++) {
            int m = m0 + r0 + i * ROWS;
            rows[i] = g + (m < f.pixels ? place_of(p, row_of(f, m)) : 0);
            inside_bits[i] = taps_inside(p, f, m);
        }
    }
    auto fetch = [&](int stage) {
        T* a = stages + stage * (BM + BN) * BK;
        T* b = a + BM * BK;
        if (VEC) {
            bool some = tap < f.taps;
            int distance = some ? taps.distance[tap] + c : 0, at = some ? taps.number[tap] * channels + c : 0;
            #pragma unroll
            for (int i = 0; i < AROWS; i++) {
                bool ok = some && inside_bits[i] >> tap & 1;
                cp_async16_zfill(a + chunk_at<T, 4, false>(r0 + i * ROWS, q), ok ? rows[i] + distance : g, ok ? 16 : 0);
            }
            int of_row = all * channels;
            #pragma unroll
            for (int i = 0; i < BROWS; i++) {
                int row = n0 + r0 + i * ROWS;
                bool ok = some && row < n;
                cp_async16_zfill(b + chunk_at<T, 4, false>(r0 + i * ROWS, q), ok ? w + (i64)row * of_row + at : w, ok ? 16 : 0);
            }
            c += BK;
            while (c >= channels) {
                c -= channels;
                tap++;
            }
        } else {
            #pragma unroll 1
            for (int i = 0; i < AROWS; i++) {
                Vec<T, E> v;
                #pragma unroll
                for (int e = 0; e < E; e++) v.v[e] = gathered(g, p, f, m0 + r0 + i * ROWS, k + e, channels);
                store_vec(a + chunk_at<T, 4, false>(r0 + i * ROWS, q), v);
            }
            #pragma unroll 1
            for (int i = 0; i < BROWS; i++) {
                Vec<T, E> v;
                int row = n0 + r0 + i * ROWS;
                #pragma unroll
                for (int e = 0; e < E; e++) {
                    int of = (k + e) / channels;
                    v.v[e] = from_float<T>(0.f);
                    if (row < n && of < f.taps) {
                        int distance, number;
                        tap_of(p, f, of, distance, number);
                        v.v[e] = w[((i64)row * all + number) * channels + (k + e) % channels];
                    }
                }
                store_vec(b + chunk_at<T, 4, false>(r0 + i * ROWS, q), v);
            }
            k += BK;
        }
    };

    float acc[WM / 16][WN / 8][4];
    clear(acc);
    int warp = t >> 5, wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;
    #pragma unroll 1
    for (int s = 0; s < STAGES - 1; s++) {
        if (from + s < to) fetch(s);
        cp_async_commit();
    }
    #pragma unroll 1
    for (int s = from, stage = 0; s < to; s++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (s + STAGES - 1 < to) fetch((stage + STAGES - 1) % STAGES);
        cp_async_commit();
        const T* a = stages + stage * (BM + BN) * BK;
        multiply<T, BM, BN, WM, WN, false>(acc, a, a + BM * BK, wm, wn);
        stage = (stage + 1) % STAGES;
    }

    int row = lane() >> 2, column = (lane() & 3) * 2;
    if (sizeof(T) == 4 || parts != nullptr) {  // sums of this split, f32, in the order of y; or y itself
        float* to_all = parts != nullptr ? parts : (float*)y;
        i64 total = (i64)p.images * p.out[0] * p.out[1] * p.out[2] * p.oc;
        #pragma unroll
        for (int i = 0; i < WM / 8; i++) {
            int m = m0 + wm + i * 8 + row;
            if (m >= f.pixels) continue;
            float* to_row = to_all + blockIdx.z * total + pixel_of(p, f, row_of(f, m)) + group * n;
            #pragma unroll
            for (int j = 0; j < WN / 8; j++)
                #pragma unroll
                for (int e = 0; e < 2; e++) {
                    int at = n0 + wn + j * 8 + column + e;
                    if (at >= n) continue;
                    float add = sizeof(T) == 4 && parts == nullptr && bias != nullptr ? to_float(bias[group * n + at]) : 0.f;
                    to_row[at] = acc[i / 2][j][i % 2 * 2 + e] + add;
                }
        }
        return;
    }
    cp_async_wait<0>();
    __syncthreads();
    T* tile = stages;
    #pragma unroll
    for (int j = 0; j < WN / 8; j++) {
        float add[2] = {0.f, 0.f};
        #pragma unroll
        for (int e = 0; e < 2; e++) {
            int at = n0 + wn + j * 8 + column + e;
            if (bias != nullptr && at < n) add[e] = to_float(bias[group * n + at]);
        }
        #pragma unroll
        for (int i = 0; i < WM / 8; i++)
            #pragma unroll
            for (int e = 0; e < 2; e++)
                tile[(wm + i * 8 + row) * (BN + 8) + wn + j * 8 + column + e] = from_float<T>(acc[i / 2][j][i % 2 * 2 + e] + add[e]);
    }
    __syncthreads();
    bool wide = n % 8 == 0 && is_aligned(y, 16);
    #pragma unroll 1
    for (int i = t; i < BM * (BN / 8); i += THREADS) {
        int m = m0 + i / (BN / 8), at = n0 + i % (BN / 8) * 8;
        if (m >= f.pixels || at >= n) continue;
        T* to_row = y + pixel_of(p, f, row_of(f, m)) + group * n + at;
        const T* v = tile + i / (BN / 8) * (BN + 8) + i % (BN / 8) * 8;
        if (wide) store_vec(to_row, load_vec<8>(v));
        else
            for (int e = 0; e < 8 && at + e < n; e++) to_row[e] = v[e];
    }
}

template <class T, int BM, int BN, int WM, int WN, bool VEC>
DEV void weight(const T* dy, const T* x, float* parts, const Walk& p) {
    constexpr int THREADS = THREADS_OF<BM, BN, WM, WN>;
    constexpr int E = CHUNK<T>, BK = DEPTH<T>, AC = BM / E, BC = BN / E, RUN = THREADS / BK;
    static_assert(RUN >= STAGES, "the first stages are of one run");
    __shared__ Place places[2][THREADS];  // of the pixels of RUN stages, and of the next ones
    __shared__ Column columns[BN];      // of the tile; for VEC the first of each chunk is used
    DYN_SHARED(T, stages);              // STAGES x ([BK][BM], [BK][BN])
    int t = threadIdx.x, group = blockIdx.y;
    int n = p.oc / p.groups, channels = p.gc / p.groups, width = p.kernel[0] * p.kernel[1] * p.kernel[2] * channels;
    int tiles = (width + BN - 1) / BN;
    int m0 = blockIdx.x / tiles * BM, n0 = blockIdx.x % tiles * BN;
    int pixels = p.images * p.out[0] * p.out[1] * p.out[2];
    int steps = (pixels + BK - 1) / BK, share = (steps + p.splits - 1) / p.splits;
    int from = blockIdx.z * share, to = from + share < steps ? from + share : steps;
    dy += group * n;
    x += group * channels;

    // Stages are counted from the first of this split. Each thread finds the place of one pixel of a run.
    auto plan = [&](int run) { places[run & 1][t] = first_place(p, (from + run * RUN) * BK + t, pixels); };
    auto fetch = [&](int number, int stage) {
        int s = from + number;
        T* a = stages + stage * (BM + BN) * BK;
        T* b = a + BM * BK;
        const Place* of = places[number / RUN & 1] + number % RUN * BK;
        if (VEC) {
            #pragma unroll
            for (int i = t; i < BK * AC; i += THREADS) {
                int r = i / AC, c = i % AC, m = m0 + c * E, pixel = s * BK + r;
                bool ok = m < n && pixel < pixels;
                cp_async16_zfill(a + chunk_at<T, AC, true>(r, c), ok ? dy + (i64)pixel * p.oc + m : dy, ok ? 16 : 0);
            }
            const Column column = columns[t % BC * E];
            bool any = n0 + t % BC * E < width;
            #pragma unroll
            for (int i = t; i < BK * BC; i += THREADS) {
                int r = i / BC, c = i % BC;
                bool ok = any && inside(p, of[r], column);
                cp_async16_zfill(b + chunk_at<T, BC, true>(r, c), ok ? x + of[r].at + column.at : x, ok ? 16 : 0);
            }
        } else {
            #pragma unroll 1
            for (int i = t; i < BK * AC; i += THREADS) {
                int r = i / AC, c = i % AC, m = m0 + c * E, pixel = s * BK + r;
                Vec<T, E> v;
                #pragma unroll
                for (int e = 0; e < E; e++) v.v[e] = m + e < n && pixel < pixels ? dy[(i64)pixel * p.oc + m + e] : from_float<T>(0.f);
                store_vec(a + chunk_at<T, AC, true>(r, c), v);
            }
            #pragma unroll 1
            for (int i = t; i < BK * BC; i += THREADS) {
                int r = i / BC, c = i % BC;
                Vec<T, E> v;
                #pragma unroll
                for (int e = 0; e < E; e++) {
                    const Column& column = columns[c * E + e];
                    bool ok = n0 + c * E + e < width && inside(p, of[r], column);
                    v.v[e] = ok ? x[of[r].at + column.at] : from_float<T>(0.f);
                }
                store_vec(b + chunk_at<T, BC, true>(r, c), v);
            }
        }
    };

    for (int i = t; i < BN; i += THREADS) columns[i] = column_of(p, n0 + i, channels);
    plan(0);
    __syncthreads();
    float acc[WM / 16][WN / 8][4];
    clear(acc);
    int warp = t >> 5, wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;
    #pragma unroll 1
    for (int s = 0; s < STAGES - 1; s++) {
        if (from + s < to) fetch(s, s);
        cp_async_commit();
    }
    #pragma unroll 1
    for (int next = STAGES - 1, stage = 0; next - (STAGES - 1) < to - from; next++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (next < to - from) fetch(next, (stage + STAGES - 1) % STAGES);
        cp_async_commit();
        // the run after that of `next`: its places overwrite those that were last used RUN stages ago
        if ((next + 1) % RUN == 0 && next + 1 < to - from) plan((next + 1) / RUN);
        const T* a = stages + stage * (BM + BN) * BK;
        multiply<T, BM, BN, WM, WN, true>(acc, a, a + BM * BK, wm, wn);
        stage = (stage + 1) % STAGES;
    }

    int row = lane() >> 2, column = (lane() & 3) * 2;
    #pragma unroll
    for (int i = 0; i < WM / 8; i++) {
        int m = m0 + wm + i * 8 + row;
        if (m >= n) continue;
        float* to_row = parts + ((i64)blockIdx.z * p.oc + group * n + m) * width;
        #pragma unroll
        for (int j = 0; j < WN / 8; j++)
            #pragma unroll
            for (int e = 0; e < 2; e += VEC ? 2 : 1) {
                int at = n0 + wn + j * 8 + column + e;
                if (at >= width) continue;
                if (VEC) store_vec(to_row + at, Vec<float, 2>{{acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]}});
                else to_row[at] = acc[i / 2][j][i % 2 * 2 + e];
            }
    }
}

// ---- kernels: block 128, or 256 for those of "eight" warps; grid (tiles of rows x tiles of columns, groups x phases, splits) ----

// 16-byte fetches need channels of one group in whole chunks and tensors that begin at 16 bytes.
#define GATHER(T, BM, BN, WM, WN, VEC, NAME) \
    KERNEL_BOUNDS(NAME, (THREADS_OF<BM, BN, WM, WN>), 2)(const T* g, const T* w, const T* bias, T* y, float* parts, Walk p) { \
        gather<T, BM, BN, WM, WN, VEC>(g, w, bias, y, parts, p); \
    }
#define WEIGHT(T, BM, BN, WM, WN, VEC, NAME) \
    KERNEL_BOUNDS(NAME, (THREADS_OF<BM, BN, WM, WN>), 2)(const T* dy, const T* x, float* parts, Walk p) { weight<T, BM, BN, WM, WN, VEC>(dy, x, parts, p); }
#define WIDE(T, NAME) \
    GATHER(T, 128, 128, 64, 64, true, conv_gather_128x128_##NAME) \
    GATHER(T, 128, 128, 64, 32, true, conv_gather_eight_##NAME) \
    GATHER(T, 128, 64, 64, 32, true, conv_gather_128x64_##NAME) \
    GATHER(T, 64, 64, 32, 32, true, conv_gather_64x64_##NAME) \
    GATHER(T, 128, 32, 32, 32, true, conv_gather_128x32_##NAME) \
    WEIGHT(T, 128, 128, 64, 64, true, conv_weight_128x128_##NAME) \
    WEIGHT(T, 128, 128, 64, 32, true, conv_weight_eight_##NAME) \
    WEIGHT(T, 64, 128, 32, 64, true, conv_weight_64x128_##NAME) \
    WEIGHT(T, 64, 64, 32, 32, true, conv_weight_64x64_##NAME)
#define WIDE_NAMES(NAME) \
    EMU_EXPORT(conv_gather_128x128_##NAME) EMU_EXPORT(conv_gather_128x64_##NAME) EMU_EXPORT(conv_gather_64x64_##NAME) \
    EMU_EXPORT(conv_gather_128x32_##NAME) EMU_EXPORT(conv_weight_128x128_##NAME) EMU_EXPORT(conv_weight_64x64_##NAME) \
    EMU_EXPORT(conv_gather_eight_##NAME) EMU_EXPORT(conv_weight_eight_##NAME) EMU_EXPORT(conv_weight_64x128_##NAME)
