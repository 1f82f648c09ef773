// SPDX-License-Identifier: Apache-2.0
//
// What the attention kernels on tensor cores share: tiles in shared memory, fragments, products of fragments.
//
// A tile is [rows][D] of a 16-bit type, row by row, with a pitch of an odd number of 16-byte chunks: eight rows at one column then lie in eight different
// groups of four banks, so ldmatrix meets no conflict, and every column is a constant offset from one address per lane.
//
// Fragments (see ptx.h; g = lane / 4, t = lane % 4): the accumulator C of m16n8 has rows g, g + 8 and columns 2t, 2t + 1. Two neighbouring C tiles, packed,
// are the A operand of a product over their 16 columns: a[0] = left rows g, a[1] = left rows g + 8, a[2] = right rows g, a[3] = right rows g + 8.
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

/** Elements from one row of a tile to the next. */
template <int D> struct Pitch {
    static_assert(D % 8 == 0, "rows of whole chunks");
    static const int N = (D / 8 | 1) * 8;
};

/** Where a batch and head begin. */
template <class T> DEV T* head_of(T* p, const i64 (&stride)[3], int b, int h) { return p + b * stride[0] + h * stride[1]; }

/**
 * Starts the copy of ROWS rows of D values, row r from p + r * stride; rows from `rows` on and columns from `width` on are zero. With ANY, width may be
 * less than D and rows may start anywhere (`aligned` says whether at 16 bytes); else width is D and rows start at 16 bytes.
 */
template <class T, int D, int ROWS, int THREADS, bool ANY>
DEV void load_tile(T* tile, const T* p, i64 stride, int rows, int width, bool aligned) {
    const int CHUNKS = D / 8, P = Pitch<D>::N, STEP = THREADS / CHUNKS;
    int tid = (int)threadIdx.x;
    if (ANY && !aligned) {
        for (int i = tid; i < ROWS * D; i += THREADS) {
            int r = i / D, c = i % D;
            T zero = {0};
            tile[r * P + c] = r < rows && c < width ? p[r * stride + c] : zero;
        }
        return;
    }
    int c = tid % CHUNKS * 8, r = tid / CHUNKS;
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
    int left = ANY ? (width - c) * 2 : 16;
    int bytes = left < 0 ? 0 : left > 16 ? 16 : left;
    for (int i = r; i < ROWS; i += STEP) {
        int n = i < rows ? bytes : 0;
        cp_async16_zfill(to, n > 0 ? from : p, n);
        to += STEP * P;
        from += STEP * stride;
    }
}

/** Offset of this lane's row for ldmatrix x4: 16 rows times 16 columns of A as they lie; or of B^T [k][n] read transposed, k in rows. */
template <int D> DEV int lane_rows_first() { return (lane() & 15) * Pitch<D>::N + (lane() >> 4) * 8; }

/** The same for B [n][k]: r[0], r[1] belong to the first 8 rows, r[2], r[3] to the next 8. */
template <int D> DEV int lane_columns_first() { return ((lane() & 7) + (lane() >> 4) * 8) * Pitch<D>::N + (lane() >> 3 & 1) * 8; }

/** Offset for ldmatrix x4 without columns: 32 rows, one chunk. */
template <int D> DEV int lane_rows_only() { return lane() * Pitch<D>::N; }

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

/**
 * c += a b^T over D columns: a [16 MI][D] and b [8 NT][D] are tiles, a with the offset of lane_rows_first, b of lane_columns_first added; a_tail and
 * b_tail (with lane_rows_only added) are read where D is an odd number of chunks.
 */
template <class T, int D, int MI, int NT>
DEV void multiply_rows(float (&c)[MI][NT][4], const T* a, const T* b, const T* a_tail, const T* b_tail) {
    const int P = Pitch<D>::N;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        unsigned fa[MI][4];
#pragma unroll
        for (int i = 0; i < MI; i++) ldmatrix_x4(fa[i], a + i * 16 * P + k * 16);
#pragma unroll
        for (int j = 0; j < NT / 2; j++) {
            unsigned fb[4];
            ldmatrix_x4(fb, b + j * 16 * P + k * 16);
            unsigned b0[2] = {fb[0], fb[1]}, b1[2] = {fb[2], fb[3]};
#pragma unroll
            for (int i = 0; i < MI; i++) {
                Mma<T>::k16(c[i][2 * j], fa[i], b0);
                Mma<T>::k16(c[i][2 * j + 1], fa[i], b1);
            }
        }
    }
    if (D % 16 != 0) {
        static_assert(D % 16 == 0 || NT % 4 == 0, "the tail reads four tiles of b at once");
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

/** c += a b for one step of 16 rows of b [16][.], whose tile has pitch P: a in registers, b with the offset of lane_rows_first added, N columns of 8. */
template <class T, int P, int MI, int N> DEV void multiply_step(float (&c)[MI][N][4], const unsigned (&a)[MI][4], const T* b) {
#pragma unroll
    for (int j = 0; j < N / 2; j++) {
        unsigned fb[4];
        ldmatrix_x4_trans(fb, b + j * 16);
        unsigned b0[2] = {fb[0], fb[1]}, b1[2] = {fb[2], fb[3]};
#pragma unroll
        for (int i = 0; i < MI; i++) {
            Mma<T>::k16(c[i][2 * j], a[i], b0);
            Mma<T>::k16(c[i][2 * j + 1], a[i], b1);
        }
    }
    if (N % 2 != 0) {
        unsigned fb[2];
        ldmatrix_x2_trans(fb, b + N / 2 * 16);
#pragma unroll
        for (int i = 0; i < MI; i++) Mma<T>::k16(c[i][N - 1], a[i], fb);
    }
}

/** c += a b over 8 NT rows of b [8 NT][.]; a, f32 accumulators of 8 NT columns, is rounded to T. */
template <class T, int P, int MI, int NT, int N> DEV void multiply_accumulator(float (&c)[MI][N][4], const float (&a)[MI][NT][4], const T* b) {
#pragma unroll
    for (int k = 0; k < NT / 2; k++) {
        unsigned fa[MI][4];
#pragma unroll
        for (int i = 0; i < MI; i++) {
            fa[i][0] = pack2<T>(a[i][2 * k][0], a[i][2 * k][1]);
            fa[i][1] = pack2<T>(a[i][2 * k][2], a[i][2 * k][3]);
            fa[i][2] = pack2<T>(a[i][2 * k + 1][0], a[i][2 * k + 1][1]);
            fa[i][3] = pack2<T>(a[i][2 * k + 1][2], a[i][2 * k + 1][3]);
        }
        multiply_step<T, P>(c, fa, b + k * 16 * P);
    }
}

/** Rounds accumulators of 16 MI rows and 8 N columns into a tile, which starts at this warp's first row and column; c is first multiplied by factor. */
template <class T, int P, int MI, int N> DEV void store_fragments(T* tile, const float (&c)[MI][N][4], const float (&factor)[MI][2]) {
    int at = (lane() >> 2) * P + (lane() & 3) * 2;
#pragma unroll
    for (int i = 0; i < MI; i++) {
#pragma unroll
        for (int j = 0; j < N; j++) {
            T* to = tile + at + i * 16 * P + j * 8;
            *(unsigned*)to = pack2<T>(c[i][j][0] * factor[i][0], c[i][j][1] * factor[i][0]);
            *(unsigned*)(to + 8 * P) = pack2<T>(c[i][j][2] * factor[i][1], c[i][j][3] * factor[i][1]);
        }
    }
}

/** One warp copies its ROWS rows of D columns of a tile to memory: rows below `rows`, columns below `width`. */
template <class T, int P, int D, int ROWS, bool ANY> DEV void store_rows(T* p, i64 stride, const T* tile, int rows, int width, bool aligned) {
    if (ANY && (!aligned || width % 8 != 0)) {
        for (int i = lane(); i < ROWS * D; i += 32) {
            int r = i / D, c = i % D;
            if (r < rows && c < width) p[r * stride + c] = tile[r * P + c];
        }
        return;
    }
    const int CHUNKS = D / 8;
    for (int i = lane(); i < ROWS * CHUNKS; i += 32) {
        int r = i / CHUNKS, c = i % CHUNKS * 8;
        if (r < rows && c < width) store_vec<8>(p + r * stride + c, load_vec<8>(tile + r * P + c));
    }
}

/** What a mask does to one scaled product in log2 units: hides it or adds to it. `row` is the mask's row of the query. */
template <class T> DEV float masked_score(float s, const AttentionSizes& n, const void* mask, i64 row, i64 key_stride, int query, int key) {
    if (key >= n.keys || (n.causal && key > query)) return negative_infinity();
    if (n.mask == 1) return ((const u8*)mask)[row + key * key_stride] != 0 ? s : negative_infinity();
    if (n.mask == 2) return s + to_float(((const T*)mask)[row + key * key_stride]) * ATTENTION_LOG2E;
    return s;
}

/** The offset of a query's row in the mask. */
DEV i64 mask_row(const AttentionStrides& s, const AttentionSizes& n, int b, int h, int query) {
    return n.mask == 0 ? 0 : b * s.mask[0] + h * s.mask[1] + (query < n.queries ? query : n.queries - 1) * s.mask[2];
}

#endif
