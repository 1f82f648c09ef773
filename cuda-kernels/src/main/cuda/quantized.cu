// SPDX-License-Identifier: Apache-2.0
//
// Weights in few bits (quantized.cuh): their values, and products with few rows that read the codes themselves.
#include "quantized.cuh"

static const int THREADS = 256;

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** Elements i .. i + 7 for an i that is a multiple of 8; of those from n on anything. */
DEV void decode(const FourBit& w, const float* table, i64 i, i64 n, float (&y)[PIECE]) {
    float scale = scale_of(w, i >> w.shift);
    const u8* at = w.codes + (i >> 1);
    unsigned bytes = 0;
    if (i + PIECE <= n && is_aligned(at, 4)) {
        bytes = *(const unsigned*)at;
    } else {
#pragma unroll
        for (int b = 0; b < 4; b++) {
            if (i + 2 * b < n) bytes |= (unsigned)at[b] << (8 * b);
        }
    }
#pragma unroll
    for (int b = 0; b < 4; b++) {
        unsigned pair = bytes >> (8 * b);
        y[2 * b] = times(table[pair >> 4 & 15], scale);
        y[2 * b + 1] = times(table[pair & 15], scale);
    }
}

DEV float decode(const EightBit& w, i64 i, i64 row) { return eight_bit((float)w.codes[i], w.magnitudes[row]); }

/** Writes elements i to i + 7 of y [n], rounded: by 16 bytes where they are all there and y allows it. */
template <class T> DEV void put_piece(T* y, i64 i, i64 n, const float (&x)[PIECE]) {
    const int N = Wide<T>::N < PIECE ? Wide<T>::N : PIECE;
    if (i + PIECE <= n && is_aligned(y, 16)) {
#pragma unroll
        for (int j = 0; j < PIECE; j += N) {
            Vec<T, N> v;
#pragma unroll
            for (int e = 0; e < N; e++) v[e] = from_float<T>(x[j + e]);
            store_vec(y + i + j, v);
        }
        return;
    }
#pragma unroll
    for (int j = 0; j < PIECE; j++) {
        if (i + j < n) y[i + j] = from_float<T>(x[j]);
    }
}

/** y [n]; a thread writes 8 elements. */
template <class T> DEV void dequantize_4(const FourBit& w, T* y, i64 n) {
    __shared__ float table[16];
    load_table(table, w);
    i64 i = ((i64)blockIdx.x * THREADS + threadIdx.x) * PIECE;
    if (i >= n) return;
    float x[PIECE];
    decode(w, table, i, n, x);
    put_piece(y, i, n, x);
}

/** y [n] of rows of `length` elements; a thread writes 8 elements. */
template <class T> DEV void dequantize_8(const EightBit& w, T* y, i64 n, i64 length) {
    i64 i = ((i64)blockIdx.x * THREADS + threadIdx.x) * PIECE;
    if (i >= n) return;
    i8 codes[PIECE];
    if (i + PIECE <= n && is_aligned(w.codes, PIECE)) {
        Vec<u32, 2> words = load_vec<2>((const u32*)(w.codes + i));
#pragma unroll
        for (int j = 0; j < PIECE; j++) codes[j] = (i8)(words[j / 4] >> (8 * (j % 4)));
    } else {
#pragma unroll
        for (int j = 0; j < PIECE; j++) codes[j] = i + j < n ? w.codes[i + j] : (i8)0;
    }
    i64 row = i / length, end = (row + 1) * length;
    float x[PIECE];
#pragma unroll
    for (int j = 0; j < PIECE; j++) {
        if (i + j == end && i + j < n) row++, end += length;
        x[j] = eight_bit((float)codes[j], w.magnitudes[row]);
    }
    put_piece(y, i, n, x);
}

/** Adds what 8 elements of a row of the weight give with elements x[k ..] of up to ROWS rows; addresses of x are multiples of its vectors. */
template <int ROWS, class T> DEV void add_products(float (&sum)[ROWS], const float (&w)[PIECE], const T* x, i64 stride, int rows) {
    const int N = Wide<T>::N < PIECE ? Wide<T>::N : PIECE;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r >= rows) return;
#pragma unroll
        for (int j = 0; j < PIECE; j += N) {
            Vec<T, N> v = load_vec<N>(x + r * stride + j);
#pragma unroll
            for (int e = 0; e < N; e++) sum[r] += to_float(v[e]) * w[j + e];
        }
    }
}

template <int ROWS, class T> DEV void put_row(float (&sum)[ROWS], T* y, const T* bias, int rows, i64 n, i64 column) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float v = warp_sum(sum[r]);
        if (lane() == r && r < rows) y[r * n + column] = from_float<T>(bias ? v + to_float(bias[column]) : v);
    }
}

enum { ROWS = 8, WARPS = THREADS / 32 };

/** y [rows, n] = x [rows, k] W^T + bias for at most 8 rows, W [n, k], k a multiple of 8. A warp computes a column. grid (n / 8). */
template <class T> DEV void few_rows_4(const FourBit& w, const T* x, T* y, const T* bias, int rows, i64 n, i64 k) {
    __shared__ float table[16];
    load_table(table, w);
    i64 column = (i64)blockIdx.x * WARPS + warp_index();
    if (column >= n) return;
    float sum[ROWS] = {};
    for (i64 p = lane() * PIECE; p < k; p += 32 * PIECE) {
        float v[PIECE];
        decode(w, table, column * k + p, n * k, v);
        add_products(sum, v, x + p, k, rows);
    }
    put_row(sum, y, bias, rows, n, column);
}

template <class T> DEV void few_rows_8(const EightBit& w, const T* x, T* y, const T* bias, int rows, i64 n, i64 k) {
    i64 column = (i64)blockIdx.x * WARPS + warp_index();
    if (column >= n) return;
    float sum[ROWS] = {};
    for (i64 p = lane() * PIECE; p < k; p += 32 * PIECE) {
        float v[PIECE];
#pragma unroll
        for (int j = 0; j < PIECE; j++) v[j] = decode(w, column * k + p + j, column);
        add_products(sum, v, x + p, k, rows);
    }
    put_row(sum, y, bias, rows, n, column);
}

enum { BYTES = 256 };  // values of a table

/** Largest index whose value is not above x, or its neighbour if that is nearer; what is negative does not become zero. table [256] ascends. */
DEV int nearest_code(const float* table, float x) {
    int low = 0, high = BYTES - 1;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int middle = (low + high) >> 1;
        bool above = table[middle] <= x;
        if (high - low > 1) low = above ? middle : low, high = above ? high : middle;
    }
    int nearest = add_rn(table[high], -x) < add_rn(x, -table[low]) ? high : low;
    return x < 0 && table[nearest] >= 0 && nearest > 0 ? nearest - 1 : nearest;
}

/** codes [n] and the largest magnitude of each `block` elements of x [n]; a block of threads takes one of these. */
DEV void encode_block(const float* x, const float* values, u8* codes, float* magnitudes, i64 n, int block) {
    __shared__ float table[BYTES];
    table[threadIdx.x] = values[threadIdx.x];
    i64 first = (i64)blockIdx.x * block;
    int count = (int)(n - first < block ? n - first : block);
    float most = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) most = max_nan(most, fabsf(x[first + i]));
    most = block_max(most);  // its barriers also make the table whole
    if (threadIdx.x == 0) magnitudes[blockIdx.x] = most;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        codes[first + i] = (u8)nearest_code(table, most == 0 ? 0 : div_rn(x[first + i], most));
    }
}

/** y [n] from codes [n]; grid (blocks of `block` elements). */
DEV void decode_block(const u8* codes, const float* magnitudes, const float* values, float* y, i64 n, int block) {
    i64 first = (i64)blockIdx.x * block;
    int count = (int)(n - first < block ? n - first : block);
    float most = magnitudes[blockIdx.x];
    for (int i = threadIdx.x; i < count; i += THREADS) y[first + i] = times(values[codes[first + i]], most);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define VALUES(T, type)                                                                                                                     \
    KERNEL_BOUNDS(dequantize_4_##type, THREADS, 2)(FOUR_BIT, T* y, i64 n) { dequantize_4(WEIGHT_4, y, n); }                                  \
    KERNEL_BOUNDS(dequantize_8_##type, THREADS, 2)(EIGHT_BIT, T* y, i64 n, i64 length) {                      \
        dequantize_8(WEIGHT_8, y, n, length);                                                                                               \
    }                                                                                                                                       \
    EMU_EXPORT(dequantize_4_##type)                                                                                                         \
    EMU_EXPORT(dequantize_8_##type)

#define FEW_ROWS(T, type)                                                                                                                   \
    KERNEL_BOUNDS(quantized_rows_4_##type, THREADS, 2)(FOUR_BIT, const T* x, T* y, const T* bias, int rows, i64 n, i64 k) {                  \
        few_rows_4(WEIGHT_4, x, y, bias, rows, n, k);                                                                                       \
    }                                                                                                                                       \
    KERNEL_BOUNDS(quantized_rows_8_##type, THREADS, 2)                                                                                      \
    (EIGHT_BIT, const T* x, T* y, const T* bias, int rows, i64 n, i64 k) {                                    \
        few_rows_8(WEIGHT_8, x, y, bias, rows, n, k);                                                                                       \
    }                                                                                                                                       \
    EMU_EXPORT(quantized_rows_4_##type)                                                                                                     \
    EMU_EXPORT(quantized_rows_8_##type)

VALUES(float, f32)
VALUES(bf16, bf16)
VALUES(f16, f16)
VALUES(double, f64)
FEW_ROWS(float, f32)
FEW_ROWS(bf16, bf16)
FEW_ROWS(f16, f16)

KERNEL_BOUNDS(encode_bytes, THREADS, 2)(const float* x, const float* table, u8* codes, float* magnitudes, i64 n, int block) {
    encode_block(x, table, codes, magnitudes, n, block);
}
KERNEL_BOUNDS(decode_bytes, THREADS, 2)(const u8* codes, const float* magnitudes, const float* table, float* y, i64 n, int block) {
    decode_block(codes, magnitudes, table, y, n, block);
}
EMU_EXPORT(encode_bytes)
EMU_EXPORT(decode_bytes)
