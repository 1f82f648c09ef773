// SPDX-License-Identifier: Apache-2.0
// Convolutions element by element, for channels in groups too small for a matrix product (depthwise
// ones above all) and for f64; and the small kernels around the matrix products of conv_mma and
// conv_simt: weights in the order they read, sums of the parts they write.
//
// conv_direct_gather, conv_direct_weight: the products of conv.cuh, shapes as in conv_mma, but the
// weight is read and its gradient written as [groups * outputs, inputs of a group, taps] (row-major
// as a convolution has it), so that "of" a gather tells which of the two is the sum's.
#include "conv.cuh"

// ---- device functions ----

/** y[pixel, o] = sum over taps and channels of the group; one thread for each element of y. */
template <class T> DEV void direct_gather(const T* g, const T* w, const T* bias, T* y, const Walk& p, int transposed) {
    int n = p.oc / p.groups, channels = p.gc / p.groups, all = p.kernel[0] * p.kernel[1] * p.kernel[2];
    i64 total = (i64)p.images * p.out[0] * p.out[1] * p.out[2] * p.oc;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += (i64)gridDim.x * blockDim.x) {
        int o = (int)(i % p.oc), group = o / n, at[3];
        i64 pixel = i / p.oc;
        for (int a = 2; a >= 0; a--) {
            at[a] = (int)(pixel % p.out[a]);
            pixel /= p.out[a];
        }
        // element of w for (channel c, tap): o and c are rows and columns, or the other way round
        const T* row = transposed ? w + ((i64)group * channels * n + o % n) * all : w + (i64)o * channels * all;
        i64 apart = transposed ? (i64)n * all : all;
        Acc<T> sum = 0;
        for (int tap = 0; tap < all; tap++) {
            int k[3] = {tap / (p.kernel[2] * p.kernel[1]), tap / p.kernel[2] % p.kernel[1], tap % p.kernel[2]};
            bool ok = true;
            i64 place = pixel;
            for (int a = 0; a < 3; a++) {
                int v = p.lattice[a] == 1 ? at[a] * p.step[a] + p.base[a] + k[a] * p.tap[a] : at[a] + p.base[a] + k[a] * p.tap[a];
                ok = ok && v >= 0 && v % p.lattice[a] == 0 && v / p.lattice[a] < p.gin[a];
                place = place * p.gin[a] + v / p.lattice[a];
            }
            if (!ok) continue;
            const T* from = g + place * p.gc + group * channels;
            for (int c = 0; c < channels; c++) sum += to_acc(from[c]) * to_acc(row[c * apart + tap]);
        }
        if (bias != nullptr) sum += to_acc(bias[o]);
        y[i] = from_acc<T>(sum);
    }
}

/** dw[o, c, tap] = sum over pixels; one warp for each, neighbours in a block are neighbouring channels. */
template <class T> DEV void direct_weight(const T* dy, const T* x, T* dw, const Walk& p) {
    int n = p.oc / p.groups, channels = p.gc / p.groups, all = p.kernel[0] * p.kernel[1] * p.kernel[2];
    i64 each = (i64)p.oc * channels;
    int pixels = p.images * p.out[0] * p.out[1] * p.out[2];
    for (i64 i = (i64)blockIdx.x * (blockDim.x / 32) + warp_index(); i < each * all; i += (i64)gridDim.x * (blockDim.x / 32)) {
        int tap = (int)(i / each), o = (int)(i % each / channels), c = (int)(i % channels);
        Column column = column_of(p, tap * channels + c, channels);
        const T* from = x + o / n * channels;
        Acc<T> sum = 0;
        for (int pixel = lane(); pixel < pixels; pixel += 32) {
            Place place = first_place(p, pixel, pixels);
            if (inside(p, place, column)) sum += to_acc(dy[(i64)pixel * p.oc + o]) * to_acc(from[place.at + column.at]);
        }
        sum = warp_sum(sum);
        if (lane() == 0) dw[((i64)o * channels + c) * all + tap] = from_acc<T>(sum);
    }
}

/** to [batch][columns][rows] = from [batch][rows][columns]; block (32, 8), grid (tiles, batch). */
template <class T> DEV void transpose(const T* from, T* to, int rows, int columns) {
    __shared__ T tile[32][33];
    int across = (columns + 31) / 32, r0 = blockIdx.x / across * 32, c0 = blockIdx.x % across * 32;
    from += (i64)blockIdx.y * rows * columns;
    to += (i64)blockIdx.y * rows * columns;
    for (int i = threadIdx.y; i < 32; i += 8)
        if (r0 + i < rows && c0 + (int)threadIdx.x < columns) tile[i][threadIdx.x] = from[(i64)(r0 + i) * columns + c0 + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8)
        if (c0 + i < columns && r0 + (int)threadIdx.x < rows) to[(i64)(c0 + i) * rows + r0 + threadIdx.x] = tile[threadIdx.x][i];
}

/**
 * The same for few columns: a block moves `some` rows, [some][columns] in dynamic shared memory.
 * Grid (runs of rows, batch).
 */
template <class T> DEV void transpose_narrow(const T* from, T* to, int rows, int columns, int some) {
    DYN_SHARED(T, tile);
    int r0 = blockIdx.x * some, here = rows - r0 < some ? rows - r0 : some;
    from += ((i64)blockIdx.y * rows + r0) * columns;
    to += (i64)blockIdx.y * rows * columns + r0;
    for (int i = threadIdx.x; i < here * columns; i += blockDim.x) tile[i] = from[i];
    __syncthreads();
    for (int i = threadIdx.x; i < here * columns; i += blockDim.x) {
        int c = i / here, r = i - c * here;
        to[(i64)c * rows + r] = tile[r * columns + c];
    }
}

/** The same for few rows: a block moves `some` columns, [rows][some] in dynamic shared memory. */
template <class T> DEV void transpose_wide(const T* from, T* to, int rows, int columns, int some) {
    DYN_SHARED(T, tile);
    int c0 = blockIdx.x * some, here = columns - c0 < some ? columns - c0 : some;
    from += (i64)blockIdx.y * rows * columns + c0;
    to += ((i64)blockIdx.y * columns + c0) * rows;
    for (int i = threadIdx.x; i < here * rows; i += blockDim.x) {
        int r = i / here;
        tile[i] = from[(i64)r * columns + (i - r * here)];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < here * rows; i += blockDim.x) {
        int c = i / rows;
        to[i] = tile[(i - c * rows) * here + c];
    }
}

/** y[i] += bias[i % channels]; W neighbours at once, a divisor of channels. */
template <class T, int W> DEV void add_bias(T* y, const T* bias, i64 total, int channels) {
    for (i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * W; i < total; i += (i64)gridDim.x * blockDim.x * W) {
        Vec<T, W> v = load_vec<W>(y + i), b = load_vec<W>(bias + i % channels);
        #pragma unroll
        for (int e = 0; e < W; e++) v[e] = from_float<T>(to_float(v[e]) + to_float(b[e]));
        store_vec(y + i, v);
    }
}

/** The sums of W neighbours in parts [splits][total], in the order of splits. */
template <int W> DEV Vec<float, W> sum_at(const float* parts, i64 total, int splits) {
    Vec<float, W> sum;
    #pragma unroll
    for (int e = 0; e < W; e++) sum[e] = 0.f;
    #pragma unroll 4
    for (int s = 0; s < splits; s++) {
        Vec<float, W> v = load_vec<W>(parts + s * total);
        #pragma unroll
        for (int e = 0; e < W; e++) sum[e] += v[e];
    }
    return sum;
}

/** y[i] = sum of parts [splits][total] at i + bias[i % channels]; W neighbours at once, a divisor of channels. */
template <class T, int W> DEV void sum_parts(const float* parts, const T* bias, T* y, i64 total, int splits, int channels) {
    for (i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * W; i < total; i += (i64)gridDim.x * blockDim.x * W) {
        Vec<float, W> sum = sum_at<W>(parts + i, total, splits);
        if (bias != nullptr) {
            const T* add = bias + i % channels;
            #pragma unroll
            for (int e = 0; e < W; e++) sum[e] += to_float(add[e]);
        }
        store_vec(y + i, from_float<T>(sum));
    }
}

/**
 * dw [rows][channels][taps] = sum of parts [splits][total / (taps * padded)][taps][padded], one block for `some` channels
 * of a row, which turn round in dynamic shared memory [some][taps]; or, if some is 0, element by element.
 */
template <class T>
DEV void sum_weight(const float* parts, T* dw, i64 total, int splits, int taps, int padded, int rows, int channels, int some) {
    DYN_SHARED(float, tile);
    if (some == 0) {
        i64 all = (i64)rows * taps * channels;
        for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += (i64)gridDim.x * blockDim.x) {
            i64 line = i / channels, row = line / taps;
            int c = (int)(i % channels), tap = (int)(line % taps);
            dw[(row * channels + c) * taps + tap] = from_float<T>(sum_at<1>(parts + line * padded + c, total, splits)[0]);
        }
        return;
    }
    int across = (channels + some - 1) / some, row = blockIdx.x / across, c0 = blockIdx.x % across * some;
    int here = channels - c0 < some ? channels - c0 : some;
    const float* from = parts + (i64)row * taps * padded + c0;
    if (here % 4 == 0 && padded % 4 == 0 && some % 4 == 0) {
        int quads = here / 4;
        for (int i = threadIdx.x; i < quads * taps; i += blockDim.x) {
            int tap = i / quads, c = (i - tap * quads) * 4;
            Vec<float, 4> sum = sum_at<4>(from + (i64)tap * padded + c, total, splits);
            #pragma unroll
            for (int e = 0; e < 4; e++) tile[(c + e) * taps + tap] = sum[e];
        }
    } else {
        for (int i = threadIdx.x; i < here * taps; i += blockDim.x) {
            int tap = i / here, c = i - tap * here;
            tile[c * taps + tap] = sum_at<1>(from + (i64)tap * padded + c, total, splits)[0];
        }
    }
    __syncthreads();
    T* to = dw + ((i64)row * channels + c0) * taps;
    for (int i = threadIdx.x; i < here * taps; i += blockDim.x) to[i] = from_float<T>(tile[i]);
}

/** to [rows][padded] = from [rows][channels], then zeros; a thread for each 16 bytes of to. */
template <class T> DEV void pad(const T* from, T* to, i64 rows, int channels, int padded) {
    constexpr int W = Wide<T>::N;
    int chunks = padded / W;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < rows * chunks; i += (i64)gridDim.x * blockDim.x) {
        i64 row = i / chunks;
        int c = (int)(i - row * chunks) * W;
        Vec<T, W> v;
        #pragma unroll
        for (int e = 0; e < W; e++) v[e] = c + e < channels ? from[row * channels + c + e] : from_float<T>(0.f);
        store_vec(to + row * padded + c, v);
    }
}

// ---- kernels: block 256 (transpose: 32 x 8), grid of any size but for the transpositions ----

#define DIRECT(T, NAME) \
    KERNEL(conv_direct_gather_##NAME)(const T* g, const T* w, const T* bias, T* y, Walk p, int transposed) { \
        direct_gather<T>(g, w, bias, y, p, transposed); \
    } \
    KERNEL(conv_direct_weight_##NAME)(const T* dy, const T* x, T* dw, Walk p) { direct_weight<T>(dy, x, dw, p); }

#define AROUND(T, NAME) \
    KERNEL(conv_transpose_##NAME)(const T* from, T* to, int rows, int columns) { transpose<T>(from, to, rows, columns); } \
    KERNEL(conv_transpose_narrow_##NAME)(const T* from, T* to, int rows, int columns, int some) { \
        transpose_narrow<T>(from, to, rows, columns, some); \
    } \
    KERNEL(conv_transpose_wide_##NAME)(const T* from, T* to, int rows, int columns, int some) { \
        transpose_wide<T>(from, to, rows, columns, some); \
    } \
    KERNEL(conv_add_bias_##NAME)(T* y, const T* bias, i64 total, int channels) { \
        if (channels % Wide<T>::N == 0 && is_aligned(bias, 16) && is_aligned(y, 16)) add_bias<T, Wide<T>::N>(y, bias, total, channels); \
        else add_bias<T, 1>(y, bias, total, channels); \
    } \
    KERNEL(conv_sum_##NAME)(const float* parts, const T* bias, T* y, i64 total, int splits, int channels) { \
        if (channels % 4 == 0 && is_aligned(y, 16)) sum_parts<T, 4>(parts, bias, y, total, splits, channels); \
        else sum_parts<T, 1>(parts, bias, y, total, splits, channels); \
    } \
    KERNEL(conv_sum_weight_##NAME)( \
        const float* parts, T* dw, i64 total, int splits, int taps, int padded, int rows, int channels, int some) { \
        sum_weight<T>(parts, dw, total, splits, taps, padded, rows, channels, some); \
    } \
    KERNEL(conv_pad_##NAME)(const T* from, T* to, i64 rows, int channels, int padded) { pad<T>(from, to, rows, channels, padded); }

DIRECT(double, f64)
DIRECT(float, f32)
DIRECT(bf16, bf16)
DIRECT(f16, f16)
AROUND(float, f32)
AROUND(bf16, bf16)
AROUND(f16, f16)

// ---- names for the emulator ----

#define DIRECT_NAMES(NAME) EMU_EXPORT(conv_direct_gather_##NAME) EMU_EXPORT(conv_direct_weight_##NAME)
#define AROUND_NAMES(NAME) \
    EMU_EXPORT(conv_transpose_##NAME) EMU_EXPORT(conv_transpose_narrow_##NAME) EMU_EXPORT(conv_transpose_wide_##NAME) \
    EMU_EXPORT(conv_add_bias_##NAME) EMU_EXPORT(conv_sum_##NAME) EMU_EXPORT(conv_sum_weight_##NAME) EMU_EXPORT(conv_pad_##NAME)

DIRECT_NAMES(f64)
DIRECT_NAMES(f32)
DIRECT_NAMES(bf16)
DIRECT_NAMES(f16)
AROUND_NAMES(f32)
AROUND_NAMES(bf16)
AROUND_NAMES(f16)
