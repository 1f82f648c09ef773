// SPDX-License-Identifier: Apache-2.0
//
// Hopper's matrix units (compute capability 9.0 alone), beside dev.h: wgmma, the async proxy's fence, barriers in shared memory, registers between warps.
// A family that includes this has the line "// arch: 90a only": it gets no PTX for other devices. The emulator
// (emu_hopper.h) does what is written here. Sources: PTX ISA 8.0 to 9.0, sections "Asynchronous Warpgroup Level Matrix Instructions" (register fragments,
// shared memory layout, matrix descriptor, async proxy) and "mbarrier"; canonical layouts as in CUTLASS's mma_traits_sm90_gmma.hpp.
//
// ---- Products -------------------------------------------------------------------------------------------------------------------------------------------
//
//   Wgmma<T, N>::shared<TRANS_A, TRANS_B>(d, a, b, accumulate)   D[64, N] = A[64, 16] B[16, N] (+ D), A and B by descriptors
//   Wgmma<T, N>::registers<TRANS_B>(d, a, b, accumulate)         the same, A in registers
//
// by the four warps of a warpgroup (warps 4i to 4i + 3), T bf16 or f16, N a multiple of 8 up to 256. All four warps make the same calls.
// With w = warp % 4, g = lane / 4, t = lane % 4:
//   D, N / 2 floats:   d[4 j + 2 i + e] = (row 16 w + 8 i + g, column 8 j + 2 t + e), so d[4 j ..] is the fragment C of mma m16n8k16 (ptx.h) of 8 columns
//   A, 4 registers:    the fragment A of mma m16n8k16 of rows 16 w to 16 w + 15. Two neighbouring fragments of D, packed, are one of A for the next product:
//                      {pack(d[0], d[1]), pack(d[2], d[3]), pack(d[4], d[5]), pack(d[6], d[7])}.
//
// What must happen, in this order:
//   1. Each thread that wrote operands to shared memory (cp.async, stores): its cp_async_wait, then fence_proxy_async(), then a barrier (__syncthreads,
//      bar_sync or mbarrier_arrive) that the threads that multiply wait at. cp.async belongs to the generic proxy, wgmma to the async one.
//      Stores go by store_operand, so that the emulator sees a missing fence.
//   2. wgmma_fence(d, ...) after accumulators or fragments of A were written and before the first wgmma that has them; between wgmmas of one shape on the
//      same accumulators none is needed. Name all registers that were written: the compiler is kept from moving their writes past the fence.
//   3. wgmmas, then wgmma_commit(): they are a group.
//   4. wgmma_wait<K>(d, ...) until at most K groups are in flight. Before that nobody touches the accumulators (they are NaN in the emulator), the fragments
//      of A (leave the array alone, and in a scope that reaches to the wait), or the operands in shared memory: also other warps read them, so a buffer
//      is free when every warp has waited and a barrier has followed. Name the accumulators that are read next.
//
// ---- Operands in shared memory ---------------------------------------------------------------------------------------------------------------------------
//
// A tile is made of lines of 128 bytes, 64 values that are contiguous in global memory, in 8 chunks of 16 bytes; chunk c of line l lies in place c ^ (l & 7)
// (swizzle of 128 bytes: bits 4-6 of an address are XORed with bits 7-9). Tiles begin at multiples of 1024 bytes, so l & 7 are bits 7-9 of the address.
//   by k  (K-major; TRANS false): a line is 64 products of one row. Rows r follow each other: r * 128. Tiles of more than 64 products are several of these.
//   by r  (MN-major; TRANS true): a line is 64 rows of one product k. Products follow each other: k * 128; each 64 rows are a block of their own, the next
//         one `block` bytes further on (the number of products in the tile * 128, if nothing lies between).
// "row" is a row of D for A, a column of D for B.
//
// A descriptor (64 bits; each number of bytes is divided by 16):
//   0-13 start address   16-29 leading byte offset   32-45 stride byte offset   49-51 base offset: 0, as patterns begin at multiples of 1024 bytes
//   62-63 swizzle: 0 none, 1 of 128 bytes, 2 of 64, 3 of 32
//                        leading                                        stride
//   by k, swizzled       not used (1)                                   from 8 rows to the next 8 (1024)
//   by r, swizzled       from 64 rows to the next 64 (`block`)          from 8 products to the next 8 (1024)
// The unit adds the offset of a value to the start address and swizzles the sum. So the start may lie inside of a pattern where whole chunks are skipped:
// 16 products further on is 32 bytes by k, 2048 bytes by r; 64 rows further on is 8192 bytes by k, `block` by r.
#ifndef SFUMATO_HOPPER_H
#define SFUMATO_HOPPER_H

#include "dev.h"

// wgmma_fence(registers...), wgmma_commit(), wgmma_wait<K>(registers...)     arrays of float or unsigned, of one or two axes
// fence_proxy_async()               makes this thread's writes of shared memory visible to wgmma
// store_operand(to, x)              stores 16 bytes of an operand
// mbarrier_init(b, count)           by one thread, before a __syncthreads; b lies in dynamic shared memory and counts arrivals
// mbarrier_arrive(b)                what this thread did before is visible to those that wait
// mbarrier_expect(b, bytes)         arrives, and lets the phase wait for so many bytes of bulk_load, too
// mbarrier_wait(b, parity)          until the phase of this parity is over: phases are 0, 1, 0, ... and end with the count's last arrival
// TensorMap, bulk_load(to, map, b, column, row)   starts the copy of a box of a matrix to shared memory (TMA); by one thread. The map is a parameter of the
//                                   kernel, `const __grid_constant__ TensorMap m`; the host makes it (TensorMaps.java) for 16-bit values and boxes of 64
//                                   columns, which lie as the lines above say: `to` is aligned to 1024 bytes. Outside of the matrix there are zeros, which
//                                   count as bytes. Copies belong to the async proxy: no fence_proxy_async between them and wgmma, but one after
//                                   mbarrier_init, by the thread that called it and before the __syncthreads.
// registers_take<N>(), registers_give<N>()   by all warps of a warpgroup: N registers per thread from now on, more or fewer than before. All warpgroups
//                                   together get what they begin with: 3 times 168 for 384 threads, 4 times 128 for 512; who asks for more waits for ever.
#ifdef __CUDACC__
#include "hopper_ptx.h"
#else
#include "emu_hopper.h"
#endif

/** Values in a line of a tile, bytes of a line. */
static const int LINE = 64, LINE_BYTES = 128;

/** Where chunk `chunk` of line `line` begins, in values. */
DEV int chunk_at(int line, int chunk) { return line * LINE + (chunk ^ (line & 7)) * 8; }

/** The descriptor of a tile with a swizzle of 128 bytes. */
DEV u64 wgmma_descriptor(const void* start, u32 leading, u32 stride) {
    return (u64)((shared_address(start) & 0x3ffffu) >> 4) | (u64)(leading >> 4) << 16 | (u64)(stride >> 4) << 32 | (u64)1 << 62;
}

/** An operand: TRANS, and the descriptors of its parts. */
template <bool BY_K> struct Operand {
    static const bool TRANS = !BY_K;

    /** The descriptor from the tile's first row and product on; `block` is the bytes of 64 rows. */
    DEVM static u64 of(const void* tile, u32 block) { return wgmma_descriptor(tile, BY_K ? 16 : block, 1024); }

    /** What to add to a descriptor for `k` products further on, a multiple of 16; by k, less than 64. */
    DEVM static u64 products(int k) { return (u64)(BY_K ? k * 2 : k * LINE_BYTES) >> 4; }

    /** What to add for 64 `blocks` rows further on. */
    DEVM static u64 rows(int blocks, u32 block) { return (u64)(blocks * (BY_K ? 64 * LINE_BYTES : (int)block)) >> 4; }
};

#endif
