// SPDX-License-Identifier: Apache-2.0
//
// The blocks of a launch: their stacks and shared memory, one cluster after the other on each thread of the host. Included by emu.h.
#ifndef SFUMATO_EMU_LAUNCH_H
#define SFUMATO_EMU_LAUNCH_H

namespace emu {
#if defined(__SANITIZE_ADDRESS__)
static const size_t STACK = 256 << 10;
#else
static const size_t STACK = 64 << 10;
#endif
static const size_t GUARD = 4096, DYNAMIC_TAIL = 1024;

/** Stacks and buffers of a block; kept between launches. */
struct Worker {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<char> dynamic;
    char* stacks = nullptr;
    size_t capacity = 0;
    Races races;

    /**
     * Stacks for n threads of one of `size` blocks that run together, about 256 of them with a guard: each costs a process two of the 65530 mappings that it
     * may have, and as all threads run the same code some are enough.
     */
    void reserve(unsigned n, unsigned size) {
        if (capacity >= n) return;
        if (stacks) munmap(stacks, capacity * STACK);
        stacks = (char*)mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) abort();
        for (unsigned i = 0; i < n; i += size * ((n + 255) / 256)) mprotect(stacks + i * STACK, GUARD, PROT_NONE);
        capacity = n;
        fibers.resize(n);
    }

    /** Makes a block ready to run, one of `size` that run together. */
    void prepare(Block& b, size_t shared, unsigned size) {
        unsigned n = b.bdim.x * b.bdim.y * b.bdim.z;
        reserve(n, size);
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
            t.block = &b;
            t.cluster_arrived = false;
            t.cluster_phases = 0;
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
    }

    /** After a block has run. */
    void check(Block& b, size_t shared) {
        if (b.failed) return;
        for (size_t i = 0; i < DYNAMIC_TAIL - 1; i++)
            if (b.dynamic[shared + i] != (char)0xff) {
                snprintf(b.message, sizeof b.message, "write past the %zu bytes of dynamic shared memory: block (%u,%u,%u)", shared, b.bid.x, b.bid.y, b.bid.z);
                b.failed = true;
                return;
            }
    }
};

/** Runs the blocks of a cluster to their ends. */
static inline void run(Cluster& c) {
    Block& b = c.blocks[0]->order < 0 ? *c.blocks.back() : *c.blocks.front();
    st.blk = &b;
    b.started = true;
    st.cur = &b.warp[0].lanes[b.order < 0 ? b.threads - 1 : 0];
    switch_stack(&c.main_sp, st.cur->sp);
    if (FINDS_RACES) st.blk = nullptr;
}

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

EMU_UNSEEN static void swap_statics(Block& from, Block& to) {
    const Tls& t = tls();
    if (t.size <= sizeof(State)) return;
    size_t before = (size_t)t.before, after = t.size - before - sizeof(State);
    char *start = (char*)&st - before, *end = (char*)(&st + 1);
    from.statics.resize(before + after);
    memcpy(from.statics.data(), start, before);
    memcpy(from.statics.data() + before, end, after);
    if (to.statics.empty()) {
        poison_shared();
    } else {
        memcpy(start, to.statics.data(), before);
        memcpy(end, to.statics.data() + before, after);
    }
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
    cluster = BarrierClocks();
    elsewhere.clear();
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
    unsigned size = k->cluster;
    uint64_t total = (uint64_t)g.x * g.y * g.z / size;
    void* packed[2] = {(void*)k, args};
    auto work = [&] {
        std::vector<Worker*> own;
        for (unsigned i = 0; i < size; i++) own.push_back(workers().take());
        bool first = true;
        for (uint64_t i; !failed.load(std::memory_order_relaxed) && (i = next++) < total;) {
            std::vector<Block> blocks(size);
            Cluster cluster;
            if (first || tls().size < (64 << 10)) poison_shared();
            first = false;
            for (unsigned rank = 0; rank < size; rank++) {
                uint64_t n = (order < 0 ? total - 1 - i : i) * size + rank;
                Block& block = blocks[rank];
                block.cluster = &cluster;
                block.rank = rank;
                block.fn = [](void** a) { ((const EmuKernel*)a[0])->thunk(((const EmuKernel*)a[0])->function, (void**)a[1]); };
                block.args = packed;
                block.order = order;
                block.capability = capability;
                block.bdim = b;
                block.gdim = g;
                block.bid = {unsigned(n % g.x), unsigned(n / g.x % g.y), unsigned(n / ((uint64_t)g.x * g.y))};
                cluster.blocks.push_back(&block);
                own[rank]->prepare(block, shared, size);
            }
            run(cluster);
            for (unsigned rank = 0; rank < size; rank++) {
                own[rank]->check(blocks[rank], shared);
                if (blocks[rank].failed && !failed.exchange(true)) {
                    std::lock_guard<std::mutex> l(lock);
                    snprintf(message, message_size, "%s", blocks[rank].message);
                }
            }
        }
        for (Worker* w : own) workers().give(w);
    };
    if (threads <= 1 || total < 2 || total * size * b.x * b.y * b.z < 8192) {
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

#endif
