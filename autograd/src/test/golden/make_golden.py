# SPDX-License-Identifier: Apache-2.0
"""Writes the golden values of optimizers, schedules and second derivatives, from PyTorch (CPU).

Run in this folder: python make_golden.py; needs torch. Files: one record per line, a name and numbers.
"""
import math
import torch

OUT = "../resources/golden/"


def numbers(values):
    return " ".join(repr(float(v)) for v in values)


def gradient(p, t, k):
    """A gradient that depends on parameter k and step t, the same in the Java test."""
    i = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
    return ((torch.sin(1.3 * i + 0.7 * t + k) * (1 + 0.1 * t)).to(p.dtype) + 0.3 * p).detach()


def start(shape, k, dtype):
    i = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    return torch.cos(0.9 * i + k).to(dtype)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. 2023."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(b1 * m + (1 - b1) * p.grad), alpha=-group["lr"])
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


OPTIMIZERS = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.05),
    "sgd_momentum": lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=0.02),
    "sgd_nesterov": lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.8, nesterov=True),
    "adam": lambda ps: torch.optim.Adam(ps, lr=0.01, weight_decay=0.03),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1),
    "adafactor": lambda ps: torch.optim.Adafactor(ps, lr=0.05, weight_decay=0.02),
    "lion": lambda ps: Lion(ps, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
}


def optimizers():
    with open(OUT + "optimizers.txt", "w") as f:
        for name, make in OPTIMIZERS.items():
            for label, dtype in (("f64", torch.float64), ("f32", torch.float32)):
                ps = [
                    torch.nn.Parameter(start(s, k, dtype))
                    for k, s in enumerate([(4, 6), (5,), (2, 3, 4)])
                ]
                optimizer = make(ps)
                for t in range(1, 13):
                    for k, p in enumerate(ps):
                        # the second parameter has no gradient in every third step
                        p.grad = None if k == 1 and t % 3 == 0 else gradient(p, t, k)
                    optimizer.step()
                    if t in (1, 2, 12):
                        for k, p in enumerate(ps):
                            row = numbers(p.detach().flatten())
                            f.write(f"{name}.{label}.{t}.{k} {row}\n")


def limited():
    """clip_grad_norm_, AdamW and diffusers' EMAModel (decay (1 + s) / (10 + s), at most 0.6), one after the other."""
    with open(OUT + "limited.txt", "w") as f:
        for label, dtype in (("f64", torch.float64), ("f32", torch.float32)):
            ps = [
                torch.nn.Parameter(start(s, k, dtype))
                for k, s in enumerate([(4, 6), (5,), (2, 3, 4)])
            ]
            averages = [p.detach().clone() for p in ps]
            optimizer = OPTIMIZERS["adamw"](ps)
            for t in range(1, 13):
                for k, p in enumerate(ps):
                    p.grad = None if k == 1 and t % 3 == 0 else gradient(p, t, k)
                # norms are 4 to 6: every second step is limited
                torch.nn.utils.clip_grad_norm_(ps, 1.5 if t % 2 == 0 else 100)
                optimizer.step()
                s = t - 1
                decay = 0 if s == 0 else min((1 + s) / (10 + s), 0.6)
                for a, p in zip(averages, ps):
                    a.sub_((1 - decay) * (a - p.detach()))
                if t in (1, 2, 12):
                    for k, p in enumerate(ps):
                        f.write(f"p.{label}.{t}.{k} {numbers(p.detach().flatten())}\n")
                        f.write(f"a.{label}.{t}.{k} {numbers(averages[k].flatten())}\n")


def schedules():
    with open(OUT + "schedules.txt", "w") as f:
        f.write("linear " + numbers(
            s / 10 if s < 10 else max(0, (50 - s) / 40) for s in range(60)) + "\n")
        f.write("cosine " + numbers(
            s / 10 if s < 10 else max(0, 0.5 * (1 + math.cos(math.pi * (s - 10) / 40)))
            for s in range(60)) + "\n")

        def restarts(s):
            progress = (s - 10) / 40
            if s < 10:
                return s / 10
            if progress >= 1:
                return 0
            return max(0, 0.5 * (1 + math.cos(math.pi * ((3 * progress) % 1.0))))

        f.write("restarts " + numbers(restarts(s) for s in range(60)) + "\n")
        p = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([p], lr=1.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=50)
        rates = []
        for _ in range(50):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(rates) < 50:
                schedule.step()
        f.write("one_cycle " + numbers(rates) + "\n")
        optimizer = torch.optim.SGD([p], lr=1.0)
        schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=40, power=2)
        rates = []
        for _ in range(50):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        f.write("polynomial " + numbers(rates) + "\n")


def penalty():
    """loss = mean(f) + 10 mean_i (|df/dx_i| - 1)^2 of a small network, its gradients."""
    w1, b1, w2 = start((3, 8), 1, torch.float64), start((8,), 2, torch.float64), start((8, 1), 3, torch.float64)
    x = start((5, 3), 4, torch.float64)
    for t in (w1, b1, w2, x):
        t.requires_grad_(True)
    y = torch.tanh(x @ w1 + b1) @ w2
    (d,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    loss = y.mean() + 10 * ((d.square().sum(1).sqrt() - 1).square()).mean()
    grads = torch.autograd.grad(loss, (w1, b1, w2))
    with open(OUT + "penalty.txt", "w") as f:
        f.write("loss " + numbers([loss.detach()]) + "\n")
        for name, g in zip(("w1", "b1", "w2"), grads):
            f.write(name + " " + numbers(g.flatten()) + "\n")


optimizers()
limited()
schedules()
penalty()
