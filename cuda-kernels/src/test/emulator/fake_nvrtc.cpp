// SPDX-License-Identifier: Apache-2.0
//
// A libnvrtc.so.13 for tests without NVIDIA's: "compiles" kernels to images that the emulated driver takes. It fails where a source has a kernel for heads of
// 56 columns, and gives an image that no driver takes for 104. fake_nvrtc_compiled counts what was compiled.
#include <cstring>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

namespace {
struct Program {
    std::string source, log, image;
    std::vector<std::string> headers;
};
int compiled = 0;
}  // namespace

API fake_nvrtc_compiled() { return compiled; }

API nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 0;
    return 0;
}
API nvrtcCreateProgram(void** program, const char* source, const char*, int count, const char* const* texts, const char* const* names) {
    auto p = new Program{source, "", "", {}};
    for (int i = 0; i < count; i++)
        if (*texts[i]) p->headers.push_back(names[i]);
    *program = p;
    return 0;
}
API nvrtcCompileProgram(void* program, int count, const char* const* options) {
    auto p = (Program*)program;
    compiled++;
    std::string arch;
    for (int i = 0; i < count; i++)
        if (!strncmp(options[i], "--gpu-architecture=", 19)) arch = options[i] + 19;
    if (arch != "sm_90a") p->log = "unknown architecture " + arch;
    bool backward = p->source.find("#include \"attention_backward.cuh\"") != std::string::npos;
    for (const char* header : {backward ? "attention_backward.cuh" : "attention_forward.cuh", backward ? "attention_rows.cuh" : "attention.cuh", "attention.cuh", "dev.h", "ptx.h"}) {
        bool there = false;
        for (auto& h : p->headers) there |= h == header;
        if (!there) p->log = std::string("cannot open ") + header;
    }
    if (p->source.find("ward_56_") != std::string::npos) p->log = "error: no heads of 56 columns here";
    p->image = p->source.find("ward_104_") != std::string::npos ? "nothing a driver takes" : "sfumato-emulator attention_variants\n";
    return p->log.empty() ? 0 : 6;
}
API nvrtcGetProgramLogSize(void* program, size_t* n) {
    *n = ((Program*)program)->log.size() + 1;
    return 0;
}
API nvrtcGetProgramLog(void* program, char* to) {
    strcpy(to, ((Program*)program)->log.c_str());
    return 0;
}
API nvrtcGetCUBINSize(void* program, size_t* n) {
    *n = ((Program*)program)->image.size();
    return 0;
}
API nvrtcGetCUBIN(void* program, char* to) {
    memcpy(to, ((Program*)program)->image.data(), ((Program*)program)->image.size());
    return 0;
}
API nvrtcDestroyProgram(void** program) {
    delete (Program*)*program;
    *program = nullptr;
    return 0;
}
