// SPDX-License-Identifier: Apache-2.0
//
// The primitives of hopper.h for nvcc: inline PTX (ISA 8.0, sm_90a).
#ifndef SFUMATO_HOPPER_PTX_H
#define SFUMATO_HOPPER_PTX_H

/** Makes the compiler believe that registers change here: it moves no access to them over this point. */
template <int N> DEV void keep_registers(float (&r)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(r[i])::"memory");
}
template <int M, int N> DEV void keep_registers(float (&r)[M][N]) {
#pragma unroll
    for (int i = 0; i < M; i++) keep_registers(r[i]);
}
template <int N> DEV void keep_registers(unsigned (&r)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(r[i])::"memory");
}
template <int M, int N> DEV void keep_registers(unsigned (&r)[M][N]) {
#pragma unroll
    for (int i = 0; i < M; i++) keep_registers(r[i]);
}

template <class... R> DEV void wgmma_fence(R&... registers) {
    (keep_registers(registers), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N, class... R> DEV void wgmma_wait(R&... registers) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
    (keep_registers(registers), ...);
}
DEV void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
DEV void store_operand(void* to, const Vec<u32, 4>& x) { store_vec<4>((u32*)to, x); }

DEV void mbarrier_init(u64* barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
DEV void mbarrier_arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
/** A map of a matrix in global memory, as cuTensorMapEncodeTiled writes it. */
struct __align__(64) TensorMap {
    u64 words[16];
};

DEV void mbarrier_expect(u64* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
DEV void bulk_load(void* to, const TensorMap& map, u64* barrier, int column, int row) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
                 "l"(&map), "r"(shared_address(barrier)), "r"(column), "r"(row)
                 : "memory");
}
DEV void mbarrier_wait(u64* barrier, int parity) {
    int over;
    do {
        asm volatile(
            "{\n"
            ".reg .pred p;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            "selp.b32 %0, 1, 0, p;\n"
            "}"
            : "=r"(over)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    } while (!over);
}

template <int N> DEV void registers_take() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEV void registers_give() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

// ---- wgmma.mma_async ---------------------------------------------------------------------------------------------------------------------------------

// The accumulators of m64nNk16 as operands of an asm statement (WGMMA_D), and as text in it (WGMMA_T).
#define WGMMA_T8 "%0, %1, %2, %3"
#define WGMMA_D8 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define WGMMA_T16 WGMMA_T8 ", %4, %5, %6, %7"
#define WGMMA_D16 WGMMA_D8, "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define WGMMA_T24 WGMMA_T16 ", %8, %9, %10, %11"
#define WGMMA_D24 WGMMA_D16, "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])
#define WGMMA_T32 WGMMA_T24 ", %12, %13, %14, %15"
#define WGMMA_D32 WGMMA_D24, "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define WGMMA_T40 WGMMA_T32 ", %16, %17, %18, %19"
#define WGMMA_D40 WGMMA_D32, "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])
#define WGMMA_T48 WGMMA_T40 ", %20, %21, %22, %23"
#define WGMMA_D48 WGMMA_D40, "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define WGMMA_T56 WGMMA_T48 ", %24, %25, %26, %27"
#define WGMMA_D56 WGMMA_D48, "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27])
#define WGMMA_T64 WGMMA_T56 ", %28, %29, %30, %31"
#define WGMMA_D64 WGMMA_D56, "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define WGMMA_T72 WGMMA_T64 ", %32, %33, %34, %35"
#define WGMMA_D72 WGMMA_D64, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
#define WGMMA_T80 WGMMA_T72 ", %36, %37, %38, %39"
#define WGMMA_D80 WGMMA_D72, "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
#define WGMMA_T88 WGMMA_T80 ", %40, %41, %42, %43"
#define WGMMA_D88 WGMMA_D80, "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43])
#define WGMMA_T96 WGMMA_T88 ", %44, %45, %46, %47"
#define WGMMA_D96 WGMMA_D88, "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define WGMMA_T104 WGMMA_T96 ", %48, %49, %50, %51"
#define WGMMA_D104 WGMMA_D96, "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51])
#define WGMMA_T112 WGMMA_T104 ", %52, %53, %54, %55"
#define WGMMA_D112 WGMMA_D104, "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
#define WGMMA_T120 WGMMA_T112 ", %56, %57, %58, %59"
#define WGMMA_D120 WGMMA_D112, "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59])
#define WGMMA_T128 WGMMA_T120 ", %60, %61, %62, %63"
#define WGMMA_D128 WGMMA_D120, "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define WGMMA_T136 WGMMA_T128 ", %64, %65, %66, %67"
#define WGMMA_D136 WGMMA_D128, "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67])
#define WGMMA_T144 WGMMA_T136 ", %68, %69, %70, %71"
#define WGMMA_D144 WGMMA_D136, "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
#define WGMMA_T152 WGMMA_T144 ", %72, %73, %74, %75"
#define WGMMA_D152 WGMMA_D144, "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75])
#define WGMMA_T160 WGMMA_T152 ", %76, %77, %78, %79"
#define WGMMA_D160 WGMMA_D152, "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define WGMMA_T168 WGMMA_T160 ", %80, %81, %82, %83"
#define WGMMA_D168 WGMMA_D160, "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83])
#define WGMMA_T176 WGMMA_T168 ", %84, %85, %86, %87"
#define WGMMA_D176 WGMMA_D168, "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
#define WGMMA_T184 WGMMA_T176 ", %88, %89, %90, %91"
#define WGMMA_D184 WGMMA_D176, "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91])
#define WGMMA_T192 WGMMA_T184 ", %92, %93, %94, %95"
#define WGMMA_D192 WGMMA_D184, "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define WGMMA_T200 WGMMA_T192 ", %96, %97, %98, %99"
#define WGMMA_D200 WGMMA_D192, "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99])
#define WGMMA_T208 WGMMA_T200 ", %100, %101, %102, %103"
#define WGMMA_D208 WGMMA_D200, "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
#define WGMMA_T216 WGMMA_T208 ", %104, %105, %106, %107"
#define WGMMA_D216 WGMMA_D208, "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107])
#define WGMMA_T224 WGMMA_T216 ", %108, %109, %110, %111"
#define WGMMA_D224 WGMMA_D216, "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define WGMMA_T232 WGMMA_T224 ", %112, %113, %114, %115"
#define WGMMA_D232 WGMMA_D224, "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115])
#define WGMMA_T240 WGMMA_T232 ", %116, %117, %118, %119"
#define WGMMA_D240 WGMMA_D232, "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
#define WGMMA_T248 WGMMA_T240 ", %120, %121, %122, %123"
#define WGMMA_D248 WGMMA_D240, "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123])
#define WGMMA_T256 WGMMA_T248 ", %124, %125, %126, %127"
#define WGMMA_D256 WGMMA_D248, "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

/** Products of m64nNk16: hopper.h says what they mean. */
template <class T, int N> struct Wgmma;

#define WGMMA_TYPE(T, type, N, I0, I1, I2, I3, I4, I5, I6)                                                                             \
    template <> struct Wgmma<T, N> {                                                                                                   \
        template <bool TRANS_A, bool TRANS_B> DEVM static void shared(float (&d)[N / 2], u64 a, u64 b, int accumulate) {               \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #I2 ", 0;\n"                                                             \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #type "." #type " {" WGMMA_T##N "}, %" #I0 ", %" #I1        \
                         ", p, 1, 1, %" #I3 ", %" #I4 ";\n}"                                                                           \
                         : WGMMA_D##N                                                                                                  \
                         : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A ? 1 : 0), "n"(TRANS_B ? 1 : 0));                               \
        }                                                                                                                              \
        template <bool TRANS_B> DEVM static void registers(float (&d)[N / 2], const unsigned (&a)[4], u64 b, int accumulate) {         \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #I5 ", 0;\n"                                                             \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #type "." #type " {" WGMMA_T##N "}, {%" #I0 ", %" #I1       \
                         ", %" #I2 ", %" #I3 "}, %" #I4 ", p, 1, 1, %" #I6 ";\n}"                                                      \
                         : WGMMA_D##N                                                                                                  \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TRANS_B ? 1 : 0));                 \
        }                                                                                                                              \
    };
#define WGMMA_N(N, ...) WGMMA_TYPE(bf16, bf16, N, __VA_ARGS__) WGMMA_TYPE(f16, f16, N, __VA_ARGS__)
WGMMA_N(8, 4, 5, 6, 7, 8, 9, 10)
WGMMA_N(16, 8, 9, 10, 11, 12, 13, 14)
WGMMA_N(24, 12, 13, 14, 15, 16, 17, 18)
WGMMA_N(32, 16, 17, 18, 19, 20, 21, 22)
WGMMA_N(40, 20, 21, 22, 23, 24, 25, 26)
WGMMA_N(48, 24, 25, 26, 27, 28, 29, 30)
WGMMA_N(56, 28, 29, 30, 31, 32, 33, 34)
WGMMA_N(64, 32, 33, 34, 35, 36, 37, 38)
WGMMA_N(72, 36, 37, 38, 39, 40, 41, 42)
WGMMA_N(80, 40, 41, 42, 43, 44, 45, 46)
WGMMA_N(88, 44, 45, 46, 47, 48, 49, 50)
WGMMA_N(96, 48, 49, 50, 51, 52, 53, 54)
WGMMA_N(104, 52, 53, 54, 55, 56, 57, 58)
WGMMA_N(112, 56, 57, 58, 59, 60, 61, 62)
WGMMA_N(120, 60, 61, 62, 63, 64, 65, 66)
WGMMA_N(128, 64, 65, 66, 67, 68, 69, 70)
WGMMA_N(136, 68, 69, 70, 71, 72, 73, 74)
WGMMA_N(144, 72, 73, 74, 75, 76, 77, 78)
WGMMA_N(152, 76, 77, 78, 79, 80, 81, 82)
WGMMA_N(160, 80, 81, 82, 83, 84, 85, 86)
WGMMA_N(168, 84, 85, 86, 87, 88, 89, 90)
WGMMA_N(176, 88, 89, 90, 91, 92, 93, 94)
WGMMA_N(184, 92, 93, 94, 95, 96, 97, 98)
WGMMA_N(192, 96, 97, 98, 99, 100, 101, 102)
WGMMA_N(200, 100, 101, 102, 103, 104, 105, 106)
WGMMA_N(208, 104, 105, 106, 107, 108, 109, 110)
WGMMA_N(216, 108, 109, 110, 111, 112, 113, 114)
WGMMA_N(224, 112, 113, 114, 115, 116, 117, 118)
WGMMA_N(232, 116, 117, 118, 119, 120, 121, 122)
WGMMA_N(240, 120, 121, 122, 123, 124, 125, 126)
WGMMA_N(248, 124, 125, 126, 127, 128, 129, 130)
WGMMA_N(256, 128, 129, 130, 131, 132, 133, 134)
#undef WGMMA_TYPE
#undef WGMMA_N

#endif
