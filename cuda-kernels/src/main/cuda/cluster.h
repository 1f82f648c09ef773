// SPDX-License-Identifier: Apache-2.0
//
// Clusters of blocks, which Hopper runs together and lets read one another's shared memory; beside dev.h. A family that includes this has the line
// "// arch: 90a only". Source: PTX ISA 7.8, "Cluster of Cooperative Thread Arrays", barrier.cluster, mapa.
//
//   KERNEL_CLUSTER(name, threads, blocks, size)(...)   KERNEL_BOUNDS whose blocks form clusters of `size` (at most 8) neighbours in x; the grid is a multiple
//   cluster_rank()                   which of them this block is: blockIdx.x % size
//   cluster_arrive(), cluster_wait() the barrier of all threads of the cluster: what threads did before they arrived is visible to those that have waited.
//                                    Each thread calls them in turns, whole warps together
//   cluster_sync()                   both
//   load_cluster(mine, rank)         the float at the same place of dynamic shared memory of block `rank`
//
// Before the first load_cluster there is a barrier, so that the other block runs and has written what is read; after the last one there is another, so that
// no block ends while others read its memory. That one costs nothing if a thread arrives when it has read and waits at its end.
#ifndef SFUMATO_CLUSTER_H
#define SFUMATO_CLUSTER_H

#include "dev.h"

#ifdef __CUDACC__
#define KERNEL_CLUSTER(name, threads, blocks, size) extern "C" __global__ void __cluster_dims__(size, 1, 1) __launch_bounds__(threads, blocks) name

DEV int cluster_rank() {
    int r;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
DEV void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEV void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
DEV float load_cluster(const float* mine, int rank) {
    float x;
    asm volatile(
        "{\n"
        ".reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %1, %2;\n"
        "ld.shared::cluster.f32 %0, [there];\n"
        "}"
        : "=f"(x)
        : "r"(shared_address(mine)), "r"(rank)
        : "memory");
    return x;
}
#else
#include "emu_cluster.h"
#endif

DEV void cluster_sync() {
    cluster_arrive();
    cluster_wait();
}

#endif
