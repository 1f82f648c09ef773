// SPDX-License-Identifier: Apache-2.0
//
// Cross entropy over classes, squared and binary errors, with their gradients. Sums are taken in fixed order: a partial sum per block, then one block.
#include "lines.cuh"

// ---- Pointwise ---------------------------------------------------------------------------------------------------------------------------------------

DEV float log1p_of(float x) { return log1pf(x); }
DEV double log1p_of(double x) { return log1p(x); }
DEV float larger(float a, float b) { return a > b || a != a ? a : b; }
DEV double larger(double a, double b) { return a > b || a != a ? a : b; }

enum { SQUARE = 0, SQUARE_GRADIENT = 1, BINARY = 2 };

/** a, b, g, y [n], dense and in one order; factor, and g[0] instead of g[i] unless `each`. vector: the addresses are multiples of 16. */
template <int WHAT, class T> DEV void pointwise(const T* a, const T* b, const T* g, T* y, i64 n, double factor, int each, int vector) {
    typedef Acc<T> F;
    const int V = Wide<T>::N;
    F scale = (F)factor;
    if (WHAT == SQUARE_GRADIENT && !each) scale *= to_acc(g[0]);
    auto one = [&](F p, F q, i64 i) {
        if (WHAT == SQUARE) return (p - q) * (p - q);
        if (WHAT == SQUARE_GRADIENT) return each ? scale * (p - q) * to_acc(g[i]) : scale * (p - q);
        return -(q * larger(log_of(p), F(-100)) + (1 - q) * larger(log1p_of(-p), F(-100)));
    };
    i64 stride = (i64)gridDim.x * blockDim.x, first = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    i64 whole = vector ? n / V : 0;
    for (i64 u = first; u < whole; u += stride) {
        Vec<T, V> p = load_vec<V>(a + u * V), q = load_vec<V>(b + u * V), r;
#pragma unroll
        for (int j = 0; j < V; j++) r[j] = from_acc<T>(one(to_acc(p[j]), to_acc(q[j]), u * V + j));
        store_vec(y + u * V, r);
    }
    for (i64 i = whole * V + first; i < n; i += stride) y[i] = from_acc<T>(one(to_acc(a[i]), to_acc(b[i]), i));
}

/** partial[block] = sum (a - b)^2 over the block's share; a, b [n]. */
template <class T> DEV void squared_difference(const T* a, const T* b, Acc<T>* partial, i64 n, int vector) {
    typedef Acc<T> F;
    const int V = Wide<T>::N;
    i64 stride = (i64)gridDim.x * blockDim.x, first = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    i64 whole = vector ? n / V : 0;
    F sum = 0;
#pragma unroll 4
    for (i64 u = first; u < whole; u += stride) {
        Vec<T, V> p = load_vec<V>(a + u * V), q = load_vec<V>(b + u * V);
#pragma unroll
        for (int j = 0; j < V; j++) {
            F d = to_acc(p[j]) - to_acc(q[j]);
            sum += d * d;
        }
    }
    for (i64 i = whole * V + first; i < n; i += stride) {
        F d = to_acc(a[i]) - to_acc(b[i]);
        sum += d * d;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/** y[0] = factor * sum partial; one block. */
template <class T> DEV void total(const Acc<T>* partial, T* y, i64 n, double factor) {
    Acc<T> sum = 0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) y[0] = from_acc<T>(sum * (Acc<T>)factor);
}

// ---- Cross entropy -----------------------------------------------------------------------------------------------------------------------------------
//
// x [outer, n, inner]: n classes, a line for each of the outer * inner positions; classes [positions]; weights [n] or null. For a position of class t
//   loss = (1 - s) w_t (lse - x_t) + s / n sum_c w_c (lse - x_c)
//   dx_c = scale ((1 - s) w_t (p_c - [c = t]) + s / n (p_c sum w - w_c)),   p = e^(x - lse)

/** The class of a line, or -1 where it counts for nothing. */
DEV i64 class_of(const i64* classes, const Line& l, i64 n, i64 ignore, DeviceError* faults) {
    if (!l.active) return -1;
    i64 t = classes[l.number];
    if (t == ignore) return -1;
    if (t < 0 || t >= n) {
        if (threadIdx.y == 0) report_index(faults, t, n);
        return -1;
    }
    return t;
}

template <class T>
DEV void cross_entropy(const T* x, const i64* classes, const T* weights, Acc<T>* losses, T* each, i64 n, i64 inner, i64 lines, i64 ignore,
                       double smoothing, DeviceError* faults) {
    typedef Acc<T> F;
    Line l = line_of(n, inner, lines);
    i64 t = class_of(classes, l, n, ignore, faults);
    i64 end = t < 0 ? 0 : n;
    x += l.start;
    Exponentials<F> e = {(F)-INFINITY, 0};
    F all = 0, sum = 0;   // of w and of w x
    for (i64 c = threadIdx.y; c < end; c += blockDim.y) {
        F v = to_acc(x[c * inner]);
        e.add(v);
        if (smoothing != 0) {
            F w = weights ? to_acc(weights[c]) : F(1);
            all += w;
            sum += w * v;
        }
    }
    e = line_exponentials(e);
    if (smoothing != 0) {
        all = line_sum(all);
        sum = line_sum(sum);
    }
    if (threadIdx.y != 0 || !l.active) return;
    F loss = 0;
    if (t >= 0) {
        F lse = e.max + log_of(e.sum);
        loss = (weights ? to_acc(weights[t]) : F(1)) * (lse - to_acc(x[t * inner]));
        if (smoothing != 0) loss = F(1 - smoothing) * loss + F(smoothing / (double)n) * (all * lse - sum);
    }
    if (each) {
        each[l.number] = from_acc<T>(loss);
    } else {
        losses[l.number] = loss;
    }
}

/** Sum of the weights of the classes of all positions; one block, in all threads. */
template <class T> DEV Acc<T> counted_weight(const i64* classes, const T* weights, i64 n, i64 lines, i64 ignore) {
    Acc<T> sum = 0;
    for (i64 i = threadIdx.x; i < lines; i += blockDim.x) {
        i64 t = classes[i];
        if (t != ignore && t >= 0 && t < n) sum += weights ? to_acc(weights[t]) : Acc<T>(1);
    }
    return block_sum(sum);
}

/** y[0] = sum losses / divisor, or / the counted weight if divisor is negative; one block. */
template <class T>
DEV void cross_entropy_total(const Acc<T>* losses, const i64* classes, const T* weights, T* y, i64 n, i64 lines, i64 ignore, double divisor) {
    typedef Acc<T> F;
    F sum = 0;
    for (i64 i = threadIdx.x; i < lines; i += blockDim.x) sum += losses[i];
    sum = block_sum(sum);
    F by = divisor < 0 ? counted_weight(classes, weights, n, lines, ignore) : (F)divisor;
    if (threadIdx.x == 0) y[0] = from_acc<T>(sum / by);
}

/** dx [outer, n, inner]; g [positions] if `each`, else [1], divided by counted[0] if that is not null, else by divisor. */
template <class T>
DEV void cross_entropy_backward(const T* x, const i64* classes, const T* g, const T* weights, const Acc<T>* counted, T* dx, i64 n, i64 inner,
                                i64 lines, i64 ignore, double smoothing, double divisor, int each, DeviceError* faults) {
    typedef Acc<T> F;
    Line l = line_of(n, inner, lines);
    i64 t = class_of(classes, l, n, ignore, faults);
    i64 end = t < 0 ? 0 : n;
    x += l.start;
    dx += l.start;
    Exponentials<F> e = {(F)-INFINITY, 0};
    F all = 0;
    for (i64 c = threadIdx.y; c < end; c += blockDim.y) {
        e.add(to_acc(x[c * inner]));
        if (smoothing != 0) all += weights ? to_acc(weights[c]) : F(1);
    }
    e = line_exponentials(e);
    if (smoothing != 0) all = line_sum(all);
    if (t < 0) {
        for (i64 c = threadIdx.y; l.active && c < n; c += blockDim.y) dx[c * inner] = from_acc<T>(F(0));
        return;
    }
    F scale = to_acc(g[each ? l.number : 0]) / (counted ? counted[0] : (F)divisor);
    F sharp = scale * F(1 - smoothing) * (weights ? to_acc(weights[t]) : F(1));
    F flat = scale * F(smoothing / (double)n);
    F lse = e.max + log_of(e.sum);
    for (i64 c = threadIdx.y; c < end; c += blockDim.y) {
        F p = exp_of(to_acc(x[c * inner]) - lse);
        F d = sharp * (c == t ? p - 1 : p);
        if (smoothing != 0) d += flat * (all * p - (weights ? to_acc(weights[c]) : F(1)));
        dx[c * inner] = from_acc<T>(d);
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define LOSSES(suffix, T)                                                                                                                              \
    KERNEL(squared_error_##suffix)(const T* a, const T* b, T* y, i64 n, int vector) { pointwise<SQUARE, T>(a, b, a, y, n, 1, 0, vector); }             \
    KERNEL(squared_error_backward_##suffix)(const T* a, const T* b, const T* g, T* dx, i64 n, double factor, int each, int vector) {                   \
        pointwise<SQUARE_GRADIENT, T>(a, b, g, dx, n, factor, each, vector);                                                                           \
    }                                                                                                                                                  \
    KERNEL(binary_cross_entropy_##suffix)(const T* a, const T* b, T* y, i64 n, int vector) { pointwise<BINARY, T>(a, b, a, y, n, 1, 0, vector); }      \
    KERNEL_BOUNDS(squared_difference_##suffix, 512, 2)(const T* a, const T* b, Acc<T>* partial, i64 n, int vector) {                                   \
        squared_difference(a, b, partial, n, vector);                                                                                                  \
    }                                                                                                                                                  \
    KERNEL(loss_total_##suffix)(const Acc<T>* partial, T* y, i64 n, double factor) { total(partial, y, n, factor); }                                   \
    KERNEL(cross_entropy_##suffix)(const T* x, const i64* classes, const T* weights, Acc<T>* losses, T* each, i64 n, i64 inner, i64 lines, i64 ignore, \
                                   double smoothing, DeviceError* faults) {                                                                                    \
        cross_entropy(x, classes, weights, losses, each, n, inner, lines, ignore, smoothing, faults);                                                  \
    }                                                                                                                                                  \
    KERNEL(cross_entropy_total_##suffix)(const Acc<T>* losses, const i64* classes, const T* weights, T* y, i64 n, i64 lines, i64 ignore,               \
                                         double divisor) {                                                                                             \
        cross_entropy_total(losses, classes, weights, y, n, lines, ignore, divisor);                                                                   \
    }                                                                                                                                                  \
    KERNEL(cross_entropy_counted_##suffix)(const i64* classes, const T* weights, Acc<T>* counted, i64 n, i64 lines, i64 ignore) {                      \
        Acc<T> sum = counted_weight(classes, weights, n, lines, ignore);                                                                               \
        if (threadIdx.x == 0) counted[0] = sum;                                                                                                        \
    }                                                                                                                                                  \
    KERNEL(cross_entropy_backward_##suffix)(const T* x, const i64* classes, const T* g, const T* weights, const Acc<T>* counted, T* dx, i64 n,         \
                                            i64 inner, i64 lines, i64 ignore, double smoothing, double divisor, int each, DeviceError* faults) {               \
        cross_entropy_backward(x, classes, g, weights, counted, dx, n, inner, lines, ignore, smoothing, divisor, each, faults);                        \
    }

LOSSES(f32, float)
LOSSES(bf16, bf16)
LOSSES(f16, f16)
LOSSES(f64, double)

// ---- Export ------------------------------------------------------------------------------------------------------------------------------------------

#define EXPORT(suffix)                           \
    EMU_EXPORT(squared_error_##suffix)           \
    EMU_EXPORT(squared_error_backward_##suffix)  \
    EMU_EXPORT(binary_cross_entropy_##suffix)    \
    EMU_EXPORT(squared_difference_##suffix)      \
    EMU_EXPORT(loss_total_##suffix)              \
    EMU_EXPORT(cross_entropy_##suffix)           \
    EMU_EXPORT(cross_entropy_total_##suffix)     \
    EMU_EXPORT(cross_entropy_counted_##suffix)   \
    EMU_EXPORT(cross_entropy_backward_##suffix)

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
EXPORT(f64)
