// SPDX-License-Identifier: Apache-2.0
//
// Products of 16-bit matrices with a weight in few bits (quantized.cuh) on tensor cores: C[m, n] = A[m, k] B + bias[n], where B is the transpose of a weight
// [n, k], or a weight [k, n] as it is (the adjoint: the gradient of the input). Values of the weight are rounded to the type of A, as dequantize_* rounds
// them; sums are f32, rounded once.
//
// Tiles of DEEP products. A's come by cp.async, STAGES - 1 ahead. Those of the weight are decoded into one of two buffers, from codes and scales that were
// read into registers while the tile before was multiplied; so the loop has one barrier. Shared memory: A [STAGES][BM][DEEP], then the weight
// [2][BN][DEEP] or, for the adjoint, [2][DEEP][BN], in chunks of 8 elements swizzled as gemm.cuh says.
//
// Rows of A begin at multiples of 16 bytes and rows of the weight have a multiple of 8 elements, so a chunk lies in one row and has one scale.
// Elements are counted in 32 bits.
#include "gemm.cuh"
#include "quantized.cuh"

static const int DEEP = 64;  // products in a tile
static const int STAGES = 3;

// ---- Device functions --------------------------------------------------------------------------------------------------------------------------------

/** 8 neighbours of a weight, in registers: as they lie in memory, with their scale. */
struct FourBitChunk {
    unsigned codes;
    float scale;
};
struct EightBitChunk {
    Vec<u32, 2> codes;
    float scale;
};
template <class W> struct ChunkOf;
template <> struct ChunkOf<FourBit> {
    typedef FourBitChunk type;
};
template <> struct ChunkOf<EightBit> {
    typedef EightBitChunk type;
};

/** Elements i .. i + 7, i a multiple of 8. */
DEV void read_chunk(FourBitChunk& c, const FourBit& w, int i, int) {
    c.codes = load_vec<1>((const u32*)(w.codes + (i >> 1)))[0];
    c.scale = scale_of(w, i >> w.shift);
}
DEV void read_chunk(EightBitChunk& c, const EightBit& w, int i, int row) {
    c.codes = load_vec<2>((const u32*)(w.codes + i));
    c.scale = w.magnitudes[row];
}

/** Zeros. */
DEV void clear_chunk(FourBitChunk& c) { c = FourBitChunk{0, 0.f}; }
DEV void clear_chunk(EightBitChunk& c) { c = EightBitChunk{{{0, 0}}, 0.f}; }

/** Their values. */
template <class T> DEV Vec<u32, 4> values_of(const FourBitChunk& c, const float* table) {
    Vec<u32, 4> v;
#pragma unroll
    for (int b = 0; b < 4; b++) {
        unsigned pair = c.codes >> (8 * b);
        v[b] = pack2<T>(times(table[pair >> 4 & 15], c.scale), times(table[pair & 15], c.scale));
    }
    return v;
}
/** The signed byte b of a word whose bytes' upper bits are flipped: 2^23 + 128 + byte is a float. */
DEV float signed_byte(unsigned flipped, int b) { return __uint_as_float((flipped >> (8 * b) & 255) | 0x4b000000u) - 8388736.f; }
template <class T> DEV Vec<u32, 4> values_of(const EightBitChunk& c, const float*) {
    Vec<u32, 4> v;
#pragma unroll
    for (int p = 0; p < 4; p++) {
        unsigned word = c.codes[p / 2] ^ 0x80808080u;
        int b = p % 2 * 2;
        v[p] = pack2<T>(eight_bit(signed_byte(word, b), c.scale), eight_bit(signed_byte(word, b + 1), c.scale));
    }
    return v;
}

/** A thread's share of a tile [ROWS][COLS] of a weight. */
template <class W, int ROWS, int COLS, int THREADS> struct Share {
    static const int PER_ROW = COLS / 8, N = ROWS * PER_ROW / THREADS;
    typename ChunkOf<W>::type chunks[N];

    /** Reads it from row0 and column0 on of a weight [rows][length]; zeros outside. Places are derived anew each time, for want of registers. */
    DEVM void read(const W& w, int row0, int column0, int rows, int length) {
        unsigned thread = threadIdx.x;
        opaque(thread);
#pragma unroll
        for (int i = 0; i < N; i++) {
            int id = (int)thread + i * THREADS, r = row0 + id / PER_ROW, c = column0 + id % PER_ROW * 8;
            if (r < rows && c < length) {
                read_chunk(chunks[i], w, r * length + c, r);
            } else {
                clear_chunk(chunks[i]);
            }
        }
    }

    template <class T> DEVM void decode(T* tile, const float* table) const {
#pragma unroll
        for (int i = 0; i < N; i++) {
            int id = (int)threadIdx.x + i * THREADS;
            store_vec<4>((u32*)(tile + swizzled<COLS>(id / PER_ROW, id % PER_ROW)), values_of<T>(chunks[i], table));
        }
    }
};

/** The fragment of A for rows row..row+15 and products k..k+15. */
template <class T> DEV void coded_a(unsigned (&a)[4], const T* tile, int row, int k) {
    int l = lane();
    ldmatrix_x4(a, tile + swizzled<DEEP>(row + (l & 15), (k >> 3) + (l >> 4)));
}

/** The fragments of the weight for columns column..column+15 (two of eight) and products k..k+15. */
template <class T, int BN, bool ADJOINT> DEV void coded_b(unsigned (&b)[4], const T* tile, int column, int k) {
    int l = lane();
    if (ADJOINT) {
        ldmatrix_x4_trans(b, tile + swizzled<BN>(k + (l & 15), (column >> 3) + (l >> 4)));
    } else {
        ldmatrix_x4(b, tile + swizzled<DEEP>(column + (l & 7) + (l >> 4) * 8, (k >> 3) + (l >> 3 & 1)));
    }
}

/** A tile BM x BN of C per block, WM x WN per warp. Grid: x = tiles of C, y = splits of k. Of p it takes m, n, k, aOuter, cRow, batches = inner = 1, splits. */
template <class T, class W, int BM, int BN, int WM, int WN, bool ADJOINT>
DEV void coded_product(T* shared, const W& w, const T* a, T* c, const T* bias, float* partial, const Product& p) {
    const int WARPS_M = BM / WM, THREADS = 32 * WARPS_M * (BN / WN), FM = WM / 16, FN = WN / 8;
    __shared__ float table[16];
    int m = (int)p.m, n = (int)p.n, k = (int)p.k, tm, tn;
    tile_of((int)blockIdx.x, div_up(m, BM), div_up(n, BN), tm, tn);
    int m0 = tm * BM, n0 = tn * BN, warp = (int)threadIdx.x / 32;
    int wm = warp % WARPS_M * WM, wn = warp / WARPS_M * WN;
    int all = div_up(k, DEEP), split = (int)blockIdx.y, splits = (int)p.splits;
    int begin = (int)((i64)all * split / splits), end = (int)((i64)all * (split + 1) / splits);
    T* decoded = shared + STAGES * BM * DEEP;
    Share<W, ADJOINT ? DEEP : BN, ADJOINT ? BN : DEEP, THREADS> share;

    auto load = [&](int t) {
        T* to = shared + (t - begin) % STAGES * BM * DEEP;
        load_tile<T, BM, DEEP, THREADS, true>(to, a + m0 * p.aOuter + t * DEEP, a, p.aOuter, 1, m - m0, k - t * DEEP);
    };
    auto read = [&](int t) {
        if (ADJOINT) {
            share.read(w, t * DEEP, n0, k, n);
        } else {
            share.read(w, n0, t * DEEP, n, k);
        }
    };

    float acc[FM][FN][4];
    start_product<STAGES>(acc, begin, end, load);
    if (begin < end) read(begin);
    load_table(table, w);
    for (int t = begin; t < end; t++) {
        T* tileB = decoded + (t - begin) % 2 * BN * DEEP;
        share.decode(tileB, table);
        if (t + 1 < end) read(t + 1);
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (t + STAGES - 1 < end) load(t + STAGES - 1);
        cp_async_commit();
        const T* tileA = shared + (t - begin) % STAGES * BM * DEEP;
#pragma unroll 2
        for (int kk = 0; kk < DEEP; kk += 16) {
            unsigned fa[FM][4], fb[4];
#pragma unroll
            for (int i = 0; i < FM; i++) coded_a(fa[i], tileA, wm + i * 16, kk);
#pragma unroll
            for (int j = 0; j < FN; j += 2) {
                coded_b<T, BN, ADJOINT>(fb, tileB, wn + j * 8, kk);
                unsigned f[2] = {fb[0], fb[1]}, g[2] = {fb[2], fb[3]};
#pragma unroll
                for (int i = 0; i < FM; i++) {
                    Mma<T>::k16(acc[i][j], fa[i], f);
                    Mma<T>::k16(acc[i][j + 1], fa[i], g);
                }
            }
        }
    }
    store_fragments<T, FM, FN>(acc, m0 + wm, n0 + wn, c, partial, bias, p, 0, split, 1.f, 0.f);
}

// ---- Kernels -----------------------------------------------------------------------------------------------------------------------------------------

// Dynamic shared memory: (STAGES BM + 2 BN) DEEP elements. A is [m][aOuter], C [m][cRow], bias [n] or null, partial [splits][m n] or null.
#define CODED_ONE(T, type, bits, WEIGHT, CLASS, name, ADJOINT, BM, BN, WM, WN)                                                  \
    KERNEL_BOUNDS(quantized_##name##_##bits##_##type, 32 * (BM / WM) * (BN / WN), 2)                                            \
    (WEIGHT, const T* a, T* c, const T* bias, float* partial, Product p) {                                                       \
        DYN_SHARED(T, shared);                                                                                                 \
        coded_product<T, CLASS, BM, BN, WM, WN, ADJOINT>(shared, WEIGHT_##bits, a, c, bias, partial, p);                         \
    }                                                                                                                          \
    EMU_EXPORT(quantized_##name##_##bits##_##type)
#define CODED_TILE(T, type, name, BM, BN, WM, WN)                                                                                \
    CODED_ONE(T, type, 4, FOUR_BIT, FourBit, name, false, BM, BN, WM, WN)                                                        \
    CODED_ONE(T, type, 8, EIGHT_BIT, EightBit, name, false, BM, BN, WM, WN)                                                      \
    CODED_ONE(T, type, 4, FOUR_BIT, FourBit, adjoint_##name, true, BM, BN, WM, WN)                                               \
    CODED_ONE(T, type, 8, EIGHT_BIT, EightBit, adjoint_##name, true, BM, BN, WM, WN)
#define CODED_FAMILY(T, type)                                                                                                    \
    CODED_TILE(T, type, large, 128, 128, 64, 32)                                                                                 \
    CODED_TILE(T, type, small, 64, 64, 32, 32)                                                                                   \
    CODED_TILE(T, type, thin, 16, 128, 16, 32)

CODED_FAMILY(bf16, bf16)
CODED_FAMILY(f16, f16)
