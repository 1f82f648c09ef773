# SPDX-License-Identifier: Apache-2.0
"""Makes ../resources/golden/vae with PyTorch (2.13 on the CPU, computed in float64, stored in float32).

Each folder is a Vae as it is saved, with random parameters, and `io.safetensors`: pictures `x`, labels `y`, noise
`eps` [B, latent] and `iwae_noise` [k, B, latent]; `mean` and `log_variance` of q(z | x), the decoder's `decoded`
picture, the parts of the loss (`loss`, `reconstruction`, `kl`), `grad.<parameter>` of the loss, and `iwae`, the
importance-weighted bound. Densities are those of torch.distributions.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

FOLDER = Path(__file__).resolve().parent.parent / "resources" / "golden" / "vae"
ACTIVATIONS = {"tanh": torch.tanh, "silu": F.silu, "relu": F.relu}
BASE = {
    "_class_name": "Vae", "architecture": "mlp", "image_channels": 1, "height": 4, "width": 6, "hidden_sizes": [7, 5],
    "dense_size": 9, "latent_dim": 3, "activation": "tanh", "likelihood": "bernoulli", "variance": "fixed",
    "sigma": 0.3, "min_log_variance": -2.0, "beta": 1.0, "num_classes": None,
}  # fmt: skip
CASES = {
    "mlp_bernoulli": {},
    "mlp_gaussian_fixed": {"likelihood": "gaussian", "num_classes": 4},
    "mlp_gaussian_predicted": {"likelihood": "gaussian", "variance": "predicted", "activation": "relu"},
    "conv_bernoulli": {"architecture": "conv", "height": 8, "width": 4, "hidden_sizes": [3, 4], "num_classes": 3,
                       "activation": "silu", "beta": 2.5, "image_channels": 2},
    "conv_gaussian_shared": {"architecture": "conv", "height": 8, "width": 8, "hidden_sizes": [4, 3, 5],
                             "likelihood": "gaussian", "variance": "shared", "activation": "silu"},
    "conv_gaussian_predicted": {"architecture": "conv", "height": 4, "width": 4, "hidden_sizes": [3],
                                "likelihood": "gaussian", "variance": "predicted", "activation": "silu",
                                "num_classes": 2, "image_channels": 3},
}  # fmt: skip


def shapes(c):
    """Parameters by name, in the order of construction."""
    conv, sizes, classes = c["architecture"] == "conv", c["hidden_sizes"], c["num_classes"] or 0
    out = c["image_channels"] * (2 if c["likelihood"] == "gaussian" and c["variance"] == "predicted" else 1)
    s = {}

    def linear(name, i, o):
        s[f"{name}.weight"], s[f"{name}.bias"] = (o, i), (o,)

    if conv:
        i = c["image_channels"]
        for n, o in enumerate(sizes):
            s[f"encoder.layers.{n}.weight"], s[f"encoder.layers.{n}.bias"] = (o, i, 4, 4), (o,)
            i = o
        area = (c["height"] >> len(sizes)) * (c["width"] >> len(sizes))
        linear("encoder.dense", i * area + classes, c["dense_size"])
        last = c["dense_size"]
    else:
        i = c["image_channels"] * c["height"] * c["width"] + classes
        for n, o in enumerate(sizes):
            linear(f"encoder.layers.{n}", i, o)
            i = o
        last = i
    linear("encoder.mean", last, c["latent_dim"])
    linear("encoder.log_variance", last, c["latent_dim"])
    z, back = c["latent_dim"] + classes, sizes[::-1]
    if conv:
        linear("decoder.dense", z, c["dense_size"])
        linear("decoder.unflatten", c["dense_size"], back[0] * area)
        for n in range(len(back) - 1):
            s[f"decoder.layers.{n}.weight"] = (back[n], back[n + 1], 4, 4)
            s[f"decoder.layers.{n}.bias"] = (back[n + 1],)
        s["decoder.out.weight"], s["decoder.out.bias"] = (back[-1], out, 4, 4), (out,)
    else:
        i = z
        for n, o in enumerate(back):
            linear(f"decoder.layers.{n}", i, o)
            i = o
        linear("decoder.out", i, out * c["height"] * c["width"])
    if c["likelihood"] == "gaussian" and c["variance"] == "shared":
        s["log_variance"] = (1,)
    return s


class Model:
    def __init__(self, c, p):
        self.c, self.p, self.act = c, p, ACTIVATIONS[c["activation"]]

    def linear(self, name, x):
        return F.linear(x, self.p[name + ".weight"], self.p[name + ".bias"])

    def encode(self, x, y):
        h = x
        if self.c["architecture"] == "conv":
            for n in range(len(self.c["hidden_sizes"])):
                w, b = self.p[f"encoder.layers.{n}.weight"], self.p[f"encoder.layers.{n}.bias"]
                h = self.act(F.conv2d(h, w, b, stride=2, padding=1))
            h = self.act(self.linear("encoder.dense", torch.cat([h.flatten(1)] + y, 1)))
        else:
            h = torch.cat([h.flatten(1)] + y, 1)
            for n in range(len(self.c["hidden_sizes"])):
                h = self.act(self.linear(f"encoder.layers.{n}", h))
        mean, log_variance = self.linear("encoder.mean", h), self.linear("encoder.log_variance", h)
        return mean, log_variance, Normal(mean, torch.exp(log_variance / 2))

    def decode(self, z, y):
        """p(x | z) and the picture to show."""
        c, h = self.c, torch.cat([z] + y, 1)
        if c["architecture"] == "conv":
            h = self.act(self.linear("decoder.unflatten", self.act(self.linear("decoder.dense", h))))
            levels = len(c["hidden_sizes"])
            h = h.reshape(len(z), -1, c["height"] >> levels, c["width"] >> levels)
            for n in range(levels - 1):
                w, b = self.p[f"decoder.layers.{n}.weight"], self.p[f"decoder.layers.{n}.bias"]
                h = self.act(F.conv_transpose2d(h, w, b, stride=2, padding=1))
            h = F.conv_transpose2d(h, self.p["decoder.out.weight"], self.p["decoder.out.bias"], stride=2, padding=1)
        else:
            for n in range(len(c["hidden_sizes"])):
                h = self.act(self.linear(f"decoder.layers.{n}", h))
            h = self.linear("decoder.out", h)
        h = h.reshape(len(z), -1, c["height"], c["width"])
        if c["likelihood"] == "bernoulli":
            return Bernoulli(logits=h, validate_args=False), torch.sigmoid(h)
        if c["variance"] == "fixed":
            return Normal(h, c["sigma"]), h
        mean = h[:, : c["image_channels"]]
        raw = self.p["log_variance"] if c["variance"] == "shared" else h[:, c["image_channels"] :]
        least = c["min_log_variance"]
        bounded = least + F.softplus(raw - least)
        return Normal(mean, torch.exp(bounded / 2).expand_as(mean)), mean


def main():
    for number, (name, changes) in enumerate(CASES.items()):
        torch.manual_seed(number)
        c = BASE | changes
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(c, indent=2, sort_keys=True) + "\n")
        stored = {k: torch.randn(s) * (0.5 if len(s) < 2 else 1.5 / max(s[1:]) ** 0.5) for k, s in shapes(c).items()}
        save_file(stored, folder / "model.safetensors")
        p = {k: v.double().requires_grad_() for k, v in stored.items()}
        batch, k = 3, 4
        x = torch.rand(batch, c["image_channels"], c["height"], c["width"])
        eps, iwae_noise = torch.randn(batch, c["latent_dim"]), torch.randn(k, batch, c["latent_dim"])
        io = {"x": x, "eps": eps, "iwae_noise": iwae_noise}
        y = []
        if c["num_classes"]:
            io["y"] = torch.randint(c["num_classes"], (batch,))
            y = [F.one_hot(io["y"], c["num_classes"]).double()]
        model, x = Model(c, p), x.double()
        mean, log_variance, q = model.encode(x, y)
        z = mean + torch.exp(log_variance / 2) * eps
        px, picture = model.decode(z, y)
        kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
        reconstruction = -px.log_prob(x).flatten(1).sum(1).mean()
        loss = reconstruction + c["beta"] * kl
        loss.backward()
        weights = []
        for noise in iwae_noise.double():
            z = mean + torch.exp(log_variance / 2) * noise
            log_px = model.decode(z, y)[0].log_prob(x).flatten(1).sum(1)
            weights.append(log_px + Normal(0.0, 1.0).log_prob(z).sum(1) - q.log_prob(z).sum(1))
        iwae = torch.stack(weights).logsumexp(0) - torch.tensor(float(k)).log()
        assert torch.isfinite(iwae).all()
        io |= {"mean": mean, "log_variance": log_variance, "decoded": picture, "loss": loss, "kl": kl,
               "reconstruction": reconstruction, "iwae": iwae}  # fmt: skip
        io |= {"grad." + key: value.grad for key, value in p.items()}
        floats = {key: v.detach().float().contiguous() if v.is_floating_point() else v for key, v in io.items()}
        save_file(floats, folder / "io.safetensors")


if __name__ == "__main__":
    main()
