// SPDX-License-Identifier: Apache-2.0
//
// A small kernel for cluster.h: the emulator is tested with it, and on a GPU it confirms what the emulator assumes.
// arch: 90a only
#include "cluster.h"

/**
 * Rounds of: each thread writes 100 round + rank + thread / 1000, and adds up what the threads with its index in all blocks of the cluster wrote. out [grid,
 * threads]. Dynamic shared memory: a float per thread. BAD: 1 leaves out the barrier before reading, 2 the one before writing again, 3 the last wait, and
 * block 0 reads nothing and ends at once; 4 arrives twice.
 */
template <int SIZE, int BAD> DEV void rounds(float* out, int count) {
    DYN_SHARED(float, mine);
    int t = (int)threadIdx.x, rank = cluster_rank();
    float sum = 0.f;
    for (int round = 0; round < count; round++) {
        mine[t] = 100.f * round + rank + t * 1e-3f;
        if (BAD != 1) cluster_sync();
        if (BAD == 4) cluster_arrive();
        for (int r = 0; r < SIZE; r++) {
            if (BAD != 3 || rank != 0 || r == 0) sum += load_cluster(mine + t, r);
        }
        bool again = BAD != 2 || round + 1 == count;
        if (again) cluster_arrive();
        out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
        if (again && (BAD != 3 || round + 1 < count)) cluster_wait();
    }
}

#define SAMPLE(SIZE, BAD)                                                                    \
    KERNEL_CLUSTER(cluster_sample_##SIZE##_##BAD, 128, 1, SIZE)(float* out, int count) {     \
        rounds<SIZE, BAD>(out, count);                                                       \
    }
#define SAMPLES(X) X(2, 0) X(4, 0) X(8, 0) X(8, 1) X(8, 2) X(8, 3) X(8, 4)
SAMPLES(SAMPLE)

#define EXPORT_SAMPLE(SIZE, BAD) EMU_EXPORT(cluster_sample_##SIZE##_##BAD)
SAMPLES(EXPORT_SAMPLE)
