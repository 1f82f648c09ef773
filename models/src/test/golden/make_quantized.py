# SPDX-License-Identifier: Apache-2.0
"""
Golden data of coded weights and coded moments, by bitsandbytes' published rules (bitsandbytes/functional.py, backends/default/ops.py): written anew in
PyTorch, since bitsandbytes itself needs what a machine for tests may not have.

    python make_quantized.py ../resources/golden/quantized

Each CASE.safetensors is what bitsandbytes' Linear4bit or Linear8bitLt called `layer` would save; expected.safetensors has for each the weight before
(CASE.weight) and after (CASE.values), an input, the layer's output and the gradient of the input for a gradient of ones times `dy`.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

NF4 = torch.tensor([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0])
MAGNITUDES = torch.tensor([0, 0.0625, 8, 12, 4, 6, 2, 3]) / 12
FP4 = torch.cat([MAGNITUDES, -MAGNITUDES])


def dynamic_map(signed):
    """Seven decades; decade i holds the means of neighbouring points of a grid on [0.1, 1] of 2^i intervals, twice as many without sign."""
    values = [0.0, 1.0]
    for i in range(7):
        grid = torch.linspace(0.1, 1, 2 ** (i if signed else i + 1) + 1)
        means = (grid[1:] + grid[:-1]) / 2.0
        decade = (10 ** (i - 6) * means).tolist()
        values += decade + ([-v for v in decade] if signed else [])
    assert len(values) == 256
    return torch.tensor(sorted(values))


def blockwise(x, table, block):
    """Codes (one per element) and the largest magnitude of each block."""
    flat = x.reshape(-1)
    codes, absmax = [], []
    for piece in flat.split(block):
        most = piece.abs().max()
        scaled = torch.clamp(piece * (1 / most), -1, 1)
        codes.append((scaled[:, None] - table).abs().argmin(-1))
        absmax.append(most)
    return torch.cat(codes), torch.stack(absmax)


def decode(codes, absmax, table, block):
    return torch.cat([table[c] * m for c, m in zip(codes.split(block), absmax)])


def four_bit(weight, name, block, double):
    table = {"nf4": NF4, "fp4": FP4}[name]
    codes, absmax = blockwise(weight.float(), table, block)
    state = {"quant_type": name, "blocksize": block, "dtype": str(weight.dtype).removeprefix("torch."), "shape": list(weight.shape)}
    tensors, scales = {}, absmax
    if double:
        offset = absmax.mean()
        nested_table = dynamic_map(True)
        nested, nested_absmax = blockwise(absmax - offset, nested_table, 256)
        scales = decode(nested, nested_absmax, nested_table, 256) + offset
        tensors["weight.absmax"] = nested.to(torch.uint8)
        tensors["weight.nested_absmax"] = nested_absmax
        tensors["weight.nested_quant_map"] = nested_table
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset.item()}
    else:
        tensors["weight.absmax"] = absmax
    values = decode(codes, scales, table, block).reshape(weight.shape)
    if len(codes) % 2:
        codes = torch.cat([codes, table.abs().argmin()[None]])
    tensors["weight"] = (codes[::2] * 16 + codes[1::2]).to(torch.uint8)[:, None]
    tensors["weight.quant_map"] = table.clone()
    tensors["weight.quant_state.bitsandbytes__" + name] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    return tensors, values


def eight_bit(weight):
    scb = weight.abs().amax(1)
    codes = torch.round(weight * (127.0 / scb[:, None])).to(torch.int8)
    values = codes.float() * scb[:, None] * 7.874015718698502e-3
    return {"weight": codes, "SCB": scb, "weight_format": torch.tensor(0, dtype=torch.uint8)}, values


def layers(folder):
    generator = torch.Generator().manual_seed(5)
    expected = {}
    cases = [("nf4_double", 160, 128, torch.float32), ("nf4_odd", 7, 33, torch.float32), ("nf4_bf16", 24, 40, torch.bfloat16),
             ("fp4", 40, 24, torch.float32), ("fp4_double", 66, 129, torch.float32), ("int8", 33, 50, torch.float32)]
    for name, out, inner, dtype in cases:
        weight = (0.05 * torch.randn(out, inner, generator=generator) * (1 + torch.rand(out, 1, generator=generator))).to(dtype)
        bias = torch.randn(out, generator=generator)
        if name == "int8":
            tensors, values = eight_bit(weight)
        else:
            block = 128 if name == "nf4_odd" else 64
            tensors, values = four_bit(weight, name[:3], block, name.endswith("double"))
        save_file({"layer." + k: v.contiguous() for k, v in (tensors | {"bias": bias}).items()}, folder / f"{name}.safetensors", {"format": "pt"})
        x = torch.randn(5, inner, generator=generator).double().requires_grad_()
        dy = torch.randn(5, out, generator=generator).double()
        y = torch.nn.functional.linear(x, values.double(), bias.double())
        y.backward(dy)
        expected |= {f"{name}.weight": weight, f"{name}.values": values, f"{name}.x": x.detach().float(), f"{name}.y": y.detach().float(),
                     f"{name}.dy": dy.float(), f"{name}.dx": x.grad.float()}
    expected["dynamic.signed"], expected["dynamic.unsigned"] = dynamic_map(True), dynamic_map(False)
    save_file(expected, folder / "expected.safetensors", {"format": "pt"})


def byte_codes(x, table, block=256):
    """As bitsandbytes' optimizers: nearest of x/m, but negative values keep their sign."""
    codes, absmax = [], []
    for piece in x.split(block):
        most = piece.abs().max()
        scaled = piece / most if most > 0 else piece
        code = (scaled[:, None] - table).abs().argmin(-1)
        codes.append(torch.where((scaled < 0) & (table[code] >= 0), code - 1, code))
        absmax.append(most)
    return torch.cat(codes), torch.stack(absmax)


def moments(folder, steps=3, lr=0.01, beta1=0.9, beta2=0.99, eps=1e-8, decay=0.1):
    """AdamW whose moments are coded after each step."""
    generator = torch.Generator().manual_seed(6)
    signed, unsigned = dynamic_map(True), dynamic_map(False)
    p = torch.randn(5000, generator=generator)
    tensors = {"p.0": p.clone()}
    m, v = torch.zeros(5000), torch.zeros(5000)
    for t in range(1, steps + 1):
        g = torch.randn(5000, generator=generator) * torch.rand(5000, generator=generator)
        tensors[f"g.{t}"] = g
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        p = p * (1 - lr * decay) - lr / (1 - beta1**t) * m / (v.sqrt() / (1 - beta2**t) ** 0.5 + eps)
        (mc, ms), (vc, vs) = byte_codes(m, signed), byte_codes(v, unsigned)
        m, v = decode(mc, ms, signed, 256), decode(vc, vs, unsigned, 256)
        tensors |= {f"p.{t}": p.clone(), f"m.{t}": m.clone(), f"v.{t}": v.clone()}
    save_file(tensors, folder / "moments.safetensors", {"format": "pt"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    layers(Path(sys.argv[1]))
    moments(Path(sys.argv[1]))
