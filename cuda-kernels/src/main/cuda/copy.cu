// SPDX-License-Identifier: Apache-2.0
//
// Copies between memory orders, of units of 1 to 16 bytes: the host widens elements to units where rows allow it.
//   copy_B, copy_parts_B   any steps; 256 threads, each COPY_UNITS units that lie 256 apart in the order of the result's memory
//   transpose_B            the innermost axis of the result is not that of the source: tiles through shared memory, 256 threads
#include "walk.cuh"

typedef Vec<u32, 4> u128;

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

const int COPY_UNITS = 4;

/** Units of one size from x to y; axis 0 is the innermost of y. Steps in units. */
struct CopyPart {
    i64 x, y;
    i64 n;
    i64 depth;
    i64 size[WALK_AXES];
    u64 magic[WALK_AXES];
    i64 step[2][WALK_AXES]; // of y, of x
};

/** P parts; part p has the blocks from first[p] to first[p + 1]. */
template <int P> struct CopyParts {
    i64 first[P + 1];
    CopyPart part[P];
};

template <class U> DEV void copy_part(const CopyPart& p, i64 block) {
    const U* x = (const U*)p.x;
    U* y = (U*)p.y;
    U r[COPY_UNITS];
    i64 to[COPY_UNITS];
#pragma unroll
    for (int j = 0; j < COPY_UNITS; j++) {
        i64 i = (block * COPY_UNITS + j) * 256 + threadIdx.x;
        if (i < p.n) {
            i64 rest = i, from = 0;
            to[j] = 0;
            int last = (int)p.depth - 1;
#pragma unroll 1
            for (int a = 0; a < last; a++) {
                u32 q = quotient((u32)rest, p.size[a], p.magic[a]);
                u32 index = (u32)rest - q * (u32)p.size[a];
                to[j] += (i64)index * p.step[0][a];
                from += (i64)index * p.step[1][a];
                rest = q;
            }
            to[j] += rest * p.step[0][last];
            from += rest * p.step[1][last];
            r[j] = x[from];
        }
    }
#pragma unroll
    for (int j = 0; j < COPY_UNITS; j++) {
        i64 i = (block * COPY_UNITS + j) * 256 + threadIdx.x;
        if (i < p.n) y[to[j]] = r[j];
    }
}

/** y[i + a * y_step + batch] = x[i * x_step + a + batch] for i below rows, a below columns; steps in elements. */
struct Tiles {
    i64 x, y;
    i64 rows, columns;
    i64 x_step, y_step;
    i64 across;               // tiles along the columns
    u64 across_magic;
    i64 down;                 // tiles along the rows
    u64 down_magic;
    i64 depth;                // axes of the batch, may be 0
    i64 size[WALK_AXES];
    u64 magic[WALK_AXES];
    i64 step[2][WALK_AXES];   // of y, of x
};

template <class U, int TILE> DEV void transpose(const Tiles& t) {
    const int PITCH = TILE + (sizeof(U) >= 4 ? 1 : 4 / (int)sizeof(U)); // columns of the tile lie in different banks
    const int STEP = 256 / TILE;
    __shared__ U tile[TILE][PITCH];
    u32 rest = blockIdx.x;
    u32 q = quotient(rest, t.across, t.across_magic);
    i64 a0 = (i64)(rest - q * (u32)t.across) * TILE;
    rest = q;
    q = quotient(rest, t.down, t.down_magic);
    i64 i0 = (i64)(rest - q * (u32)t.down) * TILE;
    rest = q;
    i64 from = 0, to = 0;
#pragma unroll 1
    for (int a = 0; a < (int)t.depth; a++) {
        q = quotient(rest, t.size[a], t.magic[a]);
        u32 index = rest - q * (u32)t.size[a];
        to += (i64)index * t.step[0][a];
        from += (i64)index * t.step[1][a];
        rest = q;
    }
    int column = (int)threadIdx.x % TILE, row = (int)threadIdx.x / TILE;
    const U* x = (const U*)t.x + from + i0 * t.x_step + a0;
    U* y = (U*)t.y + to + a0 * t.y_step + i0;
    int rows = t.rows - i0 < TILE ? (int)(t.rows - i0) : TILE;
    int columns = t.columns - a0 < TILE ? (int)(t.columns - a0) : TILE;
#pragma unroll
    for (int r = 0; r < TILE; r += STEP) {
        if (row + r < rows && column < columns) tile[row + r][column] = x[(i64)(row + r) * t.x_step + column];
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < TILE; r += STEP) {
        if (row + r < columns && column < rows) y[(i64)(row + r) * t.y_step + column] = tile[column][row + r];
    }
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

#define COPY(U, bytes)                                                                                              \
    KERNEL(copy_##bytes)(const __grid_constant__ CopyPart p) { copy_part<U>(p, blockIdx.x); }                       \
    KERNEL(copy_parts_##bytes)(const __grid_constant__ CopyParts<8> p) {                                            \
        int k = 0;                                                                                                  \
        while (k < 7 && (i64)blockIdx.x >= p.first[k + 1]) k++;                                                     \
        copy_part<U>(p.part[k], (i64)blockIdx.x - p.first[k]);                                                      \
    }                                                                                                               \
    EMU_EXPORT(copy_##bytes)                                                                                        \
    EMU_EXPORT(copy_parts_##bytes)

COPY(u8, 1)
COPY(u16, 2)
COPY(u32, 4)
COPY(u64, 8)
COPY(u128, 16)

#define TRANSPOSE(U, bytes, tile)                                                          \
    KERNEL(transpose_##bytes)(const __grid_constant__ Tiles t) { transpose<U, tile>(t); }  \
    EMU_EXPORT(transpose_##bytes)

TRANSPOSE(u8, 1, 64)
TRANSPOSE(u16, 2, 64)
TRANSPOSE(u32, 4, 32)
TRANSPOSE(u64, 8, 32)
