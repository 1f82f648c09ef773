#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kernels of io.sfumato.benchmarks.kernels.Kernels in PyTorch eager, beside its figures.

usage: torch_kernels.py kernels.md [--seconds 0.4] [--warm-up 0.25] [--only REGEX] [--out beside.md]

kernels.md is what `Kernels --out kernels.md` wrote, on this machine; shapes and numbers of threads are read from it. Prints a table of both sides'
times and their ratio (PyTorch / Sfumato, above 1 is faster than PyTorch), and the geometric mean for each number of threads. Everything is f32; images
are channels-last, as they are over there; median of the runs. Gradients alone where our benchmark has them alone, else forward and backward together.
"""
import argparse, math, re, statistics, time
import torch, torch.nn.functional as F

R = torch.randn
CL = lambda x: x.to(memory_format=torch.channels_last)
aten = torch.ops.aten


def both(f, *inputs):
    """Forward and backward of f."""
    xs = [x.detach().requires_grad_() for x in inputs]
    g = torch.randn_like(f(*xs))
    return lambda: torch.autograd.grad(f(*xs), xs, g)


def backward(f, *inputs):
    """Backward of f alone, from what one forward pass kept."""
    xs = [x.detach().requires_grad_() for x in inputs]
    y = f(*xs)
    g = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, xs, g, retain_graph=True)


def conv(method, n):
    b, i, o, s, k, st = n
    p = 1 if k == 3 else 0
    x, w = CL(R(b, i, s, s)), CL(R(o, i, k, k))
    y = F.conv2d(x, w, None, st, p)
    if method == "forward":
        return lambda: F.conv2d(x, w, None, st, p)
    mask = [method == "backwardInput", method == "backwardWeight", False]
    g = torch.randn_like(y)
    return lambda: aten.convolution_backward(g, x, w, None, [st, st], [p, p], [1, 1], False, [0, 0], 1, mask)


def attention(method, n):
    b, h, q, k, d = n
    heads = lambda l: R(b, l, h, d).permute(0, 2, 1, 3)
    x = heads(q), heads(k), heads(k)
    return (lambda: F.scaled_dot_product_attention(*x)) if method == "forward" else backward(F.scaled_dot_product_attention, *x)


def product(method, n, kind):
    m, k, c = n
    a = R(k, m).t() if kind[0] == "T" else R(m, k)
    b = R(c, k).t() if kind[1] == "T" else R(k, c)
    return lambda: a @ b


def linear(method, n):
    x, w, b = R(n[0], n[1]), R(n[2], n[1]), R(n[2])
    return lambda: F.linear(x, w, b)


def lora(method, n):
    m, i, o, r = n
    w, b = R(o, i), R(o)
    f = lambda x, down, up: F.linear(x, w, b) + F.linear(F.linear(x, down), up)
    x = R(m, i), R(r, i), R(o, r)
    return (lambda: f(*x)) if method == "forward" else both(f, *x)


def group_norm(method, n):
    b, c, s = n
    f = lambda x, w, v: F.silu(F.group_norm(x, 32, w, v))
    x = CL(R(b, c, s, s)), R(c), R(c)
    return (lambda: f(*x)) if method == "forward" else both(f, *x)


def layer_norm(method, n):
    r, c = n
    if method == "modulated":
        x, shift, scale = R(2, r // 2, c), R(2, c), R(2, c)
        return lambda: F.layer_norm(x, (c,)) * (1 + scale[:, None]) + shift[:, None]
    f = lambda x, w, v: F.layer_norm(x, (c,), w, v)
    x = R(r, c), R(c), R(c)
    return (lambda: f(*x)) if method == "forward" else both(f, *x)


def softmax(method, n):
    x = R(*n)
    f = lambda x: F.softmax(x, -1)
    return (lambda: f(x)) if method == "forward" else both(f, x)


def cross_entropy(method, n):
    x, t = R(*n), torch.randint(0, n[1], (n[0],))
    f = lambda x: F.cross_entropy(x, t)
    return (lambda: f(x)) if method == "forward" else both(f, x)


def activation(method, n):
    r, c = n
    if method == "geglu":
        x = R(r, 2 * c)
        return lambda: x[:, :c] * F.gelu(x[:, c:])
    x = R(r, c)
    f = {"gelu": F.gelu, "geluTanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu}[method]
    return lambda: f(x)


def adamw(method, n):
    tensors, total = n
    ps = [torch.nn.Parameter(R(total // tensors)) for _ in range(tensors)]
    for p in ps:
        p.grad = torch.randn_like(p)
    return torch.optim.AdamW(ps, lr=1e-4, fused=True).step


KERNELS = {"Conv": conv, "Attention": attention, "Gemm": product, "Linear": linear, "Lora": lora, "GroupNorm": group_norm, "LayerNorm": layer_norm,
           "Softmax": softmax, "CrossEntropy": cross_entropy, "Activation": activation, "AdamW": adamw}


def measured(run, seconds, warm_up):
    end = time.perf_counter() + warm_up
    while True:
        run()
        if time.perf_counter() > end:
            break
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("table")
    ap.add_argument("--seconds", type=float, default=0.4)
    ap.add_argument("--warm-up", type=float, default=0.25)
    ap.add_argument("--only", default="")
    ap.add_argument("--out")
    a = ap.parse_args()
    lines = [[c.strip() for c in l.split("|")[1:-1]] for l in open(a.table) if l.startswith("|")]
    header, rows = lines[0], [l for l in lines[2:] if re.search(a.only, l[0] + "." + l[1])]
    columns = {int(re.fullmatch(r"µs, (\d+)T", h).group(1)): i for i, h in enumerate(header) if h.startswith("µs")}
    ratios, table = {t: [] for t in columns}, []
    for line in rows:
        kernel, method = line[0].split(".")
        kind = re.search(r" ([NT]{2})$", line[2])
        numbers = [int(x) for x in re.findall(r"\d+", line[2])]
        row = line[:3]
        for threads, column in columns.items():
            torch.set_num_threads(threads)
            run = KERNELS[kernel](method, numbers, kind.group(1)) if kind else KERNELS[kernel](method, numbers)
            with torch.set_grad_enabled("ackward" in method):
                theirs = measured(run, a.seconds, a.warm_up)
            ours = float(line[column])
            ratios[threads].append(theirs / ours)
            row += ["%.1f" % ours, "%.1f" % theirs, "%.2f" % (theirs / ours)]
        table.append(row)
        print(" ".join(row), flush=True)
    mean = lambda x: math.exp(sum(map(math.log, x)) / len(x))
    table.append(["geometric mean", "", ""] + [c for t in columns for c in ("", "", "%.2f" % mean(ratios[t]))])
    names = ["kernel", "shape", "sizes"] + [c for t in columns for c in ("Sfumato, %dT, µs" % t, "PyTorch, µs", "ratio")]
    text = "\n".join(["| " + " | ".join(r) + " |" for r in [names, ["---"] * 3 + ["---:"] * (len(names) - 3)] + table]) + "\n"
    print("\nPyTorch %s\n\n%s" % (torch.__version__, text))
    if a.out:
        open(a.out, "w").write(text)


main()
