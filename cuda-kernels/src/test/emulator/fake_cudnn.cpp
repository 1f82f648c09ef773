// SPDX-License-Identifier: Apache-2.0
//
// The functions of cuDNN's backend that convolutions use, for machines without a GPU: graphs of one convolution, and of one with a bias after it, computed
// on the host after all work that waits on the stream. Attributes are checked for the type, the number of values and the state of their descriptor.
// Compiled as libcudnn.so.9. Its engines:
//   0  rounds f32 to tf32 (and says so)
//   1  says that its digits vary from run to run
//   2  serves everything and needs a workspace
//   3  refuses when its plan is made
//   4  wants more memory to work in than anybody grants
//   5  serves everything; only the fallback names it
// The heuristics name 3, 0, 1, 4, 2; of f32 with a bias nothing; of more than one group engine 1 as the fallback only; of a stride 3 engine 5 so.
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {
enum { SUCCESS = 0, BAD = 2000, NOT_FINAL = 2004, BAD_TYPE = 2010, NOT_SUPPORTED = 3000 };
enum { HANDLE = 0, DATA_TYPE = 1, BOOLEAN = 2, INT64 = 3, FLOAT = 4, POINTER = 6, CONV_MODE = 7, HEUR_MODE = 8, NOTE = 11, PW_MODE = 14, DESC = 15 };
enum { PW = 0, CONV = 1, ENGINE = 2, CONFIG = 3, HEUR = 4, PLAN = 5, FORWARD = 10, WEIGHT = 11, INPUT = 12, ADD = 13, GRAPH = 15, PACK = 16, TENSOR = 17 };
enum { F32 = 0, F16 = 2, BF16 = 9 };

struct Attribute {
    int type;
    int64_t count;
    std::vector<char> bytes;
};
struct Desc {
    int type;
    bool final = false;
    std::map<int, Attribute> with{};

    template <typename T>
    T* all(int a) {
        return (T*)with.at(a).bytes.data();
    }
    int64_t number(int a, int i = 0) { return all<int64_t>(a)[i]; }
    int choice(int a) { return *all<int>(a); }
    Desc* to(int a, int i = 0) { return all<Desc*>(a)[i]; }
    bool has(int a) { return with.count(a) > 0; }
};
struct Handle {
    void* stream;
};

std::set<Desc*> alive;
std::string message;

int fail(int status, const std::string& why) {
    message = why;
    return status;
}

size_t size(int type) {
    return type == BOOLEAN ? 1 : type == HANDLE || type == INT64 || type == POINTER || type == DESC ? 8 : 4;
}

/** The descriptor, type and number of values (0: 1 to 8) of what may be set. */
struct Rule {
    int desc, type, count;
};
const std::map<int, Rule> RULES = {
    {0, {PW, PW_MODE, 1}},        {1, {PW, DATA_TYPE, 1}},      {100, {CONV, DATA_TYPE, 1}},  {101, {CONV, CONV_MODE, 1}}, {102, {CONV, INT64, 2}},
    {103, {CONV, INT64, 2}},      {104, {CONV, INT64, 2}},      {105, {CONV, INT64, 2}},      {106, {CONV, INT64, 1}},     {200, {HEUR, HEUR_MODE, 1}},
    {201, {HEUR, DESC, 1}},       {400, {PLAN, HANDLE, 1}},     {401, {PLAN, DESC, 1}},       {700, {FORWARD, FLOAT, 1}},  {701, {FORWARD, FLOAT, 1}},
    {702, {FORWARD, DESC, 1}},    {703, {FORWARD, DESC, 1}},    {704, {FORWARD, DESC, 1}},    {705, {FORWARD, DESC, 1}},   {706, {INPUT, FLOAT, 1}},
    {707, {INPUT, FLOAT, 1}},     {708, {INPUT, DESC, 1}},      {709, {INPUT, DESC, 1}},      {710, {INPUT, DESC, 1}},     {711, {INPUT, DESC, 1}},
    {712, {WEIGHT, FLOAT, 1}},    {713, {WEIGHT, FLOAT, 1}},    {714, {WEIGHT, DESC, 1}},     {715, {WEIGHT, DESC, 1}},    {716, {WEIGHT, DESC, 1}},
    {717, {WEIGHT, DESC, 1}},     {750, {ADD, DESC, 1}},        {751, {ADD, DESC, 1}},        {752, {ADD, DESC, 1}},       {753, {ADD, DESC, 1}},
    {800, {GRAPH, HANDLE, 1}},    {801, {GRAPH, DESC, 0}},      {900, {TENSOR, INT64, 1}},    {901, {TENSOR, DATA_TYPE, 1}}, {902, {TENSOR, INT64, 4}},
    {903, {TENSOR, INT64, 4}},    {906, {TENSOR, INT64, 1}},    {907, {TENSOR, BOOLEAN, 1}},  {1000, {PACK, INT64, 0}},    {1001, {PACK, POINTER, 0}},
    {1003, {PACK, POINTER, 1}}};

/** What must be there when a descriptor is made final. */
const std::map<int, std::vector<int>> NEEDED = {
    {PW, {0, 1}},   {CONV, {100, 101, 102, 103, 104, 105, 106}}, {HEUR, {200, 201}}, {PLAN, {400, 401}}, {FORWARD, {700, 701, 702, 703, 704, 705}},
    {INPUT, {706, 707, 708, 709, 710, 711}}, {WEIGHT, {712, 713, 714, 715, 716, 717}}, {ADD, {750, 751, 752, 753}}, {GRAPH, {800, 801}},
    {TENSOR, {900, 901, 902, 903, 906}}, {PACK, {1000, 1001, 1003}}};

/** Which descriptor an attribute refers to. */
int referred(int a) {
    if (a == 201) return GRAPH;
    if (a == 401) return CONFIG;
    if (a == 702 || a == 708 || a == 714) return CONV;
    if (a == 750) return PW;
    return a == 801 ? -1 : TENSOR;
}

struct Roles {
    Desc *x, *w, *y, *how;
};

Roles roles(Desc* o) {
    switch (o->type) {
        case FORWARD: return {o->to(704), o->to(703), o->to(705), o->to(702)};
        case INPUT: return {o->to(710), o->to(709), o->to(711), o->to(708)};
        default: return {o->to(716), o->to(715), o->to(717), o->to(714)};
    }
}

bool valid(Desc* o) {
    if (o->type == ADD) {
        Desc *x = o->to(751), *b = o->to(752), *y = o->to(753);
        return b->number(902) == 1 && b->number(902, 1) == y->number(902, 1) && b->number(902, 2) == 1 && b->number(902, 3) == 1 &&
               !memcmp(x->all<char>(902), y->all<char>(902), 32) && o->to(750)->choice(0) == 0;
    }
    auto [x, w, y, how] = roles(o);
    if (x->number(902) != y->number(902) || w->number(902) != y->number(902, 1) || x->number(902, 1) % w->number(902, 1) || how->number(106) != 2) return false;
    for (int a = 0; a < 2; a++) {
        int64_t room = x->number(902, 2 + a) + how->number(105, a) + how->number(104, a) - how->number(102, a) * (w->number(902, 2 + a) - 1) - 1;
        if (room / how->number(103, a) + 1 != y->number(902, 2 + a)) return false;
    }
    return how->choice(100) == F32 && how->choice(101) == 1;
}

double get(const void* p, int type, int64_t i) {
    if (type == F32) return ((const float*)p)[i];
    if (type == F16) return (double)((const _Float16*)p)[i];
    uint32_t u = (uint32_t)((const uint16_t*)p)[i] << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

void put(void* p, int type, int64_t i, double x) {
    float f = (float)x;
    if (type == F32) {
        ((float*)p)[i] = f;
    } else if (type == F16) {
        ((_Float16*)p)[i] = (_Float16)f;
    } else {
        uint32_t u;
        memcpy(&u, &f, 4);
        ((uint16_t*)p)[i] = (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
    }
}

float tf32(double x) {
    float f = (float)x;
    uint32_t u;
    memcpy(&u, &f, 4);
    u = (u + 0x1000u) & ~0x1fffu;
    memcpy(&f, &u, 4);
    return f;
}

/** A tensor in memory. */
struct View {
    Desc* d;
    void* p;
    bool round;

    int64_t at(int64_t a, int64_t b, int64_t c, int64_t e) const {
        return a * d->number(903) + b * d->number(903, 1) + c * d->number(903, 2) + e * d->number(903, 3);
    }
    double operator()(int64_t i) const {
        double v = get(p, d->choice(901), i);
        return round && d->choice(901) == F32 ? tf32(v) : v;
    }
};

/** All products x w y of a convolution: f(place in x, place in w, place in y). */
template <typename F>
void walk(const Roles& r, const View& x, const View& w, const View& y, F f) {
    int64_t groups = r.x->number(902, 1) / r.w->number(902, 1);
    int64_t in = r.w->number(902, 1), out = r.w->number(902) / groups;
    for (int64_t n = 0; n < r.x->number(902); n++)
        for (int64_t k = 0; k < r.w->number(902); k++)
            for (int64_t p = 0; p < r.y->number(902, 2); p++)
                for (int64_t q = 0; q < r.y->number(902, 3); q++)
                    for (int64_t c = 0; c < in; c++)
                        for (int64_t i = 0; i < r.w->number(902, 2); i++)
                            for (int64_t j = 0; j < r.w->number(902, 3); j++) {
                                int64_t row = p * r.how->number(103) - r.how->number(105) + i * r.how->number(102);
                                int64_t column = q * r.how->number(103, 1) - r.how->number(105, 1) + j * r.how->number(102, 1);
                                if (row >= 0 && row < r.x->number(902, 2) && column >= 0 && column < r.x->number(902, 3))
                                    f(x.at(n, k / out * in + c, row, column), w.at(k, c, i, j), y.at(n, k, p, q));
                            }
}

int wait(void* stream) {
    static auto synchronize = [] {
        void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
        return driver ? (int (*)(void*))dlsym(driver, "cuStreamSynchronize") : nullptr;
    }();
    return synchronize ? synchronize(stream) : BAD;
}

int64_t elements(Desc* t) { return t->number(902) * t->number(902, 1) * t->number(902, 2) * t->number(902, 3); }

bool fused(Desc* graph) { return graph->with.at(801).count > 1; }

std::vector<int> engines(Desc* heuristic) {
    Desc* graph = heuristic->to(201);
    auto [x, w, y, how] = roles(graph->to(801));
    bool fallback = heuristic->choice(200) == 2;
    if (x->number(902, 1) != w->number(902, 1)) return fallback ? std::vector<int>{1} : std::vector<int>{};
    if (how->number(103) == 3) return fallback ? std::vector<int>{5} : std::vector<int>{3};
    return fallback ? std::vector<int>{} : std::vector<int>{3, 0, 1, 4, 2};
}

std::vector<int> notes(int engine) {
    switch (engine) {
        case 0: return {0, 1};
        case 1: return {4};
        default: return {};
    }
}
}  // namespace

extern "C" {
/** Descriptors that have not been freed. */
int fake_cudnn_alive() { return (int)alive.size(); }

size_t cudnnGetVersion() { return 91400; }
void cudnnGetLastErrorString(char* to, size_t most) {
    strncpy(to, message.c_str(), most - 1);
    to[most - 1] = 0;
}
int cudnnCreate(Handle** h) {
    *h = new Handle{};
    return SUCCESS;
}
int cudnnSetStream(Handle* h, void* stream) {
    h->stream = stream;
    return SUCCESS;
}

int cudnnBackendCreateDescriptor(int type, Desc** d) {
    if (!NEEDED.count(type) && type != ENGINE && type != CONFIG) return fail(BAD, "no such descriptor");
    *d = new Desc{type};
    alive.insert(*d);
    return SUCCESS;
}

int cudnnBackendDestroyDescriptor(Desc* d) {
    if (!alive.erase(d)) return fail(BAD, "not alive");
    delete d;
    return SUCCESS;
}

int cudnnBackendSetAttribute(Desc* d, int attribute, int type, int64_t count, const void* values) {
    if (!alive.count(d) || d->final) return fail(BAD, "not open");
    auto rule = RULES.find(attribute);
    if (rule == RULES.end() || rule->second.desc != d->type) return fail(BAD, "no such attribute");
    if (rule->second.type != type) return fail(BAD_TYPE, "another type");
    if (rule->second.count ? count != rule->second.count : count < 1 || count > 8) return fail(BAD, "another number of values");
    if (type == DESC) {
        for (int64_t i = 0; i < count; i++) {
            Desc* to = ((Desc* const*)values)[i];
            if (!alive.count(to) || !to->final) return fail(NOT_FINAL, "refers to what is not final");
            int wanted = referred(attribute);
            if (wanted >= 0 ? to->type != wanted : to->type < FORWARD || to->type > ADD) return fail(BAD, "refers to another kind");
        }
    }
    const char* p = (const char*)values;
    d->with[attribute] = {type, count, std::vector<char>(p, p + count * size(type))};
    return SUCCESS;
}

int cudnnBackendFinalize(Desc* d) {
    if (!alive.count(d) || d->final || !NEEDED.count(d->type)) return fail(BAD, "not open");
    for (int a : NEEDED.at(d->type))
        if (!d->has(a)) return fail(BAD, "lacks attribute " + std::to_string(a));
    if (d->type >= FORWARD && d->type <= ADD && !valid(d)) return fail(BAD, "sizes do not fit");
    if (d->type == HEUR && fused(d->to(201)) && roles(d->to(201)->to(801)).x->choice(901) == F32) return fail(NOT_SUPPORTED, "no bias for f32");
    if (d->type == PLAN && d->to(401)->number(-1) == 3) return fail(NOT_SUPPORTED, "engine 3 never serves");
    d->final = true;
    return SUCCESS;
}

int cudnnBackendGetAttribute(Desc* d, int attribute, int type, int64_t most, int64_t* count, void* values) {
    if (!alive.count(d) || !d->final) return fail(NOT_FINAL, "not final");
    auto own = [](int type, int64_t v) { return Attribute{type, 1, std::vector<char>((char*)&v, (char*)&v + 8)}; };
    if (d->type == HEUR && attribute == 202 && type == DESC) {
        std::vector<int> all = engines(d);
        *count = (int64_t)all.size();
        for (int64_t i = 0; i < most && i < *count; i++) {
            Desc* c = ((Desc**)values)[i];
            if (!alive.count(c) || c->type != CONFIG || c->final) return fail(BAD, "no configuration to fill");
            c->with[-1] = own(INT64, all[i]);
            c->with[-2] = own(DESC, d->number(201));
            c->final = true;
        }
        return SUCCESS;
    }
    if (d->type == CONFIG && attribute == 300 && type == DESC && most == 1) {
        Desc* e = *(Desc**)values;
        if (!alive.count(e) || e->type != ENGINE || e->final) return fail(BAD, "no engine to fill");
        e->with[-1] = d->with[-1];
        e->final = true;
        *count = 1;
        return SUCCESS;
    }
    if (d->type == ENGINE && attribute == 1301 && type == INT64) {
        *(int64_t*)values = d->number(-1);
        *count = 1;
        return SUCCESS;
    }
    if (d->type == ENGINE && attribute == 1303 && type == NOTE) {
        std::vector<int> all = notes((int)d->number(-1));
        *count = (int64_t)all.size();
        for (int64_t i = 0; i < most && i < *count; i++) ((int*)values)[i] = all[i];
        return SUCCESS;
    }
    if (d->type == PLAN && attribute == 402 && type == INT64) {
        int64_t engine = d->to(401)->number(-1);
        *(int64_t*)values = engine == 4 ? 1ll << 40 : engine == 2 ? 1000 : 0;
        *count = 1;
        return SUCCESS;
    }
    return fail(BAD, "no such attribute");
}

int cudnnBackendExecute(Handle* h, Desc* plan, Desc* pack) {
    if (!alive.count(plan) || !alive.count(pack) || plan->type != PLAN || pack->type != PACK || !plan->final || !pack->final) return fail(BAD, "not final");
    Desc* config = plan->to(401);
    if (!alive.count(config)) return fail(BAD, "the configuration is freed");
    Desc* graph = config->to(-2);
    if (!alive.count(graph)) return fail(BAD, "the graph is freed");
    if (pack->with[1000].count != pack->with[1001].count) return fail(BAD, "names and addresses differ in number");
    if (config->number(-1) == 2 && !pack->number(1003)) return fail(BAD, "no memory to work in");
    int status = wait(h->stream);
    if (status) return fail(5000, "the stream");
    auto view = [&](Desc* t) {
        for (int64_t i = 0; i < pack->with[1000].count; i++)
            if (pack->number(1000, (int)i) == t->number(906)) return View{t, (void*)pack->number(1001, (int)i), config->number(-1) == 0};
        return View{t, nullptr, false};
    };
    Desc* o = graph->to(801);
    Roles r = roles(o);
    View x = view(r.x), w = view(r.w), y = view(r.y);
    View made = o->type == FORWARD ? y : o->type == INPUT ? x : w;
    std::vector<double> sums(elements(made.d));
    if (!x.p || !w.p || (!y.p && !fused(graph))) return fail(BAD, "no address");
    if ((int64_t)x.p % 16 || (int64_t)w.p % 16 || (int64_t)y.p % 16) return fail(2003, "not aligned");
    switch (o->type) {
        case FORWARD: walk(r, x, w, y, [&](int64_t i, int64_t j, int64_t k) { sums[k] += x(i) * w(j); }); break;
        case INPUT: walk(r, x, w, y, [&](int64_t i, int64_t j, int64_t k) { sums[i] += y(k) * w(j); }); break;
        default: walk(r, x, w, y, [&](int64_t i, int64_t j, int64_t k) { sums[j] += x(i) * y(k); });
    }
    if (fused(graph)) {
        Desc* add = graph->to(801, 1);
        if (add->to(751) != r.y || !*r.y->all<char>(907) || r.y->choice(901) != F32) return fail(NOT_SUPPORTED, "another graph");
        View b = view(add->to(752));
        made = view(add->to(753));
        if (!b.p || !made.p) return fail(BAD, "no address");
        for (int64_t i = 0; i < (int64_t)sums.size(); i++) sums[i] += b(b.at(0, i % made.d->number(902, 1), 0, 0));
    }
    for (int64_t i = 0; i < (int64_t)sums.size(); i++) put(made.p, made.d->choice(901), i, sums[i]);
    return SUCCESS;
}
}
