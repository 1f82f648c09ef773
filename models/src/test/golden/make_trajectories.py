# SPDX-License-Identifier: Apache-2.0
"""Writes trajectories of samplers for configurations that no golden file has.

The formulae are those of the papers (docs/samplers.md names them), with the grids of times and noise levels as diffusers
lays them, in PyTorch's 32-bit arithmetic; it shares no code with the library. Usage: make_trajectories.py OUT.json.gz
"""
import gzip
import itertools
import json
import math
import sys

import numpy as np
import scipy.stats
import torch

f32 = torch.float32


def alphas(c):
    n = c["num_train_timesteps"]
    lo, hi, kind = c["beta_start"], c["beta_end"], c["beta_schedule"]
    if c.get("trained_betas") is not None:
        b = torch.tensor(c["trained_betas"], dtype=f32)
    elif kind == "linear":
        b = torch.linspace(lo, hi, n, dtype=f32)
    elif kind == "scaled_linear":
        b = torch.linspace(lo**0.5, hi**0.5, n, dtype=f32) ** 2
    elif kind == "sigmoid":
        b = torch.sigmoid(torch.linspace(-6, 6, n)) * (hi - lo) + lo
    else:
        bar = lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        b = torch.tensor([min(1 - bar((i + 1) / n) / bar(i / n), 0.999) for i in range(n)], dtype=f32)
    if c.get("rescale_betas_zero_snr"):
        r = torch.cumprod(1 - b, 0).sqrt()
        first, last = r[0].clone(), r[-1].clone()
        r = (r - last) * (first / (first - last))
        bars = r**2
        b = 1 - torch.cat([bars[:1], bars[1:] / bars[:-1]])
    return torch.cumprod(1 - b, 0)


def train_sigmas(c):
    a = alphas(c)
    if c.get("rescale_betas_zero_snr"):
        a[-1] = 2**-24
    return (((1 - a) / a) ** 0.5).numpy(), a


def spaced(c, n, total=None, drop=False, real=False):
    """Timesteps from noisy to clean; `drop`: n + 1 of them without the cleanest."""
    t_max = c["num_train_timesteps"]
    total = t_max if total is None else total
    m = n + 1 if drop else n
    kind = c["timestep_spacing"]
    if kind == "linspace":
        t = np.linspace(0, total - 1, m, dtype=np.float32 if real else None)
        t = (t if real else t.round())[::-1][:n]
    elif kind == "leading":
        t = (np.arange(m) * (total // m))[::-1][:n] + c["steps_offset"]
    else:
        t = np.arange(total, 0, -t_max / n).round() - 1
    return t.astype(np.float32 if real else np.int64)


def respaced(c, hi, lo, n):
    hi = c.get("sigma_max") or float(hi)
    lo = c.get("sigma_min") or float(lo)
    u = np.linspace(0, 1, n)
    if c.get("use_karras_sigmas"):
        return (hi ** (1 / 7) + u * (lo ** (1 / 7) - hi ** (1 / 7))) ** 7
    if c.get("use_exponential_sigmas"):
        return np.exp(np.linspace(math.log(hi), math.log(lo), n))
    if c.get("use_beta_sigmas"):
        return lo + scipy.stats.beta.ppf(1 - u, 0.6, 0.6) * (hi - lo)
    return None


def to_times(sigmas, table):
    """Fractional indices by interpolation between logarithms of a rising table."""
    logs = np.log(table)
    out = []
    for s in sigmas:
        v = np.log(max(s, 1e-10))
        below = np.nonzero(v - logs >= 0)[0]
        i = min(below[-1] if len(below) else 0, len(logs) - 2)
        w = np.clip((logs[i] - v) / (logs[i] - logs[i + 1]), 0, 1)
        out.append((1 - w) * i + w * (i + 1))
    return np.array(out)


def sigma_grid(c, n):
    table, _ = train_sigmas(c)
    t = spaced(c, n, real=True)
    s = np.interp(t, np.arange(len(table)), table)
    if c.get("interpolation_type") == "log_linear":
        s = torch.linspace(float(np.log(table[-1])), float(np.log(table[0])), n + 1).exp().numpy()
    r = respaced(c, s[0], s[-1], n)
    if r is not None:
        s, t = r, to_times(r, table)
    last = table[0] if c.get("final_sigmas_type") == "sigma_min" else 0
    s = torch.tensor(np.append(s, last).astype(np.float32))
    t = t.astype(np.float32)
    if c.get("timestep_type") == "continuous" and c["prediction_type"] == "v_prediction":
        t = (0.25 * s[:-1].log()).numpy()
    return t, s


def solver_grid(c, n, kind):
    """Grids of DPM-Solver and UniPC."""
    table, a = train_sigmas(c)
    total = c["num_train_timesteps"]
    flow = c.get("use_flow_sigmas")
    last = table[0]
    r = respaced(c, table[-1], table[0], n)
    if c.get("use_lu_lambdas"):
        r = np.exp(np.linspace(0, 1, n) * (float(np.log(table[0])) - float(np.log(table[-1]))) + float(np.log(table[-1])))
    if r is not None:
        s, t = r, to_times(r, table)
        if flow:
            s = s / (s + 1)
            t = s * total
        elif c.get("use_karras_sigmas") or c.get("use_lu_lambdas"):
            if kind == "unipc" or c["beta_schedule"] != "squaredcos_cap_v2":
                t = t.round()
        if kind == "unipc":
            last = s[-1]
    elif flow:
        shift = c["flow_shift"]
        if kind == "unipc":
            s = np.linspace(1, 1 / total, n + 1)[:-1]
        else:
            s = (1 - np.linspace(1, 1 / total, n + 1))[::-1][:-1]
        s = shift * s / (1 + (shift - 1) * s)
        if kind == "unipc":
            if c.get("shift_terminal"):
                s = 1 - (1 - s) / ((1 - s[-1]) / (1 - c["shift_terminal"]))
            if abs(s[0] - 1) < 1e-6:
                s[0] -= 1e-6
            last = s[-1]
        t = s * total
    else:
        seen = total
        if kind == "dpm":
            lam = a.sqrt().log() - (1 - a).sqrt().log()
            seen = total - int((lam < c["lambda_min_clipped"]).sum())
        t = spaced(c, n, total=seen, drop=True)
        s = np.interp(t, np.arange(total), table)
    last = last if c["final_sigmas_type"] == "sigma_min" else 0
    return t.astype(np.int64), torch.tensor(np.append(s, last).astype(np.float32))


def threshold(c, x0):
    if c.get("thresholding"):
        q = torch.quantile(x0.reshape(len(x0), -1).abs(), c["dynamic_thresholding_ratio"], dim=1)
        q = q.clamp(min=1, max=c["sample_max_value"]).reshape(-1, 1, 1, 1)
        return x0.clamp(-q, q) / q
    if c.get("clip_sample"):
        return x0.clamp(-c["clip_sample_range"], c["clip_sample_range"])
    return x0


def both(kind, x, o, a, s):
    """x0 and noise of an output at x = a x0 + s noise."""
    if kind == "epsilon":
        return (x - s * o) / a, o
    if kind == "sample":
        return o, (x - a * o) / s
    if kind == "v_prediction":
        return a * x - s * o, a * o + s * x
    return x - s * o, x + a * o


def in_sigma(kind, x, o, s):
    if kind == "epsilon":
        return x - s * o
    if kind == "sample":
        return o
    return o * (-s / (s**2 + 1).sqrt()) + x / (s**2 + 1)


class Tape:
    """Runs the formula network and notes what happened."""

    def __init__(self, x, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.xs, self.draws = [x], []

    def model(self, z, t):
        return 0.7 * torch.tanh(z) + 0.05 * float(t) / 1000

    def noise(self):
        self.draws.append(torch.randn(self.xs[0].shape, generator=self.g))
        return self.draws[-1]

    def put(self, x):
        self.xs.append(x)
        return x


def ddpm(c, n, tape, args):
    a, t = alphas(c), spaced(c, n)
    x = tape.xs[0]
    for i, k in enumerate(t):
        bar, prev = a[k], a[t[i + 1]] if i + 1 < len(t) else torch.tensor(1.0)
        x0, _ = both(c["prediction_type"], x, tape.model(x, k), bar.sqrt(), (1 - bar).sqrt())
        x0 = threshold(c, x0)
        beta = 1 - bar / prev
        y = prev.sqrt() * beta / (1 - bar) * x0 + (1 - beta).sqrt() * (1 - prev) / (1 - bar) * x
        if k > 0:
            v = torch.clamp((1 - prev) / (1 - bar) * beta, min=1e-20)
            y = y + (beta if c["variance_type"] == "fixed_large" else v).sqrt() * tape.noise()
        x = tape.put(y)
    return t, None, 1.0


def ddim(c, n, tape, args):
    a, t = alphas(c), spaced(c, n)
    eta = args.get("eta", 0)
    x = tape.xs[0]
    for k in t:
        p = k - c["num_train_timesteps"] // n
        bar = a[k]
        prev = a[p] if p >= 0 else (torch.tensor(1.0) if c["set_alpha_to_one"] else a[0])
        x0, e = both(c["prediction_type"], x, tape.model(x, k), bar.sqrt(), (1 - bar).sqrt())
        x0 = threshold(c, x0)
        if args.get("use_clipped_model_output"):
            e = (x - bar.sqrt() * x0) / (1 - bar).sqrt()
        std = eta * ((1 - prev) / (1 - bar) * (1 - bar / prev)).sqrt()
        y = prev.sqrt() * x0 + (1 - prev - std**2).clamp(min=0).sqrt() * e
        if eta > 0:
            y = y + std * tape.noise()
        x = tape.put(y)
    return t, None, 1.0


def pndm(c, n, tape, args):
    a = alphas(c)
    total = c["num_train_timesteps"]
    up = spaced(c, n)[::-1]
    step = total // n

    def move(x, e, t, p):
        bar = a[t]
        prev = a[p] if p >= 0 else (torch.tensor(1.0) if c["set_alpha_to_one"] else a[0])
        if c["prediction_type"] == "v_prediction":
            e = bar.sqrt() * e + (1 - bar).sqrt() * x
        return (prev / bar).sqrt() * x - (prev - bar) * e / (bar * (1 - prev).sqrt() + (bar * (1 - bar) * prev).sqrt())

    es, x, times = [], tape.xs[0], []
    rest = list(up[::-1])
    if not c["skip_prk_steps"]:
        d = step // 2
        seq = np.repeat((np.repeat(up[-4:], 2) + np.tile([0, d], 4))[:-1], 2)[1:-1][::-1]
        for j in range(0, 12, 4):
            start, acc = x, 0
            for q, w in enumerate((1 / 6, 1 / 3, 1 / 3, 1 / 6)):
                o = tape.model(x, seq[j + q])
                if q == 0:
                    es.append(o)
                acc = acc + w * o
                p = seq[j + q] - (0 if q % 2 else d)
                x = tape.put(move(start, acc if q == 3 else o, seq[j], p))
            times += list(seq[j : j + 4])
        rest = rest[3:]
        for t in rest:
            o = tape.model(x, t)
            es = (es + [o])[-4:]
            e = (55 * es[-1] - 59 * es[-2] + 37 * es[-3] - 9 * es[-4]) / 24
            x = tape.put(move(x, e, t, t - step))
        return times + rest, None, 1.0
    rest = rest[:2] + rest[1:]
    for j, t in enumerate(rest):
        o = tape.model(x, t)
        if j == 1:
            x = tape.put(move(start, (o + es[-1]) / 2, t + step, t))
            continue
        start = x
        es.append(o)
        if len(es) == 1:
            e = o
        elif len(es) == 2:
            e = (3 * es[-1] - es[-2]) / 2
        elif len(es) == 3:
            e = (23 * es[-1] - 16 * es[-2] + 5 * es[-3]) / 12
        else:
            e = (55 * es[-1] - 59 * es[-2] + 37 * es[-3] - 9 * es[-4]) / 24
        x = tape.put(move(x, e, t, t - step))
    return rest, None, 1.0


def initial(c, s):
    m = s.max()
    return float((m**2 + 1).sqrt() if c["timestep_spacing"] == "leading" else m)


def euler(c, n, tape, args, ancestral=False):
    t, s = sigma_grid(c, n)
    x = tape.xs[0] = tape.xs[0] * initial(c, s)
    kind = c["prediction_type"]
    for i, k in enumerate(t):
        now, to = s[i], s[i + 1]
        o = tape.model(x / (now**2 + 1).sqrt(), k)
        if ancestral:
            up = (to**2 * (now**2 - to**2) / now**2).sqrt()
            d = (x - in_sigma(kind, x, o, now)) / now
            x = x + d * ((to**2 - up**2).clamp(min=0).sqrt() - now) + up * tape.noise()
        else:
            g = min(args.get("s_churn", 0) / (len(s) - 1), 2**0.5 - 1)
            if not args.get("s_tmin", 0) <= now <= args.get("s_tmax", math.inf):
                g = 0
            hat = now * (g + 1)
            if g > 0:
                x = x + args.get("s_noise", 1) * (hat**2 - now**2).sqrt() * tape.noise()
            x0 = in_sigma(kind, x, o, hat if kind == "epsilon" else now)
            x = x + (x - x0) / hat * (to - hat)
        tape.put(x)
    return t, s, initial(c, s)


def euler_a(c, n, tape, args):
    return euler(c, n, tape, args, True)


def heun(c, n, tape, args):
    t, s = sigma_grid(c, n)
    x = tape.xs[0] = tape.xs[0] * initial(c, s)
    times, levels = [], [s[0]]

    def slope(x, i):
        o = tape.model(x / (s[i] ** 2 + 1).sqrt(), t[i])
        return (x - threshold(c, in_sigma(c["prediction_type"], x, o, s[i]))) / s[i]

    for i in range(n):
        d = slope(x, i)
        times.append(t[i])
        y = tape.put(x + d * (s[i + 1] - s[i]))
        levels.append(s[i + 1])
        if i + 1 < n:
            x = tape.put(x + (d + slope(y, i + 1)) / 2 * (s[i + 1] - s[i]))
            times.append(t[i + 1])
            levels.append(s[i + 1])
    return times, torch.stack(levels), initial(c, s)


def meaning(c, s):
    a, g = (1 - s, s) if c.get("use_flow_sigmas") else (1 / (s**2 + 1).sqrt(), s / (s**2 + 1).sqrt())
    return a, g, a.log() - g.log()


def dpm(c, n, tape, args):
    t, s = solver_grid(c, n, "dpm")
    n = len(t)
    A, G, L = meaning(c, s)
    alg, heun2 = c["algorithm_type"], c["solver_type"] == "heun"
    data, sde = alg.endswith("++"), alg.startswith("sde")
    x, ms = tape.xs[0], []
    for i in range(n):
        x0, e = both(c["prediction_type"], x, tape.model(x, t[i]), A[i], G[i])
        x0 = threshold(c, x0)
        if c["thresholding"]:
            e = (x - A[i] * x0) / G[i]
        ms.append(x0 if data else e)
        few = c["lower_order_final"] and n < 15
        order = min(c["solver_order"], len(ms))
        if i == n - 1 and (few or c["euler_at_final"] or c["final_sigmas_type"] == "zero"):
            order = 1
        elif i == n - 2 and few:
            order = min(order, 2)
        h = L[i + 1] - L[i]
        noise = tape.noise() if sde else 0
        if order > 1:
            d1 = (ms[-1] - ms[-2]) / ((L[i] - L[i - 1]) / h)
            d2 = 0 * d1
        if order == 3:
            r0, r1 = (L[i] - L[i - 1]) / h, (L[i - 1] - L[i - 2]) / h
            old = (ms[-2] - ms[-3]) / r1
            d1, d2 = d1 + r0 / (r0 + r1) * (d1 - old), (d1 - old) / (r0 + r1)
        if data:
            k = 2 if sde else 1
            z = k * h
            base = (-h).exp() if sde else 1
            y = G[i + 1] / G[i] * base * x + A[i + 1] * (1 - (-z).exp()) * ms[-1]
            if order == 2 and not heun2:
                y = y + 0.5 * A[i + 1] * (1 - (-z).exp()) * d1
            elif order > 1:
                y = y + A[i + 1] * (((-z).exp() - 1) / z + 1) * d1
            if order == 3:
                # For the stochastic equation the reference has ((1 - e^-z - z)/z^2 - 1/2).
                p = (1 - (-z).exp() - z) / z**2 - 0.5 if sde else -(((-z).exp() - 1 + z) / z**2 - 0.5)
                y = y + A[i + 1] * p * d2
            if sde:
                y = y + G[i + 1] * (1 - (-2 * h).exp()).sqrt() * noise
        else:
            k = 2 if sde else 1
            y = A[i + 1] / A[i] * x - k * G[i + 1] * (h.exp() - 1) * ms[-1]
            if order == 2 and not heun2:
                y = y - k * 0.5 * G[i + 1] * (h.exp() - 1) * d1
            elif order > 1:
                y = y - k * G[i + 1] * ((h.exp() - 1) / h - 1) * d1
            if order == 3:
                y = y - G[i + 1] * ((h.exp() - 1 - h) / h**2 - 0.5) * d2
            if sde:
                y = y + G[i + 1] * ((2 * h).exp() - 1).sqrt() * noise
        x = tape.put(y)
    return t, s, 1.0


def unipc(c, n, tape, args):
    t, s = solver_grid(c, n, "unipc")
    n = len(t)
    A, G, L = meaning(c, s)
    data, bh1 = c["predict_x0"], c["solver_type"] == "bh1"
    x, ms, last, order = tape.xs[0], [], None, 0

    def step(x, i, p, new=None):
        m0 = ms[-1]
        h = L[i + 1] - L[i]
        hh = -h if data else h
        r = [(L[i - k] - L[i]) / h for k in range(1, p)] + [torch.tensor(1.0)]
        ds = [(ms[-1 - k] - m0) / r[k - 1] for k in range(1, p)]
        if new is not None:
            ds = ds + [new - m0]
        B = hh if bh1 else torch.expm1(hh)
        y = (G[i + 1] / G[i] if data else A[i + 1] / A[i]) * x
        scale = A[i + 1] if data else G[i + 1]
        y = y - scale * torch.expm1(hh) * m0
        m = len(ds)
        if m == 0:
            return y
        if m == 1:
            rho = [0.5]
        else:
            R, b, g, fac = [], [], torch.expm1(hh) / hh - 1, 1
            for j in range(1, m + 1):
                R.append(torch.stack(r[:m]) ** (j - 1))
                b.append(g * fac / B)
                fac *= j + 1
                g = g / hh - 1 / fac
            rho = torch.linalg.solve(torch.stack(R), torch.stack(b))
        return y - scale * B * sum(w * d for w, d in zip(rho, ds))

    for i in range(n):
        x0, e = both(c["prediction_type"], x, tape.model(x, t[i]), A[i], G[i])
        m = threshold(c, x0) if data else e
        if i > 0 and i - 1 not in c["disable_corrector"]:
            x = step(last, i - 1, order, m)
        ms.append(m)
        order = min(c["solver_order"], n - i if c["lower_order_final"] else n, i + 1)
        last = x
        x = tape.put(step(x, i, order))
    return t, s, 1.0


def lcm(c, n, tape, args):
    a = alphas(c)
    o = c["original_inference_steps"]
    own = (np.arange(1, o + 1) * (c["num_train_timesteps"] // o) - 1)[::-1]
    t = own[np.floor(np.linspace(0, o, n, endpoint=False)).astype(int)]
    x = tape.xs[0]
    for i, k in enumerate(t):
        x0, _ = both(c["prediction_type"], x, tape.model(x, k), a[k].sqrt(), (1 - a[k]).sqrt())
        u = float(k) * c["timestep_scaling"]
        y = u / (u * u + 0.25) ** 0.5 * threshold(c, x0) + 0.25 / (u * u + 0.25) * x
        if i + 1 < n:
            p = a[t[i + 1]]
            y = p.sqrt() * y + (1 - p).sqrt() * tape.noise()
        x = tape.put(y)
    return t, None, 1.0


def flow(c, n, tape, args):
    total = c["num_train_timesteps"]
    table = torch.arange(1, total + 1, dtype=f32) / total
    mu = args.get("mu")
    if mu is None:
        table = c["shift"] * table / (1 + (c["shift"] - 1) * table)
    s = np.linspace(float(table[-1]) * total, float(table[0]) * total, n) / total
    if mu is None:
        s = c["shift"] * s / (1 + (c["shift"] - 1) * s)
    else:
        m = math.exp(mu) if c["time_shift_type"] == "exponential" else mu
        s = m / (m + (1 / s - 1))
    if c["shift_terminal"]:
        s = 1 - (1 - s) / ((1 - s[-1]) / (1 - c["shift_terminal"]))
    r = respaced(c, s[0], s[-1], n)
    s = torch.tensor((s if r is None else r).astype(np.float32))
    end = 0.0
    if c["invert_sigmas"]:
        s, end = 1 - s, 1.0
    t = s * total
    s = torch.cat([s, torch.tensor([end])])
    x = tape.xs[0]
    for i in range(n):
        v = tape.model(x, t[i])
        if c["stochastic_sampling"]:
            x = (1 - s[i + 1]) * (x - s[i] * v) + s[i + 1] * tape.noise()
        else:
            x = x + (s[i + 1] - s[i]) * v
        tape.put(x)
    return t.numpy(), s, 1.0


BETAS = dict(num_train_timesteps=1000, beta_start=0.0001, beta_end=0.02, beta_schedule="linear", trained_betas=None)
LIMIT = dict(thresholding=False, dynamic_thresholding_ratio=0.995, sample_max_value=1.0)
SPACE = dict(timestep_spacing="linspace", steps_offset=0)
RESPACE = dict(use_karras_sigmas=False, use_exponential_sigmas=False, use_beta_sigmas=False)
COMMON = dict(BETAS, prediction_type="epsilon", **SPACE)
FLOWS = dict(use_flow_sigmas=False, flow_shift=1.0, use_dynamic_shifting=False, time_shift_type="exponential")
CLIP = dict(clip_sample=False, clip_sample_range=1.0)
ZERO = dict(rescale_betas_zero_snr=False)
CLASSES = {
    "DDPMScheduler": (ddpm, dict(COMMON, **LIMIT, **CLIP, **ZERO, variance_type="fixed_small")),
    "DDIMScheduler": (ddim, dict(COMMON, **LIMIT, **CLIP, **ZERO, set_alpha_to_one=True)),
    "PNDMScheduler": (pndm, dict(COMMON, skip_prk_steps=False, set_alpha_to_one=False)),
    "EulerDiscreteScheduler": (
        euler,
        dict(COMMON, **RESPACE, **ZERO, interpolation_type="linear", sigma_min=None, sigma_max=None, timestep_type="discrete", final_sigmas_type="zero"),
    ),
    "EulerAncestralDiscreteScheduler": (euler_a, dict(COMMON, **ZERO)),
    "HeunDiscreteScheduler": (heun, dict(COMMON, **RESPACE, **CLIP)),
    "DPMSolverMultistepScheduler": (
        dpm,
        dict(COMMON, **RESPACE, **LIMIT, **ZERO, **FLOWS, solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint", lower_order_final=True,
             euler_at_final=False, use_lu_lambdas=False, final_sigmas_type="zero", lambda_min_clipped=-math.inf, variance_type=None),
    ),
    "UniPCMultistepScheduler": (
        unipc,
        dict(COMMON, **RESPACE, **LIMIT, **ZERO, **FLOWS, solver_order=2, predict_x0=True, solver_type="bh2", lower_order_final=True, disable_corrector=[],
             solver_p=None, sigma_min=None, sigma_max=None, shift_terminal=None, final_sigmas_type="zero"),
    ),
    "LCMScheduler": (lcm, dict(COMMON, **LIMIT, **CLIP, **ZERO, original_inference_steps=50, set_alpha_to_one=True, timestep_scaling=10.0)),
    "FlowMatchEulerDiscreteScheduler": (
        flow,
        dict(RESPACE, num_train_timesteps=1000, shift=1.0, use_dynamic_shifting=False, base_shift=0.5, max_shift=1.15, base_image_seq_len=256,
             max_image_seq_len=4096, invert_sigmas=False, shift_terminal=None, time_shift_type="exponential", stochastic_sampling=False),
    ),
}
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
COS = dict(beta_schedule="squaredcos_cap_v2")
LEAD, TRAIL = dict(timestep_spacing="leading", steps_offset=1), dict(timestep_spacing="trailing")
V, S = dict(prediction_type="v_prediction"), dict(prediction_type="sample")
FLOW = dict(prediction_type="flow_prediction", use_flow_sigmas=True)
MIN = dict(final_sigmas_type="sigma_min")
Z = dict(rescale_betas_zero_snr=True)
RESPACINGS = [{}, dict(use_karras_sigmas=True), dict(use_exponential_sigmas=True), dict(use_beta_sigmas=True)]
TRAINED = dict(trained_betas=[0.001 + 0.019 * (i / 49) ** 1.5 for i in range(50)], num_train_timesteps=50)


def cases():
    """Left out: steps from the noisiest end of the squared-cosine schedule in sigma. It is 20,000 there, so that a
    difference of one unit in the last place of 32 bits is in the third digit of what the first step leads to."""
    for sp, pr, be in itertools.product([{}, LEAD, TRAIL], [{}, V, S], [{}, SD, COS]):
        for name in ("DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"):
            yield name, {**sp, **pr, **be}, 7, {}
        if be == COS and sp != LEAD:
            continue
        for name in ("DDPMScheduler", "HeunDiscreteScheduler"):
            yield name, {**sp, **pr, **be}, 7, {}
        if pr != S:
            yield "EulerAncestralDiscreteScheduler", {**sp, **pr, **be}, 7, {}
            for skip in (True, False):
                yield "PNDMScheduler", {**sp, **pr, **be, "skip_prk_steps": skip, "set_alpha_to_one": skip}, 9, {}
        yield "EulerDiscreteScheduler", {**sp, **pr, **be}, 7, {}
    for name in ("DDPMScheduler", "DDIMScheduler"):
        for extra in (dict(clip_sample=True, clip_sample_range=0.7), dict(thresholding=True, sample_max_value=1.4, dynamic_thresholding_ratio=0.9),
                      dict(beta_schedule="sigmoid"), TRAINED, {**Z, **V, **TRAIL}, {**Z, **S, **SD}, {**Z, **LEAD}):
            yield name, extra, 6, {}
        yield name, {**SD, **TRAIL}, 40, {}
    for vt in ("fixed_small_log", "fixed_large"):
        yield "DDPMScheduler", dict(variance_type=vt, **LEAD), 8, {}
    yield "DDPMScheduler", dict(TRAINED), 50, {}
    for args in (dict(eta=1.0), dict(eta=0.3, use_clipped_model_output=True), dict(use_clipped_model_output=True)):
        for sp in ({}, LEAD, TRAIL):
            yield "DDIMScheduler", {**sp, **SD, "clip_sample": True}, 6, args
    for re, sp, pr, be in itertools.product(RESPACINGS, [{}, LEAD, TRAIL], [{}, V], [SD, COS]):
        if be == COS and sp != LEAD and not re:
            continue
        yield "EulerDiscreteScheduler", {**re, **sp, **pr, **be, **MIN}, 6, {}
        if be == COS and sp != LEAD:
            continue
        yield "HeunDiscreteScheduler", {**re, **sp, **pr, **be, "clip_sample": True}, 6, {}
    for re in RESPACINGS:
        yield "EulerDiscreteScheduler", {**re, **SD, "sigma_min": 0.1, "sigma_max": 9.0}, 6, {}
        yield "EulerDiscreteScheduler", {**re, **SD, **Z, **V, **TRAIL}, 6, {}
        yield "EulerDiscreteScheduler", {**re, **SD, **V, "timestep_type": "continuous"}, 6, {}
        if re:
            yield "EulerDiscreteScheduler", {**re, **SD, "interpolation_type": "log_linear"}, 6, {}
    yield "EulerDiscreteScheduler", {**SD, "interpolation_type": "log_linear"}, 6, {}
    for a in (dict(s_churn=3.0, s_tmin=0.5, s_tmax=6.0, s_noise=1.1), dict(s_churn=100.0)):
        for pr in ({}, V, S):
            yield "EulerDiscreteScheduler", {**SD, **pr}, 8, a
    yield "EulerAncestralDiscreteScheduler", {**SD, **Z, **V, **TRAIL}, 6, {}
    dp, un = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
    for order, st, (alg, fin), n in itertools.product((1, 2, 3), ("midpoint", "heun"), (("dpmsolver++", {}), ("sde-dpmsolver++", {}), ("dpmsolver++", MIN),
                                                      ("sde-dpmsolver++", MIN), ("dpmsolver", MIN), ("sde-dpmsolver", MIN)), (6, 16)):
        if order < 3 or alg != "sde-dpmsolver":
            for pr in ({}, V, S):
                yield dp, {**SD, **fin, **pr, "solver_order": order, "solver_type": st, "algorithm_type": alg}, n, {}
    for re, sp, be in itertools.product(RESPACINGS + [dict(use_lu_lambdas=True)], [{}, LEAD, TRAIL], [SD, COS, {}]):
        yield dp, {**re, **sp, **be}, 8, {}
        if be != COS:
            yield dp, {**re, **sp, **be, "solver_order": 3}, 18, {}
    for be in (SD, COS):
        yield dp, {**be, "lambda_min_clipped": -5.1}, 7, {}
        yield dp, {**be, **TRAIL, "lambda_min_clipped": -2.0}, 7, {}
        yield dp, {**be, **LEAD, "lambda_min_clipped": -2.0}, 7, {}
    for e in (dict(lower_order_final=False), dict(lower_order_final=False, **MIN), dict(euler_at_final=True, **MIN), {**Z, **V, **TRAIL}, Z,
              dict(thresholding=True, sample_max_value=1.3), dict(thresholding=True, algorithm_type="dpmsolver", **MIN)):
        for order in (2, 3):
            for n in (8, 16):
                yield dp, {**SD, **e, "solver_order": order}, n, {}
    for shift in (1.0, 3.0):
        for order in (1, 2, 3):
            for pr in (FLOW, dict(use_flow_sigmas=True)):
                yield dp, {**pr, "flow_shift": shift, "solver_order": order}, 8, {}
                yield un, {**pr, "flow_shift": shift, "solver_order": order}, 8, {}
            yield un, {**FLOW, "flow_shift": shift, "solver_order": order, "shift_terminal": 0.1}, 8, {}
    for order, st, fin, n in itertools.product((1, 2, 3, 4), ("bh1", "bh2"), ({}, MIN), (7, 12)):
        if st == "bh2" or fin:
            for pr in ({}, V, S):
                yield un, {**SD, **fin, **pr, "solver_order": order, "solver_type": st}, n, {}
            if fin:
                yield un, {**SD, **fin, "solver_order": order, "solver_type": st, "predict_x0": False}, n, {}
    for re, sp, be in itertools.product(RESPACINGS, [{}, LEAD, TRAIL], [SD, COS]):
        yield un, {**re, **sp, **be, "solver_order": 3}, 9, {}
        yield un, {**re, **sp, **be, **MIN}, 9, {}
    for e in (dict(disable_corrector=[0]), dict(disable_corrector=[1, 3]), dict(lower_order_final=False, **MIN), {**Z, **V, **TRAIL},
              dict(thresholding=True, sample_max_value=1.3), dict(sigma_min=0.1, sigma_max=8.0, use_karras_sigmas=True),
              dict(FLOW, use_karras_sigmas=True)):
        for order in (2, 3):
            yield un, {**SD, **e, "solver_order": order}, 8, {}
    for e in ({}, V, S, dict(original_inference_steps=20), dict(timestep_scaling=3.0), dict(clip_sample=True), dict(thresholding=True), {**Z, **V}, COS):
        for n in (1, 4, 7):
            yield "LCMScheduler", {**SD, **e, "timestep_spacing": "leading"}, n, {}
    fm = "FlowMatchEulerDiscreteScheduler"
    for re, sh, st in itertools.product(RESPACINGS, (1.0, 3.0), (False, True)):
        yield fm, {**re, "shift": sh, "stochastic_sampling": st}, 6, {}
    for e in (dict(invert_sigmas=True), dict(shift_terminal=0.1), dict(num_train_timesteps=500)):
        yield fm, {**e, "shift": 2.0}, 5, {}
    for kind in ("exponential", "linear"):
        yield fm, dict(use_dynamic_shifting=True, time_shift_type=kind, shift_terminal=0.02), 5, dict(mu=0.8)


def main(out):
    torch.set_num_threads(1)
    found = []
    for number, (name, changed, n, args) in enumerate(cases()):
        run, defaults = CLASSES[name]
        config = {**defaults, **changed}
        g = torch.Generator().manual_seed(number)
        tape = Tape(torch.randn(2, 2, 2, 2, generator=g), number)
        times, sigmas, init = run(config, n, tape, args)
        assert all(torch.isfinite(x).all() for x in tape.xs), (name, changed, n, args)
        flat = lambda x: [float(f"{v:.9g}") for v in x.flatten().tolist()]
        found.append({
            "class": name, "changed": changed, "num_inference_steps": n, "arguments": args, "init_noise_sigma": init,
            "timesteps": [float(f"{t:.9g}") for t in times], "sigmas": None if sigmas is None else flat(sigmas),
            "start": flat(tape.xs[0]), "noise_draws": [flat(d) for d in tape.draws], "end": flat(tape.xs[-1]), "middle": flat(tape.xs[len(tape.xs) // 2]),
        })
    text = json.dumps(found, separators=(",", ":"))
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as f:
        f.write(text.encode())
    print(len(found), "trajectories,", len(text), "characters")


if __name__ == "__main__":
    main(sys.argv[1])
