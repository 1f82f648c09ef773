// SPDX-License-Identifier: Apache-2.0
//
// Finds races in shared memory, in a build with -DSFUMATO_EMU_RACES and -fsanitize=thread: the compiler then tells of every access to memory, and this file
// takes the place of ThreadSanitizer's library. Included by emu.h; without SFUMATO_EMU_RACES it does nothing.
//
// Two accesses of one byte race when at least one writes and nothing orders them: no chain of __syncthreads, bar_sync or mbarrier from the one to the other.
// Vector clocks tell (Flanagan and Freund, FastTrack, PLDI 2009). So a missing barrier shows whatever the order of threads is, and whatever the values are.
// An actor is a warp, a warp's wgmmas, or the copies that one mbarrier counts. The lanes of a warp are ordered by __syncwarp and by barriers, not by shuffles,
// ballots or products, which the CUDA programming guide gives no such meaning; a lane that arrives at an mbarrier does so only for itself and for what was
// before the last __syncwarp.
//   cp.async    writes from its call on until this thread's cp_async_wait; an access of anyone between the two is a race
//   bulk_load   writes from its call on; what it wrote is ordered before those who wait for its mbarrier
//   wgmma       reads its operands from its call on until this warp's wgmma_wait
//   load_cluster  reads what was written before a cluster barrier; the block itself writes there only after another one that the reader arrived at since
// Accesses of global memory are not seen, but a counter there that is raised before a barrier follows other warps' __threadfence is.
#ifndef SFUMATO_EMU_RACES_H
#define SFUMATO_EMU_RACES_H

#ifndef SFUMATO_EMU_RACES

#define EMU_UNSEEN

namespace emu {
static const bool FINDS_RACES = false;
struct Races {
    void begin(Block&) {}
};
static inline void race_fence() {}
static inline void race_ticket(const void*) {}
static inline void race_warp(unsigned) {}
static inline void race_barrier() {}
static inline void race_named(const std::vector<Fiber*>&) {}
static inline void race_copy(const void*, size_t) {}
static inline void race_copied(const void*, size_t) {}
static inline void race_init(const void*) {}
static inline void race_arrive(const void*) {}
static inline void race_over(const void*, unsigned) {}
static inline void race_waited(const void*, unsigned) {}
static inline void race_bulk_landed(const void*, const void*, size_t) {}
static inline void race_cluster_arrive() {}
static inline void race_cluster_over() {}
static inline void race_cluster_waited() {}
static inline void race_cluster_read(Block&, size_t, size_t) {}
static inline void race_operand(size_t) {}
static inline void race_operand_free(size_t) {}
static inline void race_operand_kept(size_t) {}
static inline void race_operands_over() {}
}  // namespace emu

#else

#include <fcntl.h>
#include <map>
#include <unistd.h>

#define EMU_UNSEEN __attribute__((no_sanitize_thread))

namespace emu {
static const bool FINDS_RACES = true;
static const unsigned WARPS = 32, ACTORS = 96;
static const unsigned MATRICES = 64;      // + the warp: its wgmmas; from WARPS on: copies that a barrier counts
static const unsigned NOBODY = 63;        // of writes that are on their way
static const unsigned ON_ITS_WAY = ~0u;   // later than every clock
static const unsigned SEVERAL = 32;       // lanes

/** What an actor knows: of each actor's accesses those up to this time. */
struct Clock {
    unsigned at[ACTORS] = {};
    EMU_UNSEEN void join(const Clock& o) {
        for (unsigned i = 0; i < ACTORS; i++) at[i] = at[i] < o.at[i] ? o.at[i] : at[i];
    }
};

struct BarrierClocks {
    Clock arrived, over[2];      // by parity
    unsigned lanes[WARPS] = {};  // that have arrived
    unsigned actor = 0, init_warp = 0, init_time = 0;
};

/** The latest accesses of each byte of shared memory: dynamic, then static. Times only grow, also from block to block, so nothing is cleared. */
struct Races {
    const char *dynamic = nullptr, *statics = nullptr;
    size_t dynamic_bytes = 0, static_bytes = 0, dynamic_room = 0;
    size_t bytes = 0;   // that there are times of; plain arrays, as what a std::vector does would be told of
    unsigned *write_time = nullptr, *read_time[WARPS] = {}, *atomic_time[WARPS] = {}, *operand_time[WARPS] = {};
    unsigned char *writer = nullptr, *write_lane = nullptr, *read_lane[WARPS] = {};
    Clock warps[WARPS];
    unsigned together[WARPS] = {};   // of each warp's accesses those up to this time are before its last __syncwarp
    unsigned fenced[WARPS] = {};     // the time of each warp's last __threadfence
    std::map<const void*, BarrierClocks> barriers;
    BarrierClocks cluster;                 // its barrier: what this block's threads know
    std::map<size_t, unsigned> elsewhere;  // places that other blocks read: how many phases must be over before this block writes there
    unsigned now = 1, on_their_way = 0, warp_count = 0;
    bool atomics = false, matrices = false;   // since the times were cleared

    EMU_UNSEEN void begin(Block& b);
    EMU_UNSEEN void tick(unsigned warp) { warps[warp].at[warp] = ++now; }
    EMU_UNSEEN void meet(unsigned warp) {
        together[warp] = warps[warp].at[warp];
        tick(warp);
    }

    /** The place of an address, or -1. */
    EMU_UNSEEN ptrdiff_t place(const void* p) const {
        size_t i = (size_t)((const char*)p - dynamic);
        if (i < dynamic_bytes) return (ptrdiff_t)i;
        if ((const char*)p >= (const char*)&st && (const char*)p < (const char*)(&st + 1)) return -1;
        i = (size_t)((const char*)p - statics);
        return i < static_bytes ? (ptrdiff_t)(dynamic_room + i) : -1;
    }

    [[noreturn]] EMU_UNSEEN void race(size_t at, const char* what, const char* other, unsigned actor) const {
        char text[200], by[40] = "";
        if (actor < WARPS) snprintf(by, sizeof by, actor == st.cur->warp->index ? " of another lane" : " of warp %u", actor);
        bool is_static = at >= dynamic_room;
        snprintf(text, sizeof text, "race: %s of byte %zu of %s shared memory and %s%s", what, is_static ? at - dynamic_room : at,
                 is_static ? "static" : "dynamic", other, by);
        die(text);
    }

    EMU_UNSEEN void after_writes(unsigned w, unsigned l, size_t at, size_t n, const char* what) const {
        const Clock& c = warps[w];
        for (size_t i = at; i < at + n; i++) {
            if (write_time[i] > c.at[writer[i]]) race(i, what, write_time[i] == ON_ITS_WAY ? "a copy that is on its way" : "a write", writer[i]);
            if (writer[i] == w && write_time[i] > together[w] && write_lane[i] != l) race(i, what, "a write", w);
        }
    }
    EMU_UNSEEN void after(unsigned* const (&times)[WARPS], unsigned actor, unsigned w, size_t at, size_t n, const char* what, const char* other) const {
        const Clock& c = warps[w];
        for (unsigned j = 0; j < warp_count; j++)
            for (size_t i = at; i < at + n; i++)
                if (times[j][i] > c.at[actor + j]) race(i, what, other, j);
    }

    EMU_UNSEEN void read(size_t at, size_t n) {
        unsigned w = st.cur->warp->index, l = st.cur->lane;
        after_writes(w, l, at, n, "a read");
        if (atomics) after(atomic_time, 0, w, at, n, "a read", "an atomic operation");
        for (size_t i = at; i < at + n; i++) {
            read_lane[w][i] = (unsigned char)(read_time[w][i] > together[w] && read_lane[w][i] != l ? SEVERAL : l);
            read_time[w][i] = warps[w].at[w];
        }
    }
    EMU_UNSEEN void may_write(size_t at, size_t n, const char* what) const {
        unsigned w = st.cur->warp->index, l = st.cur->lane;
        after_writes(w, l, at, n, what);
        after(read_time, 0, w, at, n, what, "a read");
        for (size_t i = at; i < at + n; i++)
            if (read_time[w][i] > together[w] && read_lane[w][i] != l) race(i, what, "a read", w);
        if (matrices) after(operand_time, MATRICES, w, at, n, what, "a wgmma's read");
        if (atomics) after(atomic_time, 0, w, at, n, what, "an atomic operation");
        for (size_t i = at; !elsewhere.empty() && i < at + n; i++) {
            auto r = elsewhere.find(i);
            if (r != elsewhere.end() && phases_waited() < r->second) race(i, what, "a read by another block of the cluster", ACTORS);
        }
    }
    /** Phases of the cluster's barrier that this thread has waited for. */
    EMU_UNSEEN static unsigned phases_waited() { return st.cur->cluster_phases - st.cur->cluster_arrived; }
    EMU_UNSEEN void wrote(size_t at, size_t n, unsigned actor, unsigned time) {
        for (size_t i = at; i < at + n; i++) {
            write_time[i] = time;
            writer[i] = (unsigned char)actor;
            write_lane[i] = (unsigned char)st.cur->lane;
        }
    }
    EMU_UNSEEN void write(size_t at, size_t n) {
        unsigned w = st.cur->warp->index;
        may_write(at, n, "a write");
        wrote(at, n, w, warps[w].at[w]);
    }
    EMU_UNSEEN void atomic(size_t at, size_t n) {
        unsigned w = st.cur->warp->index;
        after_writes(w, st.cur->lane, at, n, "an atomic operation");
        after(read_time, 0, w, at, n, "an atomic operation", "a read");
        if (matrices) after(operand_time, MATRICES, w, at, n, "an atomic operation", "a wgmma's read");
        atomics = true;
        for (size_t i = at; i < at + n; i++) atomic_time[w][i] = warps[w].at[w];
    }

    EMU_UNSEEN BarrierClocks& barrier(const void* p) {
        BarrierClocks& b = barriers[p];
        if (b.init_time > warps[st.cur->warp->index].at[b.init_warp]) die("race: an mbarrier is used, and no barrier since mbarrier_init");
        return b;
    }
};

EMU_UNSEEN static inline Races* races() { return st.blk ? st.blk->races : nullptr; }

EMU_UNSEEN static void race_fence() {
    Races* r = races();
    unsigned w = st.cur->warp->index;
    r->fenced[w] = r->warps[w].at[w];
}

/** An atomic operation on integers in global memory: by it a block says that it has written its part, so the fences of all its warps are before it. */
EMU_UNSEEN static void race_ticket(const void* p) {
    Races* r = races();
    if (r->place(p) >= 0) return;
    for (unsigned j = 0; j < r->warp_count; j++)
        if (r->fenced[j] > r->warps[st.cur->warp->index].at[j]) die("race: an atomic operation on global memory, and no barrier since another warp's __threadfence");
}

/** All lanes of a mask meet by __syncwarp. */
EMU_UNSEEN static void race_warp(unsigned mask) {
    Warp* w = st.cur->warp;
    if ((mask & w->alive) == w->alive) races()->meet(w->index);
}

EMU_UNSEEN static void race_barrier() {
    Races* r = races();
    Clock all;
    for (unsigned i = 0; i < st.blk->warps; i++)
        if (st.blk->warp[i].alive) all.join(r->warps[i]);
    for (unsigned i = 0; i < st.blk->warps; i++)
        if (st.blk->warp[i].alive) r->warps[i] = all, r->meet(i);
}

/** The threads that wait and this one meet. */
EMU_UNSEEN static void race_named(const std::vector<Fiber*>& waiting) {
    Races* r = races();
    Clock all = r->warps[st.cur->warp->index];
    for (Fiber* f : waiting) all.join(r->warps[f->warp->index]);
    for (Fiber* f : waiting) r->warps[f->warp->index] = all;
    r->warps[st.cur->warp->index] = all;
    for (Fiber* f : waiting) r->meet(f->warp->index);
    r->meet(st.cur->warp->index);
}

/** A copy of this thread starts to write. */
EMU_UNSEEN static void race_copy(const void* to, size_t n) {
    Races* r = races();
    ptrdiff_t at = r->place(to);
    if (at < 0) die("a copy to shared memory goes elsewhere");
    r->may_write((size_t)at, n, "a copy");
    r->wrote((size_t)at, n, NOBODY, ON_ITS_WAY);
    r->on_their_way++;
}

/** It is over, and this thread has waited for it. */
EMU_UNSEEN static void race_copied(const void* to, size_t n) {
    Races* r = races();
    unsigned w = st.cur->warp->index;
    r->wrote((size_t)r->place(to), n, w, r->warps[w].at[w]);
    r->on_their_way--;
}

EMU_UNSEEN static void race_init(const void* barrier) {
    Races* r = races();
    unsigned w = st.cur->warp->index, actor = WARPS + (unsigned)r->barriers.size();
    if (r->barriers.count(barrier)) actor = r->barriers[barrier].actor;
    if (actor >= NOBODY) die("more mbarriers than the search for races has room for");
    BarrierClocks b;
    b.actor = actor, b.init_warp = w, b.init_time = r->warps[w].at[w];
    r->barriers[barrier] = b;
}

EMU_UNSEEN static void race_arrive(BarrierClocks& b) {
    Races* r = races();
    unsigned w = st.cur->warp->index;
    Clock mine = r->warps[w];
    b.lanes[w] |= 1u << st.cur->lane;
    if ((b.lanes[w] & st.cur->warp->alive) == st.cur->warp->alive)  // others have ended
        b.lanes[w] = 0;
    else
        mine.at[w] = r->together[w];
    b.arrived.join(mine);
    r->tick(w);
}

EMU_UNSEEN static void race_arrive(const void* barrier) { race_arrive(races()->barrier(barrier)); }

/** The phase of this parity is over. */
EMU_UNSEEN static void race_over(BarrierClocks& b, unsigned parity) {
    b.over[parity] = b.arrived;
    b.arrived = Clock();
    memset(b.lanes, 0, sizeof b.lanes);
}

EMU_UNSEEN static void race_over(const void* barrier, unsigned parity) { race_over(races()->barriers[barrier], parity); }

/** This thread has waited for the phase of this parity. */
EMU_UNSEEN static void race_waited(const void* barrier, unsigned parity) {
    Races* r = races();
    r->warps[st.cur->warp->index].join(r->barrier(barrier).over[parity]);
}

EMU_UNSEEN static void race_bulk_landed(const void* barrier, const void* to, size_t n) {
    Races* r = races();
    BarrierClocks& b = r->barriers[barrier];
    b.arrived.at[b.actor] = ++r->now;
    r->wrote((size_t)r->place(to), n, b.actor, r->now);
    r->on_their_way--;
}

EMU_UNSEEN static void race_cluster_arrive() { race_arrive(races()->cluster); }

/** The next phase of the cluster's barrier is over. */
EMU_UNSEEN static void race_cluster_over() {
    Cluster* c = st.blk->cluster;
    for (Block* b : c->blocks) race_over(b->races->cluster, (c->phase + 1) % 2);
}

EMU_UNSEEN static void race_cluster_waited() {
    Races* r = races();
    unsigned w = st.cur->warp->index;
    const Clock& c = r->cluster.over[r->phases_waited() % 2];
    r->warps[w].join(c);
    if (r->together[w] < c.at[w]) r->together[w] = c.at[w];
}

/** This thread reads another block's dynamic shared memory. */
EMU_UNSEEN static void race_cluster_read(Block& other, size_t at, size_t n) {
    Races& r = *other.races;
    unsigned waited = Races::phases_waited();
    for (size_t i = at; i < at + n; i++) {
        if (&other != st.blk && (!waited || r.write_time[i] > r.cluster.over[waited % 2].at[r.writer[i]]))
            r.race(i, "a read of another block", "a write that no cluster barrier orders", ACTORS);
        unsigned& needed = r.elsewhere[i];
        if (needed <= st.cur->cluster_phases) needed = st.cur->cluster_phases + 1;
    }
}

/** A wgmma of this warp reads here and is not over. */
EMU_UNSEEN static void race_operand_kept(size_t at) {
    Races* r = races();
    unsigned* t = r->operand_time[st.cur->warp->index] + at;
    if (t[0] != ON_ITS_WAY) r->on_their_way++;
    t[0] = t[1] = ON_ITS_WAY;
}

/** A wgmma of this warp starts to read the two bytes at a place in dynamic shared memory. */
EMU_UNSEEN static void race_operand(size_t at) {
    Races* r = races();
    unsigned w = st.cur->warp->index;
    r->after_writes(w, SEVERAL, at, 2, "a wgmma's read");
    if (r->atomics) r->after(r->atomic_time, 0, w, at, 2, "a wgmma's read", "an atomic operation");
    r->matrices = true;
    race_operand_kept(at);
}

/** This warp has waited for wgmmas. */
EMU_UNSEEN static void race_operands_over() {
    Races* r = races();
    unsigned w = st.cur->warp->index;
    r->warps[w].at[MATRICES + w] = ++r->now;
}

/** One of them read here. */
EMU_UNSEEN static void race_operand_free(size_t at) {
    Races* r = races();
    unsigned w = st.cur->warp->index, *t = r->operand_time[w] + at;
    if (t[0] == ON_ITS_WAY) r->on_their_way--;
    t[0] = t[1] = r->warps[w].at[MATRICES + w];
}

/** Is told of every write of a kernel to dynamic shared memory, if it is set. */
static void (*stored)(const void* to, size_t size) = nullptr;

// ---- Barriers that are left out ----------------------------------------------------------------------------------------------------------------------

/** Whether the barrier with this number is left out. The file that SFUMATO_EMU_SITES names says which one is, and hears which ones are reached. */
EMU_UNSEEN static bool left_out(int site) {
    static unsigned char* const file = [] {
        static unsigned char none[1 << 16];
        const char* name = getenv("SFUMATO_EMU_SITES");
        int f = name ? open(name, O_RDWR) : -1;
        void* p = f < 0 ? MAP_FAILED : mmap(nullptr, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
        return p == MAP_FAILED ? none : (unsigned char*)p;
    }();
    int chosen;
    memcpy(&chosen, file, sizeof chosen);
    file[sizeof chosen + (size_t)site] = 1;
    return chosen == site;
}
}  // namespace emu

// ---- What the compiler calls -------------------------------------------------------------------------------------------------------------------------

extern "C" {
EMU_UNSEEN __attribute__((hot)) inline void emu_read(const void* p, size_t n) {
    emu::Races* r = emu::st.blk ? emu::st.blk->races : nullptr;
    ptrdiff_t at = r ? r->place(p) : -1;
    if (at >= 0) r->read((size_t)at, n);
}
EMU_UNSEEN __attribute__((hot)) inline void emu_write(const void* p, size_t n) {
    emu::Races* r = emu::st.blk ? emu::st.blk->races : nullptr;
    ptrdiff_t at = r ? r->place(p) : -1;
    if (at < 0) return;
    r->write((size_t)at, n);
    if (emu::stored && (size_t)at < r->dynamic_bytes) emu::stored(p, n);
}
EMU_UNSEEN inline void emu_atomic(const volatile void* p, size_t n) {
    emu::Races* r = emu::st.blk ? emu::st.blk->races : nullptr;
    ptrdiff_t at = r ? r->place((const void*)p) : -1;
    if (at >= 0) r->atomic((size_t)at, n);
}
#define EMU_SIZE(n)                                                                          \
    EMU_UNSEEN void __tsan_read##n(void* p) { emu_read(p, n); }                              \
    EMU_UNSEEN void __tsan_write##n(void* p) { emu_write(p, n); }                            \
    EMU_UNSEEN void __tsan_volatile_read##n(void* p) { emu_read(p, n); }                     \
    EMU_UNSEEN void __tsan_volatile_write##n(void* p) { emu_write(p, n); }                   \
    EMU_UNSEEN void __tsan_unaligned_read##n(void* p) { emu_read(p, n); }                    \
    EMU_UNSEEN void __tsan_unaligned_write##n(void* p) { emu_write(p, n); }
EMU_SIZE(1)
EMU_SIZE(2)
EMU_SIZE(4)
EMU_SIZE(8)
EMU_SIZE(16)
#undef EMU_SIZE
EMU_UNSEEN void __tsan_read_range(void* p, size_t n) { emu_read(p, n); }
EMU_UNSEEN void __tsan_write_range(void* p, size_t n) { emu_write(p, n); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
EMU_UNSEEN void __tsan_vptr_update(void** p, void* v) { *p = v; }
EMU_UNSEEN void __tsan_vptr_read(void**) {}
EMU_UNSEEN void __tsan_atomic_thread_fence(int) {}
EMU_UNSEEN void __tsan_atomic_signal_fence(int) {}

#define EMU_FETCH(bits, T, op, builtin)                                                 \
    EMU_UNSEEN T __tsan_atomic##bits##_##op(volatile T* p, T v, int) {                  \
        emu_atomic(p, sizeof(T));                                                       \
        return builtin(p, v, __ATOMIC_SEQ_CST);                                         \
    }
#define EMU_EXCHANGE(bits, T, form)                                                                          \
    EMU_UNSEEN int __tsan_atomic##bits##_compare_exchange_##form(volatile T* p, T* expected, T v, int, int) { \
        emu_atomic(p, sizeof(T));                                                                            \
        return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
    }
#define EMU_ATOMIC(bits, T)                                             \
    EMU_UNSEEN T __tsan_atomic##bits##_load(const volatile T* p, int) { \
        emu_atomic(p, sizeof(T));                                       \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                    \
    }                                                                   \
    EMU_UNSEEN void __tsan_atomic##bits##_store(volatile T* p, T v, int) { \
        emu_atomic(p, sizeof(T));                                       \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                       \
    }                                                                   \
    EMU_FETCH(bits, T, exchange, __atomic_exchange_n)                   \
    EMU_FETCH(bits, T, fetch_add, __atomic_fetch_add)                   \
    EMU_FETCH(bits, T, fetch_sub, __atomic_fetch_sub)                   \
    EMU_FETCH(bits, T, fetch_and, __atomic_fetch_and)                   \
    EMU_FETCH(bits, T, fetch_or, __atomic_fetch_or)                     \
    EMU_EXCHANGE(bits, T, weak)                                         \
    EMU_EXCHANGE(bits, T, strong)
EMU_ATOMIC(8, unsigned char)
EMU_ATOMIC(32, unsigned)
EMU_ATOMIC(64, unsigned long long)
#undef EMU_ATOMIC
#undef EMU_EXCHANGE
#undef EMU_FETCH
}

#endif
#endif
