// SPDX-License-Identifier: Apache-2.0
//
// Attention of 16-bit types on Hopper's matrix units: o = softmax(scale q k^T) v and the logarithm of each row's sum of exponentials, in the structure of
// FlashAttention-3 (Shah et al. 2024). A block has one warpgroup that loads and two or three that compute, each for 64 queries. S = q k^T is a product of two
// tiles in shared memory; P, rounded in registers, is the A operand of the product with v, which is summed over its rows as they lie. The product of the
// next block of keys is started before the softmax of the one at hand, and the products with v run during it; with TURNS the warpgroups moreover take turns
// in starting products, so that one computes exponentials while the matrix units serve another.
//
// Shared memory: q [WG][64 rows], four slots of BN rows (k and v of even blocks of keys, k and v of odd ones), the barriers. Each of the four loading warps
// has a slot. Blocks of keys go from the last to the first, so that those at the diagonal and at the end, which need a test per element, come first.
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

    /** Rounds the exponentials, and makes what was summed before relative to a raised maximum. */
    DEVM void round() {
        if (raised) o.scale(alpha);
#pragma unroll
        for (int i = 0; i < BN / 4; i++) p[i / 4][i % 4] = pack2<T>(s[2 * i], s[2 * i + 1]);
    }
};

/** Warpgroup `wg` of those that compute: 64 queries of one head, the first of them `first`, which may lie beyond the last. */
template <class T, int D, int BN, int WG, bool TURNS>
DEV void attend(T* tiles, u64* barriers, const T* q, T* o, float* lse, i64 q_stride, i64 o_stride, const AttentionSizes& n, float factor, int wg, int first, int blocks) {
    typedef HopperTile<D, BN, WG> Tile;
    T* qs = tiles + wg * Tile::Q;
    const T* slots = tiles + WG * Tile::Q;
    u64 *full = barriers + Tile::FULL, *empty = barriers + Tile::EMPTY, *turn = barriers + Tile::TURN;
    int own = ((int)threadIdx.x >> 5 & 3) * 16, g = lane() >> 2, t = lane() & 3;
    clear_beyond<T, D, 64, 16>(qs, own);
    load_panels<T, D, 64, 16>(qs, own, q + (i64)min_int(first + own, n.queries - 1) * q_stride, q_stride, n.queries - first - own);
    finish_load();
    bar_sync(1 + wg, 128);

    u64 q_tile = wgmma_descriptor(qs, 16, 1024);
    u64 k_tile = wgmma_descriptor(slots, 16, 1024), v_tile = wgmma_descriptor(slots, BN * LINE_BYTES, 1024);
    const int SLOT = descriptor_step(Tile::SLOT * 2);
    HopperRows<T, D, BN> x;
    x.clear();
    int query = first + own + g;
    int plain = (n.causal ? min_int(n.keys, first + 1) : n.keys) / BN;  // blocks of keys that every query sees in full

    // Block of keys i, counted from the end, has slots 2 (i % 2) and 2 (i % 2) + 1.
    mbarrier_wait(full, 0);
    x.start_scores(q_tile, k_tile);
    wgmma_wait<0>(x.s);
    release_slot(empty);
    if (blocks - 1 >= plain) x.hide(query, (blocks - 1) * BN + 2 * t, n.keys, n.causal);
    x.exponentials(factor);
    x.round();
    if (TURNS && wg == WG - 1 && lane() == 0 && blocks > 1) mbarrier_arrive(turn);
    if (blocks > 1) mbarrier_wait(full + 2, 0);
    for (int i = 1; i < blocks; i++) {
        int now = (i & 1) * 2, before = 3 - now;  // slots of k, and of v of the block before
        if (TURNS) mbarrier_wait(turn + wg, (i - 1) & 1);
        x.start_scores(q_tile, k_tile + now * SLOT);
        mbarrier_wait(full + before, (i - 1) >> 1 & 1);
        x.start_values(v_tile + before * SLOT);
        if (TURNS && lane() == 0 && !(wg == WG - 1 && i == blocks - 1)) mbarrier_arrive(turn + (wg + 1) % WG);
        wgmma_wait<1>(x.s);
        release_slot(empty + now);
        int j = blocks - 1 - i;
        if (j >= plain) x.hide(query, j * BN + 2 * t, n.keys, n.causal);
        x.exponentials(factor);
        if (i + 1 < blocks) mbarrier_wait(full + 2 - now, (i + 1) >> 1 & 1);
        x.wait_values();
        release_slot(empty + before);
        x.round();
    }
    int last = ((blocks - 1) & 1) * 2 + 1;
    mbarrier_wait(full + last, (blocks - 1) >> 1 & 1);
    x.start_values(v_tile + last * SLOT);
    x.wait_values();

    bar_sync(1 + wg, 128);  // no warp reads q any more
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float total = warp_sum<4>(x.sum[r]);
        float inverse = total == 0.f ? 0.f : 1.f / total;
        int i = query + r * 8;
        if (t == 0 && i < n.queries) lse[i] = total == 0.f ? negative_infinity() : x.top[r] * ATTENTION_LN2 + logf(total);
#pragma unroll
        for (int c = 0; c < D / 8; c++) store_pair<T, 64>(qs, own + r * 8 + g, c, x.o.at(c, r, 0) * inverse, x.o.at(c, r, 1) * inverse);
    }
    __syncwarp();
    store_panels<T, D, 64>(o + (i64)(first + own) * o_stride, o_stride, qs, own, n.queries - first - own);
}

template <class T, int D, int BN, int WG, bool TURNS>
DEV void attention_hopper_forward(const T* q, const T* k, const T* v, T* o, float* lse, const AttentionStrides& stride, const AttentionSizes& n, float scale) {
    typedef HopperTile<D, BN, WG> Tile;
    DYN_SHARED(T, tiles);
    T* slots = tiles + WG * Tile::Q;
    u64* barriers = (u64*)(slots + 4 * Tile::SLOT);
    const int BM = 64 * WG;
    int q_blocks = div_up(n.queries, BM);
    int head = (int)blockIdx.x / q_blocks, h = head % n.heads, b = head / n.heads;
    int q0 = (q_blocks - 1 - (int)blockIdx.x % q_blocks) * BM;  // causal: the longest first
    int blocks = div_up(n.causal ? min_int(n.keys, q0 + BM) : n.keys, BN);
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
        registers_give<WG == 2 ? 40 : 32>();
        bool is_v = (warp & 1) != 0;
        const T* p = is_v ? head_of(v, stride.v, b, h) : head_of(k, stride.k, b, h);
        i64 row = is_v ? stride.v[2] : stride.k[2];
        T* slot = slots + warp * Tile::SLOT;
        clear_beyond<T, D, BN, BN>(slot, 0);
        int first = warp >> 1;
        for (int i = first; i < blocks; i += 2) {
            int j = blocks - 1 - i;
            if (i > first) mbarrier_wait(barriers + Tile::EMPTY + warp, ((i >> 1) - 1) & 1);
            load_panels<T, D, BN, BN>(slot, 0, p + (i64)j * BN * row, row, n.keys - j * BN);
            finish_load();
            mbarrier_arrive(barriers + Tile::FULL + warp);
        }
    } else {
        registers_take<WG == 2 ? 232 : 160>();
        int wg = (warp >> 2) - 1;
        attend<T, D, BN, WG, TURNS>(tiles, barriers, head_of(q, stride.q, b, h), head_of(o, stride.o, b, h), lse + (i64)head * n.queries, stride.q[2], stride.o[2], n,
            scale * ATTENTION_LOG2E, wg, q0 + wg * 64, blocks);
    }
}

// q [B, H, Lq, D], k, v [B, H, Lk, D], o [B, H, Lq, D], lse [B, H, Lq] contiguous; every row starts at a multiple of 16 bytes; scale > 0; no mask.
// Grid: B H ceil(Lq / (64 WG)); 128 (WG + 1) threads.
#define ATTENTION_HOPPER_FORWARD(name, T, D, BN, WG, TURNS)                                                                                               \
    KERNEL_BOUNDS(name, 128 * (WG + 1), 1)                                                                                                       \
    (const T* q, const T* k, const T* v, const void* mask, T* o, float* lse, AttentionStrides stride, AttentionSizes n, float scale) {          \
        attention_hopper_forward<T, D, BN, WG, TURNS>(q, k, v, o, lse, stride, n, scale);                                                                 \
    }                                                                                                                                            \
    EMU_EXPORT(name)
