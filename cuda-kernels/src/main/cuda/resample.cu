// SPDX-License-Identifier: Apache-2.0
//
// Enlarging, shrinking and pooling in up to three spatial axes, with gradients. Tensors are dense [outer, D, H, W, inner]: channels-last with
// inner = channels, or row-major with outer = batch * channels and inner = 1; axes that an op does not have are of size 1.
//
// But for nearest and maximum every op is separable: out[i] = sum over s of w_D w_H w_W x[s], with a short run of sources per axis. The gradient is the
// same with sources and targets exchanged; a run then covers all outputs that could have used an input, and the weight says which did.
#include "dev.h"

enum { SAME = 0, NEAREST = 1, LINEAR = 2, ALIGNED = 3, WINDOW = 4, WINDOW_INSIDE = 5, ADAPTIVE = 6 };

/**
 * One axis of the forward op: `in` to `out`; kernel, stride, padding of a window. WINDOW counts padding, WINDOW_INSIDE does not. scale: inputs per output,
 * for ALIGNED (in - 1) / (out - 1) or 0, for NEAREST rounded to a float; back: 1 / scale, or 0.
 */
struct Axis {
    int mode, in, out, kernel, stride, padding;
    double scale, back;
};
struct Axes {
    Axis axis[3];
};

// ---- One axis ----------------------------------------------------------------------------------------------------------------------------------------

/** The source of output o: min((int)(o * (in / out)), in - 1), in floats. */
DEV int nearest_source(const Axis& a, int o) {
    int s = (int)mul_rn((float)o, (float)a.scale);
    return s < a.in - 1 ? s : a.in - 1;
}

/** The lower of the two sources of output o, and the share of the upper one. */
DEV int linear_source(const Axis& a, int o, double& part) {
    double position = o * a.scale;
    if (a.mode == LINEAR) {
        position = (o + 0.5) * a.scale - 0.5;
        position = position > 0 ? position : 0;
    }
    int low = (int)position < a.in - 1 ? (int)position : a.in - 1;
    part = position - low < 1 ? position - low : 1;
    return low;
}

/** The window of output o, [begin, end) of the input, and the number that its sum is divided by. */
DEV void window(const Axis& a, int o, int& begin, int& end, int& count) {
    if (a.mode == ADAPTIVE) {
        begin = (int)((i64)o * a.in / a.out);
        end = (int)(((i64)(o + 1) * a.in + a.out - 1) / a.out);
        count = end - begin;
        return;
    }
    int from = o * a.stride - a.padding;
    int to = from + a.kernel < a.in + a.padding ? from + a.kernel : a.in + a.padding;
    begin = from > 0 ? from : 0;
    end = to < a.in ? to : a.in;
    count = a.mode == WINDOW ? to - from : end - begin;
}

/** The inputs [begin, end) of output o. */
DEV void sources(const Axis& a, int o, int& begin, int& end) {
    double part;
    int count;
    switch (a.mode) {
        case SAME:
            begin = o;
            end = o + 1;
            break;
        case NEAREST:
            begin = nearest_source(a, o);
            end = begin + 1;
            break;
        case LINEAR:
        case ALIGNED:
            begin = linear_source(a, o, part);
            end = begin + 2 < a.in ? begin + 2 : a.in;
            break;
        default:
            window(a, o, begin, end, count);
    }
}

/** Outputs [begin, end) among which are all that use input i. */
DEV void targets(const Axis& a, int i, int& begin, int& end) {
    switch (a.mode) {
        case SAME:
            begin = i;
            end = i + 1;
            return;
        case NEAREST:
            begin = (int)(i * a.back) - 1;
            begin = begin > 0 ? begin : 0;
            while (begin < a.out && nearest_source(a, begin) < i) begin++;
            end = begin;
            while (end < a.out && nearest_source(a, end) == i) end++;
            return;
        case LINEAR:
            begin = (int)((i - 0.5) * a.back - 0.5) - 1;
            end = (int)((i + 1.5) * a.back - 0.5) + 2;
            break;
        case ALIGNED:
            begin = (int)((i - 1) * a.back) - 1;
            end = (int)((i + 1) * a.back) + 2;
            break;
        case ADAPTIVE:
            begin = (int)(i * a.back) - 1;
            end = (int)((i + 1) * a.back) + 2;
            break;
        default:
            begin = i + a.padding - a.kernel + 1 > 0 ? (i + a.padding - a.kernel) / a.stride + 1 : 0;
            end = (i + a.padding) / a.stride + 1;
    }
    bool ends = a.mode == LINEAR || a.mode == ALIGNED;   // positions are clamped there
    begin = begin < 0 || (ends && i == 0) ? 0 : begin;
    end = end > a.out || (ends && i == a.in - 1) ? a.out : end;
}

/** The weight of input i in output o; 0 if it has none. */
template <class F> DEV F weight(const Axis& a, int o, int i) {
    double part;
    int begin, end, count;
    switch (a.mode) {
        case SAME:
        case NEAREST:
            return 1;
        case LINEAR:
        case ALIGNED: {
            int low = linear_source(a, o, part);
            int high = low + 1 < a.in ? low + 1 : a.in - 1;
            return (F)((i == low ? 1 - part : 0) + (i == high ? part : 0));
        }
        default:
            window(a, o, begin, end, count);
            return i >= begin && i < end ? F(1) / (F)count : F(0);
    }
}

// ---- Sums --------------------------------------------------------------------------------------------------------------------------------------------

/** Where a unit of V elements lies in a tensor of sizes D, H, W. */
struct Place {
    i64 outer;
    int d, h, w;
    i64 unit;
};

DEV Place place_of(i64 i, i64 units, int D, int H, int W) {
    Place p;
    i64 q = i / units;
    p.unit = i - q * units;
    if (q < 0x7fffffff) {   // the usual case, in 32 bits
        u32 r = (u32)q, s = r / (u32)W;
        p.w = (int)(r - s * (u32)W);
        r = s / (u32)H;
        p.h = (int)(s - r * (u32)H);
        s = r / (u32)D;
        p.d = (int)(r - s * (u32)D);
        p.outer = s;
        return p;
    }
    i64 r = q / W;
    p.w = (int)(q - r * W);
    q = r / H;
    p.h = (int)(r - q * H);
    r = q / D;
    p.d = (int)(q - r * D);
    p.outer = r;
    return p;
}

/** y = sum of weights times x for V neighbours along `inner`; BACK: x has the sizes `out` of the axes and y the sizes `in`. */
template <class T, int V, bool BACK> DEV void resample(const T* x, T* y, const Axes& axes, i64 inner, i64 total) {
    typedef Acc<T> F;
    const Axis &a = axes.axis[0], &b = axes.axis[1], &c = axes.axis[2];
    i64 units = inner / V, stride = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        Place p = BACK ? place_of(i, units, a.in, b.in, c.in) : place_of(i, units, a.out, b.out, c.out);
        int d0, d1, h0, h1, w0, w1;
        if (BACK) {
            targets(a, p.d, d0, d1);
            targets(b, p.h, h0, h1);
            targets(c, p.w, w0, w1);
        } else {
            sources(a, p.d, d0, d1);
            sources(b, p.h, h0, h1);
            sources(c, p.w, w0, w1);
        }
        int D = BACK ? a.out : a.in, H = BACK ? b.out : b.in, W = BACK ? c.out : c.in;
        F sum[V];
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] = 0;
        for (int d = d0; d < d1; d++) {
            F wd = BACK ? weight<F>(a, d, p.d) : weight<F>(a, p.d, d);
            for (int h = h0; h < h1; h++) {
                F wh = wd * (BACK ? weight<F>(b, h, p.h) : weight<F>(b, p.h, h));
                if (wh == 0) continue;
                const T* row = x + (((p.outer * D + d) * H + h) * W) * inner + p.unit * V;
                for (int w = w0; w < w1; w++) {
                    F f = wh * (BACK ? weight<F>(c, w, p.w) : weight<F>(c, p.w, w));
                    if (f == 0) continue;
                    Vec<T, V> v = load_vec<V>(row + w * inner);
#pragma unroll
                    for (int j = 0; j < V; j++) sum[j] += f * to_acc(v[j]);
                }
            }
        }
        Vec<T, V> r;
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = from_acc<T>(sum[j]);
        store_vec(y + i * V, r);
    }
}

// ---- Copies ------------------------------------------------------------------------------------------------------------------------------------------

/** Nearest neighbour of any type; T is the unit of copying. */
template <class T> DEV void nearest(const T* x, T* y, const Axes& axes, i64 units, i64 total) {
    const Axis &a = axes.axis[0], &b = axes.axis[1], &c = axes.axis[2];
    i64 stride = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        Place p = place_of(i, units, a.out, b.out, c.out);
        int d = nearest_source(a, p.d), h = nearest_source(b, p.h), w = nearest_source(c, p.w);
        y[i] = x[(((p.outer * a.in + d) * b.in + h) * (i64)c.in + w) * units + p.unit];
    }
}

// ---- Maximum -----------------------------------------------------------------------------------------------------------------------------------------

/** x [outer, H, W, inner]; y, index [outer, out H, out W, inner]; index = h W + w of the first largest in the window, of the first NaN if there is one. */
template <class T> DEV void max_pool(const T* x, T* y, i64* index, const Axes& axes, int dilation_h, int dilation_w, i64 inner, i64 total) {
    typedef Acc<T> F;
    const Axis &b = axes.axis[1], &c = axes.axis[2];
    i64 stride = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        Place p = place_of(i, inner, 1, b.out, c.out);
        const T* plane = x + p.outer * b.in * c.in * inner + p.unit;
        int top = p.h * b.stride - b.padding, left = p.w * c.stride - c.padding;
        F best = 0;
        i64 at = -1;
        for (int k = 0; k < b.kernel; k++) {
            int h = top + k * dilation_h;
            if (h < 0 || h >= b.in) continue;
            for (int l = 0; l < c.kernel; l++) {
                int w = left + l * dilation_w;
                if (w < 0 || w >= c.in) continue;
                i64 here = (i64)h * c.in + w;
                F v = to_acc(plane[here * inner]);
                if (at < 0 || v > best || (v != v && best == best)) {
                    best = v;
                    at = here;
                }
            }
        }
        y[i] = from_acc<T>(best);
        index[i] = at;
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// x, y [outer, D, H, W, inner]; total: units of V elements (vector: 16 bytes, else 1) of the result
#define RESAMPLE(suffix, T)                                                                                                                  \
    KERNEL_BOUNDS(resample_##suffix, 256, 2)(const T* x, T* y, Axes axes, i64 inner, i64 total, int vector) {                                                \
        if (vector) {                                                                                                                        \
            resample<T, Wide<T>::N, false>(x, y, axes, inner, total);                                                                        \
        } else {                                                                                                                             \
            resample<T, 1, false>(x, y, axes, inner, total);                                                                                 \
        }                                                                                                                                    \
    }                                                                                                                                        \
    KERNEL_BOUNDS(resample_backward_##suffix, 256, 3)(const T* x, T* y, Axes axes, i64 inner, i64 total, int vector) {                                       \
        if (vector) {                                                                                                                        \
            resample<T, Wide<T>::N, true>(x, y, axes, inner, total);                                                                         \
        } else {                                                                                                                             \
            resample<T, 1, true>(x, y, axes, inner, total);                                                                                  \
        }                                                                                                                                    \
    }                                                                                                                                        \
    KERNEL_BOUNDS(max_pool_##suffix, 256, 3)(const T* x, T* y, i64* index, Axes axes, int dilation_h, int dilation_w, i64 inner, i64 total) {                \
        max_pool(x, y, index, axes, dilation_h, dilation_w, inner, total);                                                                   \
    }

#define NEAREST_COPY(bytes, T) \
    KERNEL(nearest_##bytes)(const T* x, T* y, Axes axes, i64 units, i64 total) { nearest(x, y, axes, units, total); }

typedef Vec<u64, 2> b16;

RESAMPLE(f32, float)
RESAMPLE(bf16, bf16)
RESAMPLE(f16, f16)
RESAMPLE(f64, double)
NEAREST_COPY(1, u8)
NEAREST_COPY(2, u16)
NEAREST_COPY(4, u32)
NEAREST_COPY(8, u64)
NEAREST_COPY(16, b16)

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT(suffix)                     \
    EMU_EXPORT(resample_##suffix)          \
    EMU_EXPORT(resample_backward_##suffix) \
    EMU_EXPORT(max_pool_##suffix)

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
EXPORT(f64)
EMU_EXPORT(nearest_1)
EMU_EXPORT(nearest_2)
EMU_EXPORT(nearest_4)
EMU_EXPORT(nearest_8)
EMU_EXPORT(nearest_16)
