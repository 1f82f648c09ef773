# SPDX-License-Identifier: Apache-2.0
"""Makes ../resources/golden/gan with PyTorch (2.13 on the CPU, computed in float64, stored in float32).

Each folder is a Gan as it is saved: `config.json`, and `model.safetensors` from PyTorch's own state dict with random
parameters. `training.json` has the losses' options, `io.safetensors`:

- pictures `x`, labels `y`, noise `z` and mixing weights `t` of two updates of each network,
- `d_loss`, `d_grad.<parameter>`: the discriminator's first loss (scores of real pictures are computed first, then of
  generated ones, then penalties) and its gradients,
- `g_loss`, `g_grad.<parameter>`: the generator's, after the discriminator's first update,
- `losses` [2, 2], `final.<name>`: both losses of both steps, and the state after them (Adam),
- `sample`: what the generator then makes of `z[0]` in evaluation.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

FOLDER = Path(__file__).resolve().parent.parent / "resources" / "golden" / "gan"
BASE = {
    "_class_name": "Gan", "architecture": "dcgan", "image_channels": 1, "height": 8, "width": 8, "latent_dim": 3,
    "generator_sizes": [6, 4], "discriminator_sizes": [4, 6], "generator_norm": "batch",
    "discriminator_norm": "none", "norm_num_groups": 2, "spectral_norm": False, "num_classes": 3,
    "class_embed_dim": 2, "conditioning": "projection",
}  # fmt: skip
MLP = {"architecture": "mlp", "height": 3, "width": 4, "generator_sizes": [8, 10], "discriminator_sizes": [9, 6]}
CASES = {
    "dcgan_projection_r1": ({}, {"loss": "non-saturating", "r1": 2.0}),
    "dcgan_spectral_hinge": ({"spectral_norm": True, "generator_norm": "group", "image_channels": 3},
                             {"loss": "hinge"}),
    "dcgan_embedding_wgan_gp": ({"conditioning": "embedding", "discriminator_norm": "group", "height": 4},
                                {"loss": "wgan-gp", "gradient_penalty": 10.0}),
    "dcgan_batch": ({"num_classes": None, "discriminator_norm": "batch"}, {"loss": "non-saturating"}),
    "mlp_wgan_gp": (MLP | {"num_classes": None, "generator_norm": "none"},
                    {"loss": "wgan-gp", "gradient_penalty": 10.0, "r1": 0.5}),
    "mlp_spectral_embedding": (MLP | {"spectral_norm": True, "conditioning": "embedding"}, {"loss": "hinge"}),
}  # fmt: skip


def norm(kind, groups, channels, conv):
    if kind == "batch":
        return nn.BatchNorm2d(channels) if conv else nn.BatchNorm1d(channels)
    return nn.GroupNorm(groups, channels) if kind == "group" else nn.Identity()


class Generator(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, sizes = c, c["generator_sizes"]
        self.conv, levels = c["architecture"] == "dcgan", len(sizes)
        self.size = (c["height"] >> levels, c["width"] >> levels)
        z, bias = c["latent_dim"], c["generator_norm"] == "none"
        if c["num_classes"]:
            self.class_embedding = nn.Embedding(c["num_classes"], c["class_embed_dim"])
            z += c["class_embed_dim"]
        self.input = nn.Linear(z, sizes[0] * (self.size[0] * self.size[1] if self.conv else 1), bias=bias)
        self.norms = nn.ModuleList(norm(c["generator_norm"], c["norm_num_groups"], n, self.conv) for n in sizes)
        self.layers = nn.ModuleList()
        for i, n in enumerate(sizes):
            last = i == levels - 1
            if self.conv:
                to = c["image_channels"] if last else sizes[i + 1]
                self.layers.append(nn.ConvTranspose2d(n, to, 4, 2, 1, bias=bias or last))
            else:
                to = c["image_channels"] * c["height"] * c["width"] if last else sizes[i + 1]
                self.layers.append(nn.Linear(n, to, bias=bias or last))

    def forward(self, z, y):
        if y is not None:
            z = torch.cat([z, self.class_embedding(y)], 1)
        h = self.input(z)
        if self.conv:
            h = h.reshape(len(h), -1, *self.size)
        for norm, layer in zip(self.norms, self.layers):
            h = layer(F.relu(norm(h)))
        return torch.tanh(h).reshape(len(h), self.c["image_channels"], self.c["height"], self.c["width"])


class Discriminator(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, sizes, levels = c, c["discriminator_sizes"], len(c["discriminator_sizes"])
        self.conv, classes = c["architecture"] == "dcgan", c["num_classes"]
        self.projects = classes is not None and c["conditioning"] == "projection"
        normalise = spectral_norm if c["spectral_norm"] else (lambda m: m)
        area = (c["height"] >> levels) * (c["width"] >> levels) if self.conv else 1
        pixels, features = c["height"] * c["width"], sizes[-1] * area
        i = c["image_channels"] if self.conv else c["image_channels"] * pixels
        if classes:
            self.class_embedding = normalise(nn.Embedding(classes, features if self.projects else pixels))
            i += 0 if self.projects else 1 if self.conv else pixels
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for n, to in enumerate(sizes):
            kind = c["discriminator_norm"] if n else "none"
            bias = kind == "none"
            self.layers.append(normalise(
                nn.Conv2d(i, to, 4, 2, 1, bias=bias) if self.conv else nn.Linear(i, to, bias=bias)))  # fmt: skip
            self.norms.append(norm(kind, c["norm_num_groups"], to, self.conv))
            i = to
        self.output = normalise(nn.Linear(features, 1))

    def forward(self, x, y):
        h = x if self.conv else x.flatten(1)
        row = None if y is None else self.class_embedding(y)
        if row is not None and not self.projects:
            h = torch.cat([h, row.reshape(len(h), 1, *x.shape[2:]) if self.conv else row], 1)
        for layer, norm in zip(self.layers, self.norms):
            h = F.leaky_relu(norm(layer(h)), 0.2)
        features = h.flatten(1)
        score = self.output(features).squeeze(1)
        return score + (row * features).sum(1) if row is not None and self.projects else score


class Gan(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.generator, self.discriminator = Generator(c), Discriminator(c)


def gradient(d, x, y):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(d(x, y).sum(), x, create_graph=True)[0].flatten(1)


def discriminator_loss(o, gan, x, y, z, t):
    fake = gan.generator(z, y).detach()
    d = gan.discriminator
    r, f = d(x, y), d(fake, y)
    loss = {"non-saturating": F.softplus(-r).mean() + F.softplus(f).mean(),
            "hinge": F.relu(1 - r).mean() + F.relu(1 + f).mean(), "wgan-gp": f.mean() - r.mean()}[o["loss"]]  # fmt: skip
    if o.get("gradient_penalty"):
        g = gradient(d, fake + t * (x - fake), y)
        loss = loss + o["gradient_penalty"] * (g.norm(2, dim=1) - 1).square().mean()
    if o.get("r1"):
        loss = loss + o["r1"] / 2 * gradient(d, x, y).square().sum(1).mean()
    return loss


def generator_loss(o, gan, y, z):
    f = gan.discriminator(gan.generator(z, y), y)
    return F.softplus(-f).mean() if o["loss"] == "non-saturating" else -f.mean()


def main():
    for number, (name, (changes, o)) in enumerate(CASES.items()):
        torch.manual_seed(number)
        c = BASE | changes
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        gan = Gan(c)
        with torch.no_grad():
            for key, p in gan.named_parameters():
                p.copy_(torch.randn_like(p) * (0.5 if p.ndim < 2 else 1 / p[0].numel() ** 0.5))
            for key, b in gan.named_buffers():
                if "running" in key:
                    b.copy_(torch.rand_like(b) + 0.5)
        save_file({k: v.clone().contiguous() for k, v in gan.state_dict().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(c, indent=2, sort_keys=True) + "\n")
        rates = {"generator_rate": 0.002, "discriminator_rate": 0.004, "beta1": 0.5, "beta2": 0.9}
        (folder / "training.json").write_text(json.dumps(o | rates, indent=2, sort_keys=True) + "\n")
        batch, size = 4, (c["image_channels"], c["height"], c["width"])
        io = {"x": torch.rand(2, batch, *size) * 2 - 1, "z": torch.randn(2, 2, batch, c["latent_dim"]),
              "t": torch.rand(2, batch, 1, 1, 1)}  # fmt: skip
        if c["num_classes"]:
            io["y"] = torch.randint(c["num_classes"], (2, batch))
        gan = gan.double().train()
        betas = (rates["beta1"], rates["beta2"])
        g_adam = torch.optim.Adam(gan.generator.parameters(), rates["generator_rate"], betas)
        d_adam = torch.optim.Adam(gan.discriminator.parameters(), rates["discriminator_rate"], betas)
        losses = []
        for step in range(2):
            x, z, t = io["x"][step].double(), io["z"][step].double(), io["t"][step].double()
            y = io["y"][step] if "y" in io else None
            for which, adam in (("d", d_adam), ("g", g_adam)):
                part = gan.discriminator if which == "d" else gan.generator
                gan.zero_grad()
                loss = (discriminator_loss(o, gan, x, y, z[0], t) if which == "d"
                        else generator_loss(o, gan, y, z[1]))  # fmt: skip
                loss.backward()
                losses.append(loss.detach())
                if step == 0:
                    io[which + "_loss"] = loss
                    io |= {f"{which}_grad.{k}": p.grad.clone() for k, p in part.named_parameters()}
                adam.step()
        io["losses"] = torch.stack(losses).reshape(2, 2)
        io |= {"final." + k: v for k, v in gan.state_dict().items()}
        gan.eval()
        io["sample"] = gan.generator(io["z"][0, 0].double(), io["y"][0] if "y" in io else None)
        floats = {k: v.detach().float().clone() if v.is_floating_point() else v for k, v in io.items()}
        save_file({k: v.contiguous() for k, v in floats.items()}, folder / "io.safetensors")


if __name__ == "__main__":
    main()
