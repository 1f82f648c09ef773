// SPDX-License-Identifier: Apache-2.0
//
// Attention of 16-bit types on Hopper's matrix units: o = softmax(scale q k^T + mask) v and the logarithm of each row's sum of exponentials, in the structure of
// FlashAttention-3 (Shah et al. 2024). A block has one warpgroup that loads and two or three that compute, each for 64 queries. S = q k^T is a product of two
// tiles in shared memory; P, rounded in registers, is the A operand of the product with v, which is summed over its rows as they lie. The product of the
// next block of keys is started before the softmax of the one at hand, and the products with v run during it; with TURNS the warpgroups moreover take turns
// in starting products, so that one computes exponentials while the matrix units serve another.
//
// Shared memory: q [WG][64 rows], four slots of BN rows (k and v of even blocks of keys, k and v of odd ones), the barriers. Each of the four loading warps
// has a slot. Blocks of keys go from the last to the first, so that those at the diagonal and at the end, which need a test per element, come first.
// A tile is 64 WG queries of one head. The blocks of the grid, one for each multiprocessor, share the tiles; the loading warps go on with the keys of the
// next tile while the others finish one.
//
// The maximum that the exponentials are relative to is raised only when a score exceeds it by 2^8, as in attention_forward.cuh.
#include "attention_hopper.cuh"

/** Sizes of a block: heads of D columns, WG warpgroups of 64 queries, BN keys a step. */
template <int D, int BN, int WG> struct HopperTile {
    static_assert(BN % 16 == 0 && 8 + WG <= 16, "whole steps; 8 bytes for each barrier");
    static const int Q = Panels<D>::N * 64 * LINE, SLOT = Panels<D>::N * BN * LINE;  // values
    static const int BYTES = (WG * Q + 4 * SLOT) * 2 + 128;
    static const int FULL = 0, EMPTY = 4, TURN = 8;  // barriers: of each slot, of each warpgroup
};

/** What one warpgroup knows of its 64 queries, a thread of two rows: g and g + 8 of the warp's 16. */
template <class T, int D, int BN> struct HopperRows {
    float s[BN / 2];                 // scores, then their exponentials
    unsigned p[BN / 16][4];          // these rounded
    Columns<T, D> o;
    float top[2], sum[2], alpha[2];  // maxima in log2 units; each lane sums its own columns
    bool raised;

    DEVM void clear() {
        o.clear();
        top[0] = top[1] = negative_infinity();
        sum[0] = sum[1] = 0.f;
    }

    /** Starts s = q k^T. */
    DEVM void start_scores(u64 q, u64 k) {
        wgmma_fence(s);
#pragma unroll
        for (int i = 0; i < Panels<D>::STEPS; i++) {
            int panel = i / 4, columns = i % 4 * 32;  // in bytes
            u64 a = q + descriptor_step(panel * 64 * LINE_BYTES + columns), b = k + descriptor_step(panel * BN * LINE_BYTES + columns);
            Wgmma<T, BN>::template shared<false, false>(s, a, b, i > 0);
        }
        wgmma_commit();
    }

    /** Starts o += P v. */
    DEVM void start_values(u64 v) {
        wgmma_fence(o.main, o.rest, p);
        o.template start<BN>(p, v);
        wgmma_commit();
    }
    DEVM void wait_values() { wgmma_wait<0>(o.main, o.rest, p); }

    /** Hides what a query must not see; `query` is that of row g, `key` that of the lane's first column. */
    DEVM void hide(int query, int key, int keys, bool causal) {
#pragma unroll
        for (int i = 0; i < BN / 2; i++) {
            int k = key + i / 4 * 8 + i % 2;
            if (k >= keys || (causal && k > query + i / 2 % 2 * 8)) s[i] = negative_infinity();
        }
    }

    /**
     * The scores times factor with a mask, of whose rows g and g + 8 `first` and `second` are what belongs to the lane's first column; keys lie `step` apart.
     * Query and key are as for hide.
     */
    template <class M>
    DEVM void mask(const M* first, const M* second, i64 step, int query, int key, const AttentionSizes& n, float factor) {
#pragma unroll
        for (int j = 0; j < BN / 8; j++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int k = key + j * 8 + i % 2;
                bool seen = k < n.keys && !(n.causal && k > query + i / 2 * 8);
                float& x = s[4 * j + i];
                x = seen ? masked<T>(x * factor, (i < 2 ? first : second)[i % 2 * step]) : negative_infinity();
            }
            first += 8 * step;
            second += 8 * step;
        }
    }

    /** The exponentials of s, relative to the maximum, and their sums. */
    DEVM void exponentials(float factor) {
        float high[2];
        bool raise = false;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float m = s[2 * r];
#pragma unroll
            for (int i = 0; i < BN / 8; i++) m = fmaxf(m, fmaxf(s[4 * i + 2 * r], s[4 * i + 2 * r + 1]));
            m = fmaxf(m, shfl_xor(m, 1));
            high[r] = fmaxf(m, shfl_xor(m, 2)) * factor;
            raise = raise || high[r] > top[r] + 8.f;
        }
        raised = warp_ballot(raise) != 0;
        if (raised) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float m = fmaxf(high[r], top[r]);
                alpha[r] = m == negative_infinity() ? 1.f : exp2_fast(top[r] - m);
                top[r] = m;
                sum[r] *= alpha[r];
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float m = top[r] == negative_infinity() ? 0.f : top[r];
#pragma unroll
            for (int i = 0; i < BN / 8; i++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float& x = s[4 * i + 2 * r + e];
                    x = exp2_fast(x * factor - m);
                    sum[r] += x;
                }
            }
        }
    }

    /**
     * 0, which the compiler does not know: what depends on it comes after the exponentials. ptxas otherwise moves them behind the wait for the products with
     * v, and the matrix units idle.
     */
    DEVM int after_exponentials() const { return sum[0] + sum[1] < 0.f ? 1 : 0; }

    /** Rounds the exponentials, and makes what was summed before relative to a raised maximum. */
    DEVM void round() {
        if (raised) o.scale(alpha);
#pragma unroll
        for (int i = 0; i < BN / 4; i++) p[i / 4][i % 4] = pack2<T>(s[2 * i], s[2 * i + 1]);
    }
};

/** What a block does: tiles of 64 WG queries of one head each, from its own index on, one in gridDim.x of them. */
template <int BN, int WG> struct HopperWork {
    int tiles;
    int tile;           // at hand
    int head, h, b;     // its head, counted over all, in its batch, and that
    int q0;             // its first query
    int blocks;         // of keys that it needs
    int done;           // blocks of keys of the tiles before

    DEVM explicit HopperWork(int all) {
        tiles = all;
        tile = (int)blockIdx.x - (int)gridDim.x;
        done = blocks = 0;
    }

    /** Goes to the next tile, if there is one. */
    DEVM bool next(const AttentionSizes& n) {
        tile += (int)gridDim.x;
        if (tile >= tiles) return false;
        done += blocks;
        int q_blocks = div_up(n.queries, 64 * WG);
        head = tile / q_blocks;
        b = head / n.heads;
        h = head - b * n.heads;
        q0 = (q_blocks - 1 - (tile - head * q_blocks)) * 64 * WG;  // causal: the longest first
        blocks = div_up(n.causal ? min_int(n.keys, q0 + 64 * WG) : n.keys, BN);
        return true;
    }
};

/** A warp that loads: warp 0 brings k of even blocks of keys, 1 v of even, 2 k of odd, 3 v of odd ones, counted over all tiles. */
template <class T, int D, int BN, int WG>
DEV void load_keys(T* slot, u64* full, const T* x, const i64 (&stride)[3], const AttentionSizes& n, int tiles, int odd) {
    clear_beyond<T, D, BN, BN>(slot, 0);
    HopperWork<BN, WG> work(tiles);
    while (work.next(n)) {
        const T* p = head_of(x, stride, work.b, work.h);
#pragma unroll 1
        for (int i = (work.done & 1) ^ odd; i < work.blocks; i += 2) {
            int j = work.blocks - 1 - i, round = (work.done + i) >> 1;
            if (round > 0) mbarrier_wait(full + 4, (round - 1) & 1);
            load_panels<T, D, BN, BN>(slot, 0, p + (i64)j * BN * stride[2], stride[2], n.keys - j * BN);
            finish_load();
            mbarrier_arrive(full);
        }
    }
}

/** Warpgroup `wg` of those that compute: 64 queries of each tile. */
template <class T, int D, int BN, int WG, bool TURNS, bool MASK>
DEV void attend(T* tiles, u64* barriers, const T* q, const void* mask, T* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n, float scale,
    int wg, int all) {
    typedef HopperTile<D, BN, WG> Tile;
    T* qs = tiles + wg * Tile::Q;
    const T* slots = tiles + WG * Tile::Q;
    u64 *full = barriers + Tile::FULL, *empty = barriers + Tile::EMPTY, *turn = barriers + Tile::TURN;
    int own = ((int)threadIdx.x >> 5 & 3) * 16;
    u64 q_tile = wgmma_descriptor(qs, 16, 1024);
    u64 k_tile = wgmma_descriptor(slots, 16, 1024), v_tile = wgmma_descriptor(slots, BN * LINE_BYTES, 1024);
    const int SLOT = descriptor_step(Tile::SLOT * 2);
    HopperRows<T, D, BN> x;
    float factor = MASK ? 1.f : scale * ATTENTION_LOG2E;  // scores with a mask are in log2 units at once
    clear_beyond<T, D, 64, 16>(qs, own);
    if (TURNS && wg == WG - 1 && lane() == 0) mbarrier_arrive(turn);
    int turns = 0;  // taken
    HopperWork<BN, WG> work(all);
    while (work.next(n)) {
        int first = work.q0 + wg * 64 + own;  // this warp's first query, which may lie beyond the last
        const T* from = head_of(q, stride.q, work.b, work.h) + (i64)min_int(first, n.queries - 1) * stride.q[2];
        load_panels<T, D, 64, 16>(qs, own, from, stride.q[2], n.queries - first);
        finish_load();
        bar_sync(1 + wg, 128);

        x.clear();
        int query = first + (lane() >> 2), column = 2 * (lane() & 3);
        int plain = MASK ? 0 : (n.causal ? min_int(n.keys, work.q0 + wg * 64 + 1) : n.keys) / BN;  // blocks of keys that every query sees in full
        int j = work.blocks - 1;
        auto hide = [&] {
            int key = j * BN + column;
            if (MASK) {
                i64 step = stride.mask[3], first = mask_row(stride, n, work.b, work.h, query) + key * step;
                i64 second = mask_row(stride, n, work.b, work.h, query + 8) + key * step;
                if (n.mask == 1) {
                    x.mask((const u8*)mask + first, (const u8*)mask + second, step, query, key, n, scale * ATTENTION_LOG2E);
                } else {
                    x.mask((const T*)mask + first, (const T*)mask + second, step, query, key, n, scale * ATTENTION_LOG2E);
                }
            } else {
                x.hide(query, key, n.keys, n.causal);
            }
        };

        // Block of keys c, counted over all tiles, has slots 2 (c % 2) for k and one more for v.
        int c = work.done;
        mbarrier_wait(full + (c & 1) * 2, c >> 1 & 1);
        x.start_scores(q_tile, k_tile + (c & 1) * 2 * SLOT);
        wgmma_wait<0>(x.s);
        release_slot(empty + (c & 1) * 2);
        if (j >= plain) hide();
        x.exponentials(factor);
        x.round();
        if (j > 0) mbarrier_wait(full + (~c & 1) * 2, (c + 1) >> 1 & 1);
        while (--j >= 0) {
            int before = (c & 1) * 2 + 1;  // the slot of the last block's v
            int of_before = c >> 1 & 1;
            c++;
            int now = (c & 1) * 2;  // that of this block's k
            if (TURNS) mbarrier_wait(turn + wg, turns++ & 1);
            x.start_scores(q_tile, k_tile + now * SLOT);
            mbarrier_wait(full + before, of_before);
            x.start_values(v_tile + before * SLOT);
            if (TURNS && lane() == 0) mbarrier_arrive(turn + (wg + 1) % WG);
            wgmma_wait<1>(x.s);
            release_slot(empty + now);
            if (j >= plain) hide();
            x.exponentials(factor);
            bool more = j > 0;  // then the next block's k is wanted next, else this block's v
            mbarrier_wait(full + (more ? 2 - now : now + 1), ((more ? c + 1 : c) >> 1 & 1) + x.after_exponentials());
            x.wait_values();
            release_slot(empty + before);
            x.round();
        }
        int last = (c & 1) * 2 + 1;
        mbarrier_wait(full + last, c >> 1 & 1);
        x.start_values(v_tile + last * SLOT);
        x.wait_values();
        release_slot(empty + last);

        bar_sync(1 + wg, 128);  // no warp reads q any more
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float total = warp_sum<4>(x.sum[r]);
            float inverse = total == 0.f ? 0.f : 1.f / total;
            int i = query + r * 8;
            if (column == 0 && i < n.queries) {
                lse[(i64)work.head * n.queries + i] = total == 0.f ? negative_infinity() : x.top[r] * ATTENTION_LN2 + logf(total);
            }
            int row = own + r * 8 + (lane() >> 2);
#pragma unroll
            for (int e = 0; e < D / 8; e++) store_pair<T, 64>(qs, row, e, x.o.at(e, r, 0) * inverse, x.o.at(e, r, 1) * inverse);
        }
        __syncwarp();
        store_panels<T, D, 64>(head_of(o, stride.o, work.b, work.h) + (i64)first * stride.o[2], stride.o[2], qs, own, n.queries - first);
        __syncwarp();  // the next tile's rows of q go there
    }
}

template <class T, int D, int BN, int WG, bool TURNS, bool MASK>
DEV void attention_hopper_forward(
    const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n, float scale, int all) {
    typedef HopperTile<D, BN, WG> Tile;
    DYN_SHARED(T, tiles);
    T* slots = tiles + WG * Tile::Q;
    u64* barriers = (u64*)(slots + 4 * Tile::SLOT);
    if (threadIdx.x == 0) {
        for (int i = 0; i < 4; i++) {
            mbarrier_init(barriers + Tile::FULL + i, 32);       // the lanes of the loading warp
            mbarrier_init(barriers + Tile::EMPTY + i, 4 * WG);  // the warps that compute
        }
        for (int i = 0; i < WG; i++) mbarrier_init(barriers + Tile::TURN + i, 4);  // the warps of the warpgroup before
    }
    __syncthreads();
    int warp = (int)threadIdx.x >> 5;
    if (warp < 4) {
        registers_give<WG == 2 ? 56 : 32>();
        T* slot = slots + warp * Tile::SLOT;
        u64* full = barriers + Tile::FULL + warp;
        if (warp & 1) {
            load_keys<T, D, BN, WG>(slot, full, v, stride.v, n, all, warp >> 1);
        } else {
            load_keys<T, D, BN, WG>(slot, full, k, stride.k, n, all, warp >> 1);
        }
    } else {
        registers_take<WG == 2 ? 224 : 160>();
        attend<T, D, BN, WG, TURNS, MASK>(tiles, barriers, q, mask, o, lse, stride, n, scale, (warp >> 2) - 1, all);
    }
}

// q [B, H, Lq, D], k, v [B, H, Lk, D], mask [B, H, Lq, Lk] or null, o [B, H, Lq, D], lse [B, H, Lq] contiguous; every row of q, k, v and o starts at a
// multiple of 16 bytes; scale > 0.
// tiles: B H ceil(Lq / (64 WG)), which any number of blocks share; 128 (WG + 1) threads.
#define ATTENTION_HOPPER_FORWARD(name, T, D, BN, WG, TURNS, MASK)                                                                                \
    KERNEL_BOUNDS(name, 128 * (WG + 1), 1)                                                                                                       \
    (const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, AttentionStrides stride, AttentionSizes n, float scale, int tiles) { \
        attention_hopper_forward<T, D, BN, WG, TURNS, MASK>(q, k, v, mask, o, lse, stride, n, scale, tiles);                                     \
    }                                                                                                                                            \
    EMU_EXPORT(name)
