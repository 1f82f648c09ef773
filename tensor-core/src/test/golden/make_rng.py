# SPDX-License-Identifier: Apache-2.0
"""Writes resources/golden/rng: the numbers PyTorch's CPU generator draws.

    python tensor-core/src/test/golden/make_rng.py

calls.tsv has one line per call (see resources/golden/README.md); values.bin holds the results, raw
and little-endian. Float32 normals of 16 and more elements depend on the instruction set PyTorch
found: these are the ones of AVX2 and AVX-512, which are the same.
"""

import sys

import torch

from suite import RESOURCES

SEEDS = (0, 1, 42, 2**32 - 1, 2**40 + 3)
SIZES = (1, 2, 7, 8, 15, 16, 17, 20, 31, 33, 100, 1000)
TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}


class Writer:
    def __init__(self):
        self.lines = []
        self.values = bytearray()

    def case(self, name, seed, *calls):
        """calls: (function, type, count, first argument, second argument)."""
        torch.manual_seed(seed)
        for step, (function, dtype, count, *arguments) in enumerate(calls):
            first, second = arguments or (0, 0)
            result = draw(function, TYPES[dtype], count, first, second)
            self.lines.append((name, step, seed, function, dtype, result.numel(), first, second,
                               len(self.values)))
            self.values += result.numpy().tobytes()

    def write(self):
        target = RESOURCES / "rng"
        target.mkdir(parents=True, exist_ok=True)
        header = ("case", "step", "seed", "function", "dtype", "count", "first", "second", "offset")
        lines = [f"# torch {torch.__version__}", "\t".join(header)]
        lines += ["\t".join(map(str, line)) for line in self.lines]
        (target / "calls.tsv").write_text("\n".join(lines) + "\n")
        (target / "values.bin").write_bytes(self.values)
        print(f"torch {torch.__version__}: {len(self.lines)} calls, {len(self.values)} bytes")


def draw(function, dtype, count, first, second):
    if function == "randn":
        return torch.randn(count, dtype=dtype)
    if function == "normal":
        return torch.empty(count, dtype=dtype).normal_(first, second)
    if function == "rand":
        return torch.rand(count, dtype=dtype)
    if function == "uniform":
        return torch.empty(count, dtype=dtype).uniform_(first, second)
    if function == "randint":
        return torch.randint(first, second, (count,))
    if function == "randperm":
        return torch.randperm(count)
    if function == "state":
        return torch.get_rng_state()
    raise ValueError(function)


def main():
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        sys.exit("this machine has no AVX2; its float32 normals are others")
    writer = Writer()
    for seed in SEEDS:
        for size in SIZES:
            for function in ("randn", "rand"):
                for dtype in ("F32", "F64"):
                    writer.case(f"{function}_{dtype}_{size}_{seed}", seed, (function, dtype, size))
            writer.case(f"randperm_{size}_{seed}", seed, ("randperm", "I64", size))
        for low, high in ((0, 10), (-5, 1000), (0, 2**28 - 1), (0, 2**28), (0, 2**33 + 7),
                          (-2**62, 2**62), (-2**63, 2**63 - 1)):
            writer.case(f"randint_{low}_{high}_{seed}", seed, ("randint", "I64", 33, low, high))
        for dtype in ("F32", "F64"):
            for size in (3, 16, 20):
                writer.case(f"normal_{dtype}_{size}_{seed}", seed,
                            ("normal", dtype, size, 2.5, 0.3))
            writer.case(f"uniform_{dtype}_{seed}", seed, ("uniform", dtype, 9, -1.5, 2.25))
        writer.case(f"sequence_{seed}", seed,
                    ("randn", "F32", 5), ("randn", "F32", 5), ("rand", "F32", 3),
                    ("randn", "F32", 20), ("randn", "F32", 1), ("randn", "F64", 4),
                    ("randn", "F64", 3), ("state", "U8", 0), ("randn", "F32", 16),
                    ("randn", "F32", 2), ("randint", "I64", 7, 0, 1000), ("randperm", "I64", 9),
                    ("rand", "F64", 3), ("randn", "F64", 17), ("randn", "F32", 700),
                    ("randn", "F32", 1), ("state", "U8", 0), ("randn", "F32", 1))
    writer.write()


if __name__ == "__main__":
    main()
