// SPDX-License-Identifier: Apache-2.0
//
// The functions of cuBLAS and cuBLASLt that the backend calls, for machines without a GPU: products on the host, after all work that waits on the
// stream, and with the checks of arguments that the real ones make. Compiled as libcublas.so.13 and as libcublasLt.so.13.
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {
enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };

double get(const void* p, int type, int64_t i) {
    switch (type) {
        case F32: return ((const float*)p)[i];
        case F64: return ((const double*)p)[i];
        case F16: return (double)((const _Float16*)p)[i];
        default: {
            uint32_t u = (uint32_t)((const uint16_t*)p)[i] << 16;
            float f;
            memcpy(&f, &u, 4);
            return f;
        }
    }
}

void put(void* p, int type, int64_t i, double x) {
    switch (type) {
        case F32: ((float*)p)[i] = (float)x; break;
        case F64: ((double*)p)[i] = x; break;
        case F16: ((_Float16*)p)[i] = (_Float16)x; break;
        default: {
            float f = (float)x;
            uint32_t u;
            memcpy(&u, &f, 4);
            ((uint16_t*)p)[i] = (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
        }
    }
}

/** Waits for the work before: the stub's device memory is host memory. */
int wait(void* stream) {
    static auto synchronize = [] {
        void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
        return driver ? (int (*)(void*))dlsym(driver, "cuStreamSynchronize") : nullptr;
    }();
    return synchronize ? synchronize(stream) : NOT_INITIALIZED;
}

struct Matrix {
    int type;
    int64_t rows, columns, ld;
    int batch = 1;
    int64_t stride = 0;
};

int multiply(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const void* a, Matrix am, const void* b, Matrix bm, double beta, void* c,
             Matrix cm, const void* bias, void* stream) {
    if (am.rows != (ta ? k : m) || am.columns != (ta ? m : k) || bm.rows != (tb ? n : k) || bm.columns != (tb ? k : n) || cm.rows != m || cm.columns != n)
        return INVALID_VALUE;
    if (am.ld < am.rows || bm.ld < bm.rows || cm.ld < m || am.type != bm.type || am.type != cm.type) return INVALID_VALUE;
    if (wait(stream)) return NOT_INITIALIZED;
    for (int s = 0; s < cm.batch; s++) {
        for (int64_t j = 0; j < n; j++) {
            for (int64_t i = 0; i < m; i++) {
                double sum = 0;
                for (int64_t p = 0; p < k; p++) {
                    sum += get(a, am.type, s * am.stride + (ta ? p + i * am.ld : i + p * am.ld)) *
                           get(b, bm.type, s * bm.stride + (tb ? j + p * bm.ld : p + j * bm.ld));
                }
                int64_t at = s * cm.stride + i + j * cm.ld;
                double y = alpha * sum + (beta ? beta * get(c, cm.type, at) : 0) + (bias ? get(bias, cm.type, i) : 0);
                put(c, cm.type, at, y);
            }
        }
    }
    return SUCCESS;
}

bool fits(int type, int compute) { return compute == (type == F64 ? 70 : 68) || (type == F32 && compute == 77); }
double factor(const void* p, int compute) { return compute == 70 ? *(const double*)p : *(const float*)p; }

struct Handle {
    void* stream = nullptr;
    void* workspace = nullptr;
};
struct Desc {
    int compute, scale, ta = 0, tb = 0;
    unsigned epilogue = 1;
    const void* bias = nullptr;
};
struct Preference {
    uint64_t workspace = 0;
};
struct Result {
    uint64_t algorithm[8];
    uint64_t workspace;
    int status;
    float waves;
    int reserved[4];
};
const uint64_t MAGIC = 0x5f75a70;
}  // namespace

extern "C" {
int cublasCreate_v2(Handle** h) {
    *h = new Handle;
    return SUCCESS;
}
int cublasSetStream_v2(Handle* h, void* stream) {
    *h = Handle{stream, nullptr};  // as the real one, it forgets the workspace
    return SUCCESS;
}
int cublasSetWorkspace_v2(Handle* h, void* p, size_t) {
    h->workspace = p;
    return SUCCESS;
}
int cublasSetMathMode(Handle*, int) { return SUCCESS; }

int cublasGemmStridedBatchedEx(Handle* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int at, int lda, long long sa,
                               const void* b, int bt, int ldb, long long sb, const void* beta, void* c, int ct, int ldc, long long sc, int batch,
                               int compute, int) {
    if (!h->workspace) return NOT_INITIALIZED;
    if (!fits(at, compute)) return NOT_SUPPORTED;
    return multiply(ta, tb, m, n, k, factor(alpha, compute), a, {at, ta ? k : m, ta ? m : k, lda, batch, sa}, b, {bt, tb ? n : k, tb ? k : n, ldb, batch, sb},
                    factor(beta, compute), c, {ct, m, n, ldc, batch, sc}, nullptr, h->stream);
}
int cublasGemmEx(Handle* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int at, int lda, const void* b, int bt, int ldb,
                 const void* beta, void* c, int ct, int ldc, int compute, int algo) {
    return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0, 1, compute, algo);
}

int cublasLtCreate(Handle** h) { return cublasCreate_v2(h); }
int cublasLtMatmulDescCreate(Desc** d, int compute, int scale) {
    *d = new Desc{compute, scale};
    return SUCCESS;
}
int cublasLtMatmulDescSetAttribute(Desc* d, int attribute, const void* p, size_t n) {
    if (n != (attribute == 8 ? 8u : 4u)) return INVALID_VALUE;
    switch (attribute) {
        case 3: memcpy(&d->ta, p, n); return SUCCESS;
        case 4: memcpy(&d->tb, p, n); return SUCCESS;
        case 7: memcpy(&d->epilogue, p, n); return SUCCESS;
        case 8: memcpy(&d->bias, p, n); return SUCCESS;
        default: return INVALID_VALUE;
    }
}
int cublasLtMatrixLayoutCreate(Matrix** l, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    *l = new Matrix{type, (int64_t)rows, (int64_t)columns, ld};
    return SUCCESS;
}
int cublasLtMatrixLayoutSetAttribute(Matrix* l, int attribute, const void* p, size_t n) {
    if (attribute == 5 && n == 4) return memcpy(&l->batch, p, n), SUCCESS;
    if (attribute == 6 && n == 8) return memcpy(&l->stride, p, n), SUCCESS;
    return INVALID_VALUE;
}
int cublasLtMatmulPreferenceCreate(Preference** p) {
    *p = new Preference;
    return SUCCESS;
}
int cublasLtMatmulPreferenceSetAttribute(Preference* q, int attribute, const void* p, size_t n) {
    if (attribute == 1 && n == 8) return memcpy(&q->workspace, p, n), SUCCESS;
    return n == 4 && (attribute == 3 || (attribute >= 5 && attribute <= 8)) ? SUCCESS : INVALID_VALUE;
}
int cublasLtMatmulPreferenceDestroy(Preference* p) {
    delete p;
    return SUCCESS;
}
/** Half of the allowed workspace; nothing for sums of exactly 13 products, so that a refusal can be tested. */
int cublasLtMatmulAlgoGetHeuristic(Handle*, Desc* d, Matrix* a, Matrix*, Matrix*, Matrix*, Preference* q, int wanted, Result* r, int* found) {
    *found = 0;
    if ((d->ta ? a->rows : a->columns) == 13 || wanted < 1) return SUCCESS;
    *r = Result{{MAGIC}, q->workspace / 2, SUCCESS, 1, {}};
    *found = 1;
    return SUCCESS;
}
int cublasLtMatmul(Handle*, Desc* d, const void* alpha, const void* a, Matrix* am, const void* b, Matrix* bm, const void* beta, const void* c, Matrix* cm,
                   void* out, Matrix* dm, const uint64_t* algorithm, void* workspace, size_t bytes, void* stream) {
    if (*algorithm != MAGIC || (bytes && !workspace) || c != out || cm != dm || !fits(am->type, d->compute)) return INVALID_VALUE;
    if (d->scale != (d->compute == 70 ? F64 : F32) || am->batch != cm->batch || bm->batch != cm->batch) return INVALID_VALUE;
    int64_t k = d->ta ? am->rows : am->columns;
    return multiply(d->ta, d->tb, cm->rows, cm->columns, k, factor(alpha, d->compute), a, *am, b, *bm, factor(beta, d->compute), out, *cm,
                    d->epilogue & 4 ? d->bias : nullptr, stream);
}
}
