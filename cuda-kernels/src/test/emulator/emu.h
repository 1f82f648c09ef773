// SPDX-License-Identifier: Apache-2.0
//
// Runs the kernels of this module on the host, for tests on machines without a GPU. One fiber for each CUDA thread; a block stays on one thread of the
// host, with the other blocks of its cluster, which take turns whenever none of a block's threads can go on; blocks are spread over host threads. A warp operation is a meeting of the lanes of its mask: the last one computes for all.
//
// Three orders of threads, so that a missing barrier or wait shows as a wrong result in at least one of them:
//    1  a warp runs as far as it can, warps ascending; cp.async lands at its wait
//   -1  the same with lanes, warps and blocks descending; cp.async lands at once
//    2  warps in lockstep: after each warp operation the next warp goes on; cp.async lands at its wait
// Shared memory is filled with NaN bits (0xff) at the start, registers of absent lanes read as 0xff.
#ifndef SFUMATO_EMU_H
#define SFUMATO_EMU_H

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <link.h>
#include <sys/mman.h>

#include "emu_api.h"

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __noinline__
#define __restrict__ __restrict
#define __constant__ static const
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define KERNEL(name) extern "C" void name
#define KERNEL_BOUNDS(name, threads, blocks)                                    \
    static const bool emu_bounds_##name = emu::bound(#name, (unsigned)(threads)); \
    extern "C" void name
#define DEV static inline
#define DEVM inline
#define DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(emu::st.blk->dynamic)
#define EMU_EXPORT(name) static const bool emu_registered_##name = emu::add(#name, &name);

namespace emu {

struct Dim {
    unsigned x, y, z;
};

struct Copy {
    void* to;
    const void* from;
    int size, read;
    bool landed;
};

struct Fiber;
struct Block;
struct Races;

struct Warp {
    unsigned alive = 0, ready = 0, arrived = 0, index = 0;
    Fiber* lanes = nullptr;
    const void* op[32];
    unsigned mask[32];
    void* arg[32];
};

struct Fiber {
    Block* block;
    bool cluster_arrived;   // and not waited yet
    unsigned cluster_phases;   // arrivals so far
    void* sp;
    Dim tid;
    unsigned lane;
    Warp* warp;
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
};

struct Named {
    unsigned count = 0;
    std::vector<Fiber*> waiting;
};

/** Blocks that run together; most are alone. */
struct Cluster {
    std::vector<Block*> blocks;
    void* main_sp = nullptr;
    unsigned phase = 0, arrived = 0;   // threads that have arrived at the barrier
    std::vector<Fiber*> waiting;
};

struct Block {
    Cluster* cluster = nullptr;
    unsigned rank = 0;                  // in the cluster
    bool started = false;
    std::vector<char> statics;          // its static shared memory while another block runs
    Dim bid, bdim, gdim;
    size_t dynamic_bytes = 0;
    std::shared_ptr<void> more;   // what emu_hopper.h keeps
    unsigned threads = 0, warps = 0, alive = 0, at_barrier = 0, votes[3] = {0, 0, 0}, vote_round = 0;
    int order = 1, capability = 90;
    Warp* warp = nullptr;
    char* dynamic = nullptr;
    void (*fn)(void**) = nullptr;
    void** args = nullptr;
    Named named[16];
    Races* races = nullptr;
    bool failed = false;
    char message[400];
};

/** All of this library's thread-local memory but this struct is shared memory of kernels. */
struct State {
    Fiber* cur;
    Block* blk;
};
static __thread State st;

// ---- Kernels by name ---------------------------------------------------------------------------------------------------------------------------------

struct Kernels {
    std::unordered_map<std::string, EmuKernel> by_name;
    std::unordered_map<std::string, unsigned> most_threads, cluster;
};

static inline Kernels& kernels() {
    static Kernels k;
    return k;
}

template <class... A, size_t... I> static void call(void (*f)(A...), void** a, std::index_sequence<I...>) {
    (void)a;
    f(*(A*)a[I]...);
}

template <class... A> static void thunk(void* f, void** a) { call((void (*)(A...))f, a, std::index_sequence_for<A...>{}); }

template <class... A> static inline bool add(const char* name, void (*f)(A...)) {
    static const unsigned sizes[] = {(unsigned)sizeof(A)..., 0u}, alignments[] = {(unsigned)alignof(A)..., 0u};
    Kernels& k = kernels();
    auto bound = k.most_threads.find(name);
    unsigned most = bound == k.most_threads.end() ? 1024 : bound->second;
    unsigned cluster = k.cluster.count(name) ? k.cluster[name] : 1;
    return k.by_name.emplace(name, EmuKernel{(void*)f, &thunk<A...>, (unsigned)sizeof...(A), sizes, alignments, most, cluster, nullptr}).second;
}

static inline bool bound(const char* name, unsigned threads) { return kernels().most_threads.emplace(name, threads).second; }
static inline bool clustered(const char* name, unsigned size) { return kernels().cluster.emplace(name, size).second; }

// ---- Fibers ------------------------------------------------------------------------------------------------------------------------------------------

#if defined(__x86_64__)
__attribute__((naked, noinline)) static void switch_stack(void** save, void* to) {
    asm volatile(
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; mov %rsp,(%rdi); mov %rsi,%rsp;"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}
#else
#error "the emulator switches stacks on x86-64 only"
#endif

/** Ends the launch with an error that names block and thread. */
[[noreturn]] static inline void die(const char* why) {
    Block* b = st.blk;
    Fiber* f = st.cur;
    snprintf(b->message, sizeof b->message, "%s: block (%u,%u,%u) thread (%u,%u,%u), %u of %u threads alive, %u at the barrier", why, b->bid.x, b->bid.y,
             b->bid.z, f->tid.x, f->tid.y, f->tid.z, b->alive, b->threads, b->at_barrier);
    b->failed = true;
    void* dead;
    switch_stack(&dead, b->cluster->main_sp);
    abort();
}
}  // namespace emu

#include "emu_races.h"

namespace emu {
static inline Fiber* first_of(const Block* b, Warp* w) { return w->lanes + (b->order < 0 ? 31 - __builtin_clz(w->ready) : __builtin_ctz(w->ready)); }

/** A thread that can run: of this warp, the next ones, or of another block of the cluster. */
static inline Fiber* pick(bool leave) {
    Block* b = st.blk;
    Warp* w = st.cur->warp;
    if (leave || !w->ready) {
        unsigned i = w->index, k = 0;
        do {
            i = b->order < 0 ? (i + b->warps - 1) % b->warps : (i + 1) % b->warps;
            k++;
        } while (k < b->warps && !b->warp[i].ready);
        w = &b->warp[i];
    }
    unsigned size = (unsigned)b->cluster->blocks.size();
    for (unsigned k = 1; k < size && !w->ready; k++) {
        b = b->cluster->blocks[(st.blk->rank + (b->order < 0 ? size - k : k)) % size];
        for (unsigned i = 0; i < b->warps && !w->ready; i++) w = &b->warp[b->order < 0 ? b->warps - 1 - i : i];
    }
    if (!w->ready) die("deadlock, no thread can run (divergent barrier or warp operation)");
    return first_of(b, w);
}

static void swap_statics(Block& from, Block& to);

/** Makes a thread the current one; the caller switches stacks. */
static inline void enter(Fiber* next) {
    st.cur = next;
    if (next->block != st.blk) {
        swap_statics(*st.blk, *next->block);
        st.blk = next->block;
        st.blk->started = true;
    }
}

static inline void go(Fiber* next) {
    Fiber* f = st.cur;
    if (next != f) {
        enter(next);
        switch_stack(&f->sp, next->sp);
    }
}

static inline void release_barrier() {
    Block* b = st.blk;
    b->at_barrier = 0;
    race_barrier();
    for (unsigned i = 0; i < b->warps; i++) b->warp[i].ready = b->warp[i].alive;
    for (Named& n : b->named)
        for (Fiber* f : n.waiting) f->warp->ready &= ~(1u << f->lane);
}

static inline void block() {
    st.cur->warp->ready &= ~(1u << st.cur->lane);
    go(pick(false));
}

static inline void barrier() {
    Block* b = st.blk;
    if (++b->at_barrier == b->alive) {
        release_barrier();
        return;
    }
    block();
}

static inline void named_barrier(int id, int threads) {
    Block* b = st.blk;
    if (id < 1 || id > 15 || threads % 32 || threads < 32) die("named barrier: id from 1 to 15, threads a multiple of 32");
    Named& n = b->named[id];
    if (n.waiting.empty()) n.count = (unsigned)threads;
    if (n.count != (unsigned)threads) die("named barrier: different thread counts");
    if (n.waiting.size() + 1 == n.count) {
        race_named(n.waiting);
        for (Fiber* f : n.waiting) f->warp->ready |= 1u << f->lane;
        n.waiting.clear();
        return;
    }
    n.waiting.push_back(st.cur);
    block();
}

/** All lanes of mask meet; the last one runs op(arguments, mask) over everyone's argument block. */
template <class Op> static inline void collective(unsigned mask, void* mine, Op op) {
    static const char id = 0;
    Warp* w = st.cur->warp;
    unsigned l = st.cur->lane, bit = 1u << l;
    if (!(mask & bit)) die("a lane is not in its own mask");
    w->arg[l] = mine;
    w->mask[l] = mask;
    w->op[l] = &id;
    w->arrived |= bit;
    if ((w->arrived & mask) == mask) {
        for (unsigned i = 0; i < 32; i++)
            if (mask >> i & 1 && (w->mask[i] != mask || w->op[i] != (const void*)&id)) die("divergent warp operation");
        op(w->arg, mask);
        w->arrived &= ~mask;
        w->ready |= mask;
        if (st.blk->order == 2) go(pick(true));
    } else {
        block();
    }
}

// ---- Clusters; emu_cluster.h has the rest -----------------------------------------------------------------------------------------------------------

/** Ends the phase of the cluster's barrier if all threads that are left have arrived. */
static inline void end_cluster_phase() {
    Cluster* c = st.blk->cluster;
    unsigned alive = 0;
    for (Block* b : c->blocks) alive += b->alive;
    if (!c->arrived || c->arrived != alive) return;
    race_cluster_over();
    c->phase++;
    c->arrived = 0;
    for (Fiber* f : c->waiting) f->warp->ready |= 1u << f->lane;
    c->waiting.clear();
}

// ---- Threads -----------------------------------------------------------------------------------------------------------------------------------------

static void entry() {
    st.blk->fn(st.blk->args);
    Fiber* f = st.cur;
    unsigned bit = 1u << f->lane;
    f->warp->alive &= ~bit;
    f->warp->ready &= ~bit;
    f->groups.clear();
    f->open.clear();
    void* dead;
    st.blk->alive--;
    if (f->cluster_arrived && st.blk->cluster->phase < f->cluster_phases) st.blk->cluster->arrived--;
    end_cluster_phase();
    unsigned left = 0;
    for (Block* b : st.blk->cluster->blocks) left += b->alive;
    if (!left) switch_stack(&dead, st.blk->cluster->main_sp);
    if (st.blk->at_barrier && st.blk->at_barrier == st.blk->alive) release_barrier();
    enter(pick(false));
    switch_stack(&dead, st.cur->sp);
    __builtin_unreachable();
}
}  // namespace emu

#include "emu_launch.h"
#include "emu_ops.h"

#endif
