// SPDX-License-Identifier: Apache-2.0
//
// Memory of the stub driver; included by stub_driver.cpp.
//
// Copies from host memory: what is page-locked is read when the copy runs, other memory before the call returns. Copies to host memory: to page-locked
// memory when the copy runs, to other memory before the call returns.

CU cuMemAlloc_v2(dptr* p, size_t n) {
    ENTER(true);
    return stub::allocate(p, n);
}
CU cuMemFree_v2(dptr p) {
    ENTER(true);
    if (int e = stub::drain()) return e;
    return stub::release(p);
}
CU cuMemAllocAsync(dptr* p, size_t n, void*) {
    ENTER(true);
    return stub::allocate(p, n);
}
CU cuMemFreeAsync(dptr p, void* s) {
    ENTER(true);
    return stub::submit(s, 5, [p] { return stub::release(p); });
}
CU cuMemGetInfo_v2(size_t* available, size_t* total) {
    ENTER(true);
    *total = (size_t)stub::setting("memory");
    *available = *total - (size_t)stub::current->used;
    return 0;
}
CU cuMemHostAlloc(void** p, size_t n, unsigned) {
    ENTER(true);
    void* q = n ? aligned_alloc(4096, (n + 4095) / 4096 * 4096) : nullptr;
    if (!q) return n ? stub::OUT_OF_MEMORY : stub::INVALID_VALUE;
    memset(q, 0xff, n);
    stub::pinned[(uintptr_t)q] = n;
    *p = q;
    return 0;
}
CU cuMemAllocHost_v2(void** p, size_t n) { return cuMemHostAlloc(p, n, 0); }
CU cuMemFreeHost(void* p) {
    ENTER(true);
    if (int e = stub::drain()) return e;
    if (!stub::pinned.erase((uintptr_t)p)) return stub::INVALID_VALUE;
    free(p);
    return 0;
}
CU cuMemHostRegister_v2(void* p, size_t n, unsigned) {
    ENTER(true);
    stub::pinned[(uintptr_t)p] = n;
    return 0;
}
CU cuMemHostUnregister(void* p) {
    ENTER(true);
    stub::drain();
    return stub::pinned.erase((uintptr_t)p) ? 0 : stub::INVALID_VALUE;
}
CU cuMemHostGetDevicePointer_v2(dptr* d, void* p, unsigned) {
    ENTER(true);
    if (!stub::is_pinned(p)) return stub::INVALID_VALUE;
    *d = (dptr)p;
    return 0;
}

CU cuMemcpyHtoDAsync_v2(dptr d, const void* s, size_t n, void* handle) {
    ENTER(true);
    if (!stub::on_device(d, n)) return stub::INVALID_VALUE;
    if (stub::is_pinned(s) || stub::capturing(handle))
        return stub::submit(handle, 1, [=] {
            memcpy((void*)d, s, n);
            return 0;
        });
    auto held = std::make_shared<std::vector<char>>((const char*)s, (const char*)s + n);
    return stub::submit(handle, 1, [=] {
        memcpy((void*)d, held->data(), n);
        return 0;
    });
}
CU cuMemcpyDtoHAsync_v2(void* d, dptr s, size_t n, void* handle) {
    ENTER(true);
    if (!stub::on_device(s, n)) return stub::INVALID_VALUE;
    bool pinned = stub::is_pinned(d);
    if (stub::capturing(handle) && !pinned) return stub::CAPTURE_UNSUPPORTED;
    int e = stub::submit(handle, 1, [=] {
        memcpy(d, (void*)s, n);
        return 0;
    });
    return e || pinned ? e : stub::drain(*stub::current);
}
CU cuMemcpyDtoDAsync_v2(dptr d, dptr s, size_t n, void* handle) {
    ENTER(true);
    if (!stub::on_device(s, n) || !stub::on_device(d, n)) return stub::INVALID_VALUE;
    if (n && d < s + n && s < d + n && d != s) return stub::fail(stub::INVALID_VALUE, "the ranges of a copy overlap");
    return stub::submit(handle, 1, [=] {
        memmove((void*)d, (void*)s, n);
        return 0;
    });
}
CU cuMemcpyPeerAsync(dptr d, void* to, dptr s, void* from, size_t n, void* handle) {
    ENTER(true);
    auto is_of = [](dptr p, void* context) {
        auto it = stub::live.upper_bound(p);
        return it != stub::live.begin() && std::prev(it)->second.context == context;
    };
    if (!stub::on_device(s, n) || !stub::on_device(d, n) || !is_of(d, to) || !is_of(s, from)) return stub::INVALID_VALUE;
    if (stub::fails("fail_peer")) return stub::OUT_OF_MEMORY;
    stub::staged += !stub::connected.count({(stub::Context*)to, (stub::Context*)from});
    return stub::submit(handle, 1, [=] {
        memmove((void*)d, (void*)s, n);
        return 0;
    });
}
CU cuMemcpyHtoD_v2(dptr d, const void* s, size_t n) {
    int e = cuMemcpyHtoDAsync_v2(d, s, n, nullptr);
    std::lock_guard<std::recursive_mutex> guard(stub::lock);
    return e ? e : stub::drain(*stub::current);
}
CU cuMemcpyDtoH_v2(void* d, dptr s, size_t n) {
    int e = cuMemcpyDtoHAsync_v2(d, s, n, nullptr);
    std::lock_guard<std::recursive_mutex> guard(stub::lock);
    return e ? e : stub::drain(*stub::current);
}
CU cuMemcpyDtoD_v2(dptr d, dptr s, size_t n) { return cuMemcpyDtoDAsync_v2(d, s, n, nullptr); }

namespace stub {
template <class T> static int fill_memory(dptr d, T v, size_t n, void* handle) {
    if (d % sizeof(T) || !on_device(d, n * sizeof(T))) return INVALID_VALUE;
    return submit(handle, 2, [=] {
        for (size_t i = 0; i < n; i++) ((T*)d)[i] = v;
        return 0;
    });
}
}  // namespace stub
CU cuMemsetD8Async(dptr d, unsigned char v, size_t n, void* handle) {
    ENTER(true);
    return stub::fill_memory(d, v, n, handle);
}
CU cuMemsetD16Async(dptr d, unsigned short v, size_t n, void* handle) {
    ENTER(true);
    return stub::fill_memory(d, v, n, handle);
}
CU cuMemsetD32Async(dptr d, unsigned v, size_t n, void* handle) {
    ENTER(true);
    return stub::fill_memory(d, v, n, handle);
}
CU cuMemsetD8_v2(dptr d, unsigned char v, size_t n) { return cuMemsetD8Async(d, v, n, nullptr); }
CU cuMemsetD16_v2(dptr d, unsigned short v, size_t n) { return cuMemsetD16Async(d, v, n, nullptr); }
CU cuMemsetD32_v2(dptr d, unsigned v, size_t n) { return cuMemsetD32Async(d, v, n, nullptr); }
