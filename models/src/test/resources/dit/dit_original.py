# SPDX-License-Identifier: Apache-2.0
"""Writes golden files of DiT in its authors' layout: python dit_original.py OUTPUT_FOLDER.

The formulas of Peebles and Xie (2023) in plain PyTorch, with the parameter names and shapes of their models.py, for
two ways of conditioning: adaLN-Zero, as published, and adaLN without gates. Every parameter but the position table is
random. Needs PyTorch, NumPy and safetensors.
"""

import json
import math
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

HEADS, HEAD, LAYERS, CLASSES, SIDE, PATCH, CHANNELS, OUT = 2, 8, 2, 10, 8, 2, 4, 8
WIDTH = HEADS * HEAD


def position_table():
    side = SIDE // PATCH
    omega = 10000.0 ** (-np.arange(WIDTH // 4) / (WIDTH / 4))
    rows = []
    for row in range(side):
        for column in range(side):
            parts = [np.sin(column * omega), np.cos(column * omega), np.sin(row * omega), np.cos(row * omega)]
            rows.append(np.concatenate(parts))
    return torch.tensor(np.stack(rows), dtype=torch.float32)[None]


def parameters(vectors, generator):
    shapes = {
        "x_embedder.proj": (WIDTH, CHANNELS, PATCH, PATCH),
        "t_embedder.mlp.0": (WIDTH, 256),
        "t_embedder.mlp.2": (WIDTH, WIDTH),
        "final_layer.linear": (PATCH * PATCH * OUT, WIDTH),
        "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
    }
    for i in range(LAYERS):
        shapes[f"blocks.{i}.attn.qkv"] = (3 * WIDTH, WIDTH)
        shapes[f"blocks.{i}.attn.proj"] = (WIDTH, WIDTH)
        shapes[f"blocks.{i}.mlp.fc1"] = (4 * WIDTH, WIDTH)
        shapes[f"blocks.{i}.mlp.fc2"] = (WIDTH, 4 * WIDTH)
        shapes[f"blocks.{i}.adaLN_modulation.1"] = (vectors * WIDTH, WIDTH)
    p = {"y_embedder.embedding_table.weight": torch.randn(CLASSES + 1, WIDTH, generator=generator)}
    for name, shape in shapes.items():
        fan_in = math.prod(shape[1:])
        p[name + ".weight"] = torch.randn(shape, generator=generator) / math.sqrt(fan_in)
        p[name + ".bias"] = 0.2 * torch.randn(shape[0], generator=generator)
    return p


def dit(p, x, t, y, vectors):
    def linear(name, h):
        return F.linear(h, p[name + ".weight"], p[name + ".bias"])

    def modulated(h, shift, scale):
        return F.layer_norm(h, (WIDTH,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    b = x.shape[0]
    h = F.conv2d(x, p["x_embedder.proj.weight"], p["x_embedder.proj.bias"], stride=PATCH)
    h = h.flatten(2).transpose(1, 2) + p["pos_embed"]
    frequencies = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
    angles = t[:, None].float() * frequencies[None]
    features = torch.cat([angles.cos(), angles.sin()], 1)
    c = linear("t_embedder.mlp.2", F.silu(linear("t_embedder.mlp.0", features)))
    c = F.silu(c + p["y_embedder.embedding_table.weight"][y])
    for i in range(LAYERS):
        m = linear(f"blocks.{i}.adaLN_modulation.1", c).chunk(vectors, 1)
        if vectors == 6:
            shift1, scale1, gate1, shift2, scale2, gate2 = m
        else:
            shift1, scale1, shift2, scale2 = m
            gate1 = gate2 = torch.ones_like(shift1)
        qkv = linear(f"blocks.{i}.attn.qkv", modulated(h, shift1, scale1))
        q, k, v = qkv.reshape(b, -1, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(HEAD), -1) @ v
        h = h + gate1[:, None] * linear(f"blocks.{i}.attn.proj", a.transpose(1, 2).reshape(b, -1, WIDTH))
        z = F.gelu(linear(f"blocks.{i}.mlp.fc1", modulated(h, shift2, scale2)), approximate="tanh")
        h = h + gate2[:, None] * linear(f"blocks.{i}.mlp.fc2", z)
    shift, scale = linear("final_layer.adaLN_modulation.1", c).chunk(2, 1)
    h = linear("final_layer.linear", modulated(h, shift, scale))
    g = SIDE // PATCH
    h = h.reshape(b, g, g, PATCH, PATCH, OUT)
    return torch.einsum("nhwpqc->nchpwq", h).reshape(b, OUT, SIDE, SIDE)


def config(conditioning):
    return {
        "_class_name": "DiT",
        "attention_head_dim": HEAD,
        "conditioning": conditioning,
        "in_channels": CHANNELS,
        "layout": "original",
        "norm_eps": 1e-6,
        "num_attention_heads": HEADS,
        "num_embeds_ada_norm": CLASSES,
        "num_layers": LAYERS,
        "out_channels": OUT,
        "patch_size": PATCH,
        "sample_size": SIDE,
    }


def main():
    for conditioning, vectors in (("adaln_zero", 6), ("adaln", 4)):
        folder = os.path.join(sys.argv[1], conditioning)
        os.makedirs(folder, exist_ok=True)
        generator = torch.Generator().manual_seed(vectors)
        p = parameters(vectors, generator)
        for value in p.values():
            value.requires_grad_()
        p["pos_embed"] = position_table()
        x = torch.randn(2, CHANNELS, SIDE, SIDE, generator=generator, requires_grad=True)
        t = torch.tensor([12, 777])
        y = torch.tensor([3, CLASSES])
        out = dit(p, x, t, y, vectors)
        g = torch.randn(out.shape, generator=generator)
        (out * g).sum().backward()
        io = {"in.x": x, "in.t": t, "in.y": y, "out.sample": out, "g.sample": g, "gradin.x": x.grad}
        io.update({"grad." + n: v.grad for n, v in p.items() if v.grad is not None})
        save_file({n: v.detach().contiguous() for n, v in io.items()}, os.path.join(folder, "io.safetensors"))
        weights = {n: v.detach().contiguous() for n, v in p.items()}
        save_file(weights, os.path.join(folder, "diffusion_pytorch_model.safetensors"))
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config(conditioning), f, indent=2, sort_keys=True)
            f.write("\n")


main()
