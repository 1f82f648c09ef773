// SPDX-License-Identifier: Apache-2.0
//
// The primitives of dev.h for nvcc: built-in functions and inline PTX (ISA 7.0 and later, sm_80 and later).
#ifndef SFUMATO_PTX_H
#define SFUMATO_PTX_H

#define KERNEL(name) extern "C" __global__ void name
#define KERNEL_BOUNDS(name, threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks) name
#define DEV static __device__ __forceinline__
#define DEVM __device__ __forceinline__
#define EMU_EXPORT(name)
#define DYN_SHARED(T, name)                                                      \
    extern __shared__ __align__(1024) unsigned char sfumato_dynamic_shared[];    \
    T* name = reinterpret_cast<T*>(sfumato_dynamic_shared)

DEV void check_aligned(const void*, unsigned long long) {}
DEV void trap() { asm volatile("trap;"); }

DEV int lane() {
    int l;
    asm("mov.u32 %0, %%laneid;" : "=r"(l));
    return l;
}

// ---- Conversions -------------------------------------------------------------------------------------------------------------------------------------

DEV float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
DEV float to_float(f16 x) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
    return r;
}
DEV bf16 float_to_bf16(float x) {
    bf16 r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
    return r;
}
DEV f16 float_to_f16(float x) {
    f16 r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
    return r;
}
DEV unsigned pack_bf16x2(float lo, float hi) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
DEV unsigned pack_f16x2(float lo, float hi) {
    unsigned r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
/** The nearest tf32 value (19 bits, ties away from zero), as a float's bits. */
DEV unsigned float_to_tf32(float x) {
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}

// ---- Arithmetic --------------------------------------------------------------------------------------------------------------------------------------

/** Single operations that the compiler does not contract. */
DEV float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEV float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEV float add_rn(float a, float b) { return __fadd_rn(a, b); }
DEV float div_rn(float a, float b) { return __fdiv_rn(a, b); }
DEV double fma_rn(double a, double b, double c) { return __fma_rn(a, b, c); }
DEV double mul_rn(double a, double b) { return __dmul_rn(a, b); }
DEV double add_rn(double a, double b) { return __dadd_rn(a, b); }

/** 2^x to 2 ulp; denormals are zero. */
DEV float exp2_fast(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
/** log2(x) to about 1 ulp; denormals are zero. */
DEV float log2_fast(float x) {
    float r;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
/** 1 / x to 1 ulp; denormals are zero. */
DEV float rcp_fast(float x) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
/** 1 / sqrt(x) to 2 ulp. */
DEV float rsqrt_fast(float x) { return rsqrtf(x); }

/** Makes the compiler take x as unknown from here on, so that it derives values from x anew instead of keeping them in registers. */
DEV void opaque(unsigned& x) { asm volatile("" : "+r"(x)); }

/** The upper half of a product. */
DEV unsigned mul_hi(unsigned a, unsigned b) { return __umulhi(a, b); }
DEV u64 mul_hi(u64 a, u64 b) { return __umul64hi(a, b); }

// ---- Warps -------------------------------------------------------------------------------------------------------------------------------------------

template <class T> DEV T shfl_xor(T x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
/** From lane + delta, or the lane's own value past the end. */
template <class T> DEV T shfl_down(T x, int delta) { return __shfl_down_sync(0xffffffffu, x, delta); }
/** From lane - delta, or the lane's own value before the start. */
template <class T> DEV T shfl_up(T x, int delta) { return __shfl_up_sync(0xffffffffu, x, delta); }
template <class T> DEV T shfl(T x, int source) { return __shfl_sync(0xffffffffu, x, source); }
DEV unsigned warp_ballot(bool p) { return __ballot_sync(0xffffffffu, p); }

/** Barrier number id (1 to 15) of `threads` threads, a multiple of 32, whole warps. */
DEV void bar_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// ---- Memory ------------------------------------------------------------------------------------------------------------------------------------------

template <int BYTES> DEV void ldg_stream(void* r, const void* p) {
    if constexpr (BYTES == 16) {
        unsigned* u = (unsigned*)r;
        asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(u[0]), "=r"(u[1]), "=r"(u[2]), "=r"(u[3]) : "l"(p));
    } else if constexpr (BYTES == 8) {
        unsigned* u = (unsigned*)r;
        asm("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(u[0]), "=r"(u[1]) : "l"(p));
    } else if constexpr (BYTES == 4) {
        asm("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(*(unsigned*)r) : "l"(p));
    } else {
        static_assert(BYTES == 2, "2, 4, 8 or 16 bytes");
        asm("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(*(unsigned short*)r) : "l"(p));
    }
}

template <int BYTES> DEV void stg_stream(void* p, const void* x) {
    const unsigned* u = (const unsigned*)x;
    if constexpr (BYTES == 16) {
        asm volatile("st.global.cs.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(u[0]), "r"(u[1]), "r"(u[2]), "r"(u[3]) : "memory");
    } else if constexpr (BYTES == 8) {
        asm volatile("st.global.cs.v2.u32 [%0], {%1,%2};" ::"l"(p), "r"(u[0]), "r"(u[1]) : "memory");
    } else if constexpr (BYTES == 4) {
        asm volatile("st.global.cs.u32 [%0], %1;" ::"l"(p), "r"(u[0]) : "memory");
    } else {
        static_assert(BYTES == 2, "2, 4, 8 or 16 bytes");
        asm volatile("st.global.cs.u16 [%0], %1;" ::"l"(p), "h"(*(const unsigned short*)x) : "memory");
    }
}

/** p[0] += a, p[1] += b, each atomically; p is aligned to 8 bytes and points to global memory. */
DEV void atomic_add2(float* p, float a, float b) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(p), "f"(a), "f"(b) : "memory");
#else
    atomicAdd(p, a);
    atomicAdd(p + 1, b);
#endif
}

DEV unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

/** Asynchronous copies of 4, 8, 16 bytes from global to shared memory, both aligned to the size; the 16-byte form passes by the first cache. */
DEV void cp_async4(void* shared, const void* global) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}
DEV void cp_async8(void* shared, const void* global) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}
DEV void cp_async16(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}
/**
 * The same, but only the first `bytes` are read (0: nothing) and the rest is filled with zeros. Call it for whole pieces too: `bytes == 16 ?
 * cp_async16(..) : cp_async16_zfill(..)` with bytes clamped to 0..16 is compiled wrongly by ptxas 13.0 for sm_90 (seen on an H200: nothing is filled).
 */
DEV void cp_async4_zfill(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
}
DEV void cp_async8_zfill(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
}
DEV void cp_async16_zfill(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
}
DEV void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/** Until at most N of this thread's latest groups are still on their way. */
template <int N> DEV void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// ---- Matrices ----------------------------------------------------------------------------------------------------------------------------------------
//
// g = lane / 4, t = lane % 4; a register holds two 16-bit values, the lower index in the low half.
//   ldmatrix, matrix m of 8 rows of 16 bytes, row r at the address of lane 8 m + r:   r[m] = row g, columns 2t, 2t+1;   trans: rows 2t, 2t+1 of column g
//   mma m16n8k16, A row major 16x16: a[0] = (g, 2t..), a[1] = (g+8, 2t..), a[2] = (g, 2t+8..), a[3] = (g+8, 2t+8..);
//                 B 16x8:            b[0] = rows 2t.. of column g, b[1] = rows 2t+8.. of column g
//   mma m16n8k8,  A 16x8:            a[0] = (g, 2t..), a[1] = (g+8, 2t..);   B 8x8: b = rows 2t.. of column g
//   mma m16n8k8 tf32 (32-bit values):a[0] = (g, t), a[1] = (g+8, t), a[2] = (g, t+4), a[3] = (g+8, t+4);   b[0] = (t, g), b[1] = (t+4, g)
//   C 16x8 of f32, always:           c[0], c[1] = (g, 2t), (g, 2t+1);   c[2], c[3] = (g+8, 2t), (g+8, 2t+1)

#define SFUMATO_LDMATRIX_1(suffix, form)                                                                                          \
    DEV void ldmatrix_x1##suffix(unsigned& r, const void* p) {                                                                    \
        asm volatile("ldmatrix.sync.aligned.m8n8.x1" form ".shared.b16 {%0}, [%1];" : "=r"(r) : "r"(shared_address(p)) : "memory"); \
    }                                                                                                                             \
    DEV void ldmatrix_x2##suffix(unsigned (&r)[2], const void* p) {                                                               \
        asm volatile("ldmatrix.sync.aligned.m8n8.x2" form ".shared.b16 {%0,%1}, [%2];"                                            \
                     : "=r"(r[0]), "=r"(r[1])                                                                                     \
                     : "r"(shared_address(p))                                                                                     \
                     : "memory");                                                                                                 \
    }                                                                                                                             \
    DEV void ldmatrix_x4##suffix(unsigned (&r)[4], const void* p) {                                                               \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4" form ".shared.b16 {%0,%1,%2,%3}, [%4];"                                      \
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                                                             \
                     : "r"(shared_address(p))                                                                                     \
                     : "memory");                                                                                                 \
    }
SFUMATO_LDMATRIX_1(, "")
SFUMATO_LDMATRIX_1(_trans, ".trans")
#undef SFUMATO_LDMATRIX_1

#define SFUMATO_MMA_A4(name, form)                                                                                     \
    DEV void name(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {                                     \
        asm volatile("mma.sync.aligned." form " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                 \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                  \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                              \
    }
SFUMATO_MMA_A4(mma_bf16_16816, "m16n8k16.row.col.f32.bf16.bf16.f32")
SFUMATO_MMA_A4(mma_f16_16816, "m16n8k16.row.col.f32.f16.f16.f32")
SFUMATO_MMA_A4(mma_tf32_1688, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef SFUMATO_MMA_A4

#define SFUMATO_MMA_A2(name, form)                                                                    \
    DEV void name(float (&c)[4], const unsigned (&a)[2], unsigned b) {                                \
        asm volatile("mma.sync.aligned." form " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"         \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                 \
                     : "r"(a[0]), "r"(a[1]), "r"(b));                                                 \
    }
SFUMATO_MMA_A2(mma_bf16_1688, "m16n8k8.row.col.f32.bf16.bf16.f32")
SFUMATO_MMA_A2(mma_f16_1688, "m16n8k8.row.col.f32.f16.f16.f32")
#undef SFUMATO_MMA_A2

#endif
