// SPDX-License-Identifier: Apache-2.0
// Shared by the families conv_mma and conv_simt: how a convolution walks over memory.
//
// A convolution and the gradient of its input are one product, "gather":
//     y[row, n] = sum over (tap, c) of g[place(row, tap), c] * w[n, tap, c]
// with rows = pixels of the output and g the tensor that is gathered from, both channels-last. The
// convolution gathers from x by steps of the stride. The gradient of the input gathers from dy; with
// a stride of s, pixels of one residue modulo s (a phase) meet the same taps, and within a phase
// steps are 1. So along each axis the place is  i * step + off + j * jump  for the i-th row of the
// phase and the j-th of the taps that the phase meets.
#pragma once
#include "dev.h"

/** Axes are depth, rows, columns; images have depth 1. */
struct Walk {
    int images;
    int gin[3];      // sizes of g [images, gin, gc]
    int gc;          // channels of g, of all groups
    int out[3];      // sizes of y [images, out, oc]
    int oc;          // channels of y, of all groups
    int kernel[3];   // sizes of the kernel
    int step[3];     // places per row
    int lattice[3];  // phases: 1 for the convolution, the stride for the gradient
    int base[3];     // place of tap 0 for row 0, times lattice
    int tap[3];      // distance of taps, times lattice
    int every[3];    // distance of the taps that a phase meets
    int groups;
    int splits;      // parts of the sum, each of which goes to memory of its own
};

/** What the blocks of one phase share; written by one thread. */
struct Phase {
    int at[3];     // the residues
    int rows[3];   // rows along each axis
    int count[3];  // taps along each axis
    int first[3];  // the first of them
    int off[3];    // its place for row 0
    int jump[3];   // distance of places of neighbouring taps
    int taps;      // all taps
    int pixels;    // all rows, of all images
};

/** One row: its image and first place. */
struct Row {
    int image;
    int i[3];
};

DEV void phase_of(Phase& f, const Walk& p, int phase) {
    f.at[2] = phase % p.lattice[2];
    f.at[1] = phase / p.lattice[2] % p.lattice[1];
    f.at[0] = phase / (p.lattice[2] * p.lattice[1]);
    f.taps = 1;
    f.pixels = p.images;
    for (int a = 0; a < 3; a++) {
        int k = 0, room = p.out[a] - f.at[a];
        while (k < p.kernel[a] && (f.at[a] + p.base[a] + k * p.tap[a]) % p.lattice[a] != 0 && k < p.every[a]) k++;
        bool met = k < p.kernel[a] && k < p.every[a];
        f.first[a] = k;
        f.count[a] = met ? (p.kernel[a] - k - 1) / p.every[a] + 1 : 0;
        f.off[a] = (f.at[a] + p.base[a] + k * p.tap[a]) / p.lattice[a];
        f.jump[a] = p.every[a] * p.tap[a] / p.lattice[a];
        f.rows[a] = room > 0 ? (room - 1) / p.lattice[a] + 1 : 0;
        f.taps *= f.count[a];
        f.pixels *= f.rows[a];
    }
}

DEV Row row_of(const Phase& f, int m) {
    Row r;
    r.i[2] = m % f.rows[2];
    m /= f.rows[2];
    r.i[1] = m % f.rows[1];
    m /= f.rows[1];
    r.i[0] = m % f.rows[0];
    r.image = m / f.rows[0];
    return r;
}

/** Elements before the first place of a row. */
DEV i64 place_of(const Walk& p, const Row& r) {
    return (((i64)r.image * p.gin[0] + r.i[0] * p.step[0]) * p.gin[1] + r.i[1] * p.step[1]) * p.gin[2] * p.gc
        + (i64)r.i[2] * p.step[2] * p.gc;
}

/** Elements of y before the pixel of a row. */
DEV i64 pixel_of(const Walk& p, const Phase& f, const Row& r) {
    i64 v = r.image;
    for (int a = 0; a < 3; a++) v = v * p.out[a] + r.i[a] * p.lattice[a] + f.at[a];
    return v * p.oc;
}

/** The distance of a tap from the first place in g, and its number in the kernel. */
DEV void tap_of(const Walk& p, const Phase& f, int tap, int& distance, int& number) {
    int w = tap % f.count[2], h = tap / f.count[2] % f.count[1], d = tap / (f.count[2] * f.count[1]);
    distance = (((f.off[0] + d * f.jump[0]) * p.gin[1] + f.off[1] + h * f.jump[1]) * p.gin[2] + f.off[2] + w * f.jump[2]) * p.gc;
    number = ((f.first[0] + d * p.every[0]) * p.kernel[1] + f.first[1] + h * p.every[1]) * p.kernel[2] + f.first[2] + w * p.every[2];
}

DEV bool met(const Walk& p, const Phase& f, const Row& r, int d, int h, int w) {
    return (unsigned)(r.i[0] * p.step[0] + f.off[0] + d * f.jump[0]) < (unsigned)p.gin[0]
        && (unsigned)(r.i[1] * p.step[1] + f.off[1] + h * f.jump[1]) < (unsigned)p.gin[1]
        && (unsigned)(r.i[2] * p.step[2] + f.off[2] + w * f.jump[2]) < (unsigned)p.gin[2];
}

/** Which of the taps lie inside g for row m: one bit for each, so for at most 64 taps. */
DEV u64 taps_inside(const Walk& p, const Phase& f, int m) {
    if (m >= f.pixels) return 0;
    Row r = row_of(f, m);
    u64 bits = 0, bit = 1;
    #pragma unroll 1
    for (int d = 0; d < f.count[0]; d++)
        #pragma unroll 1
        for (int h = 0; h < f.count[1]; h++)
            #pragma unroll 1
            for (int w = 0; w < f.count[2]; w++, bit <<= 1)
                if (met(p, f, r, d, h, w)) bits |= bit;
    return bits;
}

/** The taps of a phase that meets at most 64, for all threads of a block: the first fields of tap_of. */
struct Taps {
    int distance[64];
    int number[64];
};

/** One element of the gathered matrix: row m, column k = (tap, channel); 0 outside. */
template <class T> DEV T gathered(const T* g, const Walk& p, const Phase& f, int m, int k, int channels) {
    int tap = k / channels;
    if (m >= f.pixels || tap >= f.taps) return from_float<T>(0.f);
    Row r = row_of(f, m);
    int w = tap % f.count[2], h = tap / f.count[2] % f.count[1], d = tap / (f.count[2] * f.count[1]);
    if (!met(p, f, r, d, h, w)) return from_float<T>(0.f);
    int distance, number;
    tap_of(p, f, tap, distance, number);
    return g[place_of(p, r) + distance + (k - tap * channels)];
}

// ---------------------------------------------------------------------------------------------------
// The gradient of the weight:
//     dw[o, tap, c] = sum over pixels of dy[pixel, o] * x[place(pixel, tap), c]
// with x = g of a convolution's walk and dy = its y. Columns are (tap, c).

/** The first place of a pixel, and whether there is such a pixel. */
struct Place {
    i64 at;   // elements of x before it
    int i[3];  // its coordinates, so negative if there is none that no tap lies inside
};

DEV Place first_place(const Walk& p, int pixel, int end) {
    Place r;
    if (pixel >= end) {
        r.at = 0;
        r.i[0] = r.i[1] = r.i[2] = -(1 << 30);
        return r;
    }
    int w = pixel % p.out[2];
    pixel /= p.out[2];
    int h = pixel % p.out[1];
    pixel /= p.out[1];
    int d = pixel % p.out[0];
    r.i[0] = d * p.step[0] + p.base[0];
    r.i[1] = h * p.step[1] + p.base[1];
    r.i[2] = w * p.step[2] + p.base[2];
    r.at = ((((i64)(pixel / p.out[0]) * p.gin[0] + r.i[0]) * p.gin[1] + r.i[1]) * p.gin[2] + r.i[2]) * p.gc;
    return r;
}

/** A column (tap, c) of the gradient of the weight: its shift from the first place. */
struct Column {
    int shift[3];
    int at;  // elements of x from the first place
};

DEV Column column_of(const Walk& p, int column, int channels) {
    Column r;
    int tap = column / channels;
    r.shift[2] = tap % p.kernel[2] * p.tap[2];
    r.shift[1] = tap / p.kernel[2] % p.kernel[1] * p.tap[1];
    r.shift[0] = tap / (p.kernel[2] * p.kernel[1]) * p.tap[0];
    r.at = ((r.shift[0] * p.gin[1] + r.shift[1]) * p.gin[2] + r.shift[2]) * p.gc + (column - tap * channels);
    return r;
}

DEV bool inside(const Walk& p, const Place& a, const Column& b) {
    return (unsigned)(a.i[0] + b.shift[0]) < (unsigned)p.gin[0] && (unsigned)(a.i[1] + b.shift[1]) < (unsigned)p.gin[1]
        && (unsigned)(a.i[2] + b.shift[2]) < (unsigned)p.gin[2];
}
