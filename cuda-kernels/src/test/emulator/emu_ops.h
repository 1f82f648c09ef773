// SPDX-License-Identifier: Apache-2.0
//
// The primitives of dev.h on the host; included by emu.h. Meanings follow the PTX ISA, fragment layouts are written down in ptx.h.
#ifndef SFUMATO_EMU_OPS_H
#define SFUMATO_EMU_OPS_H

#define threadIdx (emu::st.cur->tid)
#define blockIdx (emu::st.blk->bid)
#define blockDim (emu::st.blk->bdim)
#define gridDim (emu::st.blk->gdim)
#define warpSize 32

static inline void __syncthreads() { emu::barrier(); }
DEV void __threadfence() { emu::race_fence(); }
DEV void __threadfence_block() {}
DEV void __threadfence_system() {}
DEV void trap() { emu::die("trap"); }
DEV int lane() { return (int)emu::st.cur->lane; }
DEV void bar_sync(int id, int threads) { emu::named_barrier(id, threads); }

DEV void check_aligned(const void* p, unsigned long long bytes) {
    if ((uintptr_t)p % bytes) emu::die("misaligned vector access");
}

namespace emu {
/** A barrier that counts; three counters in turn, so that a fast thread cannot disturb a slow one. */
static inline unsigned vote(bool p) {
    Block* b = st.blk;
    unsigned r = b->vote_round % 3;
    b->votes[r] += p;
    if (b->at_barrier + 1 == b->alive) {
        b->vote_round++;
        b->votes[b->vote_round % 3] = 0;
    }
    barrier();
    return b->votes[r];
}
}  // namespace emu
static inline int __syncthreads_count(int p) { return (int)emu::vote(p != 0); }
static inline int __syncthreads_or(int p) { return emu::vote(p != 0) != 0; }
static inline int __syncthreads_and(int p) { return emu::vote(p == 0) == 0; }

// ---- Bits and numbers --------------------------------------------------------------------------------------------------------------------------------

namespace emu {
template <class To, class From> static inline To bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To r;
    memcpy(&r, &x, sizeof r);
    return r;
}
}  // namespace emu
DEV float __uint_as_float(unsigned u) { return emu::bits<float>(u); }
DEV unsigned __float_as_uint(float f) { return emu::bits<unsigned>(f); }
DEV float __int_as_float(int u) { return emu::bits<float>(u); }
DEV int __float_as_int(float f) { return emu::bits<int>(f); }
DEV double __longlong_as_double(long long u) { return emu::bits<double>(u); }
DEV long long __double_as_longlong(double f) { return emu::bits<long long>(f); }
DEV int __popc(unsigned x) { return __builtin_popcount(x); }
DEV int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
DEV int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
DEV int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
DEV int __ffs(int x) { return __builtin_ffs(x); }
DEV unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
DEV unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
DEV void opaque(unsigned&) {}
DEV unsigned mul_hi(unsigned a, unsigned b) { return __umulhi(a, b); }
DEV unsigned long long mul_hi(unsigned long long a, unsigned long long b) { return __umul64hi(a, b); }
template <class T> DEV T __ldg(const T* p) { return *p; }

template <class A, class B> DEV auto min(A a, B b) -> decltype(a + b) { return b < a ? (decltype(a + b))b : (decltype(a + b))a; }
template <class A, class B> DEV auto max(A a, B b) -> decltype(a + b) { return a < b ? (decltype(a + b))b : (decltype(a + b))a; }

/** The C library's are calls; these are as the hardware's: the other operand if one is not a number, and +0 above -0. */
namespace emu {
template <class T> static inline T greater(T a, T b) { return b != b || a > b || (a == b && !std::signbit(a)) ? a : b; }
template <class T> static inline T lesser(T a, T b) { return b != b || a < b || (a == b && std::signbit(a)) ? a : b; }
}  // namespace emu
#define fmaxf(a, b) emu::greater<float>(a, b)
#define fminf(a, b) emu::lesser<float>(a, b)
#define fmax(a, b) emu::greater<double>(a, b)
#define fmin(a, b) emu::lesser<double>(a, b)

/** Single operations that are not contracted. */
namespace emu {
template <class T> static inline T opaque(T x) {
    asm volatile("" : "+x"(x));
    return x;
}
}  // namespace emu
DEV float fma_rn(float a, float b, float c) { return fmaf(a, b, c); }
DEV float mul_rn(float a, float b) { return emu::opaque(a * b); }
DEV float add_rn(float a, float b) { return emu::opaque(emu::opaque(a) + emu::opaque(b)); }
DEV float div_rn(float a, float b) { return a / b; }
DEV double fma_rn(double a, double b, double c) { return fma(a, b, c); }
DEV double mul_rn(double a, double b) { return emu::opaque(a * b); }
DEV double add_rn(double a, double b) { return emu::opaque(emu::opaque(a) + emu::opaque(b)); }
DEV float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
DEV float __fmul_rn(float a, float b) { return mul_rn(a, b); }
DEV float __fadd_rn(float a, float b) { return add_rn(a, b); }
DEV float __fdiv_rn(float a, float b) { return a / b; }
DEV float __fsqrt_rn(float a) { return sqrtf(a); }

namespace emu {
static inline float flush(float x) { return fabsf(x) < 1.17549435e-38f ? copysignf(0.f, x) : x; }
}  // namespace emu
DEV float exp2_fast(float x) { return emu::flush(exp2f(emu::flush(x))); }
DEV float log2_fast(float x) { return log2f(emu::flush(x)); }
DEV float rcp_fast(float x) { return emu::flush(1.f / emu::flush(x)); }
DEV float rsqrtf(float x) { return (float)(1.0 / sqrt((double)x)); }
DEV double rsqrt(double x) { return 1.0 / sqrt(x); }
DEV float rsqrt_fast(float x) { return rsqrtf(x); }

DEV float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
DEV float to_float(f16 x) { return (float)emu::bits<_Float16>(x.bits); }
DEV bf16 float_to_bf16(float x) {
    unsigned u = __float_as_uint(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return bf16{0x7fff};
    return bf16{(unsigned short)((u + 0x7fffu + (u >> 16 & 1)) >> 16)};
}
DEV f16 float_to_f16(float x) {
    if (x != x) return f16{0x7fff};
    return f16{emu::bits<unsigned short>((_Float16)x)};
}
DEV unsigned pack_bf16x2(float lo, float hi) { return float_to_bf16(lo).bits | (unsigned)float_to_bf16(hi).bits << 16; }
DEV unsigned pack_f16x2(float lo, float hi) { return float_to_f16(lo).bits | (unsigned)float_to_f16(hi).bits << 16; }
DEV unsigned float_to_tf32(float x) {
    unsigned u = __float_as_uint(x);
    if ((u & 0x7f800000u) == 0x7f800000u) return u & 0x7fffffu ? 0x7fffffffu : u;
    return (u + 0x1000u) & 0xffffe000u;
}

// ---- Warps -------------------------------------------------------------------------------------------------------------------------------------------

namespace emu {
template <class T> struct Shuffle {
    T value;
    int source;
    T out;
};
template <class T> static inline T shuffle(unsigned m, T v, int source) {
    Shuffle<T> s{v, source, v};
    collective(m, &s, [](void** a, unsigned mask) {
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1) {
                auto* x = (Shuffle<T>*)a[i];
                int from = x->source & 31;
                if (mask >> from & 1)
                    x->out = ((Shuffle<T>*)a[from])->value;
                else
                    memset((void*)&x->out, 0xff, sizeof(T));
            }
    });
    return s.out;
}
}  // namespace emu
DEV void __syncwarp(unsigned m = ~0u) {
    emu::collective(m, nullptr, [](void**, unsigned mask) { emu::race_warp(mask); });
}
template <class T> DEV T __shfl_sync(unsigned m, T v, int s) { return emu::shuffle(m, v, s); }
template <class T> DEV T __shfl_xor_sync(unsigned m, T v, int x) { return emu::shuffle(m, v, (int)emu::st.cur->lane ^ x); }
template <class T> DEV T __shfl_down_sync(unsigned m, T v, int d) {
    int l = (int)emu::st.cur->lane;
    return emu::shuffle(m, v, l + d < 32 ? l + d : l);
}
template <class T> DEV T __shfl_up_sync(unsigned m, T v, int d) {
    int l = (int)emu::st.cur->lane;
    return emu::shuffle(m, v, l - d >= 0 ? l - d : l);
}
DEV unsigned __ballot_sync(unsigned m, int p) {
    emu::Shuffle<unsigned> s{p ? 1u : 0u, 0, 0};
    emu::collective(m, &s, [](void** a, unsigned mask) {
        unsigned r = 0;
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1 && ((emu::Shuffle<unsigned>*)a[i])->value) r |= 1u << i;
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1) ((emu::Shuffle<unsigned>*)a[i])->out = r;
    });
    return s.out;
}
DEV int __any_sync(unsigned m, int p) { return __ballot_sync(m, p) != 0; }
DEV int __all_sync(unsigned m, int p) { return __ballot_sync(m, p) == m; }
template <class T> DEV T shfl_xor(T x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
template <class T> DEV T shfl_down(T x, int delta) { return __shfl_down_sync(~0u, x, delta); }
template <class T> DEV T shfl_up(T x, int delta) { return __shfl_up_sync(~0u, x, delta); }
template <class T> DEV T shfl(T x, int source) { return __shfl_sync(~0u, x, source); }
DEV unsigned warp_ballot(bool p) { return __ballot_sync(~0u, p); }

// ---- Memory ------------------------------------------------------------------------------------------------------------------------------------------

template <int BYTES> DEV void ldg_stream(void* r, const void* p) { memcpy(r, p, BYTES); }
template <int BYTES> DEV void stg_stream(void* p, const void* x) { memcpy(p, x, BYTES); }

namespace emu {
template <class T, class Op> static inline T atomic(T* p, Op op) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    using U = std::conditional_t<sizeof(T) == 4, unsigned, unsigned long long>;
    U* u = (U*)p;
    if (std::is_integral_v<T>) race_ticket(p);
    U old = __atomic_load_n(u, __ATOMIC_RELAXED), fresh;
    do fresh = bits<U>((T)op(bits<T>(old)));
    while (!__atomic_compare_exchange_n(u, &old, fresh, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return bits<T>(old);
}
}  // namespace emu
#define SFUMATO_EMU_ATOMIC(T)                                                                       \
    DEV T atomicAdd(T* p, T v) { return emu::atomic(p, [v](T x) { return x + v; }); }               \
    DEV T atomicExch(T* p, T v) { return emu::atomic(p, [v](T) { return v; }); }
SFUMATO_EMU_ATOMIC(int)
SFUMATO_EMU_ATOMIC(unsigned)
SFUMATO_EMU_ATOMIC(unsigned long long)
SFUMATO_EMU_ATOMIC(float)
DEV double atomicAdd(double* p, double v) {
    return emu::atomic(p, [v](double x) { return x + v; });
}
#undef SFUMATO_EMU_ATOMIC
#define SFUMATO_EMU_ATOMIC(T)                                                                       \
    DEV T atomicMax(T* p, T v) { return emu::atomic(p, [v](T x) { return x < v ? v : x; }); }       \
    DEV T atomicMin(T* p, T v) { return emu::atomic(p, [v](T x) { return v < x ? v : x; }); }       \
    DEV T atomicOr(T* p, T v) { return emu::atomic(p, [v](T x) { return (T)(x | v); }); }           \
    DEV T atomicAnd(T* p, T v) { return emu::atomic(p, [v](T x) { return (T)(x & v); }); }
SFUMATO_EMU_ATOMIC(int)
SFUMATO_EMU_ATOMIC(unsigned)
SFUMATO_EMU_ATOMIC(long long)
SFUMATO_EMU_ATOMIC(unsigned long long)
#undef SFUMATO_EMU_ATOMIC
#define SFUMATO_EMU_ATOMIC(T) \
    DEV T atomicCAS(T* p, T compare, T v) { return emu::atomic(p, [compare, v](T x) { return x == compare ? v : x; }); }
SFUMATO_EMU_ATOMIC(int)
SFUMATO_EMU_ATOMIC(unsigned)
SFUMATO_EMU_ATOMIC(unsigned long long)
#undef SFUMATO_EMU_ATOMIC

DEV void atomic_add2(float* p, float a, float b) {
    check_aligned(p, 8);
    atomicAdd(p, a);
    atomicAdd(p + 1, b);
}

namespace emu {
/** Is told of every copy that lands, if it is set. */
static void (*landed)(const Copy&) = nullptr;

static inline void land(const Copy& c) {
    memcpy(c.to, c.from, (size_t)c.read);
    memset((char*)c.to + c.read, 0, (size_t)(c.size - c.read));
    if (landed) landed(c);
}
static inline void cp_async(void* to, const void* from, int size, int read) {
    if (((uintptr_t)to | (read ? (uintptr_t)from : 0)) % (uintptr_t)size) die("cp.async: not aligned to its size");
    if (read < 0 || read > size) die("cp.async: more bytes to read than to write");
    Copy c{to, from, size, read, st.blk->order < 0};
    race_copy(to, (size_t)size);
    if (c.landed) land(c);
    if (!c.landed || FINDS_RACES) st.cur->open.push_back(c);
}
}  // namespace emu
DEV void cp_async4(void* shared, const void* global) { emu::cp_async(shared, global, 4, 4); }
DEV void cp_async8(void* shared, const void* global) { emu::cp_async(shared, global, 8, 8); }
DEV void cp_async16(void* shared, const void* global) { emu::cp_async(shared, global, 16, 16); }
DEV void cp_async4_zfill(void* shared, const void* global, int bytes) { emu::cp_async(shared, global, 4, bytes); }
DEV void cp_async8_zfill(void* shared, const void* global, int bytes) { emu::cp_async(shared, global, 8, bytes); }
DEV void cp_async16_zfill(void* shared, const void* global, int bytes) { emu::cp_async(shared, global, 16, bytes); }
DEV void cp_async_commit() {
    emu::st.cur->groups.push_back(std::move(emu::st.cur->open));
    emu::st.cur->open.clear();
}
/** Copies land here and no earlier. */
template <int N> DEV void cp_async_wait() {
    auto& q = emu::st.cur->groups;
    while (q.size() > (size_t)N) {
        for (auto& c : q.front()) {
            if (!c.landed) emu::land(c);
            emu::race_copied(c.to, (size_t)c.size);
        }
        q.erase(q.begin());
    }
}

// ---- Matrices ----------------------------------------------------------------------------------------------------------------------------------------

#include "emu_tensor.h"

namespace emu {
struct LdMatrix {
    const char* row;
    unsigned* r;
};
template <int N, bool TRANS> static inline void ldmatrix(unsigned* r, const void* p) {
    if ((int)st.cur->lane < 8 * N && (uintptr_t)p % 16) die("ldmatrix: row not 16-byte aligned");
    LdMatrix s{(const char*)p, r};
    collective(~0u, &s, [](void** a, unsigned) {
        for (int m = 0; m < N; m++)
            for (int l = 0; l < 32; l++) {
                unsigned short h[2];
                for (int e = 0; e < 2; e++) {
                    int row = TRANS ? l % 4 * 2 + e : l / 4, col = TRANS ? l / 4 : l % 4 * 2 + e;
                    memcpy(&h[e], ((LdMatrix*)a[m * 8 + row])->row + col * 2, 2);
                }
                ((LdMatrix*)a[l])->r[m] = h[0] | (unsigned)h[1] << 16;
            }
    });
}

struct MmaArgs {
    float* c;
    const unsigned *a, *b;
};

/** Where the accumulators of a lane lie in C: value i is row g + i / 2 * 8, column 2 t + i % 2. */
static inline void gather(float (&c)[16][8], void** lanes) {
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i += 2) memcpy(&c[l / 4 + i * 4][l % 4 * 2], ((MmaArgs*)lanes[l])->c + i, 8);
}
static inline void scatter(const float (&c)[16][8], void** lanes) {
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i += 2) memcpy(((MmaArgs*)lanes[l])->c + i, &c[l / 4 + i * 4][l % 4 * 2], 8);
}

/** C += A B for 16-bit values, K of 8 or 16. */
template <class T, int K> static inline void mma(float* c, const unsigned* a, const unsigned* b) {
    MmaArgs s{c, a, b};
    collective(~0u, &s, [](void** x, unsigned) {
        unsigned short a[16][K], b[8][K];
        float A[16][K], B[8][K], C[16][8];
        for (int l = 0; l < 32; l++) {
            auto* m = (MmaArgs*)x[l];
            int g = l / 4, t = l % 4;
            for (int i = 0; i < K / 4; i++) memcpy(&a[g + (i & 1) * 8][t * 2 + (i >> 1) * 8], m->a + i, 4);
            for (int i = 0; i < K / 8; i++) memcpy(&b[g][t * 2 + i * 8], m->b + i, 4);
        }
        widen(A[0], a[0], 16 * K, std::is_same_v<T, f16>);
        widen(B[0], b[0], 8 * K, std::is_same_v<T, f16>);
        gather(C, x);
        tensor_core<K>(C, A, B, std::is_same_v<T, f16> ? 113 : 1, 16);
        scatter(C, x);
    });
}

/** C += A B for tf32: the lower 13 bits of a register are not read. */
static inline void mma_tf32(float* c, const unsigned* a, const unsigned* b) {
    MmaArgs s{c, a, b};
    collective(~0u, &s, [](void** x, unsigned) {
        float A[16][8], B[8][8], C[16][8];
        for (int l = 0; l < 32; l++) {
            auto* m = (MmaArgs*)x[l];
            int g = l / 4, t = l % 4;
            for (int i = 0; i < 4; i++) A[g + (i & 1) * 8][t + (i >> 1) * 4] = __uint_as_float(m->a[i] & 0xffffe000u);
            for (int i = 0; i < 2; i++) B[g][t + i * 4] = __uint_as_float(m->b[i] & 0xffffe000u);
        }
        gather(C, x);
        tensor_core<8>(C, A, B, 1, 32);
        scatter(C, x);
    });
}
}  // namespace emu

DEV void ldmatrix_x1(unsigned& r, const void* p) { emu::ldmatrix<1, false>(&r, p); }
DEV void ldmatrix_x2(unsigned (&r)[2], const void* p) { emu::ldmatrix<2, false>(r, p); }
DEV void ldmatrix_x4(unsigned (&r)[4], const void* p) { emu::ldmatrix<4, false>(r, p); }
DEV void ldmatrix_x1_trans(unsigned& r, const void* p) { emu::ldmatrix<1, true>(&r, p); }
DEV void ldmatrix_x2_trans(unsigned (&r)[2], const void* p) { emu::ldmatrix<2, true>(r, p); }
DEV void ldmatrix_x4_trans(unsigned (&r)[4], const void* p) { emu::ldmatrix<4, true>(r, p); }
DEV void mma_bf16_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<bf16, 16>(c, a, b); }
DEV void mma_f16_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<f16, 16>(c, a, b); }
DEV void mma_tf32_1688(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma_tf32(c, a, b); }
DEV void mma_bf16_1688(float (&c)[4], const unsigned (&a)[2], unsigned b) { emu::mma<bf16, 8>(c, a, &b); }
DEV void mma_f16_1688(float (&c)[4], const unsigned (&a)[2], unsigned b) { emu::mma<f16, 8>(c, a, &b); }

#endif
