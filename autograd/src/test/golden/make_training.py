# SPDX-License-Identifier: Apache-2.0
"""Writes the golden values of named schedules (transformers) and of the loss scale (torch.amp.GradScaler).

Run in this folder: python make_training.py; needs torch and transformers. Files: one record per line, a name and numbers.
"""
import torch
from transformers import get_scheduler

OUT = "../resources/golden/"


def numbers(values):
    return " ".join(repr(float(v)) for v in values)


def rates(name, warm_up, steps, rate, **more):
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=rate)
    schedule = get_scheduler(name, optimizer, num_warmup_steps=warm_up, num_training_steps=steps,
                             scheduler_specific_kwargs=more)
    out = []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return out


with open(OUT + "named_schedules.txt", "w") as f:
    f.write("constant " + numbers(rates("constant", 0, 50, 3e-4)) + "\n")
    f.write("constant_with_warmup " + numbers(rates("constant_with_warmup", 7, 50, 3e-4)) + "\n")
    f.write("linear " + numbers(rates("linear", 7, 50, 3e-4)) + "\n")
    f.write("cosine " + numbers(rates("cosine", 7, 50, 3e-4)) + "\n")
    f.write("cosine_with_restarts " + numbers(rates("cosine_with_restarts", 7, 50, 3e-4, num_cycles=3)) + "\n")
    f.write("polynomial " + numbers(rates("polynomial", 7, 50, 3e-4, power=2.0)) + "\n")

with open(OUT + "loss_scale.txt", "w") as f:
    p = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 125, growth_factor=2.0, backoff_factor=0.5, growth_interval=3)
    overflows, scales, good = [], [], []
    pattern = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    for overflow in pattern:
        p.grad = torch.tensor([float("inf") if overflow else 1.0])
        scaler.scale(torch.ones(1))
        scaler.step(optimizer)
        scaler.update()
        overflows.append(overflow)
        scales.append(scaler.get_scale())
        good.append(scaler._get_growth_tracker())
    f.write("overflow " + numbers(overflows) + "\n")
    f.write("scale " + numbers(scales) + "\n")
    f.write("good " + numbers(good) + "\n")
