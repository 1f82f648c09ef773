// SPDX-License-Identifier: Apache-2.0
// Low-rank changes of linear layers in 16 bits, for ranks to 64: thin products whose cost is the memory they pass over.
//   low_rank_update     C [m, n] = s (x Aᵀ) Bᵀ + bias, for x [m, k], A [r, k], B [n, r]: x is read once and C written once, what lies between stays in
//                       shared memory. A large product is then added to C.
//   low_rank_factors    g = s dy B and h = s x Aᵀ for dy [m, n], each as rounded values and what rounding took: [m][2 RP], RP the rank made up to 8, 16,
//                       32 or 64. Sets the counters of the next kernel to zero.
//   low_rank_gradients  dB [n, r] = dyᵀ h and dA [r, k] = gᵀ x. A block sums 64 columns of dy or x over a part of the rows; the last one of these columns
//                       adds up the parts, in their order.
// Rows of x, dy and C lie at multiples of 16 bytes, n and k are multiples of 8. A and B have any strides.
#include "dev.h"

static const int ROWS = 32;      // of a block of the first two
static const int WARPS = 8;
static const int COLUMNS = 64;   // of a block of low_rank_gradients
static const int DEPTH = 64;     // rows of a tile there
static const int STAGES = 3;

/** A factor: element (q, i) for q < r at q rank + i step; vector: 8 values of i are 16 aligned bytes; pairs: 2 values of q are 4 aligned bytes. */
struct Factor {
    i64 rank, step, vector, pairs;
};

/** Numbers of the update and of the gradients; strides of rows in elements. */
struct LowRank {
    i64 m, n, k, r;
    i64 xRow, yRow;   // y is C or dy
    Factor a, b;
};

// ---- x Aᵀ ------------------------------------------------------------------------------------------------------------------------------------------

template <class T> DEV Vec<u32, 4> factor_eight(const T* f, const Factor& s, int q, int r, int i, int k) {
    Vec<u32, 4> v;
    v[0] = v[1] = v[2] = v[3] = 0;
    if (q >= r || i >= k) return v;
    const T* p = f + q * s.rank + i * s.step;
    if (s.vector) return load_vec<4>((const u32*)p);
#pragma unroll
    for (int e = 0; e < 4; e++) v[e] = (u32)p[2 * e * s.step].bits | (u32)p[(2 * e + 1) * s.step].bits << 16;
    return v;
}

/**
 * Sums of 32 rows of x with the rows of a factor, by all 8 warps: element (row, q) is the sum of sums[w][row][q] over w. The order of the products of a
 * sum does not matter, so a lane takes 8 neighbours where a fragment has 4 pairs, and nothing goes through shared memory.
 */
template <class T, int RP> DEV void thin(float* sums, const T* x, i64 xRow, int rows, int k, const T* f, const Factor& s, int r) {
    int g = lane() >> 2, t = lane() & 3;
    float c[2][RP / 8][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < RP / 8; j++) c[i][j][0] = c[i][j][1] = c[i][j][2] = c[i][j][3] = 0;
    }
#pragma unroll 1
    for (int at = warp_index() * 32; at < k; at += WARPS * 32) {
        int i = at + 8 * t;
        Vec<u32, 4> a[4];   // rows g, g + 8, g + 16, g + 24
#pragma unroll
        for (int h = 0; h < 4; h++) {
            a[h][0] = a[h][1] = a[h][2] = a[h][3] = 0;
            if (8 * h + g < rows && i < k) a[h] = load_vec<4>((const u32*)(x + (8 * h + g) * xRow + i));
        }
#pragma unroll
        for (int j = 0; j < RP / 8; j++) {
            unsigned from = (unsigned)i;
            if (RP > 32 && j % 2 == 0) opaque(from);   // a few loads at a time: registers
            Vec<u32, 4> b = factor_eight(f, s, 8 * j + g, r, (int)from, k);
#pragma unroll
            for (int e = 0; e < 4; e += 2) {
                const unsigned pair[2] = {b[e], b[e + 1]};
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const unsigned four[4] = {a[2 * h][e], a[2 * h + 1][e], a[2 * h][e + 1], a[2 * h + 1][e + 1]};
                    Mma<T>::k16(c[h][j], four, pair);
                }
            }
        }
    }
    float* to = sums + warp_index() * ROWS * RP;
#pragma unroll
    for (int h = 0; h < 2; h++) {
#pragma unroll
        for (int j = 0; j < RP / 8; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) to[(16 * h + g + e / 2 * 8) * RP + 8 * j + 2 * t + e % 2] = c[h][j][e];
        }
    }
    __syncthreads();
}

/** Element `i` of the sums over the warps. */
template <int RP> DEV float thin_sum(const float* sums, int i) {
    float v = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) v += sums[w * ROWS * RP + i];
    return v;
}

// ---- The update ------------------------------------------------------------------------------------------------------------------------------------

/** Values q and q + 1 of row i of B. */
template <class T> DEV unsigned factor_pair(const T* f, const Factor& s, int q, int r, int i, int n) {
    if (q >= r || i >= n) return 0;
    const T* p = f + q * s.rank + i * s.step;
    if (s.pairs) return *(const unsigned*)p;
    return (unsigned)p[0].bits | (q + 1 < r ? (unsigned)p[s.rank].bits << 16 : 0u);
}

template <class T, int RP> DEV void update(char* shared, const T* x, const T* a, const T* b, const T* bias, T* y, const LowRank& s, float factor) {
    const int RK = RP < 16 ? 16 : RP, PITCH = RK + 8;
    float* sums = (float*)shared;
    T* high = (T*)(sums + WARPS * ROWS * RP);   // [32][PITCH]: rounded
    T* low = high + ROWS * PITCH;               // what rounding took
    i64 row0 = (i64)blockIdx.x * ROWS;
    int rows = s.m - row0 < ROWS ? (int)(s.m - row0) : ROWS, n = (int)s.n, r = (int)s.r;
    thin<T, RP>(sums, x + row0 * s.xRow, s.xRow, rows, (int)s.k, a, s.a, r);
    for (int i = threadIdx.x; i < ROWS * RK; i += WARPS * 32) {
        int row = i / RK, q = i % RK;
        float v = q < RP ? factor * thin_sum<RP>(sums, row * RP + (q < RP ? q : 0)) : 0.f;
        T h = from_float<T>(v);
        high[row * PITCH + q] = h;
        low[row * PITCH + q] = from_float<T>(v - to_float(h));
    }
    __syncthreads();
    int g = lane() >> 2, t = lane() & 3;
    int part = (lane() & 15) * PITCH + (lane() >> 4) * 8;
    // 64 columns at a time. Fragment 4 h + j holds in place c of its 8 columns column 32 h + 8 (c / 2) + 2 j + c % 2: a lane ends with 8 neighbours.
    for (int n0 = warp_index() * 64; n0 < n; n0 += WARPS * 64) {
        float c[2][8][4];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            int column = n0 + j / 4 * 32 + 8 * t + j % 4 * 2;
            bool has = bias && column < n;
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float v = has ? to_float(bias[column + e]) : 0.f;
                c[0][j][e] = c[0][j][e + 2] = c[1][j][e] = c[1][j][e + 2] = v;
            }
        }
#pragma unroll 1
        for (int q = 0; q < RK; q += 16) {
            unsigned h0[4], h1[4], l0[4], l1[4];
            ldmatrix_x4(h0, high + part + q);
            ldmatrix_x4(h1, high + part + 16 * PITCH + q);
            ldmatrix_x4(l0, low + part + q);
            ldmatrix_x4(l1, low + part + 16 * PITCH + q);
            unsigned p[8][2];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                int column = n0 + j / 4 * 32 + g / 2 * 8 + j % 4 * 2 + g % 2;
                p[j][0] = factor_pair(b, s.b, q + 2 * t, r, column, n);
                p[j][1] = RP < 16 ? 0u : factor_pair(b, s.b, q + 2 * t + 8, r, column, n);
            }
#pragma unroll
            for (int j = 0; j < 8; j++) {
                Mma<T>::k16(c[0][j], l0, p[j]);
                Mma<T>::k16(c[1][j], l1, p[j]);
                Mma<T>::k16(c[0][j], h0, p[j]);
                Mma<T>::k16(c[1][j], h1, p[j]);
            }
        }
#pragma unroll
        for (int h = 0; h < 4; h++) {
            int row = 8 * h + g;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int column = n0 + half * 32 + 8 * t;
                if (row >= rows || column >= n) continue;
                Vec<u32, 4> v;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float* two = c[h / 2][4 * half + j] + h % 2 * 2;
                    v[j] = pack2<T>(two[0], two[1]);
                }
                store_vec<4>((u32*)(y + (row0 + row) * s.yRow + column), v);
            }
        }
    }
}

// ---- The gradients ---------------------------------------------------------------------------------------------------------------------------------

/** grid (blocks of 32 rows, 2): g, then h. */
template <class T, int RP>
DEV void factors(float* sums, const T* dy, const T* x, const T* a, const T* b, T* g, T* h, int* counters, int tiles, const LowRank& s, float factor) {
    i64 row0 = (i64)blockIdx.x * ROWS;
    int rows = s.m - row0 < ROWS ? (int)(s.m - row0) : ROWS, r = (int)s.r;
    bool second = blockIdx.y == 1;
    i64 pitch = second ? s.xRow : s.yRow;
    const Factor f = {second ? s.a.rank : s.b.rank, second ? s.a.step : s.b.step, second ? s.a.vector : s.b.vector, 0};
    thin<T, RP>(sums, (second ? x : dy) + row0 * pitch, pitch, rows, (int)(second ? s.k : s.n), second ? a : b, f, r);
    T* to = (second ? h : g) + row0 * 2 * RP;
    for (int i = threadIdx.x; i < rows * RP; i += WARPS * 32) {
        float v = factor * thin_sum<RP>(sums, i);
        T rounded = from_float<T>(v);
        T* at = to + i / RP * 2 * RP + i % RP;
        at[0] = rounded;
        at[RP] = from_float<T>(v - to_float(rounded));
    }
    if (blockIdx.x == 0 && !second) {
        for (int i = threadIdx.x; i < tiles; i += WARPS * 32) counters[i] = 0;
    }
}

/** Starts the copy of rows `row` to `row` + 63: 64 columns of v and the whole rows of f [m][2 RP]; zeros outside. */
template <class T, int RP>
DEV void load_rows(T* tile, const T* v, i64 pitch, const T* f, i64 row, i64 end, int columns) {
    const int FP = 2 * RP + 8, CHUNKS = 2 * RP / 8;
    for (int id = threadIdx.x; id < DEPTH * 8; id += 128) {
        int r = id >> 3, c = id & 7;
        bool valid = row + r < end && c * 8 < columns;
        cp_async16_zfill(tile + r * COLUMNS + (c ^ (r & 7)) * 8, valid ? v + (row + r) * pitch + c * 8 : v, valid ? 16 : 0);
    }
    T* second = tile + DEPTH * COLUMNS;
    for (int id = threadIdx.x; id < DEPTH * CHUNKS; id += 128) {
        int r = id / CHUNKS, c = id % CHUNKS;
        bool valid = row + r < end;
        cp_async16_zfill(second + r * FP + c * 8, valid ? f + (row + r) * 2 * RP + c * 8 : f, valid ? 16 : 0);
    }
}

/** grid (tiles of dy, then of x; parts), 128 threads; partial [tile][part][64][RP]; depth: rows of a part, a multiple of 64. */
template <class T, int RP>
DEV void gradients(T* shared, const T* dy, const T* x, const T* g, const T* h, T* da, T* db, float* partial, int* counters, i64 depth, const LowRank& s) {
    const int FP = 2 * RP + 8, STAGE = DEPTH * (COLUMNS + FP);
    __shared__ int last;
    int tilesY = (int)div_up(s.n, (i64)COLUMNS), tile = blockIdx.x, parts = gridDim.y, r = (int)s.r;
    bool ofX = tile >= tilesY;
    int c0 = (ofX ? tile - tilesY : tile) * COLUMNS;
    int columns = (int)(ofX ? s.k : s.n) - c0;
    const T* v = (ofX ? x : dy) + c0;
    i64 pitch = ofX ? s.xRow : s.yRow;
    const T* f = ofX ? g : h;
    i64 begin = depth * blockIdx.y, end = begin + depth < s.m ? begin + depth : s.m;
    int tiles = end > begin ? (int)div_up(end - begin, (i64)DEPTH) : 0;

    float c[RP / 8][4];
#pragma unroll
    for (int j = 0; j < RP / 8; j++) c[j][0] = c[j][1] = c[j][2] = c[j][3] = 0;
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < tiles) load_rows<T, RP>(shared + i * STAGE, v, pitch, f, begin + i * DEPTH, end, columns);
        cp_async_commit();
    }
    int matrix = lane() >> 3, line = lane() & 7;
    for (int i = 0; i < tiles; i++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        int next = i + STAGES - 1;
        if (next < tiles) load_rows<T, RP>(shared + next % STAGES * STAGE, v, pitch, f, begin + (i64)next * DEPTH, end, columns);
        cp_async_commit();
        const T* now = shared + i % STAGES * STAGE;
        const T* second = now + DEPTH * COLUMNS;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16) {
            unsigned a[4];
            int row = k + (matrix >> 1) * 8 + line;
            ldmatrix_x4_trans(a, now + row * COLUMNS + ((warp_index() * 2 + (matrix & 1)) ^ (row & 7)) * 8);
#pragma unroll
            for (int j = 0; j < RP / 8; j++) {
                unsigned b[4];
                ldmatrix_x4_trans(b, second + (k + (matrix & 1) * 8 + line) * FP + (matrix >> 1) * RP + 8 * j);
                const unsigned high[2] = {b[0], b[1]}, low[2] = {b[2], b[3]};
                Mma<T>::k16(c[j], a, low);
                Mma<T>::k16(c[j], a, high);
            }
        }
    }
    float* to = partial + ((i64)tile * parts + blockIdx.y) * COLUMNS * RP;
#pragma unroll
    for (int j = 0; j < RP / 8; j++) {
#pragma unroll
        for (int e = 0; e < 4; e += 2) {
            Vec<float, 2> two;
            two[0] = c[j][e], two[1] = c[j][e + 1];
            store_vec<2>(to + (warp_index() * 16 + (lane() >> 2) + e * 4) * RP + 8 * j + (lane() & 3) * 2, two);
        }
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(counters + tile, 1) == parts - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    const float* from = partial + (i64)tile * parts * COLUMNS * RP;
    for (int i = threadIdx.x * 4; i < COLUMNS * RP; i += 128 * 4) {
        Vec<float, 4> sum = load_vec<4>(from + i);
#pragma unroll 8
        for (int p = 1; p < parts; p++) {
            Vec<float, 4> more = load_vec<4>(from + (i64)p * COLUMNS * RP + i);
#pragma unroll
            for (int e = 0; e < 4; e++) sum[e] += more[e];
        }
        int column = i / RP;
        if (column >= columns) continue;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int q = i % RP + e;
            if (q >= r) continue;
            if (ofX) {
                da[q * s.k + c0 + column] = from_float<T>(sum[e]);
            } else {
                db[(i64)(c0 + column) * r + q] = from_float<T>(sum[e]);
            }
        }
    }
}

// ---- Kernels ---------------------------------------------------------------------------------------------------------------------------------------

#define LOW_RANK(T, type, RP)                                                                                                                   \
    KERNEL_BOUNDS(low_rank_update_##RP##_##type, 256, RP == 16 ? 2 : 1)                                                                                      \
    (const T* x, const T* a, const T* b, const T* bias, T* y, LowRank s, float factor) {                                                        \
        DYN_SHARED(char, shared);                                                                                                               \
        update<T, RP>(shared, x, a, b, bias, y, s, factor);                                                                                     \
    }                                                                                                                                           \
    KERNEL_BOUNDS(low_rank_factors_##RP##_##type, 256, RP > 16 ? 1 : 2)                                                                             \
    (const T* dy, const T* x, const T* a, const T* b, T* g, T* h, int* counters, int tiles, LowRank s, float factor) {                          \
        DYN_SHARED(float, shared);                                                                                                              \
        factors<T, RP>(shared, dy, x, a, b, g, h, counters, tiles, s, factor);                                                                  \
    }                                                                                                                                           \
    KERNEL_BOUNDS(low_rank_gradients_##RP##_##type, 128, 3)                                                                                     \
    (const T* dy, const T* x, const T* g, const T* h, T* da, T* db, float* partial, int* counters, i64 depth, LowRank s) {                      \
        DYN_SHARED(T, shared);                                                                                                                  \
        gradients<T, RP>(shared, dy, x, g, h, da, db, partial, counters, depth, s);                                                             \
    }                                                                                                                                           \
    EMU_EXPORT(low_rank_update_##RP##_##type)                                                                                                   \
    EMU_EXPORT(low_rank_factors_##RP##_##type)                                                                                                  \
    EMU_EXPORT(low_rank_gradients_##RP##_##type)
#define LOW_RANKS(T, type) LOW_RANK(T, type, 8) LOW_RANK(T, type, 16) LOW_RANK(T, type, 32) LOW_RANK(T, type, 64)

LOW_RANKS(bf16, bf16)
LOW_RANKS(f16, f16)
