"""Adapter files in LyCORIS's form with random values, and the outputs that its formulas give.

    python make_lycoris.py models/src/test/resources/peft models/src/test/resources/lycoris

Needs torch and safetensors. The formulas are those LyCORIS publishes for each kind (its modules glora, locon with
weight_decompose, diag_oft, boft, ia3 and full), written down here once more: the weight each kind gives a layer. The
base model and its inputs are those of check_peft.py.
"""
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

source, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
base = load_file(source / "base.safetensors")
inputs = load_file(source / "inputs.safetensors")
EPS = torch.finfo(torch.float32).eps


def forward(w):
    h = inputs["x"] + F.embedding(inputs["ids"], w["emb.weight"])
    h = F.linear(F.silu(F.linear(h, w["lin1.weight"], w["lin1.bias"])), w["lin2.weight"])
    h = F.conv2d(h.reshape(-1, 4, 3, 3), w["conv1.weight"], w["conv1.bias"], padding=1)
    return F.conv2d(F.silu(h), w["conv2.weight"], w["conv2.bias"])


def random(*shape):
    return (torch.randn(*shape, generator=generator) * 0.3).to(stored).float()


def conv(w):
    return w.dim() == 4


def ones(w):
    return [1] * (w.dim() - 2)


def product(up, mid, down, shape):
    """The weight that the convolutions down, mid and up give together."""
    up, down = up.flatten(1), down if mid is None else down.flatten(1)
    if mid is None:
        return (up @ down.flatten(1)).reshape(shape)
    return torch.einsum("mnkl,om,ni->oikl", mid, up, down)


def pair(w, r, core):
    """Factors of a low-rank change of w, as locon has them."""
    o, i = w.shape[:2]
    kernel = list(w.shape[2:])
    core = core and conv(w) and kernel != [1, 1]
    down = random(r, i, *([1, 1] if core else kernel))
    return random(o, r, *ones(w)), random(r, r, *kernel) if core else None, down


def glora(w, core=False):
    r, alpha = 2, 3.0
    o, i = w.shape[:2]
    a1, a2 = random(i, r, *ones(w)), random(r, i, *ones(w))
    up, mid, down = pair(w, r, core)
    t = {"a1.weight": a1, "a2.weight": a2, "b1.weight": up, "b2.weight": down, "alpha": torch.tensor(alpha)}
    if mid is not None:
        t["bm.weight"] = mid
    through = torch.einsum("oi...,ij->oj...", w, a1.flatten(1) @ a2.flatten(1))
    return t, w + (through + product(up, mid, down, w.shape)) * alpha / r


def dora(w, on_out, core=False):
    r, alpha = 2, 3.0
    up, mid, down = pair(w, r, core)
    changed = w + product(up, mid, down, w.shape) * alpha / r
    axis = 0 if on_out else 1
    rest = [d for d in range(w.dim()) if d != axis]
    scale = w.square().sum(rest, keepdim=True).sqrt() * (1 + random(1))
    scale = scale * (1 + random(*scale.shape))
    t = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(alpha), "dora_scale": scale}
    if mid is not None:
        t["lora_mid.weight"] = mid
    return t, changed * scale / (changed.square().sum(rest, keepdim=True).sqrt() + EPS)


def turns(q):
    eye = torch.eye(q.shape[-1])
    return (eye + q) @ torch.linalg.inv(eye - q)


def skew(raw, alpha, out):
    """Q of all blocks, no longer than alpha times the number of outputs where alpha is not 0."""
    q = raw - raw.transpose(-1, -2)
    norm = q.norm() + 1e-8
    if alpha:
        assert norm > alpha * out
        q = q * alpha * out / norm
    return q


def diag_oft(w, blocks, alpha, rescaled):
    b = w.shape[0] // blocks
    raw = random(blocks, b, b)
    turned = torch.einsum("knm,kn...->km...", turns(skew(raw, alpha, w.shape[0])), w.reshape(blocks, b, *w.shape[1:])).reshape(w.shape)
    t = {"oft_blocks": raw, "alpha": torch.tensor(float(alpha))}
    if rescaled:
        t["rescale"] = 1 + random(w.shape[0], 1, *ones(w))
        turned = turned * t["rescale"]
    return t, turned


def boft(w, m, b, alpha=0):
    raw = random(m, w.shape[0] // b, b, b)
    rows = w
    for i, r in enumerate(turns(skew(raw, alpha, w.shape[0]))):
        stride = 2**i * b // 2
        order = torch.arange(w.shape[0]).reshape(-1, 2, stride).transpose(1, 2).flatten()
        blocks = rows[order].reshape(-1, b, *w.shape[1:])
        turned = torch.einsum("bij,bj...->bi...", r, blocks).reshape(w.shape)
        rows = torch.empty_like(turned)
        rows[order] = turned
    return {"oft_blocks": raw, "alpha": torch.tensor(float(alpha))}, rows


def ia3(w, on_input):
    o, i = w.shape[:2]
    weight = random(1, i, *ones(w)) if on_input else random(o, 1, *ones(w))
    return {"weight": weight, "on_input": torch.tensor(on_input)}, w * (1 + weight)


def full(w):
    diff = random(*w.shape)
    return {"diff": diff}, w + diff


LAYERS = ["lin1", "lin2", "conv1", "conv2"]
CASES = {
    "glora": ("lora_unet_", LAYERS, glora),
    "glora_f16": ("lora_unet_", LAYERS, glora),
    "glora_bf16": ("lora_unet_", ["lin2", "conv1"], glora),
    "glora_core": ("lycoris_", ["conv1", "conv2", "lin1"], lambda w: glora(w, True)),
    "dora": ("lora_unet_", LAYERS, lambda w: dora(w, True)),
    "dora_core": ("lora_unet_", ["conv1", "lin2"], lambda w: dora(w, True, True)),
    "dora_inputs": ("lora_unet_", LAYERS, lambda w: dora(w, False)),
    "dora_inputs_core": ("lycoris_", ["conv1", "lin1"], lambda w: dora(w, False, True)),
    "diag_oft": ("lora_unet_", LAYERS, lambda w: diag_oft(w, 2, 0, False)),
    "diag_oft_constrained": ("lycoris_", ["lin1", "conv1"], lambda w: diag_oft(w, 4, 0.02, True)),
    "boft": ("lora_unet_", ["lin1", "conv1", "lin2"], lambda w: boft(w, 2, 2)),
    "boft_constrained": ("lycoris_", ["lin1", "conv1"], lambda w: boft(w, 2, 2, 0.05)),
    "ia3_out": ("lycoris_", LAYERS, lambda w: ia3(w, False)),
    "ia3_in": ("lycoris_", LAYERS, lambda w: ia3(w, True)),
    "full": ("lora_unet_", LAYERS, full),
}
for seed, (name, (prefix, layers, kind)) in enumerate(CASES.items()):
    generator = torch.Generator().manual_seed(seed)
    stored = {"f16": torch.float16, "bf16": torch.bfloat16}.get(name.split("_")[-1], torch.float32)
    tensors, weights = {}, dict(base)
    for layer in layers:
        factors, weights[layer + ".weight"] = kind(base[layer + ".weight"])
        tensors |= {
            f"{prefix}{layer}.{key}": value if value.dtype == torch.bool else value.to(stored).contiguous()
            for key, value in factors.items()
        }
    y = forward(weights)
    assert torch.isfinite(y).all() and (y - forward(base)).abs().max() > 0.01, name
    save_file(tensors, out / f"{name}.safetensors")
    results = {"y": y} | {layer: weights[layer + ".weight"] for layer in layers}
    save_file({key: value.contiguous() for key, value in results.items()}, out / f"{name}.out.safetensors")
    print(f"{name:22} {len(tensors):3} tensors, output up to {float(y.abs().max()):.2f}")
