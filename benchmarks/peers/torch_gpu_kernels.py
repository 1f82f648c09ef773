#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch side of io.sfumato.benchmarks.cuda.GpuKernels: the same cases under the same names, one JSON line each, {"name", "us"}.

usage: torch_gpu_kernels.py [--only REGEX] [--seconds 0.1] [--scale 1] [--list] [--tf32]
Names that end in _bwd are forward and backward together. Eager PyTorch with its defaults: convolutions of f32 round to tf32, products do not unless --tf32.
The bf16 case of AdamW has bf16 parameters and moments here, f32 ones on the other side: PyTorch's fused step wants one type.
"""
import argparse, json, re, time
import torch, torch.nn.functional as F

ap = argparse.ArgumentParser()
ap.add_argument("--only", default=""); ap.add_argument("--seconds", type=float, default=0.1); ap.add_argument("--scale", type=int, default=1)
ap.add_argument("--list", action="store_true"); ap.add_argument("--tf32", action="store_true")
A = ap.parse_args()
DEV = "cuda" if torch.cuda.is_available() else "cpu"
if A.tf32: torch.backends.cuda.matmul.allow_tf32 = True  # convolutions may by default
BF, CASES = torch.bfloat16, {}
less = lambda n: max(1, n // A.scale)
R = lambda t, *s: torch.randn(*s, device=DEV, dtype=torch.float32).to(t)
W = lambda o, i: (torch.randn(o, i, device=DEV) / i ** 0.5).to(BF)
CL = lambda x: x.to(memory_format=torch.channels_last)

def fwd(name, inputs, f):
    def make():
        x = inputs()
        def run():
            with torch.no_grad(): f(x)
        return run
    CASES[name] = make
def both(name, n, inputs, f):
    fwd(name, inputs, f)
    def make():
        x = inputs(); by = [t.detach().requires_grad_() for t in x[:n]]; x = by + list(x[n:])
        with torch.no_grad(): g = torch.randn_like(f(x))
        return lambda: torch.autograd.grad(f(x), by, g)
    CASES[name + "_bwd"] = make

def rows(t, end):
    r, b, g, s, big = less(65536), less(256), less(32), less(16384), less(64 << 20)
    both("layernorm_65536x1152" + end, 3, lambda: [R(t, r, 1152), R(t, 1152), R(t, 1152)], lambda x: F.layer_norm(x[0], (1152,), x[1], x[2], 1e-6))
    both("layernorm_modulate_256x256x1152" + end, 3, lambda: [R(t, b, 256, 1152), R(t, b, 1152), R(t, b, 1152)],
         lambda x: F.layer_norm(x[0], (1152,), eps=1e-6) * (1 + x[2][:, None]) + x[1][:, None])
    both("groupnorm_silu_32x320x64x64" + end, 3, lambda: [CL(R(t, g, 320, 64, 64)), R(t, 320), R(t, 320)], lambda x: F.silu(F.group_norm(x[0], 32, x[1], x[2], 1e-6)))
    fwd("softmax_16384x4096" + end, lambda: [R(t, s, 4096)], lambda x: F.softmax(x[0], -1))
    fwd("gelu_tanh_64m" + end, lambda: [R(t, big)], lambda x: F.gelu(x[0], approximate="tanh"))
    fwd("add_mul_64m" + end, lambda: [R(t, big), R(t, big), R(t, big)], lambda x: x[0] + x[1] * x[2])
    def adamw():
        p = [torch.nn.Parameter(R(torch.float32, less(10000), 5000)) for _ in range(2)]
        if t == BF:
            p = [torch.nn.Parameter(q.detach().to(BF)) for q in p]
        for q in p: q.grad = torch.randn_like(q)
        o = torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01, fused=True); return o.step
    CASES["adamw_100m" + end] = adamw
def products(t, end):
    n, r = less(4096), less(16384)
    fwd("gemm_4096" + end, lambda: [R(t, n, n), R(t, n, n)], lambda x: x[0] @ x[1])
    both("linear_16384x1152x4608" + end, 3, lambda: [R(t, r, 1152), R(t, 4608, 1152), R(t, 4608)], lambda x: F.linear(*x))
def convolutions(t, end):
    for b, c, h in ((16, 320, 64), (16, 640, 32), (16, 1280, 16)):
        both(f"conv3_{b}x{c}x{h}{end}", 3, lambda b=b, c=c, h=h: [CL(R(t, less(b), c, h, h)), CL(R(t, c, c, 3, 3)), R(t, c)], lambda x: F.conv2d(x[0], x[1], x[2], padding=1))
for t, end in ((BF, "_bf16"), (torch.float32, "_f32")): rows(t, end); products(t, end); convolutions(t, end)
for tokens in (4096, 16384):
    n = less(tokens)
    both(f"frozen_linear_{tokens}x1280", 1, lambda n=n: [R(BF, n, 1280), R(BF, 1280, 1280)], lambda x: F.linear(x[0], x[1]))
    for r in (8, 16, 64):
        both(f"lora_linear_{tokens}x1280_r{r}", 3, lambda n=n, r=r: [R(BF, n, 1280), R(BF, r, 1280), R(BF, 1280, r), R(BF, 1280, 1280)],
             lambda x: F.linear(x[0], x[3]) + F.linear(F.linear(x[0], x[1]), x[2]) * 2)
for b, h, lq, lk, d in ((4, 16, 4096, 4096, 64), (4, 16, 4096, 4096, 128), (32, 16, 256, 256, 72), (8, 16, 1024, 1024, 72), (8, 8, 4096, 4096, 40), (8, 8, 4096, 77, 40), (8, 8, 1024, 1024, 80)):
    both(f"attention_{b}x{h}x{lq}x{lk}x{d}", 3, lambda b=b, h=h, lq=lq, lk=lk, d=d: [R(BF, less(b), l, h, d).transpose(1, 2) for l in (lq, lk, lk)], lambda x: F.scaled_dot_product_attention(*x))

def dit(w):
    x = w[0]; b, n, d = x.shape; m = F.linear(F.silu(w[1]), w[10], w[11])[:, None].chunk(6, -1)
    h = F.layer_norm(x, (d,), eps=1e-6) * (1 + m[1]) + m[0]
    q, k, v = F.linear(h, w[2], w[3]).reshape(b, n, 3, 16, d // 16).permute(2, 0, 3, 1, 4)
    x = x + m[2] * F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d), w[4], w[5])
    h = F.layer_norm(x, (d,), eps=1e-6) * (1 + m[4]) + m[3]
    return x + m[5] * F.linear(F.gelu(F.linear(h, w[6], w[7]), approximate="tanh"), w[8], w[9])
d = 1152
both("dit_xl2_block_32x256", 12, lambda: [R(BF, less(32), 256, d), R(BF, less(32), d), W(3 * d, d), R(BF, 3 * d), W(d, d), R(BF, d), W(4 * d, d), R(BF, 4 * d), W(d, 4 * d), R(BF, d), W(6 * d, d), R(BF, 6 * d)], dit)
def resnet(w):
    h = F.conv2d(F.silu(F.group_norm(w[0], 32, w[2], w[3], 1e-5)), w[4], w[5], padding=1) + F.linear(F.silu(w[1]), w[6], w[7])[:, :, None, None]
    return w[0] + F.conv2d(F.silu(F.group_norm(h, 32, w[8], w[9], 1e-5)), w[10], w[11], padding=1)
c = 320
conv = lambda: CL(W(c, c * 9).reshape(c, c, 3, 3))
both("sd15_resnet_8x320x64", 12, lambda: [CL(R(BF, less(8), c, 64, 64)), R(BF, less(8), 1280), R(BF, c), R(BF, c), conv(), R(BF, c), W(c, 1280), R(BF, c), R(BF, c), R(BF, c), conv(), R(BF, c)], resnet)
def transformer(w):
    x = w[0]; b, n, c = x.shape
    q, k, v = F.linear(F.layer_norm(x, (c,), w[1], w[2]), w[3]).reshape(b, n, 3, 8, c // 8).permute(2, 0, 3, 1, 4)
    x = x + F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c), w[4])
    a, g = F.linear(F.layer_norm(x, (c,), w[1], w[2]), w[5], w[6]).chunk(2, -1)
    return x + F.linear(a * F.gelu(g), w[7])
both("sd15_transformer_8x4096x320", 8, lambda: [R(BF, less(8), 4096, c), R(BF, c), R(BF, c), W(3 * c, c), W(c, c), W(8 * c, c), R(BF, 8 * c), W(c, 4 * c)], transformer)

def sync():
    if DEV == "cuda": torch.cuda.synchronize()
def run(f, n):
    sync(); t = time.perf_counter()
    for _ in range(n): f()
    sync(); return time.perf_counter() - t
for name in CASES:
    if not re.search(A.only, name): continue
    if A.list: print(name); continue
    try:
        f = CASES[name](); run(f, 3); once = run(f, 3) / 3; n = int(max(3, min(2000, A.seconds / once)))
        print(json.dumps({"name": name, "us": round(min(run(f, n), run(f, n)) / n * 1e6, 1)}), flush=True)
        del f
    except RuntimeError as e: print(json.dumps({"name": name, "error": str(e)[:200]}), flush=True)
