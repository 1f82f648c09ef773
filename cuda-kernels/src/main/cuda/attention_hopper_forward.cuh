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
//
// With a mask, keys lie in another order in the slots (EightsTogether), so that a lane reads what the mask says of its scores as vectors; it does so before
// it needs them, behind the softmax of the block before. Scores then are not in log2 units: a mask of the lowest number times log2(e) would be infinite.
#include "attention_hopper.cuh"

/** What kernels differ in that compute the same. */
static const int HOPPER_TURNS = 1;       // warpgroups take turns in starting products
static const int HOPPER_AHEAD = 2;       // the queries of the next tile are loaded during the one at hand, into a second place

/** Sizes of a block: heads of D columns, WG warpgroups of 64 queries, BN keys a step. */
template <int D, int BN, int WG, int HOW> struct HopperTile {
    static_assert(BN % 16 == 0 && 8 + WG <= 16, "whole steps; 8 bytes for each barrier");
    static const int Q = Panels<D>::N * 64 * LINE, SLOT = Panels<D>::N * BN * LINE;  // values
    static const int PLACES = HOW & HOPPER_AHEAD ? 2 : 1;  // of each warpgroup's queries
    static const int BYTES = (WG * PLACES * Q + 4 * SLOT) * 2 + 128;
    static const int FULL = 0, EMPTY = 4, TURN = 8;  // barriers: of each slot, of each warpgroup
};

/** What one warpgroup knows of its 64 queries, a thread of two rows: g and g + 8 of the warp's 16. */
template <class T, int D, int BN, int HOW, bool MASK> struct HopperRows {
    static const int GROUPS = MASK ? BN / 32 : 1;
    static_assert(!MASK || BN % 32 == 0, "a lane has 8 keys of each 32");
    float s[BN / 2];                 // scores, then their exponentials
    unsigned p[BN / 16][4];          // these rounded
    Columns<T, D> o;
    float top[2], sum[2], alpha[2];  // maxima, in log2 units unless there is a mask; each lane sums its own columns
    Vec<u32, 4> m[2][GROUPS];        // what the mask says of each row's 8 keys of 32; bytes are in the first two words
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

    /** Hides what a query must not see; `query` is that of row g, `block` the first key of the block. */
    DEVM void hide(int query, int block, const AttentionSizes& n) {
        int t = lane() & 3;
#pragma unroll
        for (int i = 0; i < BN / 2; i++) {
            int k = block + (MASK ? i / 16 * 32 + 8 * t + i / 4 % 4 * 2 : i / 4 * 8 + 2 * t) + i % 2;
            if (k >= n.keys || (n.causal && k > query + i / 2 % 2 * 8)) s[i] = negative_infinity();
        }
    }

    /** Reads what the mask says of a block of keys to rows g and g + 8, which begin at `first` and `second` of it. */
    template <class M> DEVM void read_mask(const M* first, const M* second, int block, const AttentionSizes& n) {
        const int WORDS = 2 * (int)sizeof(M);
        int last = (n.keys - 1) & ~7;
#pragma unroll
        for (int i = 0; i < GROUPS; i++) {
            int key = min_int(block + i * 32 + 8 * (lane() & 3), last);
            Vec<u32, WORDS> v = load_vec<WORDS>((const u32*)(first + key));
#pragma unroll
            for (int e = 0; e < WORDS; e++) m[0][i][e] = v[e];
        }
#pragma unroll
        for (int i = 0; i < GROUPS; i++) {
            int key = min_int(block + i * 32 + 8 * (lane() & 3), last);
            Vec<u32, WORDS> v;
            if (first != second) v = load_vec<WORDS>((const u32*)(second + key));
#pragma unroll
            for (int e = 0; e < WORDS; e++) m[1][i][e] = first != second ? v[e] : m[0][i][e];
        }
    }

    /** The scores times scale with the mask that was read: bytes hide, values of T are added. */
    DEVM void mask(bool bytes, float scale) {
#pragma unroll
        for (int i = 0; i < BN / 2; i++) {
            int r = i / 2 % 2, word = i / 4 % 4;  // of the group i / 16
            if (bytes) {
                u32 two = m[r][i / 16][word / 2] >> (word % 2 * 16 + i % 2 * 8);
                s[i] = (two & 0xffu) != 0 ? s[i] * scale : negative_infinity();
            } else {
                u32 two = m[r][i / 16][word];
                s[i] = fma_rn(s[i], scale, i % 2 == 0 ? unpack_low<T>(two) : unpack_high<T>(two));
            }
        }
    }

    /** The exponentials of s times factor, relative to the maximum, and their sums; with a mask, of s. */
    DEVM void exponentials(float factor) {
        const float LIMIT = MASK ? 8.f * ATTENTION_LN2 : 8.f;
        float high[2];
        bool raise = false;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float m = s[2 * r];
#pragma unroll
            for (int i = 0; i < BN / 8; i++) m = fmaxf(m, fmaxf(s[4 * i + 2 * r], s[4 * i + 2 * r + 1]));
            m = fmaxf(m, shfl_xor(m, 1));
            m = fmaxf(m, shfl_xor(m, 2));
            high[r] = MASK ? m : m * factor;
            raise = raise || high[r] > top[r] + LIMIT;
        }
        raised = warp_ballot(raise) != 0;
        if (raised) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float m = fmaxf(high[r], top[r]), down = top[r] - m;
                alpha[r] = m == negative_infinity() ? 1.f : exp2_fast(MASK ? down * ATTENTION_LOG2E : down);
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
                    x = MASK ? (x - m) * ATTENTION_LOG2E : x * factor - m;
                    x = exp2_fast(x);
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

/** How the blocks share the tiles; see HopperWork. The host gives it. */
struct HopperShare {
    int heads;     // of all batches
    int q_blocks;  // tiles of a head
    int section;   // heads of a section; all of them without causality
    int shift;     // how many places further on each section begins
};

/**
 * What a block does: tiles of 64 WG queries of one head each, one in each round of gridDim.x tiles.
 *
 * Without causality tiles are numbered head by head, and all take as long. With it they are numbered in sections of heads, whose k and v shall stay in the L2
 * cache; in a section the longest come first, those of one place in each head next to each other. Blocks take the tiles of a round in turn from the front
 * and from the back, and in each section begin elsewhere: so none always has the longest, and what one block does differs from another's by few per cent.
 */
template <int BN, int WG> struct HopperWork {
    int first, round;  // head where the section at hand begins, and the round in it
    int place;         // this block's in a round
    int head, h, b;    // of the tile at hand: its head, counted over all, in its batch, and that
    int q0;            // its first query
    int blocks;        // of keys that it needs
    int done;          // blocks of keys of the tiles before

    DEVM HopperWork() {
        place = (int)blockIdx.x;
        round = -1;
        first = done = blocks = 0;
    }

    /** Goes to the next tile, if there is one. */
    DEVM bool next(const HopperShare& all, const AttentionSizes& n) {
        int grid = (int)gridDim.x;
        done += blocks;
        while (true) {
            int count = min_int(all.section, all.heads - first);
            round++;
            if (round * grid >= count * all.q_blocks) {
                first += count;
                if (first >= all.heads) return false;
                count = min_int(all.section, all.heads - first);
                round = 0;
                place = place + all.shift < grid ? place + all.shift : place + all.shift - grid;
            }
            int i = round * grid + (n.causal && (round & 1) ? grid - 1 - place : place);
            if (i >= count * all.q_blocks) continue;
            int inner = n.causal ? count : all.q_blocks, outer = i / inner;
            i -= outer * inner;
            head = first + (n.causal ? i : outer);
            b = head / n.heads;
            h = head - b * n.heads;
            q0 = (all.q_blocks - 1 - (n.causal ? outer : i)) * 64 * WG;
            blocks = div_up(n.causal ? min_int(n.keys, q0 + 64 * WG) : n.keys, BN);
            return true;
        }
    }
};

/** How keys lie in the slots. */
template <bool MASK> struct KeyOrder {
    typedef InOrder type;
};
template <> struct KeyOrder<true> {
    typedef EightsTogether type;
};

/** A warp that loads: warp 0 brings k of even blocks of keys, 1 v of even, 2 k of odd, 3 v of odd ones, counted over all tiles. */
template <class T, int D, int BN, int WG, class ORDER>
DEV void load_keys(T* slot, u64* full, const T* x, const i64 (&stride)[3], const AttentionSizes& n, const HopperShare& all, int odd) {
    clear_beyond<T, D, BN, BN>(slot, 0);
    HopperWork<BN, WG> work;
    while (work.next(all, n)) {
        const T* p = head_of(x, stride, work.b, work.h);
#pragma unroll 1
        for (int i = (work.done & 1) ^ odd; i < work.blocks; i += 2) {
            int j = work.blocks - 1 - i, round = (work.done + i) >> 1;
            if (round > 0) mbarrier_wait(full + 4, (round - 1) & 1);
            load_panels<T, D, BN, BN, ORDER>(slot, 0, p + (i64)j * BN * stride[2], stride[2], n.keys - j * BN);
            finish_load();
            mbarrier_arrive(full);
        }
    }
}

/** Warpgroup `wg` of those that compute: 64 queries of each tile. */
template <class T, int D, int BN, int WG, int HOW, bool MASK>
DEV void attend(T* tiles, u64* barriers, const T* q, const void* mask, T* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n, float scale,
    int wg, const HopperShare& all) {
    typedef HopperTile<D, BN, WG, HOW> Tile;
    const bool TURNS = (HOW & HOPPER_TURNS) != 0, AHEAD = (HOW & HOPPER_AHEAD) != 0;
    const bool EARLY = D < 256;  // the mask is read behind the softmax of the block before, as far as there are registers
    T* qs = tiles + wg * Tile::PLACES * Tile::Q;
    const T* slots = tiles + WG * Tile::PLACES * Tile::Q;
    u64 *full = barriers + Tile::FULL, *empty = barriers + Tile::EMPTY, *turn = barriers + Tile::TURN;
    int own = ((int)threadIdx.x >> 5 & 3) * 16;
    u64 q_tile = wgmma_descriptor(qs, 16, 1024);
    u64 k_tile = wgmma_descriptor(slots, 16, 1024), v_tile = wgmma_descriptor(slots, BN * LINE_BYTES, 1024);
    const int SLOT = descriptor_step(Tile::SLOT * 2), QUERIES = descriptor_step(Tile::Q * 2);
    HopperRows<T, D, BN, HOW, MASK> x;
    float factor = scale * ATTENTION_LOG2E;
    for (int i = 0; i < Tile::PLACES; i++) clear_beyond<T, D, 64, 16>(qs + i * Tile::Q, own);
    if (TURNS && wg == WG - 1 && lane() == 0) mbarrier_arrive(turn);
    int turns = 0;  // taken
    HopperWork<BN, WG> next;
    bool more = next.next(all, n);
    auto load_queries = [&](T* to) {
        int first = next.q0 + wg * 64 + own;
        const T* from = head_of(q, stride.q, next.b, next.h) + (i64)min_int(first, n.queries - 1) * stride.q[2];
        load_panels<T, D, 64, 16>(to, own, from, stride.q[2], n.queries - first);
    };
    if (AHEAD && more) load_queries(qs);
    int odd = 0;  // where this tile's queries are
    while (more) {
        HopperWork<BN, WG> work = next;
        int first = work.q0 + wg * 64 + own;  // this warp's first query, which may lie beyond the last
        if (!AHEAD) load_queries(qs);
        finish_load();
        bar_sync(1 + wg, 128);

        x.clear();
        int query = first + (lane() >> 2);
        int plain = (n.causal ? min_int(n.keys, work.q0 + wg * 64 + 1) : n.keys) / BN;  // blocks of keys that every query sees, but for a mask
        int j = work.blocks - 1;
        i64 mask_rows[2];
        if (MASK) {
            mask_rows[0] = mask_row(stride, n, work.b, work.h, query);
            mask_rows[1] = mask_row(stride, n, work.b, work.h, query + 8);
        }
        auto read_mask = [&](int block) {
            if (n.mask == 1) {
                x.read_mask((const u8*)mask + mask_rows[0], (const u8*)mask + mask_rows[1], block * BN, n);
            } else {
                x.read_mask((const T*)mask + mask_rows[0], (const T*)mask + mask_rows[1], block * BN, n);
            }
        };
        auto hide = [&] {
            if (MASK) x.mask(n.mask == 1, scale);
            if (j >= plain) x.hide(query, j * BN, n);
            if (MASK && EARLY && j > 0) read_mask(j - 1);
        };
        if (MASK && EARLY) read_mask(j);

        // Block of keys c, counted over all tiles, has slots 2 (c % 2) for k and one more for v.
        int c = work.done;
        mbarrier_wait(full + (c & 1) * 2, c >> 1 & 1);
        x.start_scores(q_tile + odd * QUERIES, k_tile + (c & 1) * 2 * SLOT);
        if (AHEAD) {
            more = next.next(all, n);
            if (more) load_queries(qs + (1 - odd) * Tile::Q);
        }
        if (MASK && !EARLY) read_mask(j);
        wgmma_wait<0>(x.s);
        release_slot(empty + (c & 1) * 2);
        hide();
        x.exponentials(factor);
        x.round();
        if (j > 0) mbarrier_wait(full + (~c & 1) * 2, (c + 1) >> 1 & 1);
        while (--j >= 0) {
            int before = (c & 1) * 2 + 1;  // the slot of the last block's v
            int of_before = c >> 1 & 1;
            c++;
            int now = (c & 1) * 2;  // that of this block's k
            if (TURNS) mbarrier_wait(turn + wg, turns++ & 1);
            x.start_scores(q_tile + odd * QUERIES, k_tile + now * SLOT);
            mbarrier_wait(full + before, of_before);
            x.start_values(v_tile + before * SLOT);
            if (TURNS && lane() == 0) mbarrier_arrive(turn + (wg + 1) % WG);
            if (MASK && !EARLY) read_mask(j);
            wgmma_wait<1>(x.s);
            release_slot(empty + now);
            hide();
            x.exponentials(factor);
            bool another = j > 0;  // then the next block's k is wanted next, else this block's v
            mbarrier_wait(full + (another ? 2 - now : now + 1), ((another ? c + 1 : c) >> 1 & 1) + x.after_exponentials());
            x.wait_values();
            release_slot(empty + before);
            x.round();
        }
        int last = (c & 1) * 2 + 1;
        mbarrier_wait(full + last, c >> 1 & 1);
        x.start_values(v_tile + last * SLOT);
        x.wait_values();
        release_slot(empty + last);

        T* results = qs + odd * Tile::Q;
        if (AHEAD) odd ^= 1;
        bar_sync(1 + wg, 128);  // no warp reads q any more
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float total = warp_sum<4>(x.sum[r]);
            float inverse = total == 0.f ? 0.f : 1.f / total;
            int i = query + r * 8;
            if ((lane() & 3) == 0 && i < n.queries) {
                float top = MASK ? x.top[r] : x.top[r] * ATTENTION_LN2;
                lse[(i64)work.head * n.queries + i] = total == 0.f ? negative_infinity() : top + logf(total);
            }
            int row = own + r * 8 + (lane() >> 2);
#pragma unroll
            for (int e = 0; e < D / 8; e++) store_pair<T, 64>(results, row, e, x.o.at(e, r, 0) * inverse, x.o.at(e, r, 1) * inverse);
        }
        __syncwarp();
        store_panels<T, D, 64>(head_of(o, stride.o, work.b, work.h) + (i64)first * stride.o[2], stride.o[2], results, own, n.queries - first);
        __syncwarp();  // the next tile's rows of q go there
        if (!AHEAD) more = next.next(all, n);
    }
}

template <class T, int D, int BN, int WG, int HOW, bool MASK>
DEV void attention_hopper_forward(const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n,
    float scale, const HopperShare& all) {
    typedef HopperTile<D, BN, WG, HOW> Tile;
    typedef typename KeyOrder<MASK>::type ORDER;
    const int EACH = WG == 3 ? (BN > 80 ? 160 : 152) : 232, REST = (WG == 3 ? 512 : 504) - WG * EACH;  // registers of those that compute, and that load: of 4 times 128 or 3 times 168
    DYN_SHARED(T, tiles);
    T* slots = tiles + WG * Tile::PLACES * Tile::Q;
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
        registers_give<REST>();
        T* slot = slots + warp * Tile::SLOT;
        u64* full = barriers + Tile::FULL + warp;
        if (warp & 1) {
            load_keys<T, D, BN, WG, ORDER>(slot, full, v, stride.v, n, all, warp >> 1);
        } else {
            load_keys<T, D, BN, WG, ORDER>(slot, full, k, stride.k, n, all, warp >> 1);
        }
    } else {
        registers_take<EACH>();
        attend<T, D, BN, WG, HOW, MASK>(tiles, barriers, q, mask, o, lse, stride, n, scale, (warp >> 2) - 1, all);
    }
}

// q [B, H, Lq, D], k, v [B, H, Lk, D], mask [B, H, Lq, Lk] or null, o [B, H, Lq, D], lse [B, H, Lq] contiguous; every row of q, k, v and o starts at a
// multiple of 16 bytes; scale > 0. Keys of the mask lie next to each other, rows of it begin at multiples of 8 values and have whole eights, it begins at
// 16 bytes.
// Any number of blocks share B H ceil(Lq / (64 WG)) tiles; 128 (WG + 1) threads.
#define ATTENTION_HOPPER_FORWARD(name, T, D, BN, WG, HOW, MASK)                                                                                     \
    KERNEL_BOUNDS(name, 128 * (WG + 1), 1)                                                                                                          \
    (const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, AttentionStrides stride, AttentionSizes n, float scale,                \
        HopperShare all) {                                                                                                                             \
        attention_hopper_forward<T, D, BN, WG, HOW, MASK>(q, k, v, mask, o, lse, stride, n, scale, all);                                            \
    }                                                                                                                                               \
    EMU_EXPORT(name)
