// SPDX-License-Identifier: Apache-2.0
//
// The primitives of hopper.h on the host; what they mean is written down there. Included by hopper.h, after dev.h.
//
// A wgmma is done as late or as early as the ISA allows. In order 1 it reads shared memory when it is issued, while cp.async lands at its wait: an operand
// that nobody waited for is NaN. In orders -1 and 2 it reads when it is waited for; in order -1 cp.async lands at once: an operand that is overwritten too
// early is the wrong one. Until it is waited for, its accumulators hold NaN, and a kernel that writes to them, or to a fragment of A, ends with an error.
// So does one that leaves out wgmma_fence, or fence_proxy_async between cp.async (or store_operand) and the wgmma that reads, or between mbarrier_init and
// bulk_load; other stores are not seen. A bulk_load lands at once in order -1, else when someone waits for its barrier.
#ifndef SFUMATO_EMU_HOPPER_H
#define SFUMATO_EMU_HOPPER_H

#define __grid_constant__

#include <deque>
#include <map>
#include <memory>

namespace emu {

static const unsigned SHARED_START = 1024;   // where dynamic shared memory begins in the window of shared addresses
static const unsigned IN_FLIGHT = 0xffffe00du;

/** What all lanes of all warps of a warpgroup say alike of one m64nNk16. */
struct WgmmaCall {
    int n = 0;
    bool half = false, registers = false, transposed_a = false, transposed_b = false, accumulate = false;
    uint64_t a = 0, b = 0;

    bool like(const WgmmaCall& o) const {
        return n == o.n && half == o.half && registers == o.registers && transposed_a == o.transposed_a && transposed_b == o.transposed_b &&
               accumulate == o.accumulate && a == o.a && b == o.b;
    }
};

/** One of them with the registers of a warp. */
struct Wgmma : WgmmaCall {
    unsigned fragment[32][4];
    const unsigned* source[32];
    float* d[32];
    bool done = false;
};

/** Accumulators of a warp that an unfinished wgmma writes to. */
struct Accumulators {
    int n = 0, pending = 0;
    float* d[32];
    std::vector<float> value;   // [lane][n / 2]
};

struct WarpMatrices {
    bool fenced_a = false;
    unsigned fences = 0, named_all = 0;
    std::map<const char*, std::pair<const char*, unsigned>> named;   // registers of the first lane by where they begin: where they end, the last fence
    std::map<const float*, unsigned> waited;                         // accumulators: how many fences there were when they were waited for

    /** Whether a fence has named these accumulators, or nothing in particular, since they were last waited for. */
    bool fenced(const float* d) {
        if (named_all > waited[d]) return true;
        auto r = named.upper_bound((const char*)d);
        if (r == named.begin()) return false;
        --r;
        return (const char*)d < r->second.first && r->second.second > waited[d];
    }
    std::vector<Wgmma> open;
    std::deque<std::vector<Wgmma>> groups;
    std::map<float*, Accumulators> accumulators;   // by the first lane's
    size_t issued = 0;
};

/** A copy by a tensor map that is on its way. */
struct BulkCopy {
    char* to;
    EmuTensorMap map;
    uint64_t* barrier;
    int column, row;
};

struct MbarrierWaiter {
    const uint64_t* barrier;
    unsigned parity;
    Fiber* fiber;
};

/** What a block has of Hopper's units. */
struct Hopper {
    WarpMatrices warps[32];
    std::vector<WgmmaCall> log[8];                    // what each warpgroup issued
    std::vector<unsigned short> writer;               // by 16 bytes of dynamic shared memory: 1 + the thread whose write no fence follows
    std::vector<std::vector<unsigned>> written;       // by thread
    std::vector<MbarrierWaiter> waiters;
    std::vector<BulkCopy> copies;
    unsigned registers[32] = {};                      // of a thread of each warp that asked for more or for fewer
};

static inline Hopper& hopper() {
    auto& more = st.blk->more;
    if (!more) {
        auto fresh = std::make_shared<Hopper>();
        fresh->written.resize(st.blk->threads);
        fresh->writer.resize(st.blk->dynamic_bytes / 16 + 1);
        more = fresh;
    }
    return *(Hopper*)more.get();
}

static inline unsigned thread_number() {
    const Dim &t = st.cur->tid, &b = st.blk->bdim;
    return t.x + b.x * (t.y + b.y * t.z);
}

/** Notes that this thread wrote to shared memory by the generic proxy. */
static inline void written(const void* to, size_t size) {
    ptrdiff_t at = (const char*)to - st.blk->dynamic;
    if (at < 0 || (size_t)at >= st.blk->dynamic_bytes) return;
    Hopper& h = hopper();
    for (size_t i = (size_t)at / 16; i <= ((size_t)at + size - 1) / 16; i++) {
        h.writer[i] = (unsigned short)(thread_number() + 1);
        h.written[thread_number()].push_back((unsigned)i);
    }
}

static const bool tracks_proxies = [] {
    landed = [](const Copy& c) { written(c.to, (size_t)c.size); };
#ifdef SFUMATO_EMU_RACES
    stored = [](const void* to, size_t size) { written(to, size); };
#endif
    return true;
}();

static inline unsigned shared_window(const void* p) {
    ptrdiff_t at = (const char*)p - st.blk->dynamic;
    if (at < 0 || (size_t)at >= st.blk->dynamic_bytes) die("operands and barriers lie in dynamic shared memory");
    return (unsigned)at + SHARED_START;
}

// ---- Matrices in shared memory -----------------------------------------------------------------------------------------------------------------------

/** Where in dynamic shared memory the value (row, k) lies of an operand that a descriptor describes; row runs along M or N. */
static inline unsigned element_at(uint64_t descriptor, bool mn_major, int row, int k) {
    unsigned start = (unsigned)(descriptor & 0x3fff) << 4, leading = (unsigned)(descriptor >> 16 & 0x3fff) << 4;
    unsigned stride = (unsigned)(descriptor >> 32 & 0x3fff) << 4, mode = (unsigned)(descriptor >> 62);
    if (descriptor >> 49 & 7) die("wgmma: patterns that do not begin at a multiple of their size are not emulated");
    if (descriptor & 0x3ff1c000c000c000ull) die("wgmma: reserved bits of a descriptor are set");
    const unsigned bytes = mode == 1 ? 128 : mode == 2 ? 64 : mode == 3 ? 32 : 16, per_line = bytes / 2;
    unsigned r = (unsigned)row, c = (unsigned)k, at;
    if (mn_major) {
        unsigned across = mode ? leading : stride, along = mode ? stride : leading;
        at = start + r % per_line * 2 + r / per_line * across + c % 8 * bytes + c / 8 * along;
    } else {
        at = start + r % 8 * bytes + r / 8 * stride + (mode ? c * 2 : c / 8 * leading + c % 8 * 2);
    }
    if (mode) at ^= (at >> 7 & (bytes / 16 - 1)) << 4;
    if (at < SHARED_START || (at | 15) - SHARED_START >= st.blk->dynamic_bytes) die("wgmma: an operand lies outside of dynamic shared memory");
    return at - SHARED_START;
}

/** Rows of 16 values of an operand. Eight values lie together, along k or, if it is mn-major, along the rows. */
EMU_UNSEEN static inline void read_operand(unsigned short (*to)[16], uint64_t descriptor, bool mn_major, int row0, int rows) {
    const auto& writer = hopper().writer;
    for (int r = 0; r < rows; r += mn_major ? 8 : 1)
        for (int k = 0; k < 16; k += mn_major ? 1 : 8) {
            unsigned at = element_at(descriptor, mn_major, row0 + r, k);
            if (writer[at / 16]) die("wgmma: no fence_proxy_async between a write of shared memory and its reading");
            auto* values = (const unsigned short*)(st.blk->dynamic + at);
            if (mn_major)
                for (int i = 0; i < 8; i++) to[r + i][k] = values[i];
            else
                memcpy(&to[r][k], values, 16);
        }
}

/** Calls f with the place of each value that a warp reads of the operands in shared memory. */
template <class F> static inline void operands(const Wgmma& w, unsigned warp, F f) {
    for (int k = 0; k < 16; k++) {
        for (int r = 0; r < 16 && !w.registers; r++) f(element_at(w.a, w.transposed_a, (int)(warp % 4) * 16 + r, k));
        for (int n = 0; n < w.n; n++) f(element_at(w.b, w.transposed_b, n, k));
    }
}

/** Computes the 16 rows of one warp. */
static inline void multiply(Wgmma& w, Accumulators& sums, unsigned warp) {
    unsigned short a[16][16], b[256][16];
    float A[16][16], B[256][16];
    if (w.registers)
        for (int r = 0; r < 16; r++)
            for (int k = 0; k < 16; k += 2) memcpy(&a[r][k], &w.fragment[r % 8 * 4 + k % 8 / 2][r / 8 + k / 8 * 2], 4);
    else
        read_operand(a, w.a, w.transposed_a, (int)(warp % 4) * 16, 16);
    read_operand(b, w.b, w.transposed_b, 0, w.n);
    widen(A[0], a[0], 16 * 16, w.half);
    widen(B[0], b[0], w.n * 16, w.half);
    for (int n = 0; n < w.n; n += 8) {
        float C[16][8] = {};
        auto pair = [&](int r, int e) { return &sums.value[(size_t)((r % 8 * 4 + e / 2) * (w.n / 2) + n / 2 + r / 8 * 2)]; };
        for (int r = 0; r < 16 && w.accumulate; r++)
            for (int e = 0; e < 8; e += 2) memcpy(&C[r][e], pair(r, e), 8);
        tensor_core<16>(C, A, *(const float(*)[8][16])B[n], w.half ? 113 : 1, 16);
        for (int r = 0; r < 16; r++)
            for (int e = 0; e < 8; e += 2) memcpy(pair(r, e), &C[r][e], 8);
    }
    w.done = true;
}

static inline void visible(const Accumulators& s, bool results) {
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < s.n / 2; i++) {
            unsigned now;
            memcpy(&now, s.d[l] + i, 4);
            if (now != IN_FLIGHT) die("wgmma: accumulators were written to before wgmma_wait");
            if (results) s.d[l][i] = s.value[(size_t)(l * (s.n / 2) + i)];
        }
}

struct WgmmaArguments {
    Wgmma w;
    const unsigned* a;
    float* d;
};

static inline void wgmma(WgmmaArguments& mine) {
    collective(~0u, &mine, [](void** x, unsigned) {
        unsigned warp = st.cur->warp->index;
        if (warp / 4 * 4 + 4 > st.blk->warps) die("wgmma: four whole warps make a warpgroup");
        Hopper& h = hopper();
        WarpMatrices& m = h.warps[warp];
        Wgmma w = ((WgmmaArguments*)x[0])->w;
        for (int l = 0; l < 32; l++) {
            auto* g = (WgmmaArguments*)x[l];
            if (!g->w.like(w)) die("wgmma: lanes with different operands");
            w.d[l] = g->d;
            w.source[l] = g->a;
            if (w.registers) memcpy(w.fragment[l], g->a, 16);
        }
        auto& log = h.log[warp / 4];
        if (m.issued == log.size())
            log.push_back(w);
        else if (!log[m.issued].like(w))
            die("wgmma: warps of a warpgroup with different operands");
        m.issued++;
        if (w.registers && !m.fenced_a) die("wgmma: no wgmma_fence since fragments of A could be written");
        Accumulators& sums = m.accumulators[w.d[0]];
        if (!sums.pending) {
            if (!m.fenced(w.d[0])) die("wgmma: no wgmma_fence of these accumulators since they could be written");
            sums.n = w.n;
            sums.value.resize((size_t)(16 * w.n));
            for (int l = 0; l < 32; l++) {
                sums.d[l] = w.d[l];
                memcpy(&sums.value[(size_t)(l * (w.n / 2))], w.d[l], (size_t)(w.n / 2) * 4);
                for (int i = 0; i < w.n / 2; i++) memcpy(w.d[l] + i, &IN_FLIGHT, 4);
            }
        } else {
            if (sums.n != w.n) die("wgmma: accumulators in flight with another shape");
            visible(sums, false);
        }
        sums.pending++;
        if (FINDS_RACES) operands(w, warp, race_operand);
        if (st.blk->order == 1) multiply(w, sums, warp);
        m.open.push_back(w);
    });
}

/** Until `left` groups of this warp are in flight. */
static inline void wgmma_wait(int left) {
    int mine = left;
    collective(~0u, &mine, [](void** x, unsigned) {
        unsigned warp = st.cur->warp->index;
        WarpMatrices& m = hopper().warps[warp];
        race_operands_over();
        while (m.groups.size() > (size_t) * (int*)x[0]) {
            for (Wgmma& w : m.groups.front()) {
                Accumulators& sums = m.accumulators[w.d[0]];
                if (!w.done) multiply(w, sums, warp);
                if (FINDS_RACES) operands(w, warp, race_operand_free);
                for (int l = 0; w.registers && l < 32; l++)
                    if (memcmp(w.fragment[l], w.source[l], 16)) die("wgmma: a fragment of A was written to before wgmma_wait");
                if (--sums.pending) continue;
                visible(sums, true);
                m.accumulators.erase(w.d[0]);
                m.waited[w.d[0]] = m.fences;
            }
            m.groups.pop_front();
        }
        for (auto& group : m.groups)
            for (Wgmma& w : group)
                if (FINDS_RACES) operands(w, warp, race_operand_kept);
        for (Wgmma& w : m.open)
            if (FINDS_RACES) operands(w, warp, race_operand_kept);
    });
}

// ---- Barriers in shared memory -----------------------------------------------------------------------------------------------------------------------

/** A barrier's 64 bits: phase, threads it expects, threads and bytes that are missing; fresh shared memory is none. */
struct Mbarrier {
    uint64_t phase : 1, expected : 20, missing : 20;
    int64_t bytes : 22;
    uint64_t invalid : 1;
};

EMU_UNSEEN static inline Mbarrier mbarrier(const uint64_t* p) {
    shared_window(p);
    check_aligned(p, 8);
    Mbarrier b;
    *(uint64_t*)&b = *p;
    if (b.invalid) die("mbarrier: not initialised");
    return b;
}

EMU_UNSEEN static inline void mbarrier_changed(uint64_t* p, Mbarrier b) {
    bool over = b.missing == 0 && b.bytes == 0;
    if (over) {
        race_over(p, b.phase);
        b.phase ^= 1;
        b.missing = b.expected;
    }
    *p = *(uint64_t*)&b;
    if (!over) return;
    auto& waiters = hopper().waiters;
    for (size_t i = 0; i < waiters.size();) {
        if (waiters[i].barrier == p && waiters[i].parity != b.phase) {
            waiters[i].fiber->warp->ready |= 1u << waiters[i].fiber->lane;
            waiters.erase(waiters.begin() + (ptrdiff_t)i);
        } else {
            i++;
        }
    }
}

// ---- Registers ---------------------------------------------------------------------------------------------------------------------------------------

/** A warp has `count` registers per thread from now on. Those that all warps ask for must be there, else the ones that take wait for ever. */
EMU_UNSEEN static inline void registers(unsigned count) {
    const Block& b = *st.blk;
    unsigned first = 65536 / b.threads / 8 * 8, all = 0;   // what a thread has when the kernel starts, with one block on a multiprocessor
    unsigned* of = hopper().registers;
    of[st.cur->warp->index] = count;
    if (count % 8 || count < 24 || count > 256) die("setmaxnreg: not a multiple of 8 from 24 to 256");
    for (unsigned w = 0; w < b.warps; w++) {
        if (!of[w]) return;
        all += of[w];
    }
    if (all > first * b.warps) die("setmaxnreg: all warps together ask for more registers than the block has");
}

// ---- Copies by tensor maps ---------------------------------------------------------------------------------------------------------------------------

EMU_UNSEEN static inline void land(const BulkCopy& c) {
    Hopper& h = hopper();
    const EmuTensorMap& m = c.map;
    for (unsigned y = 0; y < m.box[1]; y++)
        for (unsigned x = 0; x < m.box[0]; x++) {
            long long column = (long long)c.column + x, row = (long long)c.row + y;
            bool inside = column >= 0 && row >= 0 && (uint64_t)column < m.dims[0] && (uint64_t)row < m.dims[1];
            unsigned at = shared_window(c.to) + y * 128 + x * 2;
            at ^= (at >> 7 & 7) << 4;
            at -= SHARED_START;
            if (at + 2 > st.blk->dynamic_bytes) die("bulk_load: writes outside of dynamic shared memory");
            unsigned short value = 0;
            if (inside) memcpy(&value, (const char*)m.address + (uint64_t)row * m.stride + (uint64_t)column * 2, 2);
            *(unsigned short*)(st.blk->dynamic + at) = value;
            h.writer[at / 16] = 0;
        }
    race_bulk_landed(c.barrier, c.to, m.box[0] * m.box[1] * 2);
    Mbarrier b = mbarrier(c.barrier);
    b.bytes -= (int64_t)(m.box[0] * m.box[1] * 2);
    mbarrier_changed(c.barrier, b);
}

/** The copies that a barrier counts land now. */
static inline void land_all(const uint64_t* barrier) {
    std::vector<BulkCopy> now, later;
    for (BulkCopy& c : hopper().copies) (c.barrier == barrier ? now : later).push_back(c);
    hopper().copies = later;
    for (BulkCopy& c : now) land(c);
}
}  // namespace emu

// ---- The primitives ----------------------------------------------------------------------------------------------------------------------------------

DEV unsigned shared_address(const void* p) { return emu::shared_window(p); }

template <class T, int N> struct Wgmma {
    template <bool TRANS_A, bool TRANS_B> DEVM static void shared(float (&d)[N / 2], u64 a, u64 b, int accumulate) {
        emu::WgmmaArguments g;
        g.w.n = N, g.w.half = std::is_same_v<T, f16>, g.w.transposed_a = TRANS_A, g.w.transposed_b = TRANS_B;
        g.w.accumulate = accumulate, g.w.a = a, g.w.b = b;
        g.a = nullptr, g.d = d;
        emu::wgmma(g);
    }
    template <bool TRANS_B> DEVM static void registers(float (&d)[N / 2], const unsigned (&a)[4], u64 b, int accumulate) {
        emu::WgmmaArguments g;
        g.w.n = N, g.w.half = std::is_same_v<T, f16>, g.w.registers = true, g.w.transposed_b = TRANS_B;
        g.w.accumulate = accumulate, g.w.b = b;
        g.a = a, g.d = d;
        emu::wgmma(g);
    }
};

template <class... D> DEV void wgmma_fence(D&... d) {
    std::pair<const char*, const char*> registers[sizeof...(D) + 1] = {{(const char*)&d, (const char*)(&d + 1)}...};
    emu::collective(~0u, registers, [](void** x, unsigned) {
        auto& m = emu::hopper().warps[emu::st.cur->warp->index];
        m.fences++;
        if (sizeof...(D) == 0) m.named_all = m.fences;
        for (unsigned i = 0; i < sizeof...(D); i++) {
            auto& r = ((std::pair<const char*, const char*>*)x[0])[i];
            m.named[r.first] = {r.second, m.fences};
        }
        m.fenced_a = true;
    });
}
DEV void wgmma_commit() {
    emu::collective(~0u, nullptr, [](void**, unsigned) {
        auto& m = emu::hopper().warps[emu::st.cur->warp->index];
        m.groups.push_back(std::move(m.open));
        m.open.clear();
        m.fenced_a = false;
    });
}
template <int N, class... D> DEV void wgmma_wait(D&...) { emu::wgmma_wait(N); }

DEV void fence_proxy_async() {
    auto& h = emu::hopper();
    unsigned t = emu::thread_number();
    for (unsigned i : h.written[t])
        if (h.writer[i] == t + 1) h.writer[i] = 0;
    h.written[t].clear();
}
DEV void store_operand(void* to, const Vec<u32, 4>& x) {
    store_vec<4>((u32*)to, x);
    emu::written(to, 16);
}

EMU_UNSEEN DEV void mbarrier_init(u64* barrier, int count) {
    emu::shared_window(barrier);
    emu::Mbarrier b{};
    b.expected = b.missing = (uint64_t)count;
    *(uint64_t*)barrier = *(uint64_t*)&b;
    emu::race_init(barrier);
    emu::written(barrier, 8);
}
DEV void mbarrier_arrive(u64* barrier) {
    emu::Mbarrier b = emu::mbarrier((uint64_t*)barrier);
    if (!b.missing) emu::die("mbarrier: more arrivals than it expects");
    emu::race_arrive(barrier);
    b.missing--;
    emu::mbarrier_changed((uint64_t*)barrier, b);
}
struct TensorMap {
    u64 words[16];
};

DEV void mbarrier_expect(u64* barrier, int bytes) {
    emu::Mbarrier b = emu::mbarrier((uint64_t*)barrier);
    if (!b.missing) emu::die("mbarrier: more arrivals than it expects");
    emu::race_arrive(barrier);
    b.missing--;
    b.bytes += bytes;
    emu::mbarrier_changed((uint64_t*)barrier, b);
}
/** Lands at once in order -1, else when someone waits for it. */
DEV void bulk_load(void* to, const TensorMap& map, u64* barrier, int column, int row) {
    emu::BulkCopy c{(char*)to, {}, (uint64_t*)barrier, column, row};
    memcpy(&c.map, &map, sizeof c.map);
    if (c.map.magic != EmuTensorMap::MAGIC) emu::die("bulk_load: not a tensor map");
    if (emu::hopper().writer[(emu::shared_window(barrier) - emu::SHARED_START) / 16]) emu::die("bulk_load: no fence_proxy_async after mbarrier_init");
    if (emu::shared_window(to) % 1024) emu::die("bulk_load: boxes begin at multiples of 1024 bytes");
    emu::race_copy(to, c.map.box[0] * c.map.box[1] * 2);
    auto& h = emu::hopper();
    bool early = emu::st.blk->order < 0;
    for (auto& w : h.waiters) early |= w.barrier == c.barrier;
    if (early)
        emu::land(c);
    else
        h.copies.push_back(c);
}
DEV void mbarrier_wait(u64* barrier, int parity) {
    if (emu::mbarrier((uint64_t*)barrier).phase == (uint64_t)parity) emu::land_all((uint64_t*)barrier);
    if (emu::mbarrier((uint64_t*)barrier).phase == (uint64_t)parity) {
        emu::hopper().waiters.push_back({(uint64_t*)barrier, (unsigned)parity, emu::st.cur});
        emu::block();
    }
    emu::race_waited(barrier, (unsigned)parity);
}

template <int N> DEV void registers_take() { emu::registers(N); }
template <int N> DEV void registers_give() { emu::registers(N); }

#endif
