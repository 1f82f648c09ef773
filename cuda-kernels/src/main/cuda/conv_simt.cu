// SPDX-License-Identifier: Apache-2.0
// Convolutions of f32 tensors as implicit matrix products in plain f32 (no tf32).
//
// Same products, shapes and walks as conv_mma (see there and conv.cuh). A block of 256 threads makes a
// tile BM x BN, each thread TM x TN of it in registers: rows and columns in runs of four, 64 apart.
// It walks over K by BK; each thread fetches four elements of A and four of B to registers while the
// stage before is multiplied, and stores them to the other of two stages [BK][BM], [BK][BN].
#include "conv.cuh"

constexpr int THREADS = 256, PAD = 4;

// ---- device functions ----

typedef Vec<float, 4> Four;

/** acc += A B for one stage; x, y are the thread's column and row among 16 x 16. */
template <int BM, int BN, int BK> DEV void multiply(float (&acc)[BM / 16][BN / 16], const float* a, const float* b, int x, int y) {
    #pragma unroll 2
    for (int k = 0; k < BK; k++) {
        Four fa[BM / 64], fb[BN / 64];
        #pragma unroll
        for (int i = 0; i < BM / 64; i++) fa[i] = load_vec<4>(a + k * (BM + PAD) + i * 64 + y * 4);
        #pragma unroll
        for (int j = 0; j < BN / 64; j++) fb[j] = load_vec<4>(b + k * (BN + PAD) + j * 64 + x * 4);
        #pragma unroll
        for (int i = 0; i < BM / 16; i++)
            #pragma unroll
            for (int j = 0; j < BN / 16; j++) acc[i][j] += fa[i / 4][i % 4] * fb[j / 4][j % 4];
    }
}

template <int I, int J> DEV void clear(float (&acc)[I][J]) {
    #pragma unroll
    for (int i = 0; i < I; i++)
        #pragma unroll
        for (int j = 0; j < J; j++) acc[i][j] = 0.f;
}

DEV Four nothing() {
    Four v;
    v[0] = v[1] = v[2] = v[3] = 0.f;
    return v;
}

template <int BM, int BN, int BK, bool VEC>
DEV void gather(const float* g, const float* w, const float* bias, float* y, float* parts, const Walk& p) {
    __shared__ Phase f;
    __shared__ Taps taps;
    alignas(16) __shared__ float as[2][BK * (BM + PAD)], bs[2][BK * (BN + PAD)];
    int t = threadIdx.x, phases = p.lattice[0] * p.lattice[1] * p.lattice[2];
    int group = blockIdx.y / phases;
    if (t == 0) phase_of(f, p, blockIdx.y % phases);
    __syncthreads();
    int n = p.oc / p.groups, channels = p.gc / p.groups, all = p.kernel[0] * p.kernel[1] * p.kernel[2];
    int tiles = (n + BN - 1) / BN;
    int m0 = blockIdx.x / tiles * BM, n0 = blockIdx.x % tiles * BN;
    if (m0 >= f.pixels) return;
    if (VEC && t < f.taps) tap_of(p, f, t, taps.distance[t], taps.number[t]);
    if (VEC) __syncthreads();
    g += group * channels;
    w += (i64)group * n * all * channels;

    int steps = (f.taps * channels + BK - 1) / BK, share = (steps + p.splits - 1) / p.splits;
    int from = blockIdx.z * share, to = from + share < steps ? from + share : steps;

    // This thread fetches four elements q of K for one row of A and one of B.
    int q = t % (BK / 4) * 4, r = t / (BK / 4);
    int k = from * BK + q, tap = k / channels, c = k % channels;
    const float* row = g;
    u64 inside_bits = 0;
    if (VEC) {
        if (m0 + r < f.pixels) row = g + place_of(p, row_of(f, m0 + r));
        inside_bits = taps_inside(p, f, m0 + r);
    }
    const float* wrow = w + (i64)(n0 + r) * all * channels;
    auto fetch = [&](Four& a, Four& b) {
        a = nothing();
        b = nothing();
        if (VEC) {
            if (tap < f.taps) {
                if (inside_bits >> tap & 1) a = load_vec<4>(row + taps.distance[tap] + c);
                if (n0 + r < n) b = load_vec<4>(wrow + taps.number[tap] * channels + c);
            }
            c += BK;
            while (c >= channels) {
                c -= channels;
                tap++;
            }
        } else {
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                a[e] = gathered(g, p, f, m0 + r, k + e, channels);
                int of = (k + e) / channels;
                if (n0 + r < n && of < f.taps) {
                    int distance, number;
                    tap_of(p, f, of, distance, number);
                    b[e] = wrow[number * channels + (k + e) % channels];
                }
            }
            k += BK;
        }
    };
    auto keep = [&](int stage, const Four& a, const Four& b) {
        #pragma unroll
        for (int e = 0; e < 4; e++) {
            as[stage][(q + e) * (BM + PAD) + r] = a[e];
            bs[stage][(q + e) * (BN + PAD) + r] = b[e];
        }
    };

    float acc[BM / 16][BN / 16];
    clear(acc);
    int tx = t % 16, ty = t / 16;
    Four a, b;
    if (from < to) {
        fetch(a, b);
        keep(0, a, b);
    }
    __syncthreads();
    #pragma unroll 1
    for (int s = from, stage = 0; s < to; s++, stage ^= 1) {
        if (s + 1 < to) fetch(a, b);
        multiply<BM, BN, BK>(acc, as[stage], bs[stage], tx, ty);
        if (s + 1 < to) keep(stage ^ 1, a, b);
        __syncthreads();
    }

    float* to_all = y;
    if (parts != nullptr) to_all = parts + blockIdx.z * ((i64)p.images * p.out[0] * p.out[1] * p.out[2] * p.oc);
    bool wide = n % 4 == 0 && is_aligned(to_all, 16);
    #pragma unroll
    for (int j = 0; j < BN / 64; j++) {
        int at = n0 + j * 64 + tx * 4;
        if (at >= n) continue;
        Four add = nothing();
        #pragma unroll
        for (int e = 0; e < 4; e++)
            if (bias != nullptr && parts == nullptr && at + e < n) add[e] = bias[group * n + at + e];
        #pragma unroll
        for (int i = 0; i < BM / 16; i++) {
            int m = m0 + i / 4 * 64 + ty * 4 + i % 4;
            if (m >= f.pixels) continue;
            float* to_row = to_all + pixel_of(p, f, row_of(f, m)) + group * n + at;
            Four v;
            #pragma unroll
            for (int e = 0; e < 4; e++) v[e] = acc[i][j * 4 + e] + add[e];
            if (wide) store_vec(to_row, v);
            else
                for (int e = 0; e < 4; e++)
                    if (at + e < n) to_row[e] = v[e];
        }
    }
}

template <int BM, int BN, int BK, bool VEC> DEV void weight(const float* dy, const float* x, float* parts, const Walk& p) {
    constexpr int AC = BM / 4, BC = BN / 4, RING = 4, COLUMNS = VEC ? 1 : 4;
    __shared__ Place places[RING][BK];  // of the pixels of a stage
    alignas(16) __shared__ float as[2][BK * (BM + PAD)], bs[2][BK * (BN + PAD)];
    int t = threadIdx.x, group = blockIdx.y;
    int n = p.oc / p.groups, channels = p.gc / p.groups, width = p.kernel[0] * p.kernel[1] * p.kernel[2] * channels;
    int tiles = (width + BN - 1) / BN;
    int m0 = blockIdx.x / tiles * BM, n0 = blockIdx.x % tiles * BN;
    int pixels = p.images * p.out[0] * p.out[1] * p.out[2];
    int steps = (pixels + BK - 1) / BK, share = (steps + p.splits - 1) / p.splits;
    int from = blockIdx.z * share, to = from + share < steps ? from + share : steps;

    int ar = t / AC, m = t % AC * 4, br = t / BC, at = t % BC * 4;
    dy += group * n + m0 + m;
    x += group * channels;
    Column columns[COLUMNS];
    #pragma unroll
    for (int e = 0; e < COLUMNS; e++) columns[e] = column_of(p, n0 + at + e, channels);
    auto plan = [&](int s) {
        if (t < BK) places[s % RING][t] = first_place(p, s * BK + t, pixels);
    };
    auto fetch = [&](int s, Four& a, Four& b) {
        a = nothing();
        b = nothing();
        int pixel = s * BK + ar;
        const Place& of = places[s % RING][br];
        if (VEC) {
            if (pixel < pixels && m0 + m < n) a = load_vec<4>(dy + (i64)pixel * p.oc);
            if (n0 + at < width && inside(p, of, columns[0])) b = load_vec<4>(x + of.at + columns[0].at);
        } else {
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                if (pixel < pixels && m0 + m + e < n) a[e] = dy[(i64)pixel * p.oc + e];
                if (n0 + at + e < width && inside(p, of, columns[e % COLUMNS])) b[e] = x[of.at + columns[e % COLUMNS].at];
            }
        }
    };
    auto keep = [&](int stage, const Four& a, const Four& b) {
        store_vec(as[stage] + ar * (BM + PAD) + m, a);
        store_vec(bs[stage] + br * (BN + PAD) + at, b);
    };

    plan(from);
    plan(from + 1);
    __syncthreads();
    float acc[BM / 16][BN / 16];
    clear(acc);
    int tx = t % 16, ty = t / 16;
    Four a, b;
    if (from < to) {
        fetch(from, a, b);
        keep(0, a, b);
    }
    __syncthreads();
    #pragma unroll 1
    for (int s = from, stage = 0; s < to; s++, stage ^= 1) {
        if (s + 1 < to) fetch(s + 1, a, b);
        plan(s + 2);
        multiply<BM, BN, BK>(acc, as[stage], bs[stage], tx, ty);
        if (s + 1 < to) keep(stage ^ 1, a, b);
        __syncthreads();
    }

    #pragma unroll
    for (int i = 0; i < BM / 16; i++) {
        int o = m0 + i / 4 * 64 + ty * 4 + i % 4;
        if (o >= n) continue;
        float* to_row = parts + ((i64)blockIdx.z * p.oc + group * n + o) * width;
        #pragma unroll
        for (int j = 0; j < BN / 16; j++) {
            int column = n0 + j / 4 * 64 + tx * 4 + j % 4;
            if (column < width) to_row[column] = acc[i][j];
        }
    }
}

// ---- kernels: block 256; grid (tiles of rows x tiles of columns, groups x phases, splits) ----

// 16-byte fetches need channels of one group in fours and tensors that begin at 16 bytes.
#define GATHER(BM, BN, BK, VEC, NAME) \
    KERNEL_BOUNDS(NAME, THREADS, 2)(const float* g, const float* w, const float* bias, float* y, float* parts, Walk p) { \
        gather<BM, BN, BK, VEC>(g, w, bias, y, parts, p); \
    }
#define WEIGHT(BM, BN, BK, VEC, NAME) \
    KERNEL_BOUNDS(NAME, THREADS, 2)(const float* dy, const float* x, float* parts, Walk p) { weight<BM, BN, BK, VEC>(dy, x, parts, p); }

GATHER(128, 128, 8, true, conv_gather_128x128_f32)
GATHER(64, 64, 16, true, conv_gather_64x64_f32)
GATHER(64, 64, 16, false, conv_gather_narrow_f32)
WEIGHT(128, 128, 8, true, conv_weight_128x128_f32)
WEIGHT(64, 64, 16, true, conv_weight_64x64_f32)
WEIGHT(64, 64, 16, false, conv_weight_narrow_f32)

// ---- names for the emulator ----

EMU_EXPORT(conv_gather_128x128_f32)
EMU_EXPORT(conv_gather_64x64_f32)
EMU_EXPORT(conv_gather_narrow_f32)
EMU_EXPORT(conv_weight_128x128_f32)
EMU_EXPORT(conv_weight_64x64_f32)
EMU_EXPORT(conv_weight_narrow_f32)
