# SPDX-License-Identifier: Apache-2.0
"""Cases of reductions, softmax, sorting, and of the ops that move or pick elements."""

import torch
import torch.nn.functional as F

from cases_pointwise import fixed, inputs, normal

REDUCTIONS = {"all": ((3, 4), None), "first": ((3, 4), [0]), "last": ((3, 4), [-1]),
              "pair": ((2, 3, 4), [0, 2]), "negative": ((2, 3, 4), [-2]),
              "spatial": ((2, 3, 3, 2), [2, 3]), "one": ((3, 1, 2), [1]), "vector": ((9,), [0])}


def reduction(suite, op, fn, extra=None, cases=REDUCTIONS, make=normal, **tolerance):
    """fn(x, dims, keepDim) with dims None for all dimensions."""
    for label, (shape, dims) in cases.items():
        for keep in (False, True):
            suffix = "_keep" if keep else ""
            suite.case(f"{op}_{label}{suffix}", lambda x: fn(x, dims, keep), inputs(x=make(shape)),
                       {"dims": dims, "keepDim": keep, **(extra or {})}, op.split("_")[0],
                       **tolerance)


def _all(x, dims):
    return list(range(x.dim())) if dims is None else dims


def _prod(x, dims, keep):
    for dim in sorted((d % x.dim() for d in _all(x, dims)), reverse=True):
        x = x.prod(dim, keepdim=keep)
    return x


def add_reductions(suite):
    reduction(suite, "sum", lambda x, d, k: x.sum(_all(x, d), keepdim=k))
    reduction(suite, "mean", lambda x, d, k: x.mean(_all(x, d), keepdim=k))
    reduction(suite, "max", lambda x, d, k: x.amax(_all(x, d), keepdim=k))
    reduction(suite, "min", lambda x, d, k: x.amin(_all(x, d), keepdim=k))
    reduction(suite, "prod", _prod, rtol=2e-5)
    reduction(suite, "logsumexp", lambda x, d, k: torch.logsumexp(x, _all(x, d), keepdim=k))
    several = {k: v for k, v in REDUCTIONS.items() if k != "one"}
    for correction in (0, 1):
        extra = {"correction": correction}
        for op, fn in (("var", torch.var), ("std", torch.std)):
            reduction(suite, f"{op}_{correction}",
                      lambda x, d, k: fn(x, _all(x, d), correction=correction, keepdim=k),
                      extra, {k: several[k] for k in ("all", "last", "pair", "spatial")})
    suite.case("max_ties", lambda x: x.amax([0]), inputs(x=fixed(1, 3, 3, 2)),
               {"dims": [0], "keepDim": False})
    suite.case("min_ties", lambda x: x.amin([0]), inputs(x=fixed(1, 3, 1, 2)),
               {"dims": [0], "keepDim": False})
    suite.case("prod_zero", lambda x: x.prod(), inputs(x=fixed(2, 0, -3)),
               {"dims": None, "keepDim": False})
    suite.case("prod_zeros", lambda x: x.prod(), inputs(x=fixed(2, 0, 0)),
               {"dims": None, "keepDim": False})
    suite.case("logsumexp_large", lambda x: torch.logsumexp(x, 0),
               inputs(x=fixed(1000, 1001, -1000)), {"dims": [0], "keepDim": False}, atol=2e-4)
    for op, fn in (("sum", torch.sum), ("prod", torch.prod)):
        suite.case(f"{op}_empty", lambda x: fn(x, 1), inputs(x=normal((2, 0, 3))),
                   {"dims": [1], "keepDim": False})
    suite.case("sum_integers", lambda x: x.sum(1),
               lambda g: {"x": torch.randint(-9, 9, (3, 4), generator=g)},
               {"dims": [1], "keepDim": False})

    for op, fn in (("argmax", torch.argmax), ("argmin", torch.argmin)):
        for label, shape, dim in (("flat", (3, 4), None), ("first", (3, 4), 0),
                                  ("last", (2, 3, 4), -1), ("one", (3, 1), 1)):
            for keep in (False, True):
                if keep and dim is None:
                    continue
                suite.case(f"{op}_{label}{'_keep' if keep else ''}",
                           lambda x: fn(x, dim, keepdim=keep), inputs(x=normal(shape)),
                           {"dim": dim, "keepDim": keep}, frozen=("x",))
        suite.case(f"{op}_ties", lambda x: fn(x, 0), inputs(x=fixed(1, 3, 3, 1)),
                   {"dim": 0, "keepDim": False}, frozen=("x",))
    for op, fn in (("any", torch.any), ("all", torch.all)):
        for label, shape, dims in (("flat", (3, 4), None), ("last", (4, 3), [-1]),
                                   ("first", (3, 4), [0]), ("empty", (2, 0), [1])):
            suite.case(f"{op}_{label}",
                       lambda x: fn(x) if dims is None else fn(x, dims[0]),
                       lambda g: {"x": torch.rand(shape, generator=g) < 0.5},
                       {"dims": dims, "keepDim": False})
    for label, shape, dim in (("first", (4, 3), 0), ("last", (2, 3, 4), -1), ("one", (2, 1), 1),
                              ("empty", (0, 3), 0)):
        suite.case(f"cumsum_{label}", lambda x: x.cumsum(dim), inputs(x=normal(shape)), {"dim": dim})
    for op, fn in (("softmax", F.softmax), ("logSoftmax", F.log_softmax)):
        for label, shape, dim in (("last", (3, 5), -1), ("first", (3, 5), 0), ("middle", (2, 4, 3), 1),
                                  ("one", (3, 1), 1), ("long", (2, 67), 1)):
            suite.case(f"{op}_{label}", lambda x: fn(x, dim=dim), inputs(x=normal(shape, 2.0)),
                       {"dim": dim})
        suite.case(f"{op}_large", lambda x: fn(x, dim=0), inputs(x=fixed(1000, 999, -1000)),
                   {"dim": 0})
    for descending in (False, True):
        for label, shape, dim in (("last", (3, 7), -1), ("first", (5, 2), 0), ("one", (2, 1), 1)):
            suite.case(f"sort_{label}_{'down' if descending else 'up'}",
                       lambda x: torch.sort(x, dim=dim, descending=descending, stable=True),
                       inputs(x=normal(shape)), {"dim": dim, "descending": descending})
        for label, shape, dim, k in (("last", (3, 7), -1, 3), ("first", (5, 2), 0, 2),
                                     ("full", (4,), 0, 4)):
            suite.case(f"topk_{label}_{'largest' if descending else 'smallest'}",
                       lambda x: torch.topk(x, k, dim=dim, largest=descending),
                       inputs(x=normal(shape)), {"k": k, "dim": dim, "largest": descending})
    suite.case("sort_ties", lambda x: torch.sort(x, stable=True), inputs(x=fixed(2, 1, 2, 1, 0)),
               {"dim": -1, "descending": False})


def add_moves(suite):
    def integers(shape, high):
        return lambda g: torch.randint(0, high, shape, generator=g)

    for label, table, ids in (("vector", (5, 3), (4,)), ("matrix", (7, 4), (2, 3)),
                              ("repeated", (2, 3), (6,)), ("empty", (3, 2), (0,))):
        suite.case(f"embedding_{label}", lambda weight, indices: F.embedding(indices, weight),
                   inputs(weight=normal(table), indices=integers(ids, table[0])))
    for label, shape, index, dim in (("last", (3, 5), (3, 4), 1), ("first", (4, 3), (6, 2), 0),
                                     ("middle", (2, 4, 3), (2, 2, 3), -2)):
        suite.case(f"gather_{label}", lambda x, index: torch.gather(x, dim, index),
                   inputs(x=normal(shape), index=integers(index, shape[dim])), {"dim": dim})
        suite.case(f"scatterAdd_{label}",
                   lambda x, index, source: torch.scatter_add(x, dim, index, source),
                   inputs(x=normal(shape), index=integers(index, shape[dim]), source=normal(index)),
                   {"dim": dim})
    for label, shape, count, dim in (("first", (4, 3), 6, 0), ("last", (2, 5), 3, -1),
                                     ("middle", (2, 3, 4), 2, 1), ("none", (3, 2), 0, 0)):
        suite.case(f"indexSelect_{label}", lambda x, index: torch.index_select(x, dim, index),
                   inputs(x=normal(shape), index=integers((count,), shape[dim])), {"dim": dim})
    for label, shapes, dim in (("first", ((2, 3), (1, 3), (4, 3)), 0), ("last", ((2, 3), (2, 1)), -1),
                               ("channel", ((2, 2, 3, 2), (2, 4, 3, 2)), 1), ("single", ((2, 3),), 0),
                               ("empty", ((2, 3), (0, 3)), 0)):
        suite.case(f"concat_{label}", lambda *x: torch.cat(x, dim),
                   inputs(**{f"x{i}": normal(s) for i, s in enumerate(shapes)}), {"dim": dim})
    for label, shape, sizes, dim in (("first", (6, 2), [1, 2, 3], 0), ("last", (2, 6), [3, 3], -1),
                                     ("channel", (2, 4, 3), [3, 1], 1), ("empty", (3, 2), [0, 3], 0)):
        suite.case(f"split_{label}", lambda x: torch.split(x, sizes, dim), inputs(x=normal(shape)),
                   {"sizes": sizes, "dim": dim})
    for label, shape, count, dim in (("first", (2, 3), 3, 0), ("last", (2, 3), 2, -1),
                                     ("middle", (2, 3), 2, 1), ("scalars", (), 3, 0)):
        suite.case(f"stack_{label}", lambda *x: torch.stack(x, dim),
                   inputs(**{f"x{i}": normal(shape) for i in range(count)}), {"dim": dim})
    pads = (("constant", (2, 3), [[1, 2], [0, 3]], 0.0), ("constant", (2, 3), [[0, 0], [2, 1]], 1.5),
            ("constant", (1, 2, 3, 3), [[0, 0], [0, 0], [0, 1], [0, 1]], 0.0),
            ("constant", (3, 4), [[-1, 0], [1, -2]], 0.0), ("constant", (0, 2), [[1, 1], [0, 0]], 2.0),
            ("reflect", (1, 2, 4, 5), [[0, 0], [0, 0], [1, 2], [3, 0]], None),
            ("replicate", (1, 2, 3, 2), [[0, 0], [0, 0], [1, 2], [3, 0]], None))
    for number, (mode, shape, padding, value) in enumerate(pads):
        flat = [p for pair in reversed(padding) for p in pair]
        if mode != "constant":
            flat = flat[:4]
        attrs = {"mode": mode, "padding": padding}
        if value is not None:
            attrs["value"] = value
        suite.case(f"pad_{mode}_{number}", lambda x: F.pad(x, flat, mode, value),
                   inputs(x=normal(shape)), attrs)
    for label, shape, dims in (("first", (3, 2), [0]), ("both", (3, 4), [0, -1]), ("one", (1, 3), [0])):
        suite.case(f"flip_{label}", lambda x: torch.flip(x, dims), inputs(x=normal(shape)),
                   {"dims": dims})
    for label, shape, shifts, dims in (("last", (2, 5), [2], [-1]), ("negative", (4, 3), [-1], [0]),
                                       ("both", (3, 4), [1, -2], [0, 1]), ("beyond", (3,), [7], [0])):
        suite.case(f"roll_{label}", lambda x: torch.roll(x, shifts, dims), inputs(x=normal(shape)),
                   {"shifts": shifts, "dims": dims})


def add_second_order(suite):
    suite.second("softmax", lambda x: F.softmax(x, dim=-1), inputs(x=normal((3, 4))), {"dim": -1})
    suite.second("logsumexp", lambda x: torch.logsumexp(x, -1), inputs(x=normal((3, 4))),
                 {"dims": [-1], "keepDim": False})
