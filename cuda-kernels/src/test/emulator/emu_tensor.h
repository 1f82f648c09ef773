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
typedef int Ints __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));
typedef double Doubles __attribute__((vector_size(64)));
typedef long long Longs __attribute__((vector_size(64)));

static const int NO_EXPONENT = -200;  // of zero: below all others, which are -126 or more

/** The exponent of an operand with a float's bias; that of a denormal number is its type's `least`. */
static inline int exponent_of(float x, int least) {
    int e = (int)(bits<unsigned>(x) >> 23 & 255);
    return x == 0 ? NO_EXPONENT : e < least ? least : e;
}

/** c [8] += a [K] b [K][8]. ea, eb: exponents; b as doubles. */
template <int K> static inline void add_products(float* c, const float* a, const int* ea, const Doubles* b, const Ints* eb, int group, int extra) {
    Floats sums;
    memcpy(&sums, c, sizeof sums);
    for (int from = 0; from < K; from += group) {
        Ints top;
        for (int j = 0; j < 8; j++) top[j] = exponent_of(sums[j], 1);
        for (int k = from; k < from + group && k < K; k++) {
            Ints e = eb[k] + (ea[k] - 127);
            top = e > top ? e : top;
        }
        top = top > NO_EXPONENT ? top : Ints{} + NO_EXPONENT;
        // A unit is 2^(top - 127 - 23 - extra); the powers of two are made from their bits.
        Longs shift = __builtin_convertvector(top, Longs) - (150 + extra);
        Doubles unit = (Doubles)((1023 + shift) << 52), per_unit = (Doubles)((1023 - shift) << 52);
        Ints total = {};
        for (int k = from; k < from + group && k < K; k++) total += __builtin_convertvector(b[k] * (double)a[k] * per_unit, Ints);
        Ints own = __builtin_convertvector(__builtin_convertvector(sums, Doubles) * per_unit, Ints);
        Doubles sum = (__builtin_convertvector(total, Doubles) + __builtin_convertvector(own, Doubles)) * unit;
        Doubles cut = (Doubles)((Longs)sum & ~0x1fffffffll);
        sums = __builtin_convertvector(cut, Floats);
        for (int j = 0; j < 8; j++)
            if (fabs(sum[j]) < 0x1p-126) sums[j] = (float)(trunc(sum[j] * 0x1p149) * 0x1p-149);
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
    Ints eb[K];
    bool finite = true;
    for (int k = 0; k < K; k++)
        for (int j = 0; j < 8; j++) {
            finite = finite && std::isfinite(b[j][k]);
            columns[k][j] = b[j][k];
            eb[k][j] = exponent_of(b[j][k], least);
        }
    for (int i = 0; i < 16; i++) {
        int ea[K];
        bool all = finite;
        for (int k = 0; k < K; k++) {
            all = all && std::isfinite(a[i][k]);
            ea[k] = exponent_of(a[i][k], least);
        }
        for (int j = 0; j < 8; j++) all = all && std::isfinite(c[i][j]);
        if (all) {
            add_products<K>(c[i], a[i], ea, columns, eb, group, extra);
            continue;
        }
        for (int j = 0; j < 8; j++) {
            double sum = c[i][j];
            for (int k = 0; k < K; k++) sum += (double)a[i][k] * b[j][k];
            c[i][j] = (float)sum;
        }
    }
}

}  // namespace emu

#endif
