// SPDX-License-Identifier: Apache-2.0
//
// Products with Δ = A1 B1 ∘ A2 B2, the elementwise product of two matrices of low rank r: A1, A2 [n, r], B1, B2 [r, k], any strides. Δ [n, k] is never in
// memory: a block rebuilds the part it needs from the factors, 16 ranks at a time.
//   hadamard_product     y [m, n] = s x Δᵀ, x [m, k]. Also the gradient of x, with dy for x and the transposed factors.
//   hadamard_gradients   parts of dA1 = s (dyᵀ x ∘ A2 B2) B1ᵀ and dA2 = s (dyᵀ x ∘ A1 B1) B2ᵀ. Those of B1 and B2 are the same with dy and x, and the
//                        transposed factors, swapped. A part is 64 rows by some tiles of 64 columns of dyᵀ x, over some of the rows of dy and x.
//   hadamard_sum         adds up the parts, in their order
#ifndef SFUMATO_HADAMARD_CUH
#define SFUMATO_HADAMARD_CUH

#include "dev.h"

const int THREADS = 256;
const int RANKS = 16;   // of a step
const int TILE = 64;    // rows and columns of Δ that the gradients take at once
const int PITCH = TILE + 1;

/** Strides in elements: row and column of a factor. */
struct Strides {
    i64 row, column;
};

struct Hadamard {
    i64 m, n, k, r;
    i64 xRow, yRow;      // y is the result, or dy; columns lie without gaps
    i64 fast;            // rows of x (and dy) start at multiples of 16 bytes, and k (and n) is a multiple of 16 bytes
    Strides a1, b1, a2, b2;
};

template <class T> DEV T factor_at(const T* f, const Strides& s, i64 row, i64 column, i64 rows, i64 columns) {
    return row < rows && column < columns ? f[row * s.row + column * s.column] : from_float<T>(0.f);
}

// ---- The factors of a tile of Δ in f32 -----------------------------------------------------------------------------------------------------------------

/** Ranks q0 to q0 + 15 of both left factors for R rows: to[f][q][row], pitch R + 4. */
template <class T, int R> DEV void load_left(float* to, const T* a1, const T* a2, const Hadamard& s, i64 row0, i64 q0) {
    for (int i = (int)threadIdx.x; i < RANKS * R; i += THREADS) {
        int q = i % RANKS, row = i / RANKS;
        to[q * (R + 4) + row] = to_float(factor_at(a1, s.a1, row0 + row, q0 + q, s.n, s.r));
        to[(RANKS + q) * (R + 4) + row] = to_float(factor_at(a2, s.a2, row0 + row, q0 + q, s.n, s.r));
    }
}

/** The same of the right factors for C columns. */
template <class T, int C> DEV void load_right(float* to, const T* b1, const T* b2, const Hadamard& s, i64 column0, i64 q0) {
    for (int i = (int)threadIdx.x; i < RANKS * C; i += THREADS) {
        int column = i % C, q = i / C;
        to[q * (C + 4) + column] = to_float(factor_at(b1, s.b1, q0 + q, column0 + column, s.r, s.k));
        to[(RANKS + q) * (C + 4) + column] = to_float(factor_at(b2, s.b2, q0 + q, column0 + column, s.r, s.k));
    }
}

// ---- The product in f32 --------------------------------------------------------------------------------------------------------------------------------

/** grid (rows / 64, columns / 64); shared: x and Δ [16][68], left [2][16][68], right [2][16][20]. */
template <class T> DEV void product_simt(float* shared, const T* x, const T* a1, const T* b1, const T* a2, const T* b2, T* y, const Hadamard& s, float factor) {
    const int DEPTH = 16, P = TILE + 4;
    float* xs = shared;
    float* ds = xs + DEPTH * P;
    float* left = ds + DEPTH * P;
    float* right = left + 2 * RANKS * P;
    i64 m0 = (i64)blockIdx.x * TILE, n0 = (i64)blockIdx.y * TILE;
    int t = (int)threadIdx.x, tx = t % 16, ty = t / 16;
    float c[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
    for (i64 k0 = 0; k0 < s.k; k0 += DEPTH) {
        float d1[4] = {0, 0, 0, 0}, d2[4] = {0, 0, 0, 0};   // row t % 64, columns t / 64 * 4 and on
        int row = t % TILE, column = t / TILE * 4;
        for (i64 q0 = 0; q0 < s.r; q0 += RANKS) {
            __syncthreads();
            if (k0 == 0 || s.r > RANKS) load_left<T, TILE>(left, a1, a2, s, n0, q0);
            load_right<T, DEPTH>(right, b1, b2, s, k0, q0);
            if (q0 == 0) {
                for (int i = t; i < TILE * DEPTH; i += THREADS) {
                    i64 r = m0 + i / DEPTH, p = k0 + i % DEPTH;
                    xs[i % DEPTH * P + i / DEPTH] = r < s.m && p < s.k ? to_float(x[r * s.xRow + p]) : 0.f;
                }
            }
            __syncthreads();
#pragma unroll 4
            for (int q = 0; q < RANKS; q++) {
                float one = left[q * P + row], two = left[(RANKS + q) * P + row];
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    d1[e] = fmaf(one, right[q * (DEPTH + 4) + column + e], d1[e]);
                    d2[e] = fmaf(two, right[(RANKS + q) * (DEPTH + 4) + column + e], d2[e]);
                }
            }
        }
#pragma unroll
        for (int e = 0; e < 4; e++) ds[(column + e) * P + row] = d1[e] * d2[e];
        __syncthreads();
#pragma unroll 4
        for (int p = 0; p < DEPTH; p++) {
            Vec<float, 4> a = load_vec<4>(xs + p * P + ty * 4), b = load_vec<4>(ds + p * P + tx * 4);
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) c[i][j] = fmaf(a[i], b[j], c[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            i64 r = m0 + ty * 4 + i, column = n0 + tx * 4 + j;
            if (r < s.m && column < s.n) y[r * s.yRow + column] = from_float<T>(factor * c[i][j]);
        }
    }
}

// ---- The product on tensor cores -------------------------------------------------------------------------------------------------------------------------

static const int ROWS = 128;    // of x
static const int DEPTH = 32;    // columns of x of a step
static const int XP = DEPTH + 8;
static const int LP = RANKS + 8;

/** Starts the copy of a tile of x [128][32]. */
template <class T> DEV void load_x(T* to, const T* x, const Hadamard& s, i64 m0, i64 k0) {
    if (s.fast) {
#pragma unroll
        for (int i = 0; i < ROWS * DEPTH / 8 / THREADS; i++) {
            int id = (int)threadIdx.x + i * THREADS, r = id / (DEPTH / 8), c = id % (DEPTH / 8) * 8;
            bool valid = m0 + r < s.m && k0 + c < s.k;
            cp_async16_zfill(to + r * XP + c, valid ? x + (m0 + r) * s.xRow + k0 + c : x, valid ? 16 : 0);
        }
    } else {
        for (int i = (int)threadIdx.x; i < ROWS * DEPTH; i += THREADS) {
            i64 r = m0 + i / DEPTH, p = k0 + i % DEPTH;
            to[i / DEPTH * XP + i % DEPTH] = r < s.m && p < s.k ? x[r * s.xRow + p] : from_float<T>(0.f);
        }
    }
}

/**
 * grid (rows / 128, columns / 64). Δ is rounded to T, and what rounding took is a second matrix: its own digits are as many as those of its factors'
 * product. Shared, in T: x [2][128][40], Δ and its rest [64][40], left [2][64][24], right [2][16][40].
 */
template <class T> DEV void product_mma(T* shared, const T* x, const T* a1, const T* b1, const T* a2, const T* b2, T* y, const Hadamard& s, float factor) {
    T* xs = shared;
    T* high = xs + 2 * ROWS * XP;
    T* low = high + TILE * XP;
    T* left = low + TILE * XP;
    T* right = left + 2 * TILE * LP;
    i64 m0 = (i64)blockIdx.x * ROWS, n0 = (i64)blockIdx.y * TILE;
    int t = (int)threadIdx.x, warp = warp_index(), g = lane() >> 2, pair = lane() & 3;
    int dr = (warp & 3) * 16, dc = (warp >> 2) * 16;   // the warp's 16 x 16 of Δ
    int wm = (warp & 3) * 32, wn = (warp >> 2) * 32;   // its 32 x 32 of y
    int rowOf = (lane() & 15), partOf = (lane() >> 4) * 8;
    float c[2][4][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) c[i][j][0] = c[i][j][1] = c[i][j][2] = c[i][j][3] = 0;
    }
    load_x(xs, x, s, m0, 0);
    cp_async_commit();
    int stage = 0;
    int depth = (int)s.k, ranks = (int)s.r;
#pragma unroll 1
    for (int k0 = 0; k0 < depth; k0 += DEPTH, stage ^= 1) {
        float d1[2][4], d2[2][4];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            d1[j][0] = d1[j][1] = d1[j][2] = d1[j][3] = 0;
            d2[j][0] = d2[j][1] = d2[j][2] = d2[j][3] = 0;
        }
#pragma unroll 1
        for (int q0 = 0; q0 < ranks; q0 += RANKS) {
            __syncthreads();
            if (q0 == 0) {
                if (k0 + DEPTH < depth) load_x(xs + (stage ^ 1) * ROWS * XP, x, s, m0, k0 + DEPTH);
                cp_async_commit();
            }
            if (k0 == 0 || ranks > RANKS) {
#pragma unroll 1
                for (int i = t; i < TILE * RANKS; i += THREADS) {
                    int row = i / RANKS, q = i % RANKS;
                    left[row * LP + q] = factor_at(a1, s.a1, n0 + row, q0 + q, s.n, s.r);
                    left[(TILE + row) * LP + q] = factor_at(a2, s.a2, n0 + row, q0 + q, s.n, s.r);
                }
            }
#pragma unroll 1
            for (int i = t; i < DEPTH * RANKS; i += THREADS) {
                int q = i / DEPTH, column = i % DEPTH;
                right[q * XP + column] = factor_at(b1, s.b1, q0 + q, k0 + column, s.r, s.k);
                right[(RANKS + q) * XP + column] = factor_at(b2, s.b2, q0 + q, k0 + column, s.r, s.k);
            }
            __syncthreads();
            unsigned l1[4], l2[4], r1[4], r2[4];
            ldmatrix_x4(l1, left + (dr + rowOf) * LP + partOf);
            ldmatrix_x4(l2, left + (TILE + dr + rowOf) * LP + partOf);
            ldmatrix_x4_trans(r1, right + rowOf * XP + dc + partOf);
            ldmatrix_x4_trans(r2, right + (RANKS + rowOf) * XP + dc + partOf);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const unsigned p1[2] = {r1[2 * j], r1[2 * j + 1]}, p2[2] = {r2[2 * j], r2[2 * j + 1]};
                Mma<T>::k16(d1[j], l1, p1);
                Mma<T>::k16(d2[j], l2, p2);
            }
        }
#pragma unroll
        for (int j = 0; j < 2; j++) {
#pragma unroll
            for (int e = 0; e < 4; e += 2) {
                float v0 = d1[j][e] * d2[j][e], v1 = d1[j][e + 1] * d2[j][e + 1];
                unsigned rounded = pack2<T>(v0, v1);
                int at = (dr + g + e * 4) * XP + dc + 8 * j + 2 * pair;
                *(unsigned*)(high + at) = rounded;
                *(unsigned*)(low + at) = pack2<T>(v0 - unpack_low<T>(rounded), v1 - unpack_high<T>(rounded));
            }
        }
        cp_async_wait<1>();
        __syncthreads();
        const T* now = xs + stage * ROWS * XP;
#pragma unroll 1
        for (int k = 0; k < DEPTH; k += 16) {
            unsigned a[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++) ldmatrix_x4(a[i], now + (wm + 16 * i + rowOf) * XP + k + partOf);
            // Two groups of 8 columns of y, as rows of Δ: lanes 0 to 7 and 8 to 15 the halves of the depth of the first, then of the second.
            int at = (wn + (lane() & 7) + (lane() >> 4) * 8) * XP + k + (lane() >> 3 & 1) * 8;
#pragma unroll
            for (int h = 0; h < 2; h++) {
                unsigned b[4], rest[4];
                ldmatrix_x4(b, high + at + h * 16 * XP);
                ldmatrix_x4(rest, low + at + h * 16 * XP);
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const unsigned one[2] = {b[2 * j], b[2 * j + 1]}, two[2] = {rest[2 * j], rest[2 * j + 1]};
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        Mma<T>::k16(c[i][2 * h + j], a[i], two);
                        Mma<T>::k16(c[i][2 * h + j], a[i], one);
                    }
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                i64 r = m0 + wm + 16 * i + g + e / 2 * 8, column = n0 + wn + 8 * j + 2 * pair + e % 2;
                if (r < s.m && column < s.n) y[r * s.yRow + column] = from_float<T>(factor * c[i][j][e]);
            }
        }
    }
}

// ---- The gradients of the left factors -------------------------------------------------------------------------------------------------------------------

/** Rows of dy and x that are summed over at once, and the pitch of their tiles: of 16-bit values on tensor cores, of f32 without. */
template <class T> struct Sums {
    static const int DEPTH = 32, P = TILE + 8;
};
template <> struct Sums<float> {
    static const int DEPTH = 16, P = TILE + 4;
};

/** 64 columns of rows `row` to row + DEPTH - 1; zeros outside. */
template <class T> DEV void load_columns(T* to, const T* v, i64 pitch, i64 row, i64 end, i64 column, i64 columns) {
    for (int i = (int)threadIdx.x; i < Sums<T>::DEPTH * TILE; i += THREADS) {
        i64 r = row + i / TILE, c = column + i % TILE;
        to[i / TILE * Sums<T>::P + i % TILE] = r < end && c < columns ? v[r * pitch + c] : from_float<T>(0.f);
    }
}

/** g [64][65] = the sum over rows from begin to end, at least one, of dy[row][n0 ..] x[row][k0 ..]; begins with a barrier. */
DEV void columns_product(float* g, float* shared, const float* dy, const float* x, const Hadamard& s, i64 begin, i64 end, i64 n0, i64 k0) {
    typedef Sums<float> S;
    float* one = shared;
    float* two = one + S::DEPTH * S::P;
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    float c[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
    for (i64 row = begin; row < end; row += S::DEPTH) {
        __syncthreads();
        load_columns(one, dy, s.yRow, row, end, n0, s.n);
        load_columns(two, x, s.xRow, row, end, k0, s.k);
        __syncthreads();
#pragma unroll 2
        for (int p = 0; p < S::DEPTH; p++) {
            Vec<float, 4> a = load_vec<4>(one + p * S::P + ty * 4), b = load_vec<4>(two + p * S::P + tx * 4);
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) c[i][j] = fmaf(a[i], b[j], c[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) g[(ty * 4 + i) * PITCH + tx * 4 + j] = c[i][j];
    }
}

template <class T> DEV void columns_product(float* g, T* shared, const T* dy, const T* x, const Hadamard& s, i64 begin, i64 end, i64 n0, i64 k0) {
    typedef Sums<T> S;
    T* one = shared;
    T* two = one + S::DEPTH * S::P;
    int warp = warp_index(), matrix = lane() >> 3, line = lane() & 7;
    int wr = (warp & 3) * 16, wc = (warp >> 2) * 32;
    float c[4][4];
#pragma unroll
    for (int j = 0; j < 4; j++) c[j][0] = c[j][1] = c[j][2] = c[j][3] = 0;
    for (i64 row = begin; row < end; row += S::DEPTH) {
        __syncthreads();
        load_columns(one, dy, s.yRow, row, end, n0, s.n);
        load_columns(two, x, s.xRow, row, end, k0, s.k);
        __syncthreads();
#pragma unroll
        for (int p = 0; p < S::DEPTH; p += 16) {
            unsigned a[4], b[2][4];
            ldmatrix_x4_trans(a, one + (p + (matrix >> 1) * 8 + line) * S::P + wr + (matrix & 1) * 8);
#pragma unroll
            for (int j = 0; j < 2; j++) ldmatrix_x4_trans(b[j], two + (p + (matrix & 1) * 8 + line) * S::P + wc + 16 * j + (matrix >> 1) * 8);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const unsigned two[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                Mma<T>::k16(c[j], a, two);
            }
        }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) g[(wr + (lane() >> 2) + e / 2 * 8) * PITCH + wc + 8 * j + 2 * (lane() & 3) + e % 2] = c[j][e];
    }
}

/**
 * grid (rows / 64, parts of the columns, parts of m); partial [parts][2][n][r], part = y + z gridDim.y; depth: rows of a part of m.
 * shared: g and its copy [64][65], factors 2 x [2][16][68] in f32; the tiles of dy and x lie where the factors do.
 */
template <class T> DEV void gradients(float* shared, const T* dy, const T* x, const T* a1, const T* b1, const T* a2, const T* b2, float* partial, i64 depth,
                                      const Hadamard& s, float factor) {
    const int P = TILE + 4;
    float* g = shared;
    float* h = g + TILE * PITCH;
    float* left = h + TILE * PITCH;
    float* right = left + 2 * RANKS * P;
    int t = (int)threadIdx.x, tx = t % 16, ty = t / 16;
    i64 n0 = (i64)blockIdx.x * TILE, tiles = div_up(s.k, (i64)TILE);
    i64 begin = depth * blockIdx.z, end = begin + depth < s.m ? begin + depth : s.m;
    float* to = partial + ((i64)blockIdx.y + (i64)blockIdx.z * gridDim.y) * 2 * s.n * s.r;
    i64 first = tiles * blockIdx.y / gridDim.y, last = tiles * (blockIdx.y + 1) / gridDim.y;
#pragma unroll 1
    for (i64 tile = first; tile < last; tile++) {
        i64 k0 = tile * TILE;
        columns_product(g, (T*)left, dy, x, s, begin, end, n0, k0);
        float d1[4][4], d2[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            d1[i][0] = d1[i][1] = d1[i][2] = d1[i][3] = 0;
            d2[i][0] = d2[i][1] = d2[i][2] = d2[i][3] = 0;
        }
#pragma unroll 1
        for (i64 q0 = 0; q0 < s.r; q0 += RANKS) {
            __syncthreads();
            load_left<T, TILE>(left, a1, a2, s, n0, q0);
            load_right<T, TILE>(right, b1, b2, s, k0, q0);
            __syncthreads();
#pragma unroll 1
            for (int q = 0; q < RANKS; q++) {
                Vec<float, 4> l1 = load_vec<4>(left + q * P + ty * 4), l2 = load_vec<4>(left + (RANKS + q) * P + ty * 4);
                Vec<float, 4> r1 = load_vec<4>(right + q * P + tx * 4), r2 = load_vec<4>(right + (RANKS + q) * P + tx * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) {
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        d1[i][j] = fmaf(l1[i], r1[j], d1[i][j]);
                        d2[i][j] = fmaf(l2[i], r2[j], d2[i][j]);
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int at = (ty * 4 + i) * PITCH + tx * 4 + j;
                float v = factor * g[at];
                g[at] = v * d2[i][j];
                h[at] = v * d1[i][j];
            }
        }
        int which = t >> 7, row = t & 63, q8 = (t >> 6 & 1) * 8;
        const float* from = (which ? h : g) + row * PITCH;
#pragma unroll 1
        for (i64 q0 = 0; q0 < s.r; q0 += RANKS) {
            __syncthreads();
            if (s.r > RANKS) {
                load_right<T, TILE>(right, b1, b2, s, k0, q0);
                __syncthreads();
            }
            float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll 2
            for (int p = 0; p < TILE; p++) {
                float v = from[p];
#pragma unroll
                for (int e = 0; e < 8; e++) sum[e] = fmaf(v, right[(which * RANKS + q8 + e) * P + p], sum[e]);
            }
#pragma unroll
            for (int e = 0; e < 8; e++) {
                i64 q = q0 + q8 + e;
                if (n0 + row >= s.n || q >= s.r) continue;
                float* sumTo = to + ((i64)which * s.n + n0 + row) * s.r + q;
                *sumTo = tile == first ? sum[e] : *sumTo + sum[e];
            }
        }
    }
}

/** d1, d2 = the sums of partial [parts][2][n][r]; element (row, q) lies at row out.row + q out.column. */
template <class T> DEV void sum_parts(const float* partial, T* d1, T* d2, int parts, i64 n, i64 r, const Strides& out) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= 2 * n * r) return;
    float sum = partial[i];
    for (int p = 1; p < parts; p++) sum += partial[(i64)p * 2 * n * r + i];
    i64 at = i % (n * r);
    (i < n * r ? d1 : d2)[at / r * out.row + at % r * out.column] = from_float<T>(sum);
}

#endif
