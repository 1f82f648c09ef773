# SPDX-License-Identifier: Apache-2.0
"""Cases of normalisation, resampling, pooling and losses."""

import torch
import torch.nn.functional as F

from cases_pointwise import inputs, normal, uniform

LOOSE = {"rtol": 2e-5, "atol": 1e-5}


def add_cases(suite):
    add_norms(suite)
    add_resampling(suite)
    add_losses(suite)


def modulate(eps):
    def run(x, scale, shift):
        normalised = F.layer_norm(x, x.shape[-1:], None, None, eps)
        return normalised * (1 + scale[:, None, :]) + shift[:, None, :]
    return run


def add_norms(suite):
    def affine(channels):
        return {"weight": normal(channels), "bias": normal(channels)}

    shapes = (("plain", (2, 4, 3, 3), 2, True), ("bare", (2, 4, 3, 3), 2, False),
              ("one_group", (2, 3, 2, 4), 1, True), ("per_channel", (1, 4, 3, 3), 4, True),
              ("odd", (2, 6, 5, 3), 3, True), ("tokens", (2, 4, 5), 2, True), ("flat", (3, 6), 3, True),
              ("volume", (1, 4, 2, 3, 2), 2, True))
    for label, shape, groups, affined in shapes:
        for eps in ((1e-5, 1e-6) if label == "plain" else (1e-6,)):
            makers = {"x": normal(shape), **(affine((shape[1],)) if affined else {})}
            attrs = {"groups": groups, "eps": eps}
            suite.case(f"groupNorm_{label}_{eps}", lambda x, w=None, b=None: F.group_norm(
                x, groups, w, b, eps), inputs(**makers), attrs, **LOOSE)
            if affined:
                suite.case(f"groupNormSilu_{label}_{eps}", lambda x, w, b: F.silu(F.group_norm(
                    x, groups, w, b, eps)), inputs(**makers), attrs, **LOOSE)
    suite.case("groupNorm_shifted", lambda x: F.group_norm(x, 2, None, None, 1e-5),
               lambda g: {"x": 30 + torch.randn((2, 4, 3, 3), generator=g)},
               {"groups": 2, "eps": 1e-5}, rtol=1e-4, atol=1e-4)

    for label, shape, normalised, parts in (
            ("last", (2, 3, 5), [5], 2), ("bare", (2, 3, 5), [5], 0), ("two", (2, 3, 4), [3, 4], 2),
            ("all", (3, 4), [3, 4], 2), ("three_bare", (2, 2, 3, 2), [2, 3, 2], 0),
            ("weight_only", (3, 6), [6], 1), ("vector", (8,), [8], 2), ("empty", (0, 4), [4], 2),
            ("long", (2, 67), [67], 2)):
        makers = dict(list({"x": normal(shape), **affine(tuple(normalised))}.items())[:1 + parts])
        for eps in ((1e-5, 1e-6) if label in ("last", "bare") else (1e-5,)):
            suite.case(f"layerNorm_{label}_{eps}", lambda x, w=None, b=None: F.layer_norm(
                x, normalised, w, b, eps), inputs(**makers),
                {"normalizedShape": normalised, "eps": eps}, **LOOSE)
    for label, (batch, tokens, width) in {"plain": (2, 3, 8), "odd": (3, 2, 5), "one": (1, 1, 6)}.items():
        suite.case(f"layerNormModulate_{label}", modulate(1e-6),
                   inputs(x=normal((batch, tokens, width)), scale=normal((batch, width)),
                          shift=normal((batch, width))), {"eps": 1e-6}, **LOOSE)
    for label, shape, affined in (("last", (2, 3, 5), True), ("bare", (2, 3, 5), False),
                                  ("heads", (2, 2, 3, 8), True), ("vector", (7,), True)):
        makers = {"x": normal(shape)}
        if affined:
            makers["weight"] = normal(shape[-1:])
        suite.case(f"rmsNorm_{label}", lambda x, w=None: F.rms_norm(x, shape[-1:], w, 1e-6),
                   inputs(**makers), {"normalizedShape": [shape[-1]], "eps": 1e-6}, **LOOSE)

    def batch_norm(training, momentum, eps):
        def run(x, weight, bias, mean, variance):
            mean, variance = mean.detach().clone(), variance.detach().clone()
            out = F.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)
            return (out, mean, variance) if training else out
        return run
    for label, shape in (("nchw", (3, 2, 2, 4)), ("flat", (5, 3)), ("tokens", (2, 3, 4))):
        for training, momentum in ((True, 0.1), (True, 0.3), (False, 0.1)):
            makers = {"x": normal(shape), **affine((shape[1],)), "runningMean": normal((shape[1],)),
                      "runningVar": uniform((shape[1],), 0.5, 2.0)}
            suite.case(f"batchNorm_{label}_{'train' if training else 'eval'}_{momentum}",
                       batch_norm(training, momentum, 1e-5), inputs(**makers),
                       {"training": training, "momentum": momentum, "eps": 1e-5},
                       frozen=("runningMean", "runningVar"), **LOOSE)


def add_resampling(suite):
    for label, shape, scale, size in (("twice", (2, 2, 3, 2), [2, 2], None),
                                      ("uneven", (1, 2, 2, 3), [3, 1], None),
                                      ("size", (1, 2, 3, 4), None, [5, 7]),
                                      ("shrink", (1, 2, 6, 5), None, [4, 2]),
                                      ("one", (1, 1, 1, 1), None, [3, 2]),
                                      ("line", (2, 2, 4), [2], None),
                                      ("volume", (1, 1, 2, 2, 3), [2, 2, 2], None)):
        attrs = {"scale": scale} if scale else {"size": size}
        suite.case(f"upsampleNearest_{label}",
                   lambda x: F.interpolate(x, size=size, scale_factor=scale, mode="nearest"),
                   inputs(x=normal(shape)), attrs)
    for label, shape, scale, size in (("twice", (2, 2, 3, 2), [2, 2], None),
                                      ("size", (1, 2, 3, 4), None, [5, 7]),
                                      ("shrink", (1, 2, 6, 5), None, [4, 2]),
                                      ("one", (1, 1, 1, 1), None, [3, 2]),
                                      ("single_out", (1, 1, 3, 4), None, [1, 2])):
        for align in (False, True):
            attrs = {"scale": scale} if scale else {"size": size}
            suite.case(f"upsampleBilinear_{label}{'_aligned' if align else ''}",
                       lambda x: F.interpolate(x, size=size, scale_factor=scale, mode="bilinear",
                                               align_corners=align),
                       inputs(x=normal(shape)), {**attrs, "alignCorners": align})
    for label, shape, kernel, stride, padding, counted in (
            ("halve", (2, 2, 4, 6), [2, 2], [2, 2], [0, 0], True),
            ("overlap", (1, 2, 5, 5), [3, 3], [1, 1], [0, 0], True),
            ("padded", (1, 2, 5, 4), [3, 2], [2, 2], [1, 1], True),
            ("padded_uncounted", (1, 2, 5, 4), [3, 2], [2, 2], [1, 1], False),
            ("leftover", (1, 1, 5, 5), [2, 2], [2, 2], [0, 0], True)):
        suite.case(f"avgPool2d_{label}",
                   lambda x: F.avg_pool2d(x, kernel, stride, padding, False, counted),
                   inputs(x=normal(shape)), {"kernel": kernel, "stride": stride, "padding": padding,
                                             "countIncludePad": counted})
    for label, shape, kernel, stride, padding, dilation in (
            ("halve", (2, 2, 4, 6), [2, 2], [2, 2], [0, 0], [1, 1]),
            ("overlap", (1, 2, 5, 5), [3, 3], [1, 1], [0, 0], [1, 1]),
            ("padded", (1, 2, 5, 4), [3, 2], [2, 2], [1, 1], [1, 1]),
            ("dilated", (1, 1, 6, 6), [2, 2], [1, 1], [0, 0], [2, 2])):
        suite.case(f"maxPool2d_{label}",
                   lambda x: F.max_pool2d(x, kernel, stride, padding, dilation),
                   inputs(x=normal(shape)), {"kernel": kernel, "stride": stride, "padding": padding,
                                             "dilation": dilation})
    for label, shape, size in (("global", (2, 3, 4, 5), [1, 1]), ("halve", (1, 2, 4, 6), [2, 3]),
                               ("uneven", (1, 2, 5, 7), [3, 2]), ("grow", (1, 1, 2, 2), [3, 4])):
        suite.case(f"adaptiveAvgPool2d_{label}", lambda x: F.adaptive_avg_pool2d(x, size),
                   inputs(x=normal(shape)), {"size": size})
    for label, shape, factor in (("two", (2, 8, 2, 3), 2), ("three", (1, 9, 2, 1), 3)):
        suite.case(f"pixelShuffle_{label}", lambda x: F.pixel_shuffle(x, factor),
                   inputs(x=normal(shape)), {"factor": factor})
    for label, shape, factor in (("two", (2, 2, 4, 6), 2), ("three", (1, 1, 6, 3), 3)):
        suite.case(f"pixelUnshuffle_{label}", lambda x: F.pixel_unshuffle(x, factor),
                   inputs(x=normal(shape)), {"factor": factor})


def add_losses(suite):
    pair = inputs(x=normal((3, 4)), target=normal((3, 4)))
    for reduction in ("mean", "sum", "none"):
        attrs = {"reduction": reduction}
        suite.case(f"mse_{reduction}", lambda x, t: F.mse_loss(x, t, reduction=reduction), pair, attrs)
        suite.case(f"l1_{reduction}", lambda x, t: F.l1_loss(x, t, reduction=reduction), pair, attrs)
        for width in (1.0, 0.3):
            suite.case(f"huber_{reduction}_{width}",
                       lambda x, t: F.huber_loss(x, t, reduction=reduction, delta=width), pair,
                       {**attrs, "delta": width})
            suite.case(f"smoothL1_{reduction}_{width}",
                       lambda x, t: F.smooth_l1_loss(x, t, reduction=reduction, beta=width), pair,
                       {**attrs, "beta": width})
        suite.case(f"bce_{reduction}",
                   lambda x, t: F.binary_cross_entropy(x, t, reduction=reduction),
                   inputs(x=uniform((3, 4), 0.05, 0.95), target=uniform((3, 4), 0.0, 1.0)), attrs,
                   frozen=("target",))
        suite.case(f"bceWithLogits_{reduction}",
                   lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=reduction),
                   inputs(x=normal((3, 4), 3.0), target=uniform((3, 4), 0.0, 1.0)), attrs,
                   frozen=("target",))
    for reduction in ("batchmean", "sum", "none"):
        suite.case(f"klDiv_{reduction}",
                   lambda x, t: F.kl_div(x, t, reduction=reduction),
                   inputs(x=uniform((3, 4), -3.0, -0.1), target=uniform((3, 4), 0.05, 1.0)),
                   {"reduction": reduction}, frozen=("target",))

    def classes(shape, count, ignored=None):
        def make(generator):
            target = torch.randint(0, count, shape, generator=generator)
            if ignored is not None:
                target.view(-1)[1] = ignored
            return target
        return make
    for label, logits, target, weighted, ignored, smoothing, reduction in (
            ("plain", (4, 5), (4,), False, None, 0.0, "mean"),
            ("sum", (4, 5), (4,), False, None, 0.0, "sum"),
            ("none", (4, 5), (4,), False, None, 0.0, "none"),
            ("smoothed", (4, 5), (4,), False, None, 0.1, "mean"),
            ("ignored", (4, 5), (4,), False, -100, 0.0, "mean"),
            ("ignored_class", (6, 3), (6,), False, 2, 0.0, "mean"),
            ("ignored_none", (4, 5), (4,), False, -100, 0.0, "none"),
            ("weighted", (4, 5), (4,), True, None, 0.0, "mean"),
            ("weighted_ignored_smoothed", (4, 5), (4,), True, -100, 0.2, "mean"),
            ("weighted_sum", (4, 5), (4,), True, None, 0.1, "sum"),
            ("spatial", (2, 3, 2, 4), (2, 2, 4), False, None, 0.0, "mean"),
            ("spatial_none", (2, 3, 4), (2, 4), False, -100, 0.1, "none"),
            ("one_class", (3, 1), (3,), False, None, 0.0, "mean")):
        index = -100 if ignored is None else ignored
        makers = {"logits": normal(logits, 2.0), "target": classes(target, logits[1], ignored)}
        if weighted:
            makers["weight"] = uniform((logits[1],), 0.5, 2.0)
        suite.case(f"crossEntropy_{label}",
                   lambda x, t, w=None: F.cross_entropy(
                       x, t, w, ignore_index=index, reduction=reduction, label_smoothing=smoothing),
                   inputs(**makers), {"ignoreIndex": index, "labelSmoothing": smoothing,
                                      "reduction": reduction}, frozen=("weight",))


def add_second_order(suite):
    suite.second("layerNorm", lambda x, w, b: F.layer_norm(x, (5,), w, b, 1e-5),
                 inputs(x=normal((2, 5)), weight=normal((5,)), bias=normal((5,))),
                 {"normalizedShape": [5], "eps": 1e-5})
    suite.second("groupNorm", lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5),
                 inputs(x=normal((2, 4, 2, 2)), weight=normal((4,)), bias=normal((4,))),
                 {"groups": 2, "eps": 1e-5})
    suite.second("mse", lambda x, t: F.mse_loss(x, t), inputs(x=normal((3, 4)), target=normal((3, 4))),
                 {"reduction": "mean"})
