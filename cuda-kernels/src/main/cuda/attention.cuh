// SPDX-License-Identifier: Apache-2.0
//
// What the attention kernels on tensor cores share: tiles in shared memory, fragments, products of fragments.
//
// A tile is [rows][D] of bf16, f16 or f32, row by row, with a pitch of an odd number of 16-byte chunks: eight rows at one column then lie in eight
// different groups of four banks, so ldmatrix meets no conflict, and every column is a constant offset from one address per lane.
//
// Fragments (see ptx.h; g = lane / 4, t = lane % 4): the accumulator C of m16n8 has rows g, g + 8 and columns 2t, 2t + 1. Two neighbouring C tiles, packed,
// are the A operand of a product of 16-bit values over their 16 columns: a[0] = left rows g, a[1] = left rows g + 8, a[2] = right rows g, a[3] = right
// rows g + 8. In tf32 one C tile is the A operand over its 8 columns, if the columns are taken in the order 0, 2, 4, 6, 1, 3, 5, 7, and so B's rows.
//
// A product of f32 values x y is computed in tf32 as x1 y1 + x1 y2 + x2 y1, where x1 is x rounded to tf32 and x2 the rest cut off to tf32: what is lost is
// at most about 2^-20 of |x y|, not larger than what sums in f32 lose. Tensor cores cut their sums off where others round, so hundreds of them into one
// accumulator would err towards zero together. So sums of f32 go part by part, some columns or the rows of a tile long, and the parts are added by additions
// that round (as Ootomo and Yokota 2022 do).
#ifndef SFUMATO_ATTENTION_CUH
#define SFUMATO_ATTENTION_CUH

#include "dev.h"

#define ATTENTION_LOG2E 1.4426950408889634f
#define ATTENTION_LN2 0.6931471805599453f

/** Elements from one batch, head and position to the next; of the mask also from one key to the next. The width is always contiguous. */
struct AttentionStrides {
    i64 q[3];     // q [B, H, Lq, width]
    i64 k[3];     // k [B, H, Lk, width]
    i64 v[3];     // v [B, H, Lk, values]
    i64 o[3];     // o [B, H, Lq, values]
    i64 mask[4];  // mask seen as [B, H, Lq, Lk]
};

struct AttentionSizes {
    int heads, queries, keys, width, values;
    int causal;   // query i sees keys j <= i only
    int mask;     // 0 none; 1 bytes, not zero where a key may be seen; 2 of the type of q, added
    int aligned;  // bit 0: every row of the inputs starts at a multiple of 16 bytes; bit 1: every row of the outputs
};

DEV float negative_infinity() { return __uint_as_float(0xff800000u); }
DEV float positive_infinity() { return __uint_as_float(0x7f800000u); }
DEV int min_int(int a, int b) { return a < b ? a : b; }

/** Elements of T in a chunk, and columns that one product of fragments takes. */
template <class T> struct Chunk {
    static const int N = 16 / (int)sizeof(T), STEP = 2 * N;
};

/** Elements from one row of a tile to the next. */
template <class T, int D> struct Pitch {
    static_assert(D % 8 == 0, "rows of whole chunks");
    static const int N = (D / Chunk<T>::N | 1) * Chunk<T>::N;
};

/** Where a batch and head begin. */
template <class T> DEV T* head_of(T* p, const i64 (&stride)[3], int b, int h) { return p + b * stride[0] + h * stride[1]; }

/**
 * Starts the copy of ROWS rows of D values, row r from p + r * stride; rows from `rows` on and columns from `width` on are zero. With ANY, width may be
 * less than D and rows may start anywhere (`aligned` says whether at 16 bytes); else width is D and rows start at 16 bytes.
 */
template <class T, int D, int ROWS, int THREADS, bool ANY>
DEV void load_tile(T* tile, const T* p, i64 stride, int rows, int width, bool aligned) {
    const int E = Chunk<T>::N, CHUNKS = D / E, P = Pitch<T, D>::N, STEP = THREADS / CHUNKS;
    int tid = (int)threadIdx.x;
    if (ANY && !aligned) {
        for (int i = tid; i < ROWS * D; i += THREADS) {
            int r = i / D, c = i % D;
            T zero = {0};
            tile[r * P + c] = r < rows && c < width ? p[r * stride + c] : zero;
        }
        return;
    }
    int c = tid % CHUNKS * E, r = tid / CHUNKS;
    if (THREADS % CHUNKS != 0 && r >= STEP) return;
    const T* from = p + r * stride + c;
    T* to = tile + r * P + c;
    if (!ANY && rows >= ROWS) {
#pragma unroll
        for (int i = 0; i < (ROWS + STEP - 1) / STEP; i++) {
            if (ROWS % STEP == 0 || r + i * STEP < ROWS) cp_async16(to + i * STEP * P, from);
            from += STEP * stride;
        }
        return;
    }
    int left = ANY ? (width - c) * (int)sizeof(T) : 16;
    int bytes = left < 0 ? 0 : left > 16 ? 16 : left;
    for (int i = r; i < ROWS; i += STEP) {
        int n = i < rows ? bytes : 0;
        cp_async16_zfill(to, n > 0 ? from : p, n);
        to += STEP * P;
        from += STEP * stride;
    }
}

/** Offset of this lane's row for ldmatrix x4: 16 rows times two chunks of A as they lie. */
template <class T, int D> DEV int lane_rows_first() { return (lane() & 15) * Pitch<T, D>::N + (lane() >> 4) * Chunk<T>::N; }

/** The same for B [n][k]: r[0], r[1] belong to the first 8 rows, r[2], r[3] to the next 8. */
template <class T, int D> DEV int lane_columns_first() {
    return ((lane() & 7) + (lane() >> 4) * 8) * Pitch<T, D>::N + (lane() >> 3 & 1) * Chunk<T>::N;
}

/** Offset of this lane in B [k][n], whose rows are summed over: a row for ldmatrix x4 transposed, or the lane's first element in f32. */
template <class T, int D> DEV int lane_summed_rows() {
    return sizeof(T) == 2 ? lane_rows_first<T, D>() : (lane() & 3) * 2 * Pitch<T, D>::N + (lane() >> 2);
}

/** Offset for ldmatrix x4 without columns: 32 rows, one chunk. */
template <class T, int D> DEV int lane_rows_only() { return lane() * Pitch<T, D>::N; }

// ---- Fragments ---------------------------------------------------------------------------------------------------------------------------------------

/** Operands of one product: A is 16 rows, B 8 columns, both over Chunk::STEP. In f32 the rounded value and the rest. */
template <class T> struct OperandA {
    unsigned r[4];
};
template <> struct OperandA<float> {
    unsigned r[4], rest[4];
};
template <class T> struct OperandB {
    unsigned r[2];
};
template <> struct OperandB<float> {
    unsigned r[2], rest[2];
};

DEV void split_tf32(unsigned x, unsigned& r, unsigned& rest) {
    r = (x + 0x1000u) & 0xffffe000u;
    rest = __float_as_uint(__uint_as_float(x) - __uint_as_float(r));
}

template <class T> DEV void set_a(OperandA<T>& f, unsigned x0, unsigned x1, unsigned x2, unsigned x3) {
    f.r[0] = x0;
    f.r[1] = x1;
    f.r[2] = x2;
    f.r[3] = x3;
}
DEV void set_a(OperandA<float>& f, unsigned x0, unsigned x1, unsigned x2, unsigned x3) {
    split_tf32(x0, f.r[0], f.rest[0]);
    split_tf32(x1, f.r[1], f.rest[1]);
    split_tf32(x2, f.r[2], f.rest[2]);
    split_tf32(x3, f.r[3], f.rest[3]);
}
template <class T> DEV void set_b(OperandB<T>& f, unsigned x0, unsigned x1) {
    f.r[0] = x0;
    f.r[1] = x1;
}
DEV void set_b(OperandB<float>& f, unsigned x0, unsigned x1) {
    split_tf32(x0, f.r[0], f.rest[0]);
    split_tf32(x1, f.r[1], f.rest[1]);
}

/** A from a tile; the offset of lane_rows_first is added. */
template <class T> DEV void load_a(OperandA<T>& f, const T* p) {
    unsigned x[4];
    ldmatrix_x4(x, p);
    set_a(f, x[0], x[1], x[2], x[3]);
}

/** A from accumulators of columns: tile j of 8 in f32, tiles 2 j and 2 j + 1, rounded to T, in 16 bits. */
template <class T, int N> DEV void accumulator_a(OperandA<T>& f, const float (&c)[N][4], int j) {
    set_a(f, pack2<T>(c[2 * j][0], c[2 * j][1]), pack2<T>(c[2 * j][2], c[2 * j][3]), pack2<T>(c[2 * j + 1][0], c[2 * j + 1][1]),
        pack2<T>(c[2 * j + 1][2], c[2 * j + 1][3]));
}
template <int N> DEV void accumulator_a(OperandA<float>& f, const float (&c)[N][4], int j) {
    set_a(f, __float_as_uint(c[j][0]), __float_as_uint(c[j][2]), __float_as_uint(c[j][1]), __float_as_uint(c[j][3]));
}

template <class T> DEV void multiply(float (&c)[4], const OperandA<T>& a, const OperandB<T>& b) { Mma<T>::k16(c, a.r, b.r); }
DEV void multiply(float (&c)[4], const OperandA<float>& a, const OperandB<float>& b) {
    mma_tf32_1688(c, a.rest, b.r);
    mma_tf32_1688(c, a.r, b.rest);
    mma_tf32_1688(c, a.r, b.r);
}

template <int M, int N> DEV void clear(float (&c)[M][N][4]) {
#pragma unroll
    for (int i = 0; i < M; i++) {
#pragma unroll
        for (int j = 0; j < N; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) c[i][j][e] = 0.f;
        }
    }
}

template <int M, int N> DEV void add(float (&c)[M][N][4], const float (&part)[M][N][4]) {
#pragma unroll
    for (int i = 0; i < M; i++) {
#pragma unroll
        for (int j = 0; j < N; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) c[i][j][e] += part[i][j][e];
        }
    }
}

/** Columns that one sum of f32 goes over on tensor cores: more of wide heads, whose registers are scarce. */
template <int D> struct Part {
    static const int N = D > 80 ? 64 : 32;
};

/**
 * c += a b^T over D columns: a [16 MI][D] and b [8 NT][D] are tiles, a with the offset of lane_rows_first, b of lane_columns_first added; a_tail and
 * b_tail (with lane_rows_only added) are read where D is an odd number of chunks of a 16-bit type. With AHEAD the fragments of each step are read during
 * the one before, which hides their latency and takes registers.
 */
template <class T, int D, bool AHEAD, int MI, int NT>
DEV void multiply_rows(float (&c)[MI][NT][4], const T* a, const T* b, const T* a_tail, const T* b_tail) {
    const int P = Pitch<T, D>::N, STEP = Chunk<T>::STEP;
    const int PART = Part<D>::N / STEP;
    const bool PARTS = sizeof(T) == 4 && D > Part<D>::N;
    float part[MI][NT][4];
    unsigned xa[2][MI][4], xb[2][NT / 2][4];  // of even and of odd steps
    auto read_a = [&](int k) {
#pragma unroll
        for (int i = 0; i < MI; i++) ldmatrix_x4(xa[k & 1][i], a + i * 16 * P + k * STEP);
    };
    auto read_b = [&](int k, int j) { ldmatrix_x4(xb[k & 1][j], b + j * 16 * P + k * STEP); };
    if (AHEAD) {
        read_a(0);
#pragma unroll
        for (int j = 0; j < NT / 2; j++) read_b(0, j);
    }
#pragma unroll
    for (int k = 0; k < D / STEP; k++) {
        if (!AHEAD) {
            read_a(k);
        } else if (k + 1 < D / STEP) {
            read_a(k + 1);
#pragma unroll
            for (int j = 0; j < NT / 2; j++) read_b(k + 1, j);
        }
        OperandA<T> fa[MI];
#pragma unroll
        for (int i = 0; i < MI; i++) set_a(fa[i], xa[k & 1][i][0], xa[k & 1][i][1], xa[k & 1][i][2], xa[k & 1][i][3]);
        if (PARTS && k % PART == 0) clear(part);
        float(&sum)[MI][NT][4] = PARTS ? part : c;
#pragma unroll
        for (int j = 0; j < NT / 2; j++) {
            if (!AHEAD) read_b(k, j);
            const unsigned(&x)[4] = xb[k & 1][j];
            OperandB<T> b0, b1;
            set_b(b0, x[0], x[1]);
            set_b(b1, x[2], x[3]);
#pragma unroll
            for (int i = 0; i < MI; i++) {
                multiply(sum[i][2 * j], fa[i], b0);
                multiply(sum[i][2 * j + 1], fa[i], b1);
            }
        }
        if (PARTS && ((k + 1) % PART == 0 || k + 1 == D / STEP)) add(c, part);
    }
    if constexpr (D % STEP != 0) {
        static_assert(sizeof(T) == 2 && NT % 4 == 0, "the tail reads four tiles of b at once");
        unsigned fa[MI][2];
#pragma unroll
        for (int i = 0; i < MI; i++) ldmatrix_x2(fa[i], a_tail + i * 16 * P + D / 16 * 16);
#pragma unroll
        for (int j = 0; j < NT / 4; j++) {
            unsigned fb[4];
            ldmatrix_x4(fb, b_tail + j * 32 * P + D / 16 * 16);
#pragma unroll
            for (int i = 0; i < MI; i++) {
#pragma unroll
                for (int n = 0; n < 4; n++) Mma<T>::k8(c[i][4 * j + n], fa[i], fb[n]);
            }
        }
    }
}

/** B of 8 columns or (PAIR) of 16 for one step of rows of b, whose pitch is P, with the offset of lane_summed_rows added. */
template <int P, bool PAIR, class T> DEV void load_summed(OperandB<T> (&f)[2], const T* b) {
    unsigned x[4];
    if constexpr (PAIR) {
        ldmatrix_x4_trans(x, b);
        set_b(f[1], x[2], x[3]);
    } else {
        unsigned y[2];
        ldmatrix_x2_trans(y, b);
        x[0] = y[0];
        x[1] = y[1];
    }
    set_b(f[0], x[0], x[1]);
}
template <int P, bool PAIR> DEV void load_summed(OperandB<float> (&f)[2], const float* b) {
    set_b(f[0], __float_as_uint(b[0]), __float_as_uint(b[P]));
    if (PAIR) set_b(f[1], __float_as_uint(b[8]), __float_as_uint(b[P + 8]));
}

/** c += a b for one step of rows of b and columns 8 j to 8 j + 15, of N times 8: a in registers, b with the offset of lane_summed_rows added, its pitch P. */
template <int P, int N, class T, int MI, int C> DEV void multiply_pair(float (&c)[MI][C][4], int at, const OperandA<T> (&a)[MI], const T* b, int j) {
    OperandB<T> f[2];
    if (j + 1 < N) {
        load_summed<P, true>(f, b + j * 8);
    } else {
        load_summed<P, false>(f, b + j * 8);
    }
#pragma unroll
    for (int i = 0; i < MI; i++) {
        multiply(c[i][at], a[i], f[0]);
        if (j + 1 < N) multiply(c[i][at + 1 < C ? at + 1 : at], a[i], f[1]);
    }
}

/** c += a b over 8 NT rows of b [8 NT][.]; a, f32 accumulators of 8 NT columns, is rounded to T. */
template <class T, int P, int MI, int NT, int N> DEV void multiply_accumulator(float (&c)[MI][N][4], const float (&a)[MI][NT][4], const T* b) {
    const int STEP = Chunk<T>::STEP, STEPS = 8 * NT / STEP;
    if constexpr (sizeof(T) == 2) {
#pragma unroll
        for (int k = 0; k < STEPS; k++) {
            OperandA<T> fa[MI];
#pragma unroll
            for (int i = 0; i < MI; i++) accumulator_a(fa[i], a[i], k);
#pragma unroll
            for (int j = 0; j < N; j += 2) multiply_pair<P, N>(c, j, fa, b + k * STEP * P, j);
        }
    } else {
        OperandA<T> fa[STEPS][MI];
#pragma unroll
        for (int k = 0; k < STEPS; k++) {
#pragma unroll
            for (int i = 0; i < MI; i++) accumulator_a(fa[k][i], a[i], k);
        }
#pragma unroll
        for (int j = 0; j < N; j += 2) {
            float part[MI][2][4];
            clear(part);
#pragma unroll
            for (int k = 0; k < STEPS; k++) multiply_pair<P, N>(part, 0, fa[k], b + k * STEP * P, j);
#pragma unroll
            for (int i = 0; i < MI; i++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    c[i][j][e] += part[i][0][e];
                    if (j + 1 < N) c[i][j + 1 < N ? j + 1 : j][e] += part[i][1][e];
                }
            }
        }
    }
}

/** Two neighbouring values of one row. */
template <class T> DEV void store_two(T* p, float x, float y) { *(unsigned*)p = pack2<T>(x, y); }
DEV void store_two(float* p, float x, float y) {
    Vec<float, 2> v = {{x, y}};
    store_vec<2>(p, v);
}

/** Rounds accumulators of 16 MI rows and 8 N columns into a tile, which starts at this warp's first row and column; c is first multiplied by factor. */
template <class T, int P, int MI, int N> DEV void store_fragments(T* tile, const float (&c)[MI][N][4], const float (&factor)[MI][2]) {
    int at = (lane() >> 2) * P + (lane() & 3) * 2;
#pragma unroll
    for (int i = 0; i < MI; i++) {
#pragma unroll
        for (int j = 0; j < N; j++) {
            T* to = tile + at + i * 16 * P + j * 8;
            store_two(to, c[i][j][0] * factor[i][0], c[i][j][1] * factor[i][0]);
            store_two(to + 8 * P, c[i][j][2] * factor[i][1], c[i][j][3] * factor[i][1]);
        }
    }
}

/** One warp copies its ROWS rows of D columns of a tile to memory: rows below `rows`, columns below `width`. */
template <class T, int P, int D, int ROWS, bool ANY> DEV void store_rows(T* p, i64 stride, const T* tile, int rows, int width, bool aligned) {
    const int E = Chunk<T>::N, CHUNKS = D / E;
    if (ANY && (!aligned || width % E != 0)) {
        for (int i = lane(); i < ROWS * D; i += 32) {
            int r = i / D, c = i % D;
            if (r < rows && c < width) p[r * stride + c] = tile[r * P + c];
        }
        return;
    }
    for (int i = lane(); i < ROWS * CHUNKS; i += 32) {
        int r = i / CHUNKS, c = i % CHUNKS * E;
        if (r < rows && c < width) store_vec<E>(p + r * stride + c, load_vec<E>(tile + r * P + c));
    }
}

/**
 * What a mask does to one scaled product: hides it or adds to it. `row` is the mask's row of the query. Scores with a mask are not in log2 units: a mask of
 * the lowest number times log2(e) would be infinite, and hide where it should not.
 */
template <class T> DEV float masked_score(float s, const AttentionSizes& n, const void* mask, i64 row, i64 key_stride, int query, int key) {
    if (key >= n.keys || (n.causal && key > query)) return negative_infinity();
    if (n.mask == 1) return ((const u8*)mask)[row + key * key_stride] != 0 ? s : negative_infinity();
    if (n.mask == 2) return s + to_float(((const T*)mask)[row + key * key_stride]);
    return s;
}

/** The offset of a query's row in the mask. */
DEV i64 mask_row(const AttentionStrides& s, const AttentionSizes& n, int b, int h, int query) {
    return n.mask == 0 ? 0 : b * s.mask[0] + h * s.mask[1] + (query < n.queries ? query : n.queries - 1) * s.mask[2];
}

#endif
