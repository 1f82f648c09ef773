// SPDX-License-Identifier: Apache-2.0
//
// The backward of attention for 16-bit types on Hopper's matrix units; what attention_backward.cuh computes, for exact head sizes. A block owns
// 128 keys, two warpgroups 64 each, and walks over blocks of 64 queries that a third warpgroup loads. The scores are computed transposed, keys in rows, so
// that P^T and dS^T are in registers the A operands of dv and dk. dS^T also goes through shared memory, a line of 64 queries for each key, as the A operand
// of dq, which each warpgroup gives for a part of the columns and all keys of the block.
//
// With a mask, k and v lie in another order (PairsTogether), so that a lane's two keys are neighbours in the mask; it is read before the scores are waited
// for. Scores and logarithms then are not in log2 units, as in the forward.
//
// Shared memory: k, v [128 rows], four slots of 64 rows (q and do of even steps, q and do of odd ones), dS [2][128 lines], QueryRow [2][64], the barriers.
#include "attention_hopper.cuh"
#include "attention_rows.cuh"

/** How dq is given, as in attention_backward.cuh. */
#define HOPPER_DQ_ADD 0
#define HOPPER_DQ_NONE 2

template <int D> struct HopperGradients {
    static_assert(D <= 128, "two warpgroups share the columns of dq, each in one panel");
    static const int BN = 128, BM = 64, THREADS = 384;
    static const int KEYS = Panels<D>::N * BN * LINE, SLOT = Panels<D>::N * BM * LINE, SCORES = BN * LINE;  // values
    static const int BYTES = (2 * KEYS + 4 * SLOT + 2 * SCORES) * 2 + 2 * BM * 8 + 64;
    static const int FIRST = D > 64 ? 64 : (D + 8) / 16 * 8;  // columns of dq for the first warpgroup; the second has the rest
    static const int FULL = 0, EMPTY = 4;                     // barriers of each slot
};

/** s^T = a b^T: 64 rows of a tile of 128 rows by a block of 64 rows. */
template <class T, int D> DEV void start_transposed(float (&s)[32], u64 a, u64 b) {
    wgmma_fence(s);
#pragma unroll
    for (int i = 0; i < Panels<D>::STEPS; i++) {
        int panel = i / 4, columns = i % 4 * 32;  // in bytes
        u64 of_a = a + descriptor_step(panel * 128 * LINE_BYTES + columns), of_b = b + descriptor_step(panel * 64 * LINE_BYTES + columns);
        Wgmma<T, 64>::template shared<false, false>(s, of_a, of_b, i > 0);
    }
    wgmma_commit();
}

/** Accumulators of 64 rows by 64 columns, rounded, as A operands of four steps. */
template <class T> DEV void round_operand(unsigned (&a)[4][4], const float (&s)[32]) {
#pragma unroll
    for (int i = 0; i < 16; i++) a[i / 4][i % 4] = pack2<T>(s[2 * i], s[2 * i + 1]);
}

/** What a mask says of the scores of 64 keys by 64 queries to a lane: of the queries 8 j + 2 t + e, to its two neighbouring keys. */
struct TransposedMask {
    u32 m[16];  // by 2 j + e; bytes are in the lower half

    /** `mask` is what belongs to key 0 and query 0; `query` and `key` are the lane's first. */
    template <class M> DEVM void read(const M* mask, i64 query_step, int query, int key, const AttentionSizes& n) {
        mask += min_int(key, (n.keys - 1) & ~1);
#pragma unroll
        for (int i = 0; i < 16; i++) {
            Vec<M, 2> v;
            if (i == 0 || query_step != 0) v = load_vec<2>(mask + min_int(query + i / 2 * 8 + i % 2, n.queries - 1) * query_step);
            u32 two = sizeof(M) == 1 ? (u32) * (const unsigned short*)&v : *(const u32*)&v;
            m[i] = i == 0 || query_step != 0 ? two : m[0];
        }
    }

    /** The scores times scale: bytes hide, values of T are added. */
    template <class T> DEVM void apply(float (&s)[32], bool bytes, float scale) const {
#pragma unroll
        for (int i = 0; i < 32; i++) {
            u32 two = m[i / 4 * 2 + i % 2];
            if (bytes) {
                s[i] = (two >> (i / 2 % 2 * 8) & 0xffu) != 0 ? s[i] * scale : negative_infinity();
            } else {
                s[i] = fma_rn(s[i], scale, i / 2 % 2 == 0 ? unpack_low<T>(two) : unpack_high<T>(two));
            }
        }
    }
};

/** What a block computes. */
template <class T> struct HopperBackward {
    const QueryRow* rows;  // of this head
    float* accumulator;
    T *dq, *dk, *dv;
    i64 dq_stride, dk_stride, dv_stride;
    float scale;
    int k0, start, blocks;  // first key; blocks of queries from start to blocks
    const void* mask;       // null without
    i64 mask_head, mask_query;  // where this head's begins, and from one query to the next
    int mode;
    float* partial;         // of this block and split, or null; dv is `half` values after dk
    i64 half;
};

/** Warpgroup `wg` of the two that compute, which gives COLUMNS columns of dq from `column` on. */
template <class T, int D, int COLUMNS, bool MASK>
DEV void hopper_gradients(T* tiles, QueryRow* rs, u64* barriers, const HopperBackward<T>& x, const AttentionSizes& n, int wg, int column) {
    typedef HopperGradients<D> Tile;
    const int BN = Tile::BN, BM = Tile::BM;
    T *ks = tiles, *vs = ks + Tile::KEYS;
    const T* slots = vs + Tile::KEYS;
    T* ss = tiles + 2 * Tile::KEYS + 4 * Tile::SLOT;
    u64 *full = barriers + Tile::FULL, *empty = barriers + Tile::EMPTY;
    int warp = (int)threadIdx.x >> 5 & 3, own = wg * 64 + warp * 16, g = lane() >> 2, t = lane() & 3;
    const int NEXT = MASK ? 1 : 8;              // from the lane's first key to its second
    int first_key = own + (MASK ? 2 * g : g);  // in the block

    u64 k_rows = wgmma_descriptor(ks + wg * 64 * LINE, 16, 1024), v_rows = wgmma_descriptor(vs + wg * 64 * LINE, 16, 1024);
    u64 k_sum = wgmma_descriptor(ks + column / 64 * BN * LINE + column % 64, BN * LINE_BYTES, 1024);
    u64 slot_rows = wgmma_descriptor(slots, 16, 1024), slot_sum = wgmma_descriptor(slots, BM * LINE_BYTES, 1024);
    u64 scores = wgmma_descriptor(ss, 64 * LINE_BYTES, 1024);
    const int SLOT = descriptor_step(Tile::SLOT * 2), SCORES = descriptor_step(Tile::SCORES * 2);
    float factor = x.scale * ATTENTION_LOG2E;

    float s[32], p[32], dq[COLUMNS / 2];
    unsigned of_p[4][4], of_s[4][4];
    Columns<T, D> dk, dv;
    dk.clear();
    dv.clear();
    for (int i = x.start, step = 0; i < x.blocks; i++, step++) {
        int slot = (step & 1) * 2, parity = step >> 1 & 1;
        int key = x.k0 + first_key, query = i * BM + 2 * t;
        TransposedMask mask;
        if (MASK) {
            if (n.mask == 1) {
                mask.read((const u8*)x.mask + x.mask_head, x.mask_query, query, key, n);
            } else {
                mask.read((const T*)x.mask + x.mask_head, x.mask_query, query, key, n);
            }
        }
        mbarrier_wait(full + slot, parity);
        start_transposed<T, D>(s, k_rows, slot_rows + slot * SLOT);
        if (MASK) {
            wgmma_wait<0>(s);
        } else {
            mbarrier_wait(full + slot + 1, parity);
            start_transposed<T, D>(p, v_rows, slot_rows + (slot + 1) * SLOT);
            wgmma_wait<1>(s);
        }
        if (MASK) mask.apply<T>(s, n.mask == 1, x.scale);
        if (x.k0 + BN > n.keys || (n.causal && i * BM < x.k0 + BN - 1)) {
#pragma unroll
            for (int e = 0; e < 32; e++) {
                int row = key + e / 2 % 2 * NEXT;
                if (row >= n.keys || (n.causal && row > query + e / 4 * 8 + e % 2)) s[e] = negative_infinity();
            }
        }
        if (MASK) {  // not before: the mask takes registers
            mbarrier_wait(full + slot + 1, parity);
            start_transposed<T, D>(p, v_rows, slot_rows + (slot + 1) * SLOT);
        }
        const Vec<float, 4>* row = (const Vec<float, 4>*)(rs + (step & 1) * BM) + t;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            Vec<float, 4> r = row[4 * j];  // lse, delta of queries 8 j + 2 t and the next
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float lse = r[2 * (e & 1)];
                s[4 * j + e] = exp2_fast(MASK ? (s[4 * j + e] - lse) * ATTENTION_LOG2E : s[4 * j + e] * factor - lse);
            }
        }
        round_operand<T>(of_p, s);
        wgmma_fence(dv.main, dv.rest, of_p);
        dv.template start<BM>(of_p, slot_sum + (slot + 1) * SLOT);
        wgmma_commit();
        wgmma_wait<1>(p);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            Vec<float, 4> r = row[4 * j];
#pragma unroll
            for (int e = 0; e < 4; e++) s[4 * j + e] *= p[4 * j + e] - r[2 * (e & 1) + 1];
        }
        round_operand<T>(of_s, s);
        wgmma_fence(dk.main, dk.rest, of_s);
        dk.template start<BM>(of_s, slot_sum + slot * SLOT);
        wgmma_commit();
        if (x.mode == HOPPER_DQ_NONE) {
            wgmma_wait<0>(dk.main, dk.rest, dv.main, dv.rest, of_p, of_s);
            release_slot(empty + slot);
            release_slot(empty + slot + 1);
            continue;
        }
        T* st = ss + (step & 1) * Tile::SCORES;
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
            for (int r = 0; r < 2; r++) *(unsigned*)(st + chunk_at(own + g + 8 * r, j) + 2 * t) = of_s[j / 2][j % 2 * 2 + r];
        }
        fence_proxy_async();
        bar_sync(1, 256);
        wgmma_fence(dq);
#pragma unroll
        for (int k = 0; k < BN / 16; k++) {
            int lines = descriptor_step(k * 16 * LINE_BYTES);
            Wgmma<T, COLUMNS>::template shared<true, true>(dq, scores + (step & 1) * SCORES + lines, k_sum + lines, k > 0);
        }
        wgmma_commit();
        wgmma_wait<1>(dk.main, dk.rest, dv.main, dv.rest, of_p, of_s);
        release_slot(empty + slot);
        release_slot(empty + slot + 1);
        wgmma_wait<0>(dq);
        int first = i * BM + warp * 16;
        if (x.mode == HOPPER_DQ_ADD) {
            float* to = x.accumulator + (i64)first * D + column * 16;
#pragma unroll
            for (int j = 0; j < COLUMNS / 8; j++) {
                float f[4] = {dq[4 * j], dq[4 * j + 1], dq[4 * j + 2], dq[4 * j + 3]};
                warp_add(to + j * 128, f);
            }
        } else {
#pragma unroll
            for (int j = 0; j < COLUMNS / 8; j++) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    int q = first + g + 8 * r;
                    unsigned two = pack2<T>(dq[4 * j + 2 * r] * x.scale, dq[4 * j + 2 * r + 1] * x.scale);
                    if (q < n.queries) *(unsigned*)(x.dq + q * x.dq_stride + column + j * 8 + 2 * t) = two;
                }
            }
        }
    }

    if (x.partial != nullptr) {
#pragma unroll
        for (int c = 0; c < D / 8; c++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float* to = x.partial + (first_key + NEXT * r) * D + c * 8 + 2 * t;
                Vec<float, 2> of_k = {{dk.at(c, r, 0) * x.scale, dk.at(c, r, 1) * x.scale}}, of_v = {{dv.at(c, r, 0), dv.at(c, r, 1)}};
                store_vec<2>(to, of_k);
                store_vec<2>(to + x.half, of_v);
            }
        }
        return;
    }
    bar_sync(1, 256);  // no warp reads k any more
#pragma unroll
    for (int c = 0; c < D / 8; c++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            store_pair<T, BN>(ks, first_key + NEXT * r, c, dk.at(c, r, 0) * x.scale, dk.at(c, r, 1) * x.scale);
            store_pair<T, BN>(vs, first_key + NEXT * r, c, dv.at(c, r, 0), dv.at(c, r, 1));
        }
    }
    __syncwarp();
    int first = x.k0 + own;
    store_panels<T, D, BN>(x.dk + (i64)first * x.dk_stride, x.dk_stride, ks, own, n.keys - first);
    store_panels<T, D, BN>(x.dv + (i64)first * x.dv_stride, x.dv_stride, vs, own, n.keys - first);
}

/** How keys lie in the tiles. */
template <bool MASK> struct RowOrder {
    typedef InOrder type;
};
template <> struct RowOrder<true> {
    typedef PairsTogether type;
};

template <class T, int D, bool MASK>
DEV void attention_hopper_backward(const T* q, const T* k, const T* v, const void* mask, const T* d_o, const QueryRow* rows, float* accumulator, T* dq, T* dk, T* dv,
    const AttentionStrides& stride, const AttentionGradStrides& gs, const AttentionSizes& n, float scale, int mode, int splits, float* partial) {
    typedef HopperGradients<D> Tile;
    typedef typename RowOrder<MASK>::type ORDER;
    const int BN = Tile::BN, BM = Tile::BM;
    DYN_SHARED(T, tiles);
    T* slots = tiles + 2 * Tile::KEYS;
    QueryRow* rs = (QueryRow*)(slots + 4 * Tile::SLOT + 2 * Tile::SCORES);
    u64* barriers = (u64*)(rs + 2 * BM);
    int k_blocks = div_up(n.keys, BN), index = (int)blockIdx.x, split = index % splits;
    index /= splits;
    int k0 = index % k_blocks * BN, head = index / k_blocks, h = head % n.heads, b = head / n.heads, padded = padded_queries(n.queries);
    int blocks = div_up(n.queries, BM), start = n.causal ? k0 / BM : 0;
    if (splits > 1) {
        int each = div_up(blocks - start > 0 ? blocks - start : 0, splits);
        start += split * each;
        blocks = min_int(blocks, start + each);
    }
    rows += (i64)head * padded;
    if (threadIdx.x == 0) {
        for (int i = 0; i < 4; i++) {
            mbarrier_init(barriers + Tile::FULL + i, 32);  // the lanes of the loading warp
            mbarrier_init(barriers + Tile::EMPTY + i, 8);  // the warps that compute
        }
    }
    int warp = (int)threadIdx.x >> 5;
    if (warp >= 4) {
        int own = (warp - 4) * 16, first = min_int(k0 + own, n.keys - 1);
        clear_beyond<T, D, BN, 16>(tiles, own);
        clear_beyond<T, D, BN, 16>(tiles + Tile::KEYS, own);
        load_panels<T, D, BN, 16, ORDER>(tiles, own, head_of(k, stride.k, b, h) + first * stride.k[2], stride.k[2], n.keys - k0 - own);
        load_panels<T, D, BN, 16, ORDER>(tiles + Tile::KEYS, own, head_of(v, stride.v, b, h) + first * stride.v[2], stride.v[2], n.keys - k0 - own);
        finish_load();
    }
    __syncthreads();
    if (warp < 4) {
        registers_give<MASK ? 40 : 56>();
        bool is_o = (warp & 1) != 0;
        const T* p = is_o ? head_of(d_o, gs.d_o, b, h) : head_of(q, stride.q, b, h);
        i64 row = is_o ? gs.d_o[2] : stride.q[2];
        T* slot = slots + warp * Tile::SLOT;
        clear_beyond<T, D, BM, BM>(slot, 0);
        int first = warp >> 1;
        for (int step = first; start + step < blocks; step += 2) {
            int q0 = (start + step) * BM;
            if (step > first) mbarrier_wait(barriers + Tile::EMPTY + warp, ((step >> 1) - 1) & 1);
            load_panels<T, D, BM, BM>(slot, 0, p + (i64)q0 * row, row, n.queries - q0);
            if (!is_o) cp_async16(rs + first * BM + lane() * 2, rows + q0 + lane() * 2);
            finish_load();
            mbarrier_arrive(barriers + Tile::FULL + warp);
        }
    } else {
        registers_take<MASK ? 232 : 224>();
        HopperBackward<T> x;
        x.rows = rows;
        x.accumulator = accumulator + (i64)head * padded * D;
        x.dq = head_of(dq, gs.dq, b, h);
        x.dk = head_of(dk, gs.dk, b, h);
        x.dv = head_of(dv, gs.dv, b, h);
        x.dq_stride = gs.dq[2];
        x.dk_stride = gs.dk[2];
        x.dv_stride = gs.dv[2];
        x.scale = scale;
        x.k0 = k0;
        x.start = start;
        x.blocks = blocks;
        x.mask = mask;
        x.mask_head = b * stride.mask[0] + h * stride.mask[1];
        x.mask_query = stride.mask[2];
        x.mode = mode;
        x.half = (i64)(gridDim.x / splits) * BN * D;
        x.partial = splits > 1 ? partial + 2 * split * x.half + (i64)index * BN * D : nullptr;
        const int FIRST = Tile::FIRST;
        int wg = (warp >> 2) - 1;
        if (FIRST == D - FIRST || wg == 0) {
            hopper_gradients<T, D, FIRST, MASK>(tiles, rs, barriers, x, n, wg, wg * FIRST);
        } else {
            hopper_gradients<T, D, D - FIRST, MASK>(tiles, rs, barriers, x, n, wg, FIRST);
        }
    }
}

// Parameters as those of ATTENTION_BACKWARD, with D columns in all that is given; every row of those starts at a multiple of 16 bytes; scale > 0. The
// mask lies as for the forward.
// Grid: B H ceil(Lk / 128) splits; 384 threads.
#define ATTENTION_HOPPER_BACKWARD(name, T, D, MASK)                                                                                                    \
    KERNEL_BOUNDS(name, 384, 1)                                                                                                                        \
    (const T* q, const T* k, const T* v, const void* mask, const T* d_o, const QueryRow* rows, float* accumulator, T* dq, T* dk, T* dv,                \
        AttentionStrides stride, AttentionGradStrides gs, AttentionSizes n, float scale, int mode, int splits, float* partial) {                       \
        attention_hopper_backward<T, D, MASK>(q, k, v, mask, d_o, rows, accumulator, dq, dk, dv, stride, gs, n, scale, mode, splits, partial);         \
    }                                                                                                                                                  \
    EMU_EXPORT(name)
