// SPDX-License-Identifier: Apache-2.0
//
// How tensor cores add. NVIDIA does not say. Khattak and Mikaitis (Accurate Models of NVIDIA Tensor Cores, arXiv:2512.07004) found it by tests and compared
// their model with devices bit by bit: the exact products of a group and the accumulator are shifted to the largest of their exponents, each is cut off
// (towards zero) `extra` bits below the 24 of a float, they are added, and the sum is cut off to a float, too. An instruction of more products than a group
// has goes on with the next group. The exponent of a product is the sum of its operands', which is its own or one less.
//
//   compute capability                        products of a group: 16-bit values, tf32     extra bits
//   8.0 to 8.9 (A100, RTX 3060, Ada)                                          8           4         1
//   9.0 and more (H100, H200, B200)                                          16           8         2
#ifndef SFUMATO_EMU_TENSOR_H
#define SFUMATO_EMU_TENSOR_H

namespace emu {

// Numbers of 8 columns.
typedef unsigned short Words __attribute__((vector_size(16)));
typedef int Ints __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));
typedef double Doubles __attribute__((vector_size(64)));
typedef long long Longs __attribute__((vector_size(64)));
typedef _Float16 Halves __attribute__((vector_size(16)));

static const int NO_EXPONENT = -200;  // of zero: below all others, which are -126 or more

template <class To, class From> static inline To loaded(const From* p) {
    To v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline bool any(Ints v) {
    Longs l = __builtin_convertvector(v, Longs);
    return l[0] | l[1] | l[2] | l[3] | l[4] | l[5] | l[6] | l[7];
}

/** The exponents of operands with a float's bias; that of a denormal number is its type's `least`. */
static inline Ints exponents_of(Floats x, int least) {
    Ints size = (Ints)x & 0x7fffffff, e = size >> 23, low = Ints{} + least;
    e = e > low ? e : low;
    return size == 0 ? Ints{} + NO_EXPONENT : e;
}

static inline Ints not_finite(Floats x) { return ((Ints)x & 0x7f800000) == 0x7f800000; }

/** c [8] += a [K] b [K][8]. ea, eb: exponents, those of a without the bias; a and b as doubles. */
template <int K> static inline void add_products(float* c, const double* a, const int* ea, const Doubles* b, const Ints* eb, int group, int extra) {
    Floats sums = loaded<Floats>(c);
    for (int from = 0; from < K; from += group) {
        int to = from + group < K ? from + group : K;
        Ints top = exponents_of(sums, 1);
        for (int k = from; k < to; k++) {
            Ints e = eb[k] + ea[k];
            top = e > top ? e : top;
        }
        top = top > NO_EXPONENT ? top : Ints{} + NO_EXPONENT;
        // A unit is 2^(top - 127 - 23 - extra); the powers of two are made from their bits.
        Longs shift = __builtin_convertvector(top, Longs) - (150 + extra);
        Doubles unit = (Doubles)((1023 + shift) << 52), per_unit = (Doubles)((1023 - shift) << 52);
        Ints total = {};
        for (int k = from; k < to; k++) total += __builtin_convertvector(b[k] * a[k] * per_unit, Ints);
        Ints own = __builtin_convertvector(__builtin_convertvector(sums, Doubles) * per_unit, Ints);
        Doubles sum = (__builtin_convertvector(total, Doubles) + __builtin_convertvector(own, Doubles)) * unit;
        Doubles cut = (Doubles)((Longs)sum & ~0x1fffffffll);
        // What is below the normal numbers is cut off at a multiple of the least one, 2^-149.
        Doubles denormal = __builtin_convertvector(__builtin_convertvector(sum * 0x1p149, Longs), Doubles) * 0x1p-149;
        Doubles size = (Doubles)((Longs)sum & 0x7fffffffffffffffll);
        sums = __builtin_convertvector(size < 0x1p-126 ? denormal : cut, Floats);
    }
    memcpy(c, &sums, sizeof sums);
}

/**
 * C [16][8] += A [16][K] B [8][K]^T, of operands that take 16 bits, or 32 in tf32. least: the exponent of their smallest normal number, with a float's bias.
 */
template <int K> static inline void tensor_core(float (&c)[16][8], const float (&a)[16][K], const float (&b)[8][K], int least, int operand_bits) {
    bool ampere = st.blk->capability < 90;
    int group = (ampere ? 128 : 256) / operand_bits, extra = ampere ? 1 : 2;
    Doubles columns[K];
    Ints eb[K], bad = {}, bad_columns = {};
    float across[K][8];
    for (int j = 0; j < 8; j++)
        for (int k = 0; k < K; k++) across[k][j] = b[j][k];
    for (int k = 0; k < K; k++) {
        Floats x = loaded<Floats>(across[k]);
        columns[k] = __builtin_convertvector(x, Doubles);
        eb[k] = exponents_of(x, least);
        bad_columns |= not_finite(x);
    }
    int ea[16][K];
    double rows[16][K];
    for (int i = 0; i < 16; i++) {
        bad |= not_finite(loaded<Floats>(c[i]));
        for (int k = 0; k < K; k += 8) {
            Floats x = loaded<Floats>(a[i] + k);
            Ints e = exponents_of(x, least) - 127;
            Doubles d = __builtin_convertvector(x, Doubles);
            memcpy(ea[i] + k, &e, sizeof e);
            memcpy(rows[i] + k, &d, sizeof d);
            bad |= not_finite(x);
        }
    }
    bool finite = !any(bad_columns), all = finite && !any(bad);
    for (int i = 0; i < 16; i++) {
        bool row = all;
        if (finite && !all) {
            Ints own = not_finite(loaded<Floats>(c[i]));
            for (int k = 0; k < K; k += 8) own |= not_finite(loaded<Floats>(a[i] + k));
            row = !any(own);
        }
        if (row) {
            add_products<K>(c[i], rows[i], ea[i], columns, eb, group, extra);
            continue;
        }
        for (int j = 0; j < 8; j++) {
            double sum = c[i][j];
            for (int k = 0; k < K; k++) sum += (double)a[i][k] * b[j][k];
            c[i][j] = (float)sum;
        }
    }
}

/** Values of 16 bits as floats; their number is a multiple of 8. */
static inline void widen(float* to, const unsigned short* from, int count, bool half) {
    for (int i = 0; i < count; i += 8) {
        Floats v = half ? __builtin_convertvector(loaded<Halves>(from + i), Floats) : (Floats)(__builtin_convertvector(loaded<Words>(from + i), Ints) << 16);
        memcpy(to + i, &v, sizeof v);
    }
}

}  // namespace emu

#endif
