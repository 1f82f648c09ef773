// SPDX-License-Identifier: Apache-2.0
//
// The primitives of cluster.h on the host; what they mean is written down there. A thread that arrives twice, or waits and has not arrived, ends the launch
// with an error, and so does one that reads shared memory of a block that has not begun or has ended.
#ifndef SFUMATO_EMU_CLUSTER_H
#define SFUMATO_EMU_CLUSTER_H

#define KERNEL_CLUSTER(name, threads, blocks, size)                                  \
    static const bool emu_cluster_##name = emu::clustered(#name, (unsigned)(size)); \
    KERNEL_BOUNDS(name, threads, blocks)

namespace emu {
static inline void cluster_arrive() {
    Fiber* f = st.cur;
    if (f->cluster_arrived) die("cluster barrier: a thread arrives twice and does not wait");
    f->cluster_arrived = true;
    f->cluster_phases++;
    st.blk->cluster->arrived++;
    race_cluster_arrive();
    end_cluster_phase();
}

static inline void cluster_wait() {
    Fiber* f = st.cur;
    if (!f->cluster_arrived) die("cluster barrier: a thread waits and has not arrived");
    if (st.blk->cluster->phase < f->cluster_phases) {
        st.blk->cluster->waiting.push_back(f);
        block();
    }
    f->cluster_arrived = false;
    race_cluster_waited();
}

/** The same place of another block's dynamic shared memory. */
static inline const void* in_cluster(const void* mine, unsigned rank, size_t size) {
    Block* b = st.blk;
    if (rank >= b->cluster->blocks.size()) die("cluster: no such block");
    Block* other = b->cluster->blocks[rank];
    ptrdiff_t at = (const char*)mine - b->dynamic;
    if (at < 0 || (size_t)at + size > b->dynamic_bytes) die("cluster: not in dynamic shared memory");
    if (!other->started) die("cluster: a block's shared memory is read before it runs");
    if (!other->alive) die("cluster: the shared memory of a block that has ended is read");
    race_cluster_read(*other, (size_t)at, size);
    return other->dynamic + at;
}
}  // namespace emu

DEV int cluster_rank() { return (int)emu::st.blk->rank; }
DEV void cluster_arrive() { emu::cluster_arrive(); }
DEV void cluster_wait() { emu::cluster_wait(); }
DEV float load_cluster(const float* mine, int rank) {
    float x;
    memcpy(&x, emu::in_cluster(mine, (unsigned)rank, sizeof x), sizeof x);
    return x;
}

#endif
