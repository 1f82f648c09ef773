// SPDX-License-Identifier: Apache-2.0
//
// A libcuda.so.1 for machines without a GPU: the functions of the driver API that this module calls, over the emulator. Device memory is host memory with
// guard bytes, filled with 0xff when it is allocated. A kernel image is the line "sfumato-emulator FAMILY"; its kernels are in FAMILY.so beside this
// library. Work is done late, as on a device: launches, fills and copies are queued and run, in order, when something waits for them.
//
// Settings, by environment variables at the start (SFUMATO_EMU_THREADS=2 ...) or by emu_set("threads", 2):
//   threads, order (1, -1, 2), async (0: work is done at once), devices, memory (bytes per device), capability (90), multiprocessors,
//   compute (0 from the start: launches are taken and nothing is done, to see the host's own time), init (what cuInit answers), version (of the driver), fail_alloc, fail_load, fail_graph,
//   fail_peer, fail_launch (n: the n-th allocation, module, graph, copy between devices from now on fails with 2; launch with 700, which stays),
//   peers (whether devices can read one another's memory)
// Figures by emu_get: the settings, and live, live_count, peak, allocations, launches, queued, error, events (that exist), retained (contexts), staged (copies
// between devices that are not connected).
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "emu_api.h"

#define CU extern "C" __attribute__((visibility("default"))) int

typedef unsigned long long dptr;

namespace stub {

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
       FILE_NOT_FOUND = 301, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, TOO_MANY_RESOURCES = 701,
       LAUNCH_FAILED = 719, INVALID_CLUSTER_SIZE = 912, CAPTURE_UNSUPPORTED = 900 };

static const size_t GUARD = 256;
static const unsigned char GUARD_BYTE = 0xa5;
static const int MOST_DEVICES = 8;
static const long SHARED_MOST = 232448, SHARED_FREE = 48 << 10;

static std::recursive_mutex lock;

static std::map<std::string, long>& settings() {
    static std::map<std::string, long> s = [] {
        std::map<std::string, long> m{{"threads", 2},      {"order", 1},  {"async", 1},       {"devices", 1},    {"memory", 4l << 30}, {"capability", 90},
                                      {"multiprocessors", 4}, {"init", 0}, {"version", 13000}, {"fail_alloc", 0}, {"fail_launch", 0}, {"compute", 1},
                                      {"fail_load", 0},       {"fail_graph", 0},  {"fail_peer", 0}, {"peers", 1}};
        for (auto& [k, v] : m) {
            std::string name = "SFUMATO_EMU_" + k;
            std::transform(name.begin(), name.end(), name.begin(), ::toupper);
            if (const char* e = getenv(name.c_str())) v = atol(e);
        }
        return m;
    }();
    return s;
}
static long setting(const char* name) { return settings()[name]; }
/** Whether a call is the one that is to fail. */
static bool fails(const char* name) {
    long& countdown = settings()[name];
    return countdown > 0 && --countdown == 0;
}

// ---- Devices and contexts

struct Work;

/** A device with the work that waits for it. Devices do not wait for one another unless an event says so. */
struct Context {
    int device;
    long used = 0;
    std::deque<std::shared_ptr<Work>> queue{};
};
static Context contexts[MOST_DEVICES] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
static thread_local Context* current = nullptr;
static bool initialised = false;
static int sticky = 0;
static std::string message;
static long launches = 0, allocations = 0, peak = 0, retained = 0, staged = 0;
static std::set<std::pair<Context*, Context*>> connected;  // a device and one whose memory it can read

/** The devices that CUDA_VISIBLE_DEVICES leaves. */
static int device_count() {
    int n = (int)std::min<long>(setting("devices"), MOST_DEVICES), shown = 0;
    const char* visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!visible) return n;
    std::set<long> seen;
    for (const char* p = visible; *p;) {
        char* end;
        long i = strtol(p, &end, 10);
        if (end == p || i < 0 || i >= n || !seen.insert(i).second) break;
        shown++;
        p = *end == ',' ? end + 1 : end;
        if (end == p && *end) break;
    }
    return shown;
}

static int fail(int code, const std::string& why) {
    message = why;
    if (code >= 700 && code != TOO_MANY_RESOURCES && code < 800) {
        sticky = code;
        fprintf(stderr, "emulator: %s\n", why.c_str());
    }
    return code;
}

/** What keeps a call from starting: an earlier error, no cuInit, no context. */
static int entered(bool context = true) {
    if (sticky) return sticky;
    if (!initialised) return NOT_INITIALIZED;
    return context && !current ? INVALID_CONTEXT : 0;
}

#define ENTER(context)                                     \
    std::lock_guard<std::recursive_mutex> guard(stub::lock); \
    if (int e = stub::entered(context)) return e

// ---- Memory

struct Allocation {
    size_t size;
    Context* context;
};
static std::map<dptr, Allocation> live;
static std::map<uintptr_t, size_t> pinned;

static bool guards_intact(dptr p, size_t n) {
    const unsigned char* q = (const unsigned char*)p;
    for (size_t i = 0; i < GUARD; i++)
        if (q[n + i] != GUARD_BYTE || q[i - GUARD] != GUARD_BYTE) return false;
    return true;
}

static bool on_device(dptr p, size_t n) {
    auto it = live.upper_bound(p);
    if (it == live.begin()) return false;
    --it;
    return p + n <= it->first + it->second.size;
}

static bool is_pinned(const void* p) {
    auto it = pinned.upper_bound((uintptr_t)p);
    if (it == pinned.begin()) return false;
    --it;
    return (uintptr_t)p < it->first + it->second;
}

static int allocate(dptr* p, size_t n) {
    if (!n) return INVALID_VALUE;
    if (fails("fail_alloc")) return OUT_OF_MEMORY;
    if (current->used + (long)n > setting("memory")) return OUT_OF_MEMORY;
    size_t whole = (n + 3 * GUARD) / GUARD * GUARD;
    char* q = (char*)aligned_alloc(GUARD, whole);
    if (!q) return OUT_OF_MEMORY;
    memset(q, GUARD_BYTE, whole);
    memset(q + GUARD, 0xff, n);
    *p = (dptr)(q + GUARD);
    live[*p] = {n, current};
    current->used += (long)n;
    allocations++;
    long all = 0;
    for (auto& c : contexts) all += c.used;
    peak = std::max(peak, all);
    return 0;
}

static int release(dptr p) {
    if (!p) return 0;
    auto it = live.find(p);
    if (it == live.end()) return INVALID_VALUE;
    size_t n = it->second.size;
    bool intact = guards_intact(p, n);
    it->second.context->used -= (long)n;
    live.erase(it);
    free((char*)p - GUARD);
    return intact ? 0 : fail(ILLEGAL_ADDRESS, "write outside an allocation of " + std::to_string(n) + " bytes");
}

// ---- Streams: work that waits

struct Function {
    const EmuKernel* kernel;
    std::string name;
    long most_shared = SHARED_FREE;
    Context* context = nullptr;
};

/** A launch with its arguments' values. */
struct Work {
    int type = 5;  // CUgraphNodeType: 0 kernel, 1 memcpy, 2 memset, 5 empty
    std::function<int()> run;
    Function* function = nullptr;
    unsigned grid[3], block[3];
    size_t shared = 0;
    std::vector<std::vector<char>> values;
    std::vector<void*> pointers;
};
typedef std::shared_ptr<Work> WorkRef;

struct Stream {
    Context* context = nullptr;  // of the default stream: the current one
    bool capturing = false;
    std::vector<WorkRef> captured;
};
struct Event {
    bool recorded = false, done = true;
    double time = 0;
    Context* context = nullptr;           // where it was recorded last
    std::shared_ptr<bool> reached{};      // whether that has been reached
};
static Stream default_stream;
static std::set<Stream*> streams;
static std::set<Event*> events;

static int execute(Work& w) {
    if (sticky) return sticky;
    if (w.run) return w.run();
    if (!w.function) return 0;
    char text[500] = "";
    if (w.function->kernel->launch(w.function->kernel, w.grid, w.block, w.shared, w.pointers.data(), (int)setting("threads"), (int)setting("order"),
                                   (int)setting("capability"), text, sizeof text))
        return fail(LAUNCH_FAILED, w.function->name + ": " + text);
    return 0;
}

/** Does the next work of a device. */
static int step(Context& c) {
    WorkRef w = c.queue.front();
    c.queue.pop_front();
    return execute(*w);
}

static int drain(Context& c) {
    while (!c.queue.empty()) step(c);
    return sticky;
}

static int drain() {
    for (auto& c : contexts) drain(c);
    return sticky;
}

static size_t queued() {
    size_t n = 0;
    for (auto& c : contexts) n += c.queue.size();
    return n;
}

static Stream* stream(void* s) {
    if (!s || s == (void*)1 || s == (void*)2) return &default_stream;
    return streams.count((Stream*)s) ? (Stream*)s : nullptr;
}

static int submit(void* handle, WorkRef w) {
    Stream* s = stream(handle);
    if (!s || !current || (s->context && s->context != current)) return INVALID_HANDLE;
    if (s->capturing) {
        s->captured.push_back(w);
        return 0;
    }
    static const bool compute = setting("compute");
    if (!compute) return 0;
    current->queue.push_back(w);
    return !setting("async") || current->queue.size() > 256 ? drain(*current) : 0;
}

static int submit(void* handle, int type, std::function<int()> run) {
    auto w = std::make_shared<Work>();
    w->type = type;
    w->run = std::move(run);
    return submit(handle, w);
}

static bool capturing(void* handle) {
    Stream* s = stream(handle);
    return s && s->capturing;
}

// ---- Modules

struct Module {
    std::vector<const EmuKernel* (*)(const char*)> finders;
    std::map<std::string, std::unique_ptr<Function>> functions;
};
static std::set<Module*> modules;

static std::string folder() {
    Dl_info info;
    if (!dladdr((void*)&folder, &info)) return ".";
    std::string path = info.dli_fname;
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

static int load(void** out, const char* image) {
    static const char MARK[] = "sfumato-emulator ";
    if (strncmp(image, MARK, sizeof MARK - 1)) return fail(INVALID_IMAGE, "the emulator runs only images made for it, no PTX and no machine code");
    std::string family(image + sizeof MARK - 1);
    family = family.substr(0, family.find_first_of("\r\n"));
    std::string path = folder() + "/" + family + ".so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) return fail(FILE_NOT_FOUND, dlerror());
    auto m = new Module();
    m->finders.push_back((const EmuKernel* (*)(const char*))dlsym(library, "emu_find"));
    modules.insert(m);
    *out = m;
    return 0;
}

static int function(void** out, Module* m, const char* name) {
    if (!modules.count(m)) return INVALID_HANDLE;
    auto& f = m->functions[name];
    if (!f) {
        const EmuKernel* k = nullptr;
        for (auto find : m->finders)
            if (!k) k = find(name);
        if (!k) {
            m->functions.erase(name);
            return NOT_FOUND;
        }
        f = std::make_unique<Function>(Function{k, name, SHARED_FREE, current});
    }
    *out = f.get();
    return 0;
}

static int check_launch(const Work& w) {
    unsigned long long threads = (unsigned long long)w.block[0] * w.block[1] * w.block[2];
    for (int i = 0; i < 3; i++)
        if (!w.grid[i] || !w.block[i] || (i && w.grid[i] > 65535)) return INVALID_VALUE;
    if (threads > 1024 || w.block[2] > 64 || w.grid[0] > 0x7fffffffu) return INVALID_VALUE;
    if (threads > w.function->kernel->most_threads) return fail(TOO_MANY_RESOURCES, w.function->name + ": more threads than its launch bounds");
    if (w.grid[0] % w.function->kernel->cluster) return fail(INVALID_CLUSTER_SIZE, w.function->name + ": a grid of parts of clusters");
    return (long)w.shared > std::max(w.function->most_shared, 0l) ? INVALID_VALUE : 0;
}

static int fill(Work& w, Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void** args) {
    w.type = 0;
    w.function = f;
    unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
    memcpy(w.grid, grid, sizeof grid);
    memcpy(w.block, block, sizeof block);
    w.shared = shared;
    w.values.clear();
    w.pointers.clear();
    for (unsigned i = 0; i < f->kernel->parameters; i++) {
        if (!args || !args[i]) return INVALID_VALUE;
        w.values.emplace_back((char*)args[i], (char*)args[i] + f->kernel->sizes[i]);
    }
    for (auto& v : w.values) w.pointers.push_back(v.data());
    return check_launch(w);
}

}  // namespace stub

#include "stub_memory.h"
#include "stub_streams.h"
#include "stub_maps.h"

using namespace stub;

// ---- Settings and figures

CU emu_set(const char* name, long value) {
    std::lock_guard<std::recursive_mutex> guard(stub::lock);
    drain();
    auto it = settings().find(name);
    if (it == settings().end()) return INVALID_VALUE;
    it->second = value;
    return 0;
}

extern "C" __attribute__((visibility("default"))) long emu_get(const char* name) {
    std::lock_guard<std::recursive_mutex> guard(stub::lock);
    std::string n = name;
    long used = 0;
    for (auto& c : contexts) used += c.used;
    if (n == "live") return used;
    if (n == "live_count") return (long)live.size();
    if (n == "peak") return peak;
    if (n == "allocations") return allocations;
    if (n == "launches") return launches;
    if (n == "queued") return (long)queued();
    if (n == "error") return sticky;
    if (n == "events") return (long)events.size();
    if (n == "retained") return retained;
    if (n == "staged") return staged;
    auto it = settings().find(n);
    return it == settings().end() ? -1 : it->second;
}

/** Forgets an error that would stay, and what waits; returns the number of allocations whose guard bytes were written. */
CU emu_reset() {
    std::lock_guard<std::recursive_mutex> guard(stub::lock);
    sticky = 0;
    long all = 0;
    for (auto& c : contexts) {
        c.queue.clear();
        all += c.used;
    }
    peak = all;
    int broken = 0;
    for (auto& [p, a] : live) broken += !guards_intact(p, a.size);
    return broken;
}

/** What went wrong last, in words. */
extern "C" __attribute__((visibility("default"))) const char* emu_message() { return message.c_str(); }

// ---- Devices

CU cuInit(unsigned flags) {
    std::lock_guard<std::recursive_mutex> guard(stub::lock);
    if (flags) return INVALID_VALUE;
    if (long e = setting("init")) return (int)e;
    if (device_count() == 0) return NO_DEVICE;
    initialised = true;
    return 0;
}
CU cuDriverGetVersion(int* v) {
    *v = (int)setting("version");
    return 0;
}
CU cuDeviceGetCount(int* n) {
    ENTER(false);
    *n = device_count();
    return 0;
}
CU cuDeviceGet(int* d, int i) {
    ENTER(false);
    if (i < 0 || i >= device_count()) return INVALID_DEVICE;
    *d = i;
    return 0;
}
CU cuDeviceGetName(char* s, int n, int d) {
    ENTER(false);
    snprintf(s, (size_t)n, "host emulator %d", d);
    return 0;
}
CU cuDeviceGetUuid(unsigned char* u, int d) {
    ENTER(false);
    memset(u, 0xe0 + d, 16);
    return 0;
}
CU cuDeviceGetUuid_v2(unsigned char* u, int d) { return cuDeviceGetUuid(u, d); }
CU cuDeviceTotalMem_v2(size_t* n, int) {
    ENTER(false);
    *n = (size_t)setting("memory");
    return 0;
}
CU cuDeviceGetAttribute(int* v, int a, int d) {
    ENTER(false);
    if (d < 0 || d >= MOST_DEVICES) return INVALID_DEVICE;
    static const std::map<int, long> H100{{1, 1024},     {2, 1024},    {3, 1024},     {4, 64},       {5, 2147483647}, {6, 65535},  {7, 65535}, {8, 49152},
                                          {9, 65536},    {10, 32},     {11, 65536},   {12, 65536},   {13, 1980000},   {15, 1},     {20, 0},    {31, 1},
                                          {36, 2619000}, {37, 5120},   {38, 52428800}, {39, 2048},   {40, 3},         {41, 1},     {81, 233472}, {82, 65536},
                                          {95, 1},       {97, SHARED_MOST}, {106, 32}, {111, 1024},  {115, 1}};
    long c = setting("capability");
    if (a == 16) {
        *v = (int)setting("multiprocessors");
    } else if (a == 75 || a == 76) {
        *v = (int)(a == 75 ? c / 10 : c % 10);
    } else {
        auto it = H100.find(a);
        *v = it == H100.end() ? 0 : (int)it->second;
    }
    return 0;
}
CU cuDeviceCanAccessPeer(int* can, int a, int b) {
    ENTER(false);
    *can = a != b && setting("peers");
    return 0;
}
CU cuCtxEnablePeerAccess(void* peer, unsigned flags) {
    ENTER(true);
    if (flags || peer == current || !setting("peers")) return INVALID_VALUE;
    return connected.insert({current, (Context*)peer}).second ? 0 : 704;
}
CU cuDevicePrimaryCtxRetain(void** c, int d) {
    ENTER(false);
    if (d < 0 || d >= device_count()) return INVALID_DEVICE;
    *c = &contexts[d];
    retained++;
    return 0;
}
CU cuDevicePrimaryCtxRelease_v2(int) {
    retained--;
    return 0;
}
CU cuDevicePrimaryCtxSetFlags_v2(int, unsigned) { return 0; }
CU cuCtxSetCurrent(void* c) {
    ENTER(false);
    current = (Context*)c;
    return 0;
}
CU cuCtxGetCurrent(void** c) {
    ENTER(false);
    *c = current;
    return 0;
}
CU cuCtxGetDevice(int* d) {
    ENTER(true);
    *d = current->device;
    return 0;
}
CU cuCtxSynchronize() {
    ENTER(true);
    return drain(*current);
}

// ---- Modules and launches

CU cuModuleLoadData(void** m, const void* image) {
    ENTER(true);
    return image ? load(m, (const char*)image) : INVALID_VALUE;
}
CU cuModuleLoadDataEx(void** m, const void* image, unsigned n, int* options, void** values) {
    ENTER(true);
    int e = fails("fail_load") ? fail(OUT_OF_MEMORY, "no memory, as asked for") : image ? load(m, (const char*)image) : INVALID_VALUE;
    char* log = nullptr;
    for (unsigned i = 0; i < n; i++)
        if (options[i] == 5) log = (char*)values[i];  // CU_JIT_ERROR_LOG_BUFFER
    for (unsigned i = 0; i < n; i++)
        if (e && log && options[i] == 6) snprintf(log, (size_t)(uintptr_t)values[i], "%s", message.c_str());
    return e;
}
CU cuModuleUnload(void* m) {
    ENTER(true);
    drain();
    if (!modules.erase((Module*)m)) return INVALID_HANDLE;
    delete (Module*)m;
    return 0;
}
CU cuModuleGetFunction(void** f, void* m, const char* name) {
    ENTER(true);
    return function(f, (Module*)m, name);
}
CU cuFuncSetAttribute(void* f, int attribute, int value) {
    ENTER(true);
    if (attribute == 8) {
        if (value < 0 || value > SHARED_MOST) return INVALID_VALUE;
        ((Function*)f)->most_shared = value;
    }
    return 0;
}
CU cuFuncGetAttribute(int* v, int attribute, void* f) {
    ENTER(true);
    *v = attribute == 0 ? (int)((Function*)f)->kernel->most_threads : attribute == 8 ? (int)((Function*)f)->most_shared : 0;
    return 0;
}
CU cuFuncSetCacheConfig(void*, int) { return 0; }
CU cuFuncGetParamInfo(void* f, size_t i, size_t* offset, size_t* size) {
    ENTER(true);
    const EmuKernel* k = ((Function*)f)->kernel;
    if (i >= k->parameters) return INVALID_VALUE;
    size_t at = 0;
    for (size_t j = 0; j <= i; j++) {
        size_t a = k->alignments[j];
        at = (at + a - 1) / a * a;
        if (j < i) at += k->sizes[j];
    }
    *offset = at;
    if (size) *size = k->sizes[i];
    return 0;
}
CU cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, void* f, int threads, size_t shared) {
    ENTER(true);
    if (threads < 1 || threads > (int)((Function*)f)->kernel->most_threads) return INVALID_VALUE;
    *n = std::min(2048 / threads, (int)((SHARED_MOST + 1024) / ((long)shared + 1024)));
    return 0;
}
CU cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* s, void** args, void**) {
    ENTER(true);
    if (!f || ((Function*)f)->context != current) return INVALID_HANDLE;
    auto w = std::make_shared<Work>();
    if (int e = fill(*w, (Function*)f, gx, gy, gz, bx, by, bz, shared, args)) return e;
    launches++;
    if (fails("fail_launch")) {
        std::string name = ((Function*)f)->name;
        w->function = nullptr;
        w->run = [name] { return fail(ILLEGAL_ADDRESS, name + ": an illegal address, as asked for"); };
    }
    return submit(s, w);
}

// ---- Errors

static const char* const NAMES[][3] = {{"0", "CUDA_SUCCESS", "no error"},
                                       {"1", "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
                                       {"2", "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
                                       {"3", "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
                                       {"100", "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
                                       {"101", "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
                                       {"200", "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
                                       {"201", "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
                                       {"301", "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
                                       {"400", "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
                                       {"500", "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
                                       {"600", "CUDA_ERROR_NOT_READY", "device not ready"},
                                       {"700", "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
                                       {"701", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
                                       {"719", "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
                                       {"803", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
                                       {"912", "CUDA_ERROR_INVALID_CLUSTER_SIZE", "invalid cluster size"},
                                       {"900", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"}};
static int named(int e, const char** s, int column) {
    for (auto& n : NAMES)
        if (atoi(n[0]) == e) {
            *s = n[column];
            return 0;
        }
    *s = nullptr;
    return INVALID_VALUE;
}
CU cuGetErrorName(int e, const char** s) { return named(e, s, 1); }
CU cuGetErrorString(int e, const char** s) { return named(e, s, 2); }
