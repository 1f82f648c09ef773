// SPDX-License-Identifier: Apache-2.0
// A libnccl for tests without GPUs: ranks are threads of one process, device memory is memory.
// It computes what NCCL would, writes down every call, and fails when told to. If FAKE_NCCL_DRIVER
// names a CUDA driver, it waits for the stream first: its operations come after what is on it.
#include <dlfcn.h>

#include <barrier>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

struct Id { char bytes[128]; };

// What one rank asks for; all ranks must ask for the same.
struct Call {
    int kind; const void* send; void* recv; size_t count; int type, how, root;
    bool same(const Call& o) const {
        return kind == o.kind && count == o.count && type == o.type && how == o.how && root == o.root;
    }
};

struct Shared {
    int size;
    std::barrier<> gate;
    std::vector<Call> calls;
    std::vector<std::vector<char>> results;
    explicit Shared(int n) : size(n), gate(n), calls(n), results(n) {}
};

struct Comm { std::shared_ptr<Shared> shared; int rank; };

enum { ALL_REDUCE, REDUCE, REDUCE_SCATTER, BROADCAST, ALL_GATHER };

std::mutex lock;
std::map<std::string, std::shared_ptr<Shared>> communicators;
std::string calls_made, failing, last_error;
int failing_rank = -1, failing_code = 0, async_code = 0, ids = 0;
thread_local int version = 21805, depth = 0;
thread_local std::vector<std::pair<Comm*, Call>> waiting;

void note(const char* format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    std::lock_guard<std::mutex> held(lock);
    calls_made += line;
    calls_made += '\n';
}

int asked_to_fail(const char* function, int rank) {
    std::lock_guard<std::mutex> held(lock);
    if (failing != function || (failing_rank >= 0 && rank != failing_rank)) return 0;
    last_error = std::string("made up for ") + function;
    return failing_code;
}

int width(int type) {
    switch (type) {
        case 1: return 1;
        case 6: case 9: return 2;
        case 7: return 4;
        case 8: return 8;
        default: return 0;
    }
}

double get(const char* at, int type, size_t i) {
    switch (type) {
        case 6: { _Float16 v; memcpy(&v, at + 2 * i, 2); return (double)(float)v; }
        case 9: { uint16_t b; memcpy(&b, at + 2 * i, 2); uint32_t w = (uint32_t)b << 16; float f; memcpy(&f, &w, 4); return f; }
        case 7: { float f; memcpy(&f, at + 4 * i, 4); return f; }
        default: { double d; memcpy(&d, at + 8 * i, 8); return d; }
    }
}

void put(char* at, int type, size_t i, double value) {
    switch (type) {
        case 6: { _Float16 v = (_Float16)(float)value; memcpy(at + 2 * i, &v, 2); return; }
        case 9: {
            float f = (float)value;
            uint32_t w;
            memcpy(&w, &f, 4);
            w += 0x7fff + (w >> 16 & 1);
            uint16_t b = (uint16_t)(w >> 16);
            memcpy(at + 2 * i, &b, 2);
            return;
        }
        case 7: { float f = (float)value; memcpy(at + 4 * i, &f, 4); return; }
        default: memcpy(at + 8 * i, &value, 8);
    }
}

int carry_out(Comm* c, const Call& call) {
    Shared& s = *c->shared;
    s.calls[c->rank] = call;
    s.gate.arrive_and_wait();
    bool alike = true;
    for (const Call& other : s.calls) alike = alike && other.same(s.calls[0]);
    std::vector<char>& out = s.results[c->rank];
    int bytes = width(call.type);
    size_t n = call.count;
    out.clear();
    bool floating = call.type >= 6;
    bool adds = call.kind == ALL_REDUCE || call.kind == REDUCE || call.kind == REDUCE_SCATTER;
    if (alike && bytes > 0 && (floating || !adds)) {
        if (adds) {
            size_t from = call.kind == REDUCE_SCATTER ? c->rank * n : 0;
            if (call.kind != REDUCE || c->rank == call.root) {
                out.resize(n * bytes);
                for (size_t i = 0; i < n; i++) {
                    double sum = 0;
                    for (const Call& other : s.calls) sum += get((const char*)other.send, call.type, from + i);
                    put(out.data(), call.type, i, call.how == 4 ? sum / s.size : sum);
                }
            }
        } else if (call.kind == BROADCAST) {
            const char* root = (const char*)s.calls[call.root].send;
            out.assign(root, root + n * bytes);
        } else {
            for (const Call& other : s.calls) {
                const char* own = (const char*)other.send;
                out.insert(out.end(), own, own + n * bytes);
            }
        }
    } else {
        alike = false;
    }
    s.gate.arrive_and_wait();
    if (!out.empty()) memcpy(call.recv, out.data(), out.size());
    s.gate.arrive_and_wait();
    return alike ? 0 : 5;
}

// 0, or ncclUnhandledCudaError.
int wait_for(void* stream) {
    const char* driver = getenv("FAKE_NCCL_DRIVER");
    if (!driver) return 0;
    void* library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
    auto synchronize = library ? (int (*)(void*))dlsym(library, "cuStreamSynchronize") : nullptr;
    return synchronize && synchronize(stream) == 0 ? 0 : 1;
}

int ask(const char* function, Comm* c, const Call& call, void* stream) {
    note("%s rank %d: %zu of type %d, op %d, root %d, result %td bytes on, stream %p",
         function, c->rank, call.count, call.type, call.how, call.root,
         (char*)call.recv - (const char*)call.send, stream);
    int failed = asked_to_fail(function, c->rank);
    if (!failed) failed = wait_for(stream);
    if (failed) return failed;
    if (depth > 0) {
        waiting.emplace_back(c, call);
        return 0;
    }
    return carry_out(c, call);
}

}  // namespace

API int ncclGetVersion(int* v) { *v = version; return 0; }

API const char* ncclGetErrorString(int code) {
    switch (code) {
        case 0: return "no error";
        case 1: return "unhandled cuda error";
        case 5: return "invalid usage";
        case 6: return "remote process exited or there was a network error";
        default: return "internal error";
    }
}

API const char* ncclGetLastError(Comm*) { return last_error.c_str(); }

API int ncclGetUniqueId(Id* id) {
    note("ncclGetUniqueId");
    int failed = asked_to_fail("ncclGetUniqueId", 0);
    memset(id->bytes, 0, sizeof id->bytes);
    snprintf(id->bytes, sizeof id->bytes, "communicator %d", ++ids);
    id->bytes[127] = 77;  // the end must arrive, too
    return failed;
}

API int ncclCommInitRank(Comm** comm, int size, Id id, int rank) {
    note("ncclCommInitRank rank %d of %d: %s", rank, size, id.bytes);
    int failed = asked_to_fail("ncclCommInitRank", rank);
    if (failed) return failed;
    if (id.bytes[127] != 77 || rank < 0 || rank >= size) return 4;
    std::lock_guard<std::mutex> held(lock);
    std::shared_ptr<Shared>& shared = communicators[id.bytes];
    if (!shared) shared = std::make_shared<Shared>(size);
    *comm = new Comm{shared, rank};
    return 0;
}

API int ncclCommDestroy(Comm* c) { note("ncclCommDestroy rank %d", c->rank); delete c; return 0; }
API int ncclCommAbort(Comm* c) { note("ncclCommAbort rank %d", c->rank); delete c; return 0; }

API int ncclCommGetAsyncError(Comm*, int* code) {
    std::lock_guard<std::mutex> held(lock);
    *code = async_code;
    return 0;
}

API int ncclGroupStart() { note("ncclGroupStart"); depth++; return 0; }

API int ncclGroupEnd() {
    note("ncclGroupEnd");
    if (--depth > 0) return 0;
    int result = 0;
    std::vector<std::pair<Comm*, Call>> all;
    all.swap(waiting);
    for (auto& [c, call] : all) {
        int one = carry_out(c, call);
        result = result ? result : one;
    }
    return result;
}

API int ncclAllReduce(const void* send, void* recv, size_t n, int type, int op, Comm* c, void* stream) {
    return ask("ncclAllReduce", c, {ALL_REDUCE, send, recv, n, type, op, -1}, stream);
}
API int ncclReduce(const void* send, void* recv, size_t n, int type, int op, int root, Comm* c, void* stream) {
    return ask("ncclReduce", c, {REDUCE, send, recv, n, type, op, root}, stream);
}
API int ncclReduceScatter(const void* send, void* recv, size_t n, int type, int op, Comm* c, void* stream) {
    return ask("ncclReduceScatter", c, {REDUCE_SCATTER, send, recv, n, type, op, -1}, stream);
}
API int ncclBroadcast(const void* send, void* recv, size_t n, int type, int root, Comm* c, void* stream) {
    return ask("ncclBroadcast", c, {BROADCAST, send, recv, n, type, -1, root}, stream);
}
API int ncclAllGather(const void* send, void* recv, size_t n, int type, Comm* c, void* stream) {
    return ask("ncclAllGather", c, {ALL_GATHER, send, recv, n, type, -1, -1}, stream);
}

// ---- for the tests

API void fake_nccl_reset() {
    std::lock_guard<std::mutex> held(lock);
    calls_made.clear();
    failing.clear();
    last_error.clear();
    failing_rank = -1;
    failing_code = async_code = 0;
}
API const char* fake_nccl_calls() { return calls_made.c_str(); }
API void fake_nccl_fail(const char* function, int rank, int code) {
    std::lock_guard<std::mutex> held(lock);
    failing = function;
    failing_rank = rank;
    failing_code = code;
}
API void fake_nccl_async(int code) {
    std::lock_guard<std::mutex> held(lock);
    async_code = code;
}
API void fake_nccl_version(int v) { version = v; }  // of the calling thread
