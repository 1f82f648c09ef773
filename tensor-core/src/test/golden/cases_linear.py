# SPDX-License-Identifier: Apache-2.0
"""Cases of matrix products, einsum, convolutions and attention."""

import torch
import torch.nn.functional as F

from cases_pointwise import fixed, inputs, normal

LOOSE = {"rtol": 2e-5, "atol": 1e-5}


def add_cases(suite):
    add_products(suite)
    add_convolutions(suite)
    add_attention(suite)
    add_codes(suite)


def add_products(suite):
    shapes = {"square": ((4, 4), (4, 4)), "odd": ((3, 7), (7, 5)), "row": ((1, 6), (6, 3)),
              "column": ((5, 2), (2, 1)), "inner_one": ((3, 1), (1, 4)), "batch": ((2, 3, 4), (2, 4, 5)),
              "batch_by_matrix": ((2, 3, 4), (4, 5)), "matrix_by_batch": ((3, 4), (2, 4, 5)),
              "broadcast": ((2, 1, 3, 4), (3, 4, 2)), "heads": ((2, 2, 3, 4), (2, 2, 4, 3)),
              "dot": ((5,), (5,)), "vector_by_matrix": ((4,), (4, 3)),
              "matrix_by_vector": ((3, 4), (4,)), "batch_by_vector": ((2, 3, 4), (4,)),
              "vector_by_batch": ((3,), (2, 3, 4)), "empty_rows": ((0, 3), (3, 2)),
              "empty_inner": ((2, 0), (0, 3)), "empty_batch": ((0, 2, 3), (0, 3, 2)),
              "tiles": ((17, 33), (33, 19))}
    for label, (a, b) in shapes.items():
        suite.case(f"matmul_{label}", torch.matmul, inputs(a=normal(a), b=normal(b)), **LOOSE)
    for label, a, b, left, right in (("left", (4, 3), (4, 5), True, False),
                                     ("right", (3, 4), (5, 4), False, True),
                                     ("both", (4, 3), (5, 4), True, True),
                                     ("batch_right", (2, 3, 4), (2, 5, 4), False, True),
                                     ("batch_left", (2, 4, 3), (2, 4, 5), True, False)):
        suite.case(f"matmul_transposed_{label}",
                   lambda a, b: torch.matmul(a.mT if left else a, b.mT if right else b),
                   inputs(a=normal(a), b=normal(b)),
                   {"transposeA": left, "transposeB": right}, **LOOSE)
    for label, x, w, biased in (("matrix", (3, 4), (5, 4), True), ("tokens", (2, 3, 4), (5, 4), True),
                                ("no_bias", (2, 3, 4), (1, 4), False), ("vector", (4,), (3, 4), True),
                                ("empty", (0, 4), (3, 4), True)):
        makers = {"x": normal(x), "weight": normal(w)}
        if biased:
            makers["bias"] = normal(w[:1])
        suite.case(f"linear_{label}", F.linear, inputs(**makers), **LOOSE)

    equations = (("ij,jk->ik", (3, 4), (4, 5)), ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
                 ("bhij,bhjd->bhid", (2, 2, 3, 4), (2, 2, 4, 3)),
                 ("...ij,...jk->...ik", (2, 3, 2, 4), (3, 4, 2)), ("ii->i", (4, 4)),
                 ("ii->", (3, 3)), ("ij->ji", (3, 4)), ("ij->", (3, 4)), ("ij->j", (3, 4)),
                 ("i,j->ij", (3,), (4,)), ("i,i->", (5,), (5,)), ("ij,ij->i", (3, 4), (3, 4)),
                 ("bij,bjk,bkl->bil", (2, 2, 3), (2, 3, 4), (2, 4, 2)), ("ij,jk", (2, 3), (3, 4)),
                 ("nchw,nc->nchw", (2, 3, 2, 2), (2, 3)),
                 ("nchw,oc->nohw", (2, 3, 2, 2), (4, 3)), ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)),
                 ("...i,i->...", (2, 3, 4), (4,)), ("a,b,c->cab", (2,), (3,), (2,)))
    for number, (equation, *shapes) in enumerate(equations):
        suite.case(f"einsum_{number}", lambda *x: torch.einsum(equation, *x),
                   inputs(**{f"x{i}": normal(s) for i, s in enumerate(shapes)}),
                   {"equation": equation}, **LOOSE)


def convolve(rank, stride, padding, dilation, groups):
    """Convolution with padding [[before, after], ...] per spatial dimension."""
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    flat = [p for pair in reversed(padding) for p in pair]

    def run(x, weight, bias=None):
        return conv(F.pad(x, flat), weight, bias, stride, 0, dilation, groups)
    return run


def add_convolutions(suite):
    zero, one = [0, 0], [1, 1]
    # label, x, weight, bias, stride, padding, dilation, groups
    table = (
        (1, "plain", (2, 3, 8), (4, 3, 3), True, [1], [zero], [1], 1),
        (1, "padded", (2, 3, 7), (4, 3, 5), False, [2], [[2, 2]], [1], 1),
        (1, "causal", (1, 2, 6), (3, 2, 3), True, [1], [[4, 0]], [2], 1),
        (1, "depthwise", (1, 4, 6), (4, 1, 3), True, [1], [one], [1], 4),
        (1, "pointwise", (2, 3, 5), (2, 3, 1), True, [1], [zero], [1], 1),
        (2, "plain", (2, 3, 5, 6), (4, 3, 3, 3), True, [1, 1], [zero, zero], [1, 1], 1),
        (2, "same", (1, 3, 5, 4), (2, 3, 3, 3), True, [1, 1], [one, one], [1, 1], 1),
        (2, "no_bias", (2, 2, 4, 4), (3, 2, 3, 3), False, [1, 1], [one, one], [1, 1], 1),
        (2, "pointwise", (2, 4, 3, 3), (5, 4, 1, 1), True, [1, 1], [zero, zero], [1, 1], 1),
        (2, "stride", (1, 2, 7, 6), (3, 2, 3, 3), True, [2, 2], [one, one], [1, 1], 1),
        (2, "downsample", (1, 2, 6, 6), (3, 2, 3, 3), True, [2, 2], [[0, 1], [0, 1]], [1, 1], 1),
        (2, "asymmetric", (1, 2, 4, 5), (2, 2, 3, 2), True, [1, 2], [[2, 0], [0, 3]], [1, 1], 1),
        (2, "dilated", (1, 2, 7, 7), (2, 2, 3, 3), True, [1, 1], [[2, 2], [2, 2]], [2, 2], 1),
        (2, "groups", (2, 4, 4, 4), (6, 2, 3, 3), True, [1, 1], [one, one], [1, 1], 2),
        (2, "depthwise", (1, 3, 5, 5), (3, 1, 3, 3), True, [1, 1], [one, one], [1, 1], 3),
        (2, "multiplier", (1, 2, 4, 4), (4, 1, 3, 3), False, [2, 1], [one, one], [1, 1], 2),
        (2, "patches", (1, 3, 4, 8), (5, 3, 2, 2), True, [2, 2], [zero, zero], [1, 1], 1),
        (2, "rectangle", (1, 2, 5, 6), (3, 2, 1, 5), True, [1, 1], [zero, [2, 2]], [1, 1], 1),
        (2, "whole", (2, 2, 3, 3), (4, 2, 3, 3), True, [1, 1], [zero, zero], [1, 1], 1),
        (2, "leftover", (1, 1, 6, 6), (1, 1, 3, 3), True, [2, 2], [zero, zero], [1, 1], 1),
        (2, "empty_batch", (0, 2, 4, 4), (3, 2, 3, 3), True, [1, 1], [one, one], [1, 1], 1),
        (3, "plain", (1, 2, 3, 4, 4), (2, 2, 3, 3, 3), True, [1] * 3, [one] * 3, [1] * 3, 1),
        (3, "temporal", (1, 2, 4, 3, 3), (3, 2, 3, 1, 1), True, [1] * 3, [[2, 0], zero, zero], [1] * 3, 1),
        (3, "stride", (1, 2, 4, 5, 4), (2, 1, 2, 3, 2), False, [2, 1, 2], [zero, one, zero], [1, 1, 1], 2),
        (3, "dilated", (1, 1, 4, 4, 5), (2, 1, 2, 2, 2), True, [1] * 3, [zero] * 3, [2, 1, 3], 1),
    )
    for rank, label, x, weight, biased, stride, padding, dilation, groups in table:
        makers = {"x": normal(x), "weight": normal(weight)}
        if biased:
            makers["bias"] = normal(weight[:1])
        suite.case(f"conv{rank}d_{label}", convolve(rank, stride, padding, dilation, groups),
                   inputs(**makers), {"stride": stride, "padding": padding, "dilation": dilation,
                                      "groups": groups}, **LOOSE)

    # label, x, weight [in, out / groups, kh, kw], bias, stride, padding, output padding, groups, dilation
    transposed = (
        ("plain", (2, 3, 3, 4), (3, 2, 3, 3), True, [1, 1], [0, 0], [0, 0], 1, [1, 1]),
        ("upsample", (1, 2, 3, 3), (2, 3, 4, 4), True, [2, 2], [1, 1], [0, 0], 1, [1, 1]),
        ("output_padding", (1, 2, 3, 2), (2, 3, 3, 3), False, [2, 2], [1, 1], [1, 1], 1, [1, 1]),
        ("uneven", (1, 2, 2, 3), (2, 2, 2, 3), True, [3, 2], [0, 1], [2, 0], 1, [1, 1]),
        ("groups", (2, 4, 3, 3), (4, 3, 3, 3), True, [2, 2], [1, 1], [1, 0], 2, [1, 1]),
        ("dilated", (1, 2, 3, 3), (2, 2, 3, 2), True, [1, 1], [1, 0], [0, 0], 1, [2, 2]),
        ("depthwise", (1, 3, 3, 3), (3, 1, 2, 2), True, [2, 2], [0, 0], [0, 0], 3, [1, 1]))
    for label, x, weight, biased, stride, padding, extra, groups, dilation in transposed:
        makers = {"x": normal(x), "weight": normal(weight)}
        if biased:
            makers["bias"] = normal((weight[1] * groups,))
        suite.case(f"convTranspose2d_{label}",
                   lambda x, w, b=None: F.conv_transpose2d(
                       x, w, b, stride, padding, extra, groups, dilation),
                   inputs(**makers),
                   {"stride": stride, "padding": [[p, p] for p in padding], "outputPadding": extra,
                    "groups": groups, "dilation": dilation}, **LOOSE)


def add_attention(suite):
    def attend(causal, scale):
        def run(q, k, v, mask=None):
            if mask is not None and mask.is_floating_point():
                mask = mask.to(q.dtype)
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)
        return run

    def attention(label, queries, keys, width, value_width=None, heads=2, batch=2, causal=False,
                  scale=None, mask=None):
        makers = {"q": normal((batch, heads, queries, width)),
                  "k": normal((batch, heads, keys, width)),
                  "v": normal((batch, heads, keys, value_width or width))}
        frozen = ()
        if mask:
            makers["mask"] = mask
            frozen = ("mask",)
        suite.case(f"attention_{label}", attend(causal, scale), inputs(**makers),
                   {"causal": causal, "scale": scale}, frozen=frozen, **LOOSE)

    def boolean(shape):
        def make(generator):
            mask = torch.rand(shape, generator=generator) < 0.6
            mask[..., 0] = True
            return mask
        return make

    attention("width_3", 5, 5, 3)
    attention("width_8", 4, 4, 8)
    attention("width_40", 3, 3, 40, batch=1)
    attention("one_token", 1, 1, 4)
    attention("one_key", 3, 1, 4)
    attention("cross", 3, 7, 8)
    attention("cross_long", 7, 2, 3)
    attention("value_width", 3, 4, 4, value_width=6)
    attention("many_keys", 2, 70, 3, heads=1, batch=1)
    attention("scale", 4, 4, 8, scale=0.2)
    attention("causal", 5, 5, 8, causal=True)
    attention("causal_width_3", 6, 6, 3, causal=True, heads=1)
    attention("causal_cross", 3, 5, 4, causal=True)
    attention("causal_cross_long", 5, 3, 4, causal=True)
    attention("mask_bool", 4, 5, 8, mask=boolean((2, 2, 4, 5)))
    attention("mask_bool_shared", 4, 5, 3, mask=boolean((4, 5)))
    attention("mask_bool_keys", 4, 5, 8, mask=boolean((2, 1, 1, 5)))
    attention("mask_added", 4, 5, 8, mask=normal((2, 2, 4, 5)))
    attention("mask_added_shared", 4, 4, 3, mask=normal((1, 1, 4, 4)))
    attention("mask_added_scale", 3, 4, 8, mask=normal((2, 1, 1, 4)), scale=0.5)

    def hidden_row(generator):
        mask = torch.ones((3, 4), dtype=torch.bool)
        mask[1] = False
        return mask
    attention("mask_hidden_row", 3, 4, 4, mask=hidden_row)


def add_second_order(suite):
    suite.second("matmul", torch.matmul, inputs(a=normal((2, 3)), b=normal((3, 4))))
    suite.second("conv2d", convolve(2, [1, 1], [[1, 1], [1, 1]], [1, 1], 1),
                 inputs(x=normal((1, 2, 3, 4)), weight=normal((3, 2, 3, 3)), bias=normal((3,))),
                 {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1], "groups": 1})


def add_codes(suite):
    """The nearest code by torch.cdist and argmin, whose first of equal ones is the least."""
    def nearest(x, codes):
        distances = torch.cdist(x.reshape(-1, x.shape[-1]), codes,
                                compute_mode="donot_use_mm_for_euclid_dist")
        return distances.argmin(1).reshape(x.shape[:-1])

    shapes = {"rows": ((5, 3), (7, 3)), "maps": ((2, 4, 3, 8), (32, 8)), "vector": ((4,), (6, 4)),
              "one_code": ((3, 2), (1, 2)), "odd": ((37, 19), (67, 19)), "empty": ((0, 3), (4, 3))}
    for label, (x, codes) in shapes.items():
        suite.case(f"nearestCode_{label}", nearest, inputs(x=normal(x), codebook=normal(codes)))
    suite.case("nearestCode_ties", nearest,
               inputs(x=fixed([0.5, 0.0], [1.0, 0.5], [2.0, 2.0]),
                      codebook=fixed([1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0])))
