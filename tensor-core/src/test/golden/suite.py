# SPDX-License-Identifier: Apache-2.0
"""Collects golden cases: inputs in float32, expectations computed by PyTorch in float64.

Every case is checked while it is made: PyTorch's own float32 result has to lie within half of the
case's float32 tolerance, so a tolerance can never be tighter than float32 arithmetic allows.
"""

import json
import zlib
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import save_file

RESOURCES = Path(__file__).resolve().parent.parent / "resources" / "golden"


def _tuple(result):
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


class Suite:
    def __init__(self):
        self.cases = []
        self.second_order = []
        self.files = defaultdict(dict)
        self.names = set()
        self.worst = []

    def generator(self, name):
        generator = torch.Generator()
        generator.manual_seed(zlib.crc32(name.encode()))
        return generator

    def case(self, name, fn, inputs, attrs=None, op=None, frozen=(), rtol=1e-5, atol=1e-6):
        """Records one case.

        inputs: argument name -> tensor (in the order of the call), or a function of a seeded
        generator that returns such a dictionary. fn is called with them in that order.
        frozen: names of floating inputs that get no gradient.
        """
        op = op or name.split("_")[0]
        if name in self.names:
            raise ValueError("two cases are called " + name)
        self.names.add(name)
        generator = self.generator(name)
        inputs = inputs(generator) if callable(inputs) else inputs
        for key, value in inputs.items():
            if value.dtype == torch.float64:
                raise ValueError(f"{name}: input {key} is float64; inputs are float32")

        outputs, gradients, cotangent = self._run(fn, inputs, frozen, torch.float64, generator)
        outputs32, gradients32, _ = self._run(fn, inputs, frozen, torch.float32, None, cotangent)
        self._check(name, outputs, outputs32, rtol, atol)
        self._check(name, gradients, gradients32, rtol, atol)

        file = self.files[op]
        record = {"name": name, "op": op, "attrs": attrs or {}}
        record["inputs"] = self._store(file, name, [(f"in.{k}", v) for k, v in inputs.items()])
        record["outputs"] = self._store(
            file, name, [(f"out.{i}", v) for i, v in enumerate(outputs)])
        record["grads"] = self._store(
            file, name, [(f"grad.{k}", g) for k, g in zip(inputs, gradients)])
        record["cotangent"] = self._store(file, name, [("cotangent", cotangent)])[0]
        record["rtol"], record["atol"] = rtol, atol
        self.cases.append(record)

    def _run(self, fn, inputs, frozen, dtype, generator, cotangent=None):
        arguments = {}
        for key, value in inputs.items():
            if value.is_floating_point():
                value = value.to(dtype).detach().requires_grad_(key not in frozen)
            arguments[key] = value
        outputs = _tuple(fn(*arguments.values()))
        first = outputs[0]
        gradients = [None] * len(inputs)
        if first.requires_grad:
            if cotangent is None:
                cotangent = torch.randn(first.shape, generator=generator)
            wanted = [k for k, v in arguments.items() if v.requires_grad]
            found = torch.autograd.grad(
                first, [arguments[k] for k in wanted], cotangent.to(first.dtype),
                allow_unused=True)
            found = dict(zip(wanted, found))
            gradients = [found.get(k) for k in inputs]
        return [o.detach() for o in outputs], gradients, cotangent

    def _check(self, name, expected, actual, rtol, atol):
        for want, got in zip(expected, actual):
            if want is None or want.numel() == 0:
                continue
            if want.dtype != torch.float64:
                if not torch.equal(want, got):
                    raise ValueError(f"{name}: {want.dtype} result depends on precision")
                continue
            if torch.isnan(want).any():
                raise ValueError(f"{name}: NaN among the expectations")
            finite = torch.isfinite(want)
            if not torch.equal(want[~finite], got[~finite].double()):
                raise ValueError(f"{name}: infinities differ")
            error = (want[finite] - got[finite].double()).abs()
            share = (error / (atol + rtol * want[finite].abs())).max().item() if finite.any() else 0
            self.worst.append((share, name))
            if share > 0.5:
                raise ValueError(f"{name}: PyTorch float32 uses {share:.2f} of the tolerance")

    def second(self, name, fn, inputs, attrs=None, op=None, rtol=1e-4, atol=1e-5):
        """Records a second-order case.

        s = sum over inputs i of sum(grad_i^2) with grad_i = d(sum(out * g)) / d(input_i);
        stored: s as the output, d s / d input_i as the gradients, g as the cotangent.
        """
        op = op or name.split("_")[0]
        generator = self.generator("second " + name)
        inputs = inputs(generator)
        arguments = {k: v.double().requires_grad_() for k, v in inputs.items()}
        out = fn(*arguments.values())
        cotangent = torch.randn(out.shape, generator=generator)
        first = torch.autograd.grad(
            out, list(arguments.values()), cotangent.double(), create_graph=True)
        value = sum(g.square().sum() for g in first)
        gradients = torch.autograd.grad(
            value, list(arguments.values()), materialize_grads=True)
        file = self.files["second_order"]
        record = {"name": name, "op": op, "attrs": attrs or {}}
        record["inputs"] = self._store(file, name, [(f"in.{k}", v) for k, v in inputs.items()])
        record["outputs"] = self._store(file, name, [("out.0", value.detach())])
        record["grads"] = self._store(
            file, name, [(f"grad.{k}", g) for k, g in zip(inputs, gradients)])
        record["cotangent"] = self._store(file, name, [("cotangent", cotangent)])[0]
        record["rtol"], record["atol"] = rtol, atol
        self.second_order.append(record)

    @staticmethod
    def _store(file, name, tensors):
        keys = []
        for suffix, tensor in tensors:
            if tensor is None:
                keys.append(None)
                continue
            key = f"{name}.{suffix}"
            file[key] = tensor.detach().contiguous().clone()
            keys.append(key)
        return keys

    def write(self, folder):
        target = RESOURCES / folder
        target.mkdir(parents=True, exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        metadata = {"torch": torch.__version__}
        for op, tensors in self.files.items():
            save_file(tensors, target / f"{op}.safetensors", metadata)
        _write_json(target / "index.json", self.cases)
        _write_json(target / "second_order.json", self.second_order)
        size = sum(f.stat().st_size for f in target.iterdir())
        print(f"torch {torch.__version__}: {len(self.cases)} cases of {len(self.files) - 1} ops, "
              f"{len(self.second_order)} of second order, {size / 1e6:.2f} MB")
        for share, name in sorted(self.worst, reverse=True)[:10]:
            print(f"  float32 uses {share:.2f} of the tolerance in {name}")


def _write_json(path, cases):
    lines = ",\n".join(" " + json.dumps(case) for case in cases)
    path.write_text("[\n" + lines + "\n]\n")
