// SPDX-License-Identifier: Apache-2.0
//
// The functions of elementwise kernels, on eight values at a time: f(kind, p, q, a) replaces a[0] by the result. Numbers of kinds are ordinals of the ops'
// enumerations (Unary.Kind, UnaryBackward.Kind, Binary.Kind), those of parametrised functions follow. The kind is the same for all threads.
#ifndef SFUMATO_ELEMENTWISE_OPS_CUH
#define SFUMATO_ELEMENTWISE_OPS_CUH

#include "walk.cuh"

enum {
    ABS, EXP, EXPM1, LOG, LOG1P, SQRT, RSQRT, RECIPROCAL, SQUARE, SIN, COS, TANH, SIGMOID, SILU, GELU, GELU_TANH, RELU, ERF, FLOOR, CEIL, ROUND, SIGN,
    AFFINE, CLAMP, POW_SCALAR, LEAKY_RELU, ELU, SOFTPLUS
};
enum { BACK_TANH, BACK_SIGMOID, BACK_SILU, BACK_GELU, BACK_GELU_TANH, BACK_RELU };
enum { ADD, SUB, MUL, DIV, POW, MAXIMUM, MINIMUM };

// ---- One value ---------------------------------------------------------------------------------------------------------------------------------------

DEV float real_exp(float x) { return expf(x); }
DEV double real_exp(double x) { return exp(x); }
DEV float real_expm1(float x) { return expm1f(x); }
DEV double real_expm1(double x) { return expm1(x); }
DEV float real_log(float x) { return logf(x); }
DEV double real_log(double x) { return log(x); }
DEV float real_log1p(float x) { return log1pf(x); }
DEV double real_log1p(double x) { return log1p(x); }
DEV float real_sqrt(float x) { return sqrtf(x); }
DEV double real_sqrt(double x) { return sqrt(x); }
DEV float real_rsqrt(float x) { return 1.f / sqrtf(x); }
DEV double real_rsqrt(double x) { return 1. / sqrt(x); }
DEV float real_sin(float x) { return sinf(x); }
DEV double real_sin(double x) { return sin(x); }
DEV float real_cos(float x) { return cosf(x); }
DEV double real_cos(double x) { return cos(x); }
DEV float real_tanh(float x) { return tanhf(x); }
DEV double real_tanh(double x) { return tanh(x); }
DEV float real_erf(float x) { return erff(x); }
DEV double real_erf(double x) { return erf(x); }
DEV float real_abs(float x) { return fabsf(x); }
DEV double real_abs(double x) { return fabs(x); }
DEV float real_floor(float x) { return floorf(x); }
DEV double real_floor(double x) { return floor(x); }
DEV float real_ceil(float x) { return ceilf(x); }
DEV double real_ceil(double x) { return ceil(x); }
DEV float real_rint(float x) { return rintf(x); }
DEV double real_rint(double x) { return rint(x); }
DEV float real_sigmoid(float x) { return sigmoid_fast(x); }
DEV double real_sigmoid(double x) { return 1. / (1. + exp(-x)); }
DEV float real_pow(float x, float p) { return powf(x, p); }
DEV double real_pow(double x, double p) { return pow(x, p); }

/** x^p as Java has it: NaN for p NaN, and for x of magnitude 1 with p infinite. */
template <class C> DEV C java_pow(C x, C p) {
    C y = real_pow(x, p);
    bool infinite = real_abs(p) > (sizeof(C) == 4 ? (C)3.4028234663852886e38 : (C)1.7976931348623157e308);
    return p != p || (infinite && real_abs(x) == (C)1) ? p - p : y;
}

/**
 * Normal distribution function and density times sqrt(2 pi) of x. For float by Phi(-|x|) = e^(-x^2/2) sum_i c_i k^(i+1), k = 1/(1 + 0.3 |x|), a least
 * squares fit with relative error 1.1e-7 (LONG, for float) or 6.9e-6 (for 16-bit values).
 */
template <bool LONG> DEV void normal_cdf(float x, float& cdf, float& bell) {
    float k = rcp_fast(fma_rn(fabsf(x), 0.3f, 1.f));
    bell = exp2_fast(x * x * -0.72134752044448170f);
    float p;
    if (LONG) {
        p = fma_rn(k, 0.03619482f, -0.159378171f);
        p = fma_rn(p, k, 0.210118175f);
        p = fma_rn(p, k, -0.0571671799f);
        p = fma_rn(p, k, 0.130416363f);
        p = fma_rn(p, k, 0.0993471444f);
        p = fma_rn(p, k, 0.120845526f);
        p = fma_rn(p, k, 0.119623266f);
    } else {
        p = fma_rn(k, -0.0779299214f, 0.218545303f);
        p = fma_rn(p, k, -0.0198223609f);
        p = fma_rn(p, k, 0.145751327f);
        p = fma_rn(p, k, 0.113347545f);
        p = fma_rn(p, k, 0.120111533f);
    }
    float tail = p * k * bell;
    cdf = x < 0 ? tail : 1.f - tail;
}
template <bool LONG> DEV void normal_cdf(double x, double& cdf, double& bell) {
    cdf = 0.5 * erfc(x * -0.70710678118654752);
    bell = exp(-0.5 * x * x);
}

/** sqrt(2/pi) (x + 0.044715 x^3), doubled. */
template <class C> DEV C gelu_argument(C x) { return x * ((C)1.5957691216057308 + (C)0.07135481627260025 * (x * x)); }

template <class C> DEV C select_max(C a, C b) { return a > b || a != a ? a : b; }
template <class C> DEV C select_min(C a, C b) { return a < b || a != a ? a : b; }
template <class C> DEV C sign(C x) { return x > (C)0 ? (C)1 : x < (C)0 ? (C)-1 : x; }

/** The functions of long code, one value at a time. */
template <class C> DEV_CALL C seldom_function(int kind, C x, C p, C q) {
    C s = p * x;
    switch (kind) {
        case EXPM1: return real_expm1(x);
        case LOG1P: return real_log1p(x);
        case SIN: return real_sin(x);
        case COS: return real_cos(x);
        case TANH: return real_tanh(x);
        case ERF: return real_erf(x);
        case POW_SCALAR: return java_pow(x, p);
        case ELU: return x > (C)0 ? x : p * real_expm1(x);
        case SOFTPLUS: return s > q ? x : (select_max(s, (C)0) + real_log1p(real_exp(-real_abs(s)))) / p;
        default: return x;
    }
}

// ---- Eight values ------------------------------------------------------------------------------------------------------------------------------------

#define EACH(expression)                                      \
    {                                                         \
        _Pragma("unroll") for (int j = 0; j < WALK_PER_THREAD; j++) { \
            C x = a[j];                                       \
            a[j] = expression;                                \
        }                                                     \
        break;                                                \
    }

/** Functions that integers have too. */
template <class C> DEV bool whole_function(int kind, C p, C q, C (&a)[WALK_PER_THREAD]) {
    switch (kind) {
        case ABS: EACH(real_abs(x))
        case SQUARE: EACH(x * x)
        case RELU: EACH(x < (C)0 ? (C)0 : x)
        case FLOOR: EACH(real_floor(x))
        case CEIL: EACH(real_ceil(x))
        case ROUND: EACH(real_rint(x))
        case SIGN: EACH(sign(x))
        case AFFINE: EACH(p * x + q)
        case CLAMP: EACH(select_min(select_max(x, p), q))
        case POW_SCALAR:
            if (p == (C)2) EACH(x * x)
            if (p == (C)3) EACH(x * x * x)
            EACH(seldom_function(kind, x, p, q))
        default: return false;
    }
    return true;
}

/** All functions; T is the type of the stored values. */
template <class T, class C> DEV void unary_function(int kind, C p, C q, C (&a)[WALK_PER_THREAD]) {
    if (whole_function(kind, p, q, a)) return;
    C s, t;
    switch (kind) {
        case EXP: EACH(real_exp(x))
        case LOG: EACH(real_log(x))
        case SQRT: EACH(real_sqrt(x))
        case RSQRT: EACH(real_rsqrt(x))
        case RECIPROCAL: EACH((C)1 / x)
        case SIGMOID: EACH(real_sigmoid(x))
        case SILU: EACH(x * real_sigmoid(x))
        case GELU: EACH((normal_cdf<sizeof(T) != 2>(x, s, t), x * s))
        case GELU_TANH: EACH(x * real_sigmoid(gelu_argument(x)))
        case LEAKY_RELU: EACH(x > (C)0 ? x : p * x)
        default: EACH(seldom_function(kind, x, p, q))
    }
}

#undef EACH
#define EACH(expression)                                      \
    {                                                         \
        _Pragma("unroll") for (int j = 0; j < WALK_PER_THREAD; j++) { \
            C x = a[0][j], y = a[1][j];                       \
            a[0][j] = expression;                             \
        }                                                     \
        break;                                                \
    }

/** dy f' from what forward kept; x is that, y is dy. */
template <class T, class C> DEV void backward_function(int kind, C (&a)[2][WALK_PER_THREAD]) {
    C s, t;
    switch (kind) {
        case BACK_TANH: EACH(y * ((C)1 - x * x))
        case BACK_SIGMOID: EACH(y * (x * ((C)1 - x)))
        case BACK_SILU: EACH((s = real_sigmoid(x), y * (s * ((C)1 + x * ((C)1 - s)))))
        case BACK_GELU: EACH((normal_cdf<sizeof(T) != 2>(x, s, t), y * (s + x * t * (C)0.39894228040143268)))
        case BACK_GELU_TANH:
            EACH((s = real_sigmoid(gelu_argument(x)),
                  t = (C)1.5957691216057308 + (C)0.21406444881780076 * (x * x),
                  y * (s + x * (s * ((C)1 - s)) * t)))
        case BACK_RELU: EACH(x > (C)0 ? y : y * (C)0)
    }
}

template <class C> DEV void binary_function(int kind, C (&a)[2][WALK_PER_THREAD]) {
    switch (kind) {
        case ADD: EACH(x + y)
        case SUB: EACH(x - y)
        case MUL: EACH(x * y)
        case DIV: EACH(x / y)
        case POW: EACH(seldom_function((int)POW_SCALAR, x, y, y))
        case MAXIMUM: EACH(select_max(x, y))
        case MINIMUM: EACH(select_min(x, y))
    }
}

#undef EACH

#endif
