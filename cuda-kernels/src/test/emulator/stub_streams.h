// SPDX-License-Identifier: Apache-2.0
//
// Streams, events and graphs of the stub driver; included by stub_driver.cpp. All streams of a device share one
// queue, in the order of the calls.
#include <ctime>

namespace stub {
/** The device of a stream. */
static Context& context_of(void* handle) {
    Stream* s = stream(handle);
    return s && s->context ? *s->context : *current;
}
}  // namespace stub

CU cuStreamCreate(void** s, unsigned) {
    ENTER(true);
    auto n = new stub::Stream();
    n->context = stub::current;
    stub::streams.insert(n);
    *s = n;
    return 0;
}
CU cuStreamCreateWithPriority(void** s, unsigned flags, int) { return cuStreamCreate(s, flags); }
CU cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    ENTER(true);
    *least = 0;
    *greatest = -5;
    return 0;
}
CU cuStreamSynchronize(void* s) {
    ENTER(true);
    if (!stub::stream(s)) return stub::INVALID_HANDLE;
    if (stub::capturing(s)) return stub::CAPTURE_UNSUPPORTED;
    return stub::drain(stub::context_of(s));
}
CU cuStreamQuery(void* s) {
    ENTER(true);
    if (!stub::stream(s)) return stub::INVALID_HANDLE;
    stub::Context& c = stub::context_of(s);
    if (c.queue.empty()) return 0;
    if (int e = stub::step(c)) return e;
    return stub::NOT_READY;
}
CU cuStreamDestroy_v2(void* s) {
    ENTER(true);
    stub::drain();
    if (!stub::streams.erase((stub::Stream*)s)) return stub::INVALID_HANDLE;
    delete (stub::Stream*)s;
    return 0;
}
CU cuStreamWaitEvent(void* s, void* event, unsigned) {
    ENTER(true);
    auto e = (stub::Event*)event;
    if (!stub::stream(s) || !stub::events.count(e)) return stub::INVALID_HANDLE;
    if (!e->reached || stub::capturing(s)) return 0;
    auto reached = e->reached;
    stub::Context* c = e->context;
    return stub::submit(s, 5, [reached, c] {
        while (!*reached && !c->queue.empty()) stub::step(*c);
        return 0;
    });
}

CU cuEventCreate(void** e, unsigned) {
    ENTER(true);
    auto n = new stub::Event();
    stub::events.insert(n);
    *e = n;
    return 0;
}
CU cuEventRecord(void* event, void* s) {
    ENTER(true);
    auto e = (stub::Event*)event;
    if (!stub::events.count(e)) return stub::INVALID_HANDLE;
    auto reached = std::make_shared<bool>(false);
    if (!stub::capturing(s)) {
        e->recorded = true;
        e->done = false;
        e->context = &stub::context_of(s);
        e->reached = reached;
    }
    return stub::submit(s, 5, [e, reached] {
        *reached = true;
        if (stub::events.count(e)) {
            timespec t;
            clock_gettime(CLOCK_MONOTONIC, &t);
            e->time = 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
            e->recorded = e->done = true;
        }
        return 0;
    });
}
CU cuEventQuery(void* e) {
    ENTER(true);
    if (!stub::events.count((stub::Event*)e)) return stub::INVALID_HANDLE;
    if (((stub::Event*)e)->done) return 0;
    stub::Context* c = ((stub::Event*)e)->context;
    if (c && !c->queue.empty()) {
        if (int error = stub::step(*c)) return error;
    }
    return ((stub::Event*)e)->done ? 0 : stub::NOT_READY;
}
CU cuEventSynchronize(void* e) {
    ENTER(true);
    if (!stub::events.count((stub::Event*)e)) return stub::INVALID_HANDLE;
    return ((stub::Event*)e)->done ? 0 : stub::drain(*((stub::Event*)e)->context);
}
CU cuEventElapsedTime(float* ms, void* from, void* to) {
    ENTER(true);
    auto a = (stub::Event*)from, b = (stub::Event*)to;
    if (!stub::events.count(a) || !stub::events.count(b) || !a->recorded || !b->recorded) return stub::INVALID_HANDLE;
    if (!a->done || !b->done) return stub::NOT_READY;
    *ms = (float)(b->time - a->time);
    return 0;
}
CU cuEventElapsedTime_v2(float* ms, void* from, void* to) { return cuEventElapsedTime(ms, from, to); }
CU cuEventDestroy_v2(void* e) {
    ENTER(true);
    if (!stub::events.erase((stub::Event*)e)) return stub::INVALID_HANDLE;
    delete (stub::Event*)e;
    return 0;
}

// ---- Graphs: recorded work; every run works on the values that the parameters had when they were recorded, or were set to since

namespace stub {
struct Graph {
    std::vector<WorkRef> nodes;
};
/** A copy of the recorded work, and for each node of the graph its place in it. */
struct GraphExec {
    std::vector<WorkRef> nodes;
    std::map<Work*, size_t> place;
};
static std::set<Graph*> graphs;
static std::set<GraphExec*> graph_execs;

/** CUDA_KERNEL_NODE_PARAMS_v2. */
struct KernelNode {
    void* function;
    unsigned grid[3], block[3], shared;
    void** parameters;
    void** extra;
    void* kernel;
    void* context;
};

static WorkRef copy_of(const Work& w) {
    auto c = std::make_shared<Work>(w);
    c->pointers.clear();
    for (auto& v : c->values) c->pointers.push_back(v.data());
    return c;
}
}  // namespace stub

CU cuStreamBeginCapture_v2(void* handle, int) {
    ENTER(true);
    stub::Stream* s = stub::stream(handle);
    if (!s || s == &stub::default_stream) return s ? stub::CAPTURE_UNSUPPORTED : stub::INVALID_HANDLE;
    if (s->capturing) return 901;
    s->capturing = true;
    s->captured.clear();
    return 0;
}
CU cuStreamEndCapture(void* handle, void** graph) {
    ENTER(true);
    stub::Stream* s = stub::stream(handle);
    if (!s) return stub::INVALID_HANDLE;
    if (!s->capturing) return 903;
    s->capturing = false;
    auto g = new stub::Graph{std::move(s->captured)};
    s->captured.clear();
    stub::graphs.insert(g);
    *graph = g;
    return 0;
}
CU cuStreamIsCapturing(void* handle, int* status) {
    ENTER(true);
    *status = stub::capturing(handle) ? 1 : 0;
    return stub::stream(handle) ? 0 : stub::INVALID_HANDLE;
}
CU cuStreamGetCaptureInfo_v2(void* handle, int* status, unsigned long long* id, void** graph, void* const** dependencies, size_t* count) {
    ENTER(true);
    stub::Stream* s = stub::stream(handle);
    if (!s) return stub::INVALID_HANDLE;
    static thread_local void* last;
    *status = s->capturing ? 1 : 0;
    if (id) *id = 1;
    if (graph) *graph = nullptr;
    last = s->captured.empty() ? nullptr : s->captured.back().get();
    if (dependencies) *dependencies = &last;
    if (count) *count = last ? 1 : 0;
    return 0;
}
CU cuGraphGetNodes(void* graph, void** nodes, size_t* n) {
    ENTER(true);
    auto g = (stub::Graph*)graph;
    if (!stub::graphs.count(g)) return stub::INVALID_HANDLE;
    if (nodes)
        for (size_t i = 0; i < *n; i++) nodes[i] = i < g->nodes.size() ? g->nodes[i].get() : nullptr;
    if (!nodes || *n > g->nodes.size()) *n = g->nodes.size();
    return 0;
}
CU cuGraphNodeGetType(void* node, int* type) {
    ENTER(true);
    *type = ((stub::Work*)node)->type;
    return 0;
}
CU cuGraphKernelNodeGetParams_v2(void* node, stub::KernelNode* p) {
    ENTER(true);
    auto w = (stub::Work*)node;
    if (w->type) return stub::INVALID_VALUE;
    *p = {w->function, {}, {}, (unsigned)w->shared, w->pointers.data(), nullptr, nullptr, stub::current};
    memcpy(p->grid, w->grid, sizeof w->grid);
    memcpy(p->block, w->block, sizeof w->block);
    return 0;
}
CU cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
    ENTER(true);
    auto g = (stub::Graph*)graph;
    if (!stub::graphs.count(g)) return stub::INVALID_HANDLE;
    if (stub::fails("fail_graph")) return stub::OUT_OF_MEMORY;
    auto e = new stub::GraphExec();
    for (auto& n : g->nodes) {
        e->place[n.get()] = e->nodes.size();
        e->nodes.push_back(stub::copy_of(*n));
    }
    stub::graph_execs.insert(e);
    *exec = e;
    return 0;
}
CU cuGraphExecKernelNodeSetParams_v2(void* exec, void* node, const stub::KernelNode* p) {
    ENTER(true);
    auto e = (stub::GraphExec*)exec;
    if (!stub::graph_execs.count(e)) return stub::INVALID_HANDLE;
    auto at = e->place.find((stub::Work*)node);
    if (at == e->place.end() || e->nodes[at->second]->type) return stub::INVALID_VALUE;
    auto w = std::make_shared<stub::Work>();
    if (int code = stub::fill(*w, (stub::Function*)p->function, p->grid[0], p->grid[1], p->grid[2], p->block[0], p->block[1], p->block[2], p->shared,
                              p->parameters))
        return code;
    e->nodes[at->second] = w;
    return 0;
}
CU cuGraphExecUpdate_v2(void* exec, void* graph, void* info) {
    ENTER(true);
    auto e = (stub::GraphExec*)exec;
    auto g = (stub::Graph*)graph;
    if (!stub::graph_execs.count(e) || !stub::graphs.count(g)) return stub::INVALID_HANDLE;
    bool same = e->nodes.size() == g->nodes.size();
    for (size_t i = 0; same && i < g->nodes.size(); i++) same = e->nodes[i]->type == g->nodes[i]->type;
    if (info) memset(info, 0, 24);
    if (!same) return 910;
    e->place.clear();
    for (size_t i = 0; i < g->nodes.size(); i++) {
        e->place[g->nodes[i].get()] = i;
        e->nodes[i] = stub::copy_of(*g->nodes[i]);
    }
    return 0;
}
CU cuGraphUpload(void* exec, void*) {
    ENTER(true);
    return stub::graph_execs.count((stub::GraphExec*)exec) ? 0 : stub::INVALID_HANDLE;
}
CU cuGraphLaunch(void* exec, void* s) {
    ENTER(true);
    auto e = (stub::GraphExec*)exec;
    if (!stub::graph_execs.count(e)) return stub::INVALID_HANDLE;
    for (auto& n : e->nodes)
        if (int code = stub::submit(s, n)) return code;
    return 0;
}
CU cuGraphExecDestroy(void* exec) {
    ENTER(true);
    if (!stub::graph_execs.erase((stub::GraphExec*)exec)) return stub::INVALID_HANDLE;
    delete (stub::GraphExec*)exec;
    return 0;
}
CU cuGraphDestroy(void* graph) {
    ENTER(true);
    if (!stub::graphs.erase((stub::Graph*)graph)) return stub::INVALID_HANDLE;
    delete (stub::Graph*)graph;
    return 0;
}
