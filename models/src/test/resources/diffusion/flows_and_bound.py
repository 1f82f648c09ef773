# SPDX-License-Identifier: Apache-2.0
"""Writes flows.safetensors and bound.safetensors: python flows_and_bound.py OUTPUT_FOLDER.

flows: the samplers of SiT (Ma et al., 2024) by their formulas and in SiT's own convention of time, t = 0 at the noise
and 1 at the data, for a fixed velocity; every noise draw is stored. bound: the terms of the variational bound of
Nichol and Dhariwal (2021) with their gradient. Needs PyTorch and safetensors.
"""

import math
import os
import sys

import torch
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)

PATHS = {
    "linear": (lambda t: (t, 1.0), lambda t: (1 - t, -1.0)),
    "gvp": (
        lambda t: (math.sin(t * math.pi / 2), math.pi / 2 * math.cos(t * math.pi / 2)),
        lambda t: (math.cos(t * math.pi / 2), -math.pi / 2 * math.sin(t * math.pi / 2)),
    ),
}


def velocity(x, t):
    """Towards the data, as SiT has it."""
    return 0.7 * torch.tanh(x) + 0.3 * t - 0.2


def score(path, v, x, t):
    alpha, d_alpha = PATHS[path][0](t)
    sigma, d_sigma = PATHS[path][1](t)
    ratio = alpha / d_alpha
    variance = sigma**2 - ratio * d_sigma * sigma
    return (ratio * v - x) / variance


def diffusion(path, form, norm, t):
    alpha, d_alpha = PATHS[path][0](t)
    sigma, d_sigma = PATHS[path][1](t)
    return {
        "CONSTANT": lambda: norm,
        "SBDM": lambda: norm * (d_alpha / alpha * sigma**2 - sigma * d_sigma),
        "SIGMA": lambda: norm * sigma,
        "LINEAR": lambda: norm * (1 - t),
        "DECREASING": lambda: 0.25 * (norm * math.cos(math.pi * t) + 1) ** 2,
        "INCREASING_DECREASING": lambda: norm * math.sin(math.pi * t) ** 2,
    }[form]()


def ode(x, solver, steps):
    dt = 1 / steps
    for i in range(steps):
        t = i * dt
        k1 = velocity(x, t)
        if solver == "HEUN":
            k1 = (k1 + velocity(x + dt * k1, t + dt)) / 2
        x = x + dt * k1
    return x


def sde(x, path, solver, form, norm, last, size, steps, draws):
    def drift(z, t):
        v = velocity(z, t)
        return v + diffusion(path, form, norm, t) * score(path, v, z, t)

    t0 = 1e-3 if form == "SBDM" else 0.0
    times = torch.linspace(t0, 1 - size, steps).tolist()
    dt = times[1] - times[0]
    for t, draw in zip(times[:-1], draws):
        noise = math.sqrt(2 * diffusion(path, form, norm, t) * dt) * draw
        if solver == "EULER":
            x = x + drift(x, t) * dt + noise
        else:
            start = x + noise
            k1 = drift(start, t)
            x = start + 0.5 * dt * (k1 + drift(start + dt * k1, t + dt))
    t = times[-1]
    if last == "MEAN":
        return x + drift(x, t) * size
    if last == "EULER":
        return x + velocity(x, t) * size
    alpha, sigma = PATHS[path][0](t)[0], PATHS[path][1](t)[0]
    return x / alpha + sigma**2 / alpha * score(path, velocity(x, t), x, t)


def flows():
    generator = torch.Generator().manual_seed(1)
    steps = 6
    x = torch.randn(2, 1, 2, 2, generator=generator)
    draws = torch.randn(steps - 1, 2, 1, 2, 2, generator=generator)
    result = {"start": x, "draws": draws}
    for solver in ("EULER", "HEUN"):
        result[f"ode.{solver}"] = ode(x, solver, steps)
        for path in PATHS:
            for form in ("CONSTANT", "SBDM", "SIGMA", "LINEAR", "DECREASING", "INCREASING_DECREASING"):
                for last in ("MEAN", "TWEEDIE", "EULER"):
                    name = f"sde.{path}.{solver}.{form}.{last}"
                    result[name] = sde(x, path, solver, form, 0.8, last, 0.04, steps, draws)
    return result


def bound():
    generator = torch.Generator().manual_seed(2)
    betas = torch.linspace(1e-4, 0.02, 1000)
    bars = torch.cumprod(1 - betas, 0)
    t = torch.tensor([0, 1, 40, 500, 999])
    b = len(t)
    x0 = torch.rand(b, 2, 4, 4, generator=generator) * 2 - 1
    x0[:, 0, 0, 0] = -1
    x0[:, 0, 0, 1] = 1
    noise = torch.randn(x0.shape, generator=generator)
    bar = bars[t].reshape(b, 1, 1, 1)
    previous = torch.where(t > 0, bars[(t - 1).clamp(min=0)], torch.ones(b)).reshape(b, 1, 1, 1)
    beta = betas[t].reshape(b, 1, 1, 1)
    noisy = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
    value = noise + 0.3 * torch.randn(x0.shape, generator=generator)
    fraction = torch.randn(x0.shape, generator=generator).requires_grad_()
    all_previous = torch.cat([torch.ones(1), bars[:-1]])
    variances = betas * (1 - all_previous) / (1 - bars)
    variances[0] = variances[1]
    low = variances[t].log().reshape(b, 1, 1, 1)
    estimate = (noisy - (1 - bar).sqrt() * value) / bar.sqrt()

    def mean(z):
        return beta * previous.sqrt() / (1 - bar) * z + (1 - previous) * (1 - beta).sqrt() / (1 - bar) * noisy

    log_variance = low + (fraction + 1) / 2 * (beta.log() - low)
    kl = 0.5 * (
        -1 + log_variance - low + (low - log_variance).exp() + (mean(x0) - mean(estimate)) ** 2 * (-log_variance).exp()
    )

    def cdf(z):
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    inverse = (-0.5 * log_variance).exp()
    above = cdf(inverse * (x0 - mean(estimate) + 1 / 255))
    below = cdf(inverse * (x0 - mean(estimate) - 1 / 255))
    inside = torch.where(x0 > 0.999, (1 - below).clamp(min=1e-12).log(), (above - below).clamp(min=1e-12).log())
    likelihood = torch.where(x0 < -0.999, above.clamp(min=1e-12).log(), inside)
    terms = torch.where((t == 0).reshape(b, 1, 1, 1), -likelihood, kl).mean((1, 2, 3)) / math.log(2)
    simple = ((value - noise) ** 2).mean()
    terms.mean().backward()
    return {
        "x0": x0, "noise": noise, "t": t, "value": value, "fraction": fraction, "simple": simple, "terms": terms,
        "grad.fraction": fraction.grad,
    }


def main():
    for name, tensors in (("flows", flows()), ("bound", bound())):
        tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
        save_file(tensors, os.path.join(sys.argv[1], name + ".safetensors"))


main()
