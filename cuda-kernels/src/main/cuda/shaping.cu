// SPDX-License-Identifier: Apache-2.0
//
// Padding and its adjoint, constants, sequences. All results lie without gaps, in any order of axes; axis 0 is the innermost in the result's memory.
#include "walk.cuh"

typedef Vec<u32, 4> u128;

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

enum { CONSTANT, REFLECT, REPLICATE };

/** The unpadded side has sizes `inner`, the padded one before + inner + after. Steps are those of the input, in its units. */
struct Padding {
    i64 n;                   // units of the result
    i64 depth;
    i64 mode;
    u64 pattern;             // the bytes of a constant, repeated to 8
    i64 size[WALK_AXES];     // of the result
    u64 magic[WALK_AXES];
    i64 before[WALK_AXES];
    i64 after[WALK_AXES];
    i64 inner[WALK_AXES];
    i64 step[WALK_AXES];
};

const int PAD_UNITS = 4;

/** Units of the padded result, 256 apart. */
template <class U> DEV void pad(const U* x, U* y, const Padding& p) {
#pragma unroll
    for (int j = 0; j < PAD_UNITS; j++) {
        i64 i = ((i64)blockIdx.x * PAD_UNITS + j) * 256 + threadIdx.x;
        if (i >= p.n) continue;
        u32 rest = (u32)i;
        i64 from = 0;
        bool inside = true;
#pragma unroll 1
        for (int a = 0; a < (int)p.depth; a++) {
            u32 q = quotient(rest, p.size[a], p.magic[a]);
            int k = (int)(rest - q * (u32)p.size[a]) - (int)p.before[a];
            int size = (int)p.inner[a];
            if (p.mode == REFLECT) {
                k = k < 0 ? -k : k >= size ? 2 * (size - 1) - k : k;
            } else if (p.mode == REPLICATE) {
                k = k < 0 ? 0 : k >= size ? size - 1 : k;
            }
            inside = inside && k >= 0 && k < size;
            from += (i64)k * p.step[a];
            rest = q;
        }
        U r;
        u64 words[2] = {p.pattern, p.pattern};
        if (inside) {
            r = x[from];
        } else if constexpr (sizeof(U) == 16) {
            r = U{{(u32)words[0], (u32)(words[0] >> 32), (u32)words[1], (u32)(words[1] >> 32)}};
        } else {
            r = (U)p.pattern;
        }
        y[i] = r;
    }
}

/** How many padded elements element i of an axis was copied to. */
DEV int copies(const Padding& p, int a, int i) {
    int size = (int)p.inner[a], before = (int)p.before[a], after = (int)p.after[a];
    if (p.mode == REPLICATE) return 1 + (i == 0 ? before : 0) + (i == size - 1 ? after : 0);
    return 1 + (i >= 1 && i <= before) + (i <= size - 2 && i >= size - 1 - after);
}

/** The k-th of them. */
DEV int copy_place(const Padding& p, int a, int i, int k) {
    int size = (int)p.inner[a], before = (int)p.before[a];
    if (k == 0) return before + i;
    if (p.mode == REPLICATE) {
        int low = i == 0 ? before : 0;
        return k - 1 < low ? k - 1 : before + size + k - 1 - low;
    }
    return k == 1 && i >= 1 && i <= before ? before - i : before + 2 * (size - 1) - i;
}

/** dx: the sum of the gradients of all copies of an element; one thread each. */
template <class T, class C> DEV void pad_backward(const T* g, T* dx, const Padding& p) {
    i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
    if (i >= p.n) return;
    int index[WALK_AXES];
    int total = 1;
    u32 rest = (u32)i;
    for (int a = 0; a < (int)p.depth; a++) {
        u32 q = quotient(rest, p.size[a], p.magic[a]);
        index[a] = (int)(rest - q * (u32)p.size[a]);
        total *= copies(p, a, index[a]);
        rest = q;
    }
    C sum = 0;
    for (int t = 0; t < total; t++) {
        int digits = t;
        i64 from = 0;
        for (int a = 0; a < (int)p.depth; a++) {
            int n = copies(p, a, index[a]);
            from += (i64)copy_place(p, a, index[a], digits % n) * p.step[a];
            digits /= n;
        }
        sum += Convert<C, T>::widen(g[from]);
    }
    dx[i] = Convert<C, T>::narrow(sum);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define PAD(U, bytes)                                                                                                                 \
    KERNEL(pad_##bytes)(const U* __restrict__ x, U* __restrict__ y, const __grid_constant__ Padding p) { pad(x, y, p); }              \
    EMU_EXPORT(pad_##bytes)

PAD(u8, 1)
PAD(u16, 2)
PAD(u32, 4)
PAD(u64, 8)
PAD(u128, 16)

#define PAD_BACKWARD(T, name, C)                                                                                                            \
    KERNEL(pad_backward_##name)(const T* __restrict__ g, T* __restrict__ dx, const __grid_constant__ Padding p) { pad_backward<T, C>(g, dx, p); } \
    EMU_EXPORT(pad_backward_##name)

PAD_BACKWARD(float, f32, float)
PAD_BACKWARD(bf16, bf16, float)
PAD_BACKWARD(f16, f16, float)
PAD_BACKWARD(double, f64, double)

/** Fills `bytes` bytes at y, 16-byte aligned, with a pattern of 8 bytes. 256 threads, 64 bytes each. */
KERNEL(fill)(unsigned char* __restrict__ y, i64 bytes, u64 pattern) {
    u128 x = {{(u32)pattern, (u32)(pattern >> 32), (u32)pattern, (u32)(pattern >> 32)}};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        i64 at = (((i64)blockIdx.x * 4 + j) * 256 + threadIdx.x) * 16;
        if (at + 16 <= bytes) {
            *(u128*)(y + at) = x;
        } else {
            for (i64 k = at; k < bytes; k++) y[k] = (unsigned char)(pattern >> (8 * (k & 7)));
        }
    }
}

/** y[i] = start + i step, two roundings. */
#define SEQUENCE(T, name)                                                                                          \
    KERNEL(sequence_##name)(T* __restrict__ y, i64 n, double start, double step) {                                 \
        i64 i = (i64)blockIdx.x * 256 + threadIdx.x;                                                               \
        if (i < n) y[i] = Convert<double, T>::narrow(add_rn(start, mul_rn((double)i, step)));                      \
    }                                                                                                              \
    EMU_EXPORT(sequence_##name)

SEQUENCE(double, f64)
SEQUENCE(float, f32)
SEQUENCE(bf16, bf16)
SEQUENCE(f16, f16)
SEQUENCE(i64, i64)
SEQUENCE(i32, i32)
SEQUENCE(u8, u8)

EMU_EXPORT(fill)
