# SPDX-License-Identifier: Apache-2.0
"""Expected values of the measures: python make_eval.py. Needs numpy, scipy, scikit-image and safetensors.

Writes eval.safetensors: inputs, and what numpy, scipy and scikit-image compute from them.
"""

import os

import numpy as np
import scipy.linalg
from safetensors.numpy import save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

rng = np.random.default_rng(20)
out = {}


def frechet(a, b):
    """Heusel et al., 2017, with scipy's square root of the product of the covariances."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(ca @ cb)
    difference = a.mean(0) - b.mean(0)
    return difference @ difference + np.trace(ca) + np.trace(cb) - 2 * np.trace(root.real)


def frechet_singular(a, b):
    """The same for covariances that are not of full rank, where sqrtm of a product loses half the digits: with the
    centred vectors themselves as factors, tr((AᵀA BᵀB)^½) is the nuclear norm of A Bᵀ."""
    x = (a - a.mean(0)) / np.sqrt(len(a) - 1)
    y = (b - b.mean(0)) / np.sqrt(len(b) - 1)
    difference = a.mean(0) - b.mean(0)
    nuclear = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return difference @ difference + (x * x).sum() + (y * y).sum() - 2 * nuclear


def distances(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


def manifolds(real, fake, k):
    """Precision and recall of Kynkäänniemi et al., 2019; density and coverage of Naeem et al., 2020."""
    real_radii = np.sort(distances(real, real), 1)[:, k]  # column 0 is the vector itself
    fake_radii = np.sort(distances(fake, fake), 1)[:, k]
    between = distances(real, fake)
    inside = between <= real_radii[:, None]
    return [
        inside.any(0).mean(),
        (between <= fake_radii[None]).any(1).mean(),
        inside.sum(0).mean() / k,
        (between.min(1) <= real_radii).mean(),
    ]


mix = rng.normal(size=(12, 12))
a = rng.normal(size=(200, 12)) @ mix + rng.normal(size=12)
b = rng.normal(size=(150, 12)) @ (mix + 0.5 * rng.normal(size=(12, 12)))
out["frechet.a"], out["frechet.b"] = a, b
out["frechet.distance"] = np.array([frechet(a, b)])
out["frechet.mean"], out["frechet.covariance"] = a.mean(0), np.cov(a, rowvar=False)
assert np.isclose(frechet(a, b), frechet_singular(a, b), rtol=1e-10)

few, others = rng.normal(size=(9, 40)) + 1, rng.normal(size=(14, 40)) * 3
out["singular.a"], out["singular.b"] = few, others
out["singular.distance"] = np.array([frechet_singular(few, others)])

real = np.concatenate([rng.normal(size=(60, 3)), rng.normal(size=(40, 3)) + 6])
fake = rng.normal(size=(70, 3)) * 1.3 + 0.4
out["manifold.real"], out["manifold.fake"] = real, fake
for k in (3, 5):
    out[f"manifold.{k}"] = np.array(manifolds(real, fake, k))

x = rng.integers(0, 256, size=(3, 2, 19, 24)).astype(np.float64)
x[1] = np.linspace(0, 255, 24)
y = np.clip(x + rng.normal(size=x.shape) * np.array([5, 40, 0]).reshape(3, 1, 1, 1), 0, 255)
out["pictures.x"], out["pictures.y"] = x, y
out["pictures.psnr"] = np.array([peak_signal_noise_ratio(x[i], y[i], data_range=255) for i in range(2)])
out["pictures.ssim"] = np.array(
    [
        structural_similarity(
            x[i], y[i], channel_axis=0, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for i in range(3)
    ]
)
out["unit.ssim"] = np.array(
    [
        structural_similarity(
            x[i] / 127.5 - 1,
            y[i] / 127.5 - 1,
            channel_axis=0,
            data_range=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for i in range(3)
    ]
)
save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "eval.safetensors"))
for name in sorted(out):
    if out[name].size < 5:
        print(name, out[name])
