// SPDX-License-Identifier: Apache-2.0
//
// What the attention kernels for Hopper share: tiles in panels, slots that one warp fills.
//
// A tile is [rows][D] of bf16 or f16, cut into panels of 64 columns: [panel][row][64], a line of hopper.h for each row of a panel. So it is an operand by k
// (TRANS false) where the columns are summed over, and by r (TRANS true) where the rows are.
//
// A slot is a tile with two barriers. One warp waits until those who multiply have read what is there, copies the next tile by cp.async, waits for it, makes
// it visible to the matrix units (fence_proxy_async) and then arrives at the slot's barrier `full`; those who multiply arrive at `empty`, one lane of a warp.
#ifndef SFUMATO_ATTENTION_HOPPER_CUH
#define SFUMATO_ATTENTION_HOPPER_CUH

#include "attention.cuh"
#include "hopper.h"

/** The panels of D columns, and the steps of 16 columns in a product that is summed over them. */
template <int D> struct Panels {
    static_assert(D % 8 == 0, "whole chunks");
    static const int N = (D + 63) / 64, STEPS = (D + 15) / 16;
    static const int MAIN = D < 64 ? D : D / 64 * 64, REST = D - MAIN;  // columns in whole panels, and in the last one
};

/** What to add to a descriptor for bytes further on. */
DEV constexpr int descriptor_step(int bytes) { return bytes / 16; }

/** Where chunk c of row r of a tile of ROWS rows begins, in values. */
template <int ROWS> DEV int panel_at(int r, int c) { return chunk_at((c >> 3) * ROWS + r, c & 7); }

/** One warp sets the columns to zero that a tile has not and the last step of 16 reads, in COUNT rows from `first` on. */
template <class T, int D, int ROWS, int COUNT> DEV void clear_beyond(T* tile, int first) {
    if constexpr (D % 16 != 0) {
        Vec<u32, 4> zero = {{0, 0, 0, 0}};
        for (int r = first + lane(); r < first + COUNT; r += 32) store_operand(tile + panel_at<ROWS>(r, D / 8), zero);
    }
}

/**
 * Orders of rows in a tile: where row i of memory lies, the tile's rows counted from a multiple of the group that changes places. A lane has rows or columns
 * g and g + 8, or 8 j + 2 t + e, of a product; so ordered, it has neighbours in memory, whose mask is one vector.
 */
struct InOrder {
    static const bool PLAIN = true;
    DEVM static int place(int i) { return i; }
};
/** Keys that are columns of scores: lane t has keys 8 t to 8 t + 7 of each 32. */
struct EightsTogether {
    static const bool PLAIN = false;
    DEVM static int place(int i) { return (i & ~30) | (i & 6) << 2 | (i >> 2 & 6); }
};
/** Keys that are rows of scores: lane g has keys 2 g and 2 g + 1 of each 16. */
struct PairsTogether {
    static const bool PLAIN = false;
    DEVM static int place(int i) { return (i & ~15) | (i & 1) << 3 | (i >> 1 & 7); }
};

/**
 * One warp starts the copy of COUNT rows of a tile, row first + i from p + i stride; rows from i = rows on become zero. `first` is a multiple of 8, or of the
 * group of an order. Written for few registers: a warp that loads has 32.
 */
template <class T, int D, int ROWS, int COUNT, class ORDER = InOrder> DEV void load_panels(T* tile, int first, const T* p, i64 stride, int rows) {
    const int CHUNKS = D / 8, ACROSS = CHUNKS == 20 ? 4 : CHUNKS, STEP = 32 / ACROSS;
    int r0 = lane() / ACROSS;
    if (r0 >= STEP) return;
#pragma unroll 1
    for (int turn = 0; turn < CHUNKS / ACROSS; turn++) {
        int c = lane() % ACROSS + turn * ACROSS;
        const T* from = p + r0 * stride + c * 8;
        if (rows < COUNT) {
#pragma unroll 1
            for (int i = r0; i < COUNT; i += STEP) {
                cp_async16_zfill(tile + panel_at<ROWS>(first + ORDER::place(i), c), i < rows ? from : p, i < rows ? 16 : 0);
                from += STEP * stride;
            }
        } else if constexpr (ORDER::PLAIN && 8 % STEP == 0 && COUNT % 8 == 0) {  // the places in a line repeat every 8 rows
            T* to[8 / STEP];
#pragma unroll
            for (int u = 0; u < 8 / STEP; u++) to[u] = tile + panel_at<ROWS>(first + r0 + u * STEP, c);
#pragma unroll 1
            for (int i = 0; i < COUNT; i += 8) {
#pragma unroll
                for (int u = 0; u < 8 / STEP; u++) {
                    cp_async16(to[u] + i * LINE, from);
                    from += STEP * stride;
                }
            }
        } else {
#pragma unroll ORDER::PLAIN ? 2 : 1
            for (int i = r0; i < COUNT; i += STEP) {
                cp_async16(tile + panel_at<ROWS>(first + ORDER::place(i), c), from);
                from += STEP * stride;
            }
        }
    }
}

/** This thread's copies are over and visible to the matrix units. */
DEV void finish_load() {
    cp_async_commit();
    cp_async_wait<0>();
    fence_proxy_async();
}

/** A warp that multiplies is done with a slot. */
DEV void release_slot(u64* empty) {
    __syncwarp();
    if (lane() == 0) mbarrier_arrive(empty);
}

/** Two neighbouring values into a tile, at the columns of t of chunk c. */
template <class T, int ROWS> DEV void store_pair(T* tile, int row, int c, float x, float y) {
    *(unsigned*)(tile + panel_at<ROWS>(row, c) + 2 * (lane() & 3)) = pack2<T>(x, y);
}

/** One warp copies 16 rows of a tile, from row `first` on, to memory: row i to p + i stride, as far as i < rows. */
template <class T, int D, int ROWS> DEV void store_panels(T* p, i64 stride, const T* tile, int first, int rows) {
    const int CHUNKS = D / 8;
    for (int i = lane(); i < 16 * CHUNKS; i += 32) {
        int r = i / CHUNKS, c = i % CHUNKS;
        if (r < rows) store_vec<8>(p + r * stride + c * 8, load_vec<8>(tile + panel_at<ROWS>(first + r, c)));
    }
}

/** Accumulators of 64 rows and D columns: those of whole panels, and of the last one. */
template <class T, int D> struct Columns {
    float main[Panels<D>::MAIN / 2], rest[Panels<D>::REST == 0 ? 1 : Panels<D>::REST / 2];

    DEVM void clear() {
#pragma unroll
        for (float& x : main) x = 0.f;
#pragma unroll
        for (float& x : rest) x = 0.f;
    }

    /** Multiplies rows g and g + 8. */
    DEVM void scale(const float (&by)[2]) {
#pragma unroll
        for (int i = 0; i < Panels<D>::MAIN / 2; i++) main[i] *= by[i / 2 % 2];
#pragma unroll
        for (int i = 0; i < Panels<D>::REST / 2; i++) rest[i] *= by[i / 2 % 2];
    }

    /** Starts the sum of a b over STEPS steps of 16 rows of a tile b of ROWS rows, given by r. */
    template <int ROWS, int STEPS> DEVM void start(const unsigned (&a)[STEPS][4], u64 b) {
#pragma unroll
        for (int i = 0; i < STEPS; i++) {
            u64 from = b + descriptor_step(i * 16 * LINE_BYTES);
            Wgmma<T, Panels<D>::MAIN>::template registers<true>(main, a[i], from, 1);
            if constexpr (Panels<D>::REST != 0) {
                u64 last = from + descriptor_step(Panels<D>::MAIN / 64 * ROWS * LINE_BYTES);
                Wgmma<T, Panels<D>::REST>::template registers<true>(rest, a[i], last, 1);
            }
        }
    }

    /** The value e (0, 1) of the lane in chunk c, row g + 8 r. */
    DEVM float at(int c, int r, int e) const {
        return c < Panels<D>::MAIN / 8 ? main[4 * c + 2 * r + e] : rest[4 * (c - Panels<D>::MAIN / 8) + 2 * r + e];
    }
};

#endif
