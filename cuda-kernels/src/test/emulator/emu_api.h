// SPDX-License-Identifier: Apache-2.0
//
// What a library of emulated kernels offers to the stub driver: `const EmuKernel* emu_find(const char* name)`, null when it has no such kernel.
#ifndef SFUMATO_EMU_API_H
#define SFUMATO_EMU_API_H

#include <cstddef>

struct EmuKernel {
    void* function;
    void (*thunk)(void* function, void** arguments);
    unsigned parameters;
    const unsigned* sizes;
    const unsigned* alignments;
    /** The most threads of a block by its launch bounds; 1024 without. */
    unsigned most_threads;
    /** Blocks of a cluster; they are neighbours in x. */
    unsigned cluster;
    /** Runs all blocks; grid and block are three numbers each, the capability is that of the device, 90 for 9.0. 0, or 1 with a message. */
    int (*launch)(const EmuKernel*, const unsigned* grid, const unsigned* block, size_t shared, void** arguments, int threads, int order, int capability,
                  char* message, size_t message_size);
};

/** What the emulated cuTensorMapEncodeTiled writes into the 128 bytes of a map. */
struct EmuTensorMap {
    static const unsigned long long MAGIC = 0x70616d726f736e65ull;
    unsigned long long magic, address, dims[2], stride;   // stride: bytes from row to row
    unsigned box[2], element, swizzle;
    unsigned long long unused[9];
};
static_assert(sizeof(EmuTensorMap) == 128, "as CUtensorMap");

#endif
