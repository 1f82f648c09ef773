# SPDX-License-Identifier: Apache-2.0
"""Cases of the elementwise ops."""

import torch
import torch.nn.functional as F

SHAPES = {"vector": (7,), "matrix": (3, 5), "nchw": (2, 3, 4, 3), "one": (1, 1), "scalar": (),
          "empty": (2, 0, 3)}
PAIRS = {"same": ((3, 5), (3, 5)), "row": ((3, 5), (5,)), "column": ((3, 5), (3, 1)),
         "outer": ((4, 1), (1, 3)), "left": ((5,), (2, 3, 5)), "scalar": ((2, 3), ()),
         "channel": ((2, 3, 2, 2), (3, 1, 1)), "ones": ((1, 1), (1,)), "empty": ((0, 3), (1, 3))}


def normal(shape, scale=1.0):
    return lambda generator: torch.randn(shape, generator=generator) * scale


def uniform(shape, low, high):
    return lambda generator: low + (high - low) * torch.rand(shape, generator=generator)


def fixed(*values):
    return lambda generator: torch.tensor(values, dtype=torch.float32)


def inputs(**makers):
    return lambda generator: {name: make(generator) for name, make in makers.items()}


def unary(suite, op, fn, make=normal, special=None, attrs=None, suffix="", **tolerance):
    for label, shape in SHAPES.items():
        if suffix and label not in ("matrix", "nchw"):
            continue
        suite.case(f"{op}{suffix}_{label}", fn, inputs(x=make(shape)), attrs, op, **tolerance)
    if special:
        suite.case(f"{op}{suffix}_special", fn, inputs(x=fixed(*special)), attrs, op, **tolerance)


def binary(suite, op, fn, left=normal, right=normal, **tolerance):
    for label, (a, b) in PAIRS.items():
        suite.case(f"{op}_{label}", fn, inputs(a=left(a), b=right(b)), **tolerance)


def positive(shape):
    return uniform(shape, 0.1, 3.0)


def away_from_zero(shape):
    return lambda g: (torch.randint(0, 2, shape, generator=g) * 2 - 1) * (
        0.5 + torch.rand(shape, generator=g))


def add_cases(suite):
    binary(suite, "add", lambda a, b: a + b)
    binary(suite, "sub", lambda a, b: a - b)
    binary(suite, "mul", lambda a, b: a * b)
    binary(suite, "div", lambda a, b: a / b, right=away_from_zero)
    binary(suite, "pow", lambda a, b: a ** b, left=positive, rtol=2e-5)
    binary(suite, "maximum", torch.maximum)
    binary(suite, "minimum", torch.minimum)
    ties = inputs(a=fixed(1, 2, -1, 0), b=fixed(1, 3, -1, -2))
    suite.case("maximum_ties", torch.maximum, ties)
    suite.case("minimum_ties", torch.minimum, ties)
    for exponent in (2.0, 3.0, 0.5, -1.5, 0.0, 1.0):
        suite.case(f"pow_scalar_{exponent}", lambda x: x ** exponent,
                   inputs(x=positive((3, 4))), {"exponent": exponent}, rtol=2e-5)
    suite.case("pow_scalar_negative_base", lambda x: x ** 3.0,
               inputs(x=fixed(-2, -0.5, 0, 1.5)), {"exponent": 3.0})

    unary(suite, "neg", torch.neg)
    unary(suite, "abs", torch.abs, special=(-2.0, 0.0, 3.0))
    unary(suite, "exp", torch.exp, special=(-100.0, -20.0, 0.0, 20.0), rtol=2e-5)
    unary(suite, "log", torch.log, positive, special=(1e-30, 1.0, 1e30))
    unary(suite, "sqrt", torch.sqrt, positive, special=(1e-10, 1.0, 1e10))
    unary(suite, "rsqrt", torch.rsqrt, positive, special=(1e-6, 1.0, 1e10))
    unary(suite, "sin", torch.sin, special=(-30.0, 0.0, 3.1415927, 100.0))
    unary(suite, "cos", torch.cos, special=(-30.0, 0.0, 3.1415927, 100.0))
    unary(suite, "tanh", torch.tanh, special=(-30.0, -1e-4, 0.0, 1e-4, 0.6, 30.0))
    unary(suite, "sigmoid", torch.sigmoid, special=(-80.0, -1.0, 0.0, 20.0, 80.0))
    unary(suite, "silu", F.silu, special=(-80.0, -1.0, 0.0, 20.0, 80.0))
    for approximate in ("none", "tanh"):
        unary(suite, "gelu", lambda x: F.gelu(x, approximate=approximate),
              special=(-10.0, -5.0, -0.75, 0.0, 0.75, 10.0),
              attrs={"approximate": approximate}, suffix="_" + approximate, atol=5e-6)
    unary(suite, "relu", F.relu, special=(-1.0, 0.0, 1.0))
    for slope in (0.01, 0.2):
        unary(suite, "leakyRelu", lambda x: F.leaky_relu(x, slope), special=(-1.0, 0.0, 1.0),
              attrs={"negativeSlope": slope}, suffix=f"_{slope}")
    for alpha in (1.0, 0.5):
        unary(suite, "elu", lambda x: F.elu(x, alpha), special=(-50.0, -1e-3, 0.0, 1.0),
              attrs={"alpha": alpha}, suffix=f"_{alpha}")
    for beta, threshold in ((1.0, 20.0), (2.0, 5.0)):
        unary(suite, "softplus", lambda x: F.softplus(x, beta, threshold),
              special=(-90.0, -1.0, 0.0, 2.0, 3.0, 25.0),
              attrs={"beta": beta, "threshold": threshold}, suffix=f"_{beta}")
    unary(suite, "erf", torch.erf, special=(-6.0, -1e-3, 0.0, 0.5, 1.0, 6.0))
    halves = (-2.5, -1.5, -0.5, -0.25, 0.0, 0.5, 1.5, 2.5, 3.7, 8388609.0)
    unary(suite, "floor", torch.floor, special=halves)
    unary(suite, "ceil", torch.ceil, special=halves)
    unary(suite, "round", torch.round, special=halves)
    unary(suite, "sign", torch.sign, special=(-3.0, 0.0, 2.0))
    unary(suite, "reciprocal", torch.reciprocal, away_from_zero)
    unary(suite, "square", torch.square)
    unary(suite, "log1p", torch.log1p, positive, special=(-0.5, -1e-6, 0.0, 1e-6, 1e6))
    unary(suite, "expm1", torch.expm1, special=(-50.0, -1e-6, 0.0, 1e-6, 10.0), rtol=2e-5)

    for low, high in ((-0.5, 0.5), (None, 0.3), (-0.2, None)):
        suite.case(f"clamp_{low}_{high}", lambda x: torch.clamp(x, low, high),
                   inputs(x=normal((4, 5))), {"min": low, "max": high})
    suite.case("clamp_boundary", lambda x: torch.clamp(x, -0.5, 0.5),
               inputs(x=fixed(-1, -0.5, 0, 0.5, 1)), {"min": -0.5, "max": 0.5})
    for label, (c, a, b) in {"same": ((3, 4), (3, 4), (3, 4)), "broadcast": ((3, 1), (4,), (2, 1, 1)),
                             "scalar": ((2, 3), (), (2, 3)), "empty": ((0, 3), (0, 3), (3,))}.items():
        suite.case(f"where_{label}", lambda condition, a, b: torch.where(condition, a, b),
                   lambda g: {"condition": torch.rand(c, generator=g) < 0.5,
                              "a": torch.randn(a, generator=g), "b": torch.randn(b, generator=g)})

    def steps(shape):
        return lambda g: torch.randint(-2, 3, shape, generator=g).float()

    for op in ("eq", "ne", "lt", "le", "gt", "ge"):
        compare = getattr(torch, op)
        binary(suite, op, compare, left=steps, right=steps)
        suite.case(f"{op}_integers", compare,
                   lambda g: {"a": torch.randint(-2, 3, (3, 4), generator=g),
                              "b": torch.randint(-2, 3, (4,), generator=g)})
    suite.case("logicalNot_bool", lambda x: ~x,
               lambda g: {"x": torch.rand((3, 4), generator=g) < 0.5})
    suite.case("logicalNot_empty", lambda x: ~x,
               lambda g: {"x": torch.rand((0, 4), generator=g) < 0.5})

    casts = (-2.7, -1.0, -0.4, 0.0, 0.4, 1.0, 2.7, 1.0009765, 3.1415927, 100.3)
    for label, dtype in (("I64", torch.int64), ("I32", torch.int32), ("BOOL", torch.bool),
                         ("BF16", torch.bfloat16), ("F16", torch.float16)):
        suite.case(f"cast_to_{label}", lambda x: x.to(dtype), inputs(x=fixed(*casts)),
                   {"dtype": label}, frozen=("x",))
    suite.case("cast_to_U8", lambda x: x.to(torch.uint8), inputs(x=fixed(0.0, 0.9, 17.5, 255.0)),
               {"dtype": "U8"}, frozen=("x",))
    suite.case("cast_I64_to_F64", lambda x: x.double(),
               lambda g: {"x": torch.tensor([-5, 0, 7, 1 << 40])}, {"dtype": "F64"})
    suite.case("cast_BOOL_to_F64", lambda x: x.double(),
               lambda g: {"x": torch.tensor([True, False, True])}, {"dtype": "F64"})
    suite.case("geglu_last", lambda x: _geglu(x), inputs(x=normal((2, 3, 8))),
               {"approximate": "none"})


def _geglu(x):
    hidden, gate = x.chunk(2, dim=-1)
    return hidden * F.gelu(gate)


def add_second_order(suite):
    suite.second("exp", torch.exp, inputs(x=normal((3, 4))))
    suite.second("tanh", torch.tanh, inputs(x=normal((3, 4))))
    suite.second("silu", F.silu, inputs(x=normal((3, 4))))
    suite.second("sigmoid", torch.sigmoid, inputs(x=normal((3, 4))))
    suite.second("div", lambda a, b: a / b, inputs(a=normal((3, 4)), b=away_from_zero((4,))))
    suite.second("gelu", lambda x: F.gelu(x), inputs(x=normal((3, 4))), {"approximate": "none"})
