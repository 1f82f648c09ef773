// SPDX-License-Identifier: Apache-2.0
//
// Runs the kernels of this module on the host, for tests on machines without a GPU. One fiber for each CUDA thread; a block stays on one thread of the
// host; blocks are spread over host threads. A warp operation is a meeting of the lanes of its mask: the last one computes for all.
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
struct Races;

struct Warp {
    unsigned alive = 0, ready = 0, arrived = 0, index = 0;
    Fiber* lanes = nullptr;
    const void* op[32];
    unsigned mask[32];
    void* arg[32];
};

struct Fiber {
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

struct Block {
    Dim bid, bdim, gdim;
    size_t dynamic_bytes = 0;
    std::shared_ptr<void> more;   // what emu_hopper.h keeps
    unsigned threads = 0, warps = 0, alive = 0, at_barrier = 0, votes[3] = {0, 0, 0}, vote_round = 0;
    int order = 1, capability = 90;
    Warp* warp = nullptr;
    char* dynamic = nullptr;
    void* main_sp = nullptr;
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
    std::unordered_map<std::string, unsigned> most_threads;
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
    return k.by_name.emplace(name, EmuKernel{(void*)f, &thunk<A...>, (unsigned)sizeof...(A), sizes, alignments, most, nullptr}).second;
}

static inline bool bound(const char* name, unsigned threads) { return kernels().most_threads.emplace(name, threads).second; }

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
    switch_stack(&dead, b->main_sp);
    abort();
}
}  // namespace emu

#include "emu_races.h"

namespace emu {
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
    if (!w->ready) die("deadlock, no thread can run (divergent barrier or warp operation)");
    return w->lanes + (b->order < 0 ? 31 - __builtin_clz(w->ready) : __builtin_ctz(w->ready));
}

static inline void go(Fiber* next) {
    Fiber* f = st.cur;
    if (next != f) {
        st.cur = next;
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

static void entry() {
    st.blk->fn(st.blk->args);
    Fiber* f = st.cur;
    unsigned bit = 1u << f->lane;
    f->warp->alive &= ~bit;
    f->warp->ready &= ~bit;
    f->groups.clear();
    f->open.clear();
    void* dead;
    if (!--st.blk->alive) switch_stack(&dead, st.blk->main_sp);
    if (st.blk->at_barrier && st.blk->at_barrier == st.blk->alive) release_barrier();
    st.cur = pick(false);
    switch_stack(&dead, st.cur->sp);
    __builtin_unreachable();
}

#if defined(__SANITIZE_ADDRESS__)
static const size_t STACK = 256 << 10;
#else
static const size_t STACK = 64 << 10;
#endif
static const size_t GUARD = 4096, DYNAMIC_TAIL = 1024;

/** Stacks and buffers of one host thread; kept between launches. */
struct Worker {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<char> dynamic;
    char* stacks = nullptr;
    size_t capacity = 0;
    Races races;

    void reserve(unsigned n) {
        if (capacity >= n) return;
        if (stacks) munmap(stacks, capacity * STACK);
        stacks = (char*)mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) abort();
        for (unsigned i = 0; i < n; i++) mprotect(stacks + i * STACK, GUARD, PROT_NONE);
        capacity = n;
        fibers.resize(n);
    }

    void run(Block& b, size_t shared) {
        unsigned n = b.bdim.x * b.bdim.y * b.bdim.z;
        reserve(n);
        b.threads = b.alive = n;
        b.warps = (n + 31) / 32;
        warps.assign(b.warps, Warp{});
        dynamic.resize(shared + 1024 + DYNAMIC_TAIL);
        memset(dynamic.data(), 0xff, dynamic.size());
        b.dynamic = (char*)(((uintptr_t)dynamic.data() + 1023) & ~(uintptr_t)1023);
        b.dynamic_bytes = shared;
        b.warp = warps.data();
        for (unsigned i = 0; i < b.warps; i++) {
            warps[i].index = i;
            warps[i].lanes = &fibers[i * 32];
            warps[i].ready = warps[i].alive = n - i * 32 >= 32 ? ~0u : (1u << (n - i * 32)) - 1;
        }
        for (unsigned i = 0; i < n; i++) {
            Fiber& t = fibers[i];
            t.groups.clear();
            t.open.clear();
            t.lane = i & 31;
            t.warp = &warps[i >> 5];
            t.tid = {i % b.bdim.x, i / b.bdim.x % b.bdim.y, i / (b.bdim.x * b.bdim.y)};
            // Stacks start at different cache sets.
            char* top = stacks + (i + 1) * STACK - 64 - (i & 31) * 320;
            void** x = (void**)((uintptr_t)top & ~(uintptr_t)15);
            *x = (void*)entry;
            t.sp = x - 6;
        }
        races.begin(b);
        st.blk = &b;
        st.cur = &fibers[b.order < 0 ? n - 1 : 0];
        switch_stack(&b.main_sp, st.cur->sp);
        if (FINDS_RACES) st.blk = nullptr;
        if (b.failed) return;
        for (size_t i = 0; i < DYNAMIC_TAIL - 1; i++)
            if (b.dynamic[shared + i] != (char)0xff) {
                snprintf(b.message, sizeof b.message, "write past the %zu bytes of dynamic shared memory: block (%u,%u,%u)", shared, b.bid.x, b.bid.y, b.bid.z);
                b.failed = true;
                return;
            }
    }
};

/** Workers that no launch uses. */
struct Workers {
    std::mutex lock;
    std::vector<Worker*> idle;
    Worker* take() {
        std::lock_guard<std::mutex> l(lock);
        if (idle.empty()) return new Worker();
        Worker* w = idle.back();
        idle.pop_back();
        return w;
    }
    void give(Worker* w) {
        std::lock_guard<std::mutex> l(lock);
        idle.push_back(w);
    }
};

static inline Workers& workers() {
    static Workers* w = new Workers();
    return *w;
}

// ---- Shared memory of kernels ------------------------------------------------------------------------------------------------------------------------

/** Where this library's thread-local memory lies around st. */
struct Tls {
    ptrdiff_t before = 0;
    size_t size = 0;
};

static int find_tls(struct dl_phdr_info* info, size_t, void* out) {
    const char* here = (const char*)&find_tls;
    size_t tls = 0;
    bool mine = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& p = info->dlpi_phdr[i];
        const char* at = (const char*)info->dlpi_addr + p.p_vaddr;
        if (p.p_type == PT_LOAD && here >= at && here < at + p.p_memsz) mine = true;
        if (p.p_type == PT_TLS) tls = p.p_memsz;
    }
    if (!mine) return 0;
    char* state = (char*)&st;
    char* start = (char*)info->dlpi_tls_data;
    if (start && tls && state >= start && state < start + tls) *(Tls*)out = Tls{state - start, tls};
    return 1;
}

static inline const Tls& tls() {
    static const Tls t = [] {
        Tls r;
        st.blk = nullptr;
        dl_iterate_phdr(&find_tls, &r);
        return r;
    }();
    return t;
}

static inline void poison_shared() {
    const Tls& t = tls();
    if (t.size <= sizeof(State)) return;
    char* start = (char*)&st - t.before;
    memset(start, 0xff, (size_t)t.before);
    memset((char*)(&st + 1), 0xff, t.size - (size_t)t.before - sizeof(State));
}

#ifdef SFUMATO_EMU_RACES
void Races::begin(Block& b) {
    bool small = b.dynamic_bytes > dynamic_room || !bytes;
    if (small) dynamic_room = b.dynamic_bytes;
    if (small || on_their_way) {
        bytes = dynamic_room + tls().size;
        auto clear = [&](auto*& p) {
            free(p);
            p = (std::remove_reference_t<decltype(p)>)calloc(bytes, sizeof *p);
            if (!p) abort();
        };
        clear(write_time);
        clear(writer);
        clear(write_lane);
        for (auto& p : read_lane) clear(p);
        for (auto& p : read_time) clear(p);
        for (auto& p : atomic_time) clear(p);
        for (auto& p : operand_time) clear(p);
        atomics = matrices = false;
        on_their_way = 0;
    }
    dynamic = b.dynamic;
    dynamic_bytes = b.dynamic_bytes;
    statics = (const char*)&st - tls().before;
    static_bytes = tls().size;
    warp_count = b.warps;
    now++;
    for (auto& w : warps)
        for (unsigned& t : w.at) t = now;
    for (unsigned i = 0; i < warp_count; i++) meet(i);
    barriers.clear();
    b.races = this;
}
#endif

// ---- Launch ------------------------------------------------------------------------------------------------------------------------------------------


static inline int launch(const EmuKernel* k, const unsigned* grid, const unsigned* bdim, size_t shared, void** args, int threads, int order, int capability,
                         char* message, size_t message_size) {
    Dim g{grid[0], grid[1], grid[2]}, b{bdim[0], bdim[1], bdim[2]};
    std::atomic<uint64_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex lock;
    uint64_t total = (uint64_t)g.x * g.y * g.z;
    void* packed[2] = {(void*)k, args};
    auto work = [&] {
        Worker* w = workers().take();
        bool first = true;
        for (uint64_t i; !failed.load(std::memory_order_relaxed) && (i = next++) < total;) {
            uint64_t n = order < 0 ? total - 1 - i : i;
            Block block;
            block.fn = [](void** a) { ((const EmuKernel*)a[0])->thunk(((const EmuKernel*)a[0])->function, (void**)a[1]); };
            block.args = packed;
            block.order = order;
            block.capability = capability;
            block.bdim = b;
            block.gdim = g;
            block.bid = {unsigned(n % g.x), unsigned(n / g.x % g.y), unsigned(n / ((uint64_t)g.x * g.y))};
            if (first || tls().size < (64 << 10)) poison_shared();
            first = false;
            w->run(block, shared);
            if (block.failed && !failed.exchange(true)) {
                std::lock_guard<std::mutex> l(lock);
                snprintf(message, message_size, "%s", block.message);
            }
        }
        workers().give(w);
    };
    if (threads <= 1 || total < 2 || total * b.x * b.y * b.z < 8192) {
        work();
    } else {
        std::vector<std::thread> others;
        for (int i = 1; i < threads; i++) others.emplace_back(work);
        work();
        for (auto& t : others) t.join();
    }
    return failed ? 1 : 0;
}

}  // namespace emu

extern "C" __attribute__((used, visibility("default"))) inline const EmuKernel* emu_find(const char* name) {
    auto& k = emu::kernels().by_name;
    auto it = k.find(name);
    if (it == k.end()) return nullptr;
    it->second.launch = &emu::launch;
    return &it->second;
}

#include "emu_ops.h"

#endif
