# SPDX-License-Identifier: Apache-2.0
"""Writes resources/golden/vqvae: a VQ-VAE, its codebook of moving averages and a Transformer over codes, by PyTorch in
float64. Run it with PyTorch on the CPU:

    python models/src/test/golden/make_vqvae.py

The layers are those of Sonnet's VQ-VAE example and of GPT-2, written with torch.nn under this library's names; the
codebook follows the appendix A.1 of van den Oord et al. 2017 with Laplace smoothing.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

OUT = Path(__file__).resolve().parent.parent / "resources" / "golden" / "vqvae"
CHANNELS, HIDDEN, INNER, LAYERS, CODES, WIDTH = 3, 8, 4, 2, 6, 5
BETA, DECAY, EPSILON = 0.25, 0.9, 1e-3


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, INNER, 3, padding=1)
        self.conv2 = nn.Conv2d(INNER, HIDDEN, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return F.relu(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(CHANNELS, HIDDEN // 2, 4, 2, 1),
                                   nn.Conv2d(HIDDEN // 2, HIDDEN, 4, 2, 1)])
        self.conv = nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1)
        self.residual = Stack()
        self.out = nn.Conv2d(HIDDEN, WIDTH, 1)

    def forward(self, x):
        for layer in self.down:
            x = F.relu(layer(x))
        return self.out(self.residual(self.conv(x))).permute(0, 2, 3, 1)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, HIDDEN, 3, padding=1)
        self.residual = Stack()
        self.up = nn.ModuleList([nn.ConvTranspose2d(HIDDEN, HIDDEN // 2, 4, 2, 1),
                                 nn.ConvTranspose2d(HIDDEN // 2, CHANNELS, 4, 2, 1)])

    def forward(self, z):
        h = self.residual(self.conv(z.permute(0, 3, 1, 2)))
        return self.up[1](F.relu(self.up[0](h)))


class Quantizer(nn.Module):
    def __init__(self, averages):
        super().__init__()
        table = torch.randn(CODES, WIDTH) * 0.3
        self.averages = averages
        if averages:
            self.register_buffer("embedding", table)
            self.register_buffer("cluster_size", torch.ones(CODES))
            self.register_buffer("embed_avg", table.clone())
        else:
            self.embedding = nn.Parameter(table)

    def forward(self, x):
        numbers = torch.cdist(x.reshape(-1, WIDTH), self.embedding).argmin(1).reshape(x.shape[:-1])
        code = self.embedding[numbers]
        loss = BETA * F.mse_loss(x, code.detach())
        if not self.averages:
            loss = loss + F.mse_loss(code, x.detach())
        return x + (code - x).detach(), numbers, loss

    @torch.no_grad()
    def update(self, x, numbers):
        chosen = F.one_hot(numbers.reshape(-1), CODES).to(x.dtype)
        self.cluster_size.mul_(DECAY).add_(chosen.sum(0), alpha=1 - DECAY)
        self.embed_avg.mul_(DECAY).add_(chosen.T @ x.reshape(-1, WIDTH), alpha=1 - DECAY)
        n = self.cluster_size.sum()
        smoothed = (self.cluster_size + EPSILON) / (n + CODES * EPSILON) * n
        self.embedding.copy_(self.embed_avg / smoothed[:, None])


class VqVae(nn.Module):
    def __init__(self, averages):
        super().__init__()
        self.encoder, self.quantizer, self.decoder = Encoder(), Quantizer(averages), Decoder()


def perplexity(numbers):
    p = F.one_hot(numbers.reshape(-1), CODES).double().mean(0)
    return torch.exp(-(p * torch.log(p + 1e-10)).sum())


def autoencoder(name, averages):
    torch.manual_seed(3)
    model = VqVae(averages).double()
    with torch.no_grad():  # codes that lie among the vectors
        z = model.encoder(torch.randn(2, CHANNELS, 8, 12, dtype=torch.float64)).reshape(-1, WIDTH)
        model.quantizer.embedding.copy_(z[::2] + 0.1 * z.std() * torch.randn(CODES, WIDTH))
        if averages:
            model.quantizer.embed_avg.copy_(model.quantizer.embedding)
    tensors = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    for step in range(3):
        x = torch.randn(2, CHANNELS, 8, 12, dtype=torch.float64)
        z = model.encoder(x)
        quantized, numbers, latent = model.quantizer(z)
        y = model.decoder(quantized)
        loss = F.mse_loss(y, x) + latent
        model.zero_grad()
        loss.backward()
        tensors |= {f"{step}.x": x, f"{step}.codes": numbers, f"{step}.y": y, f"{step}.loss": loss,
                    f"{step}.perplexity": perplexity(numbers)}
        tensors |= {f"{step}.grad.{k}": p.grad for k, p in model.named_parameters()}
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.02 * p.grad
        if averages:
            model.quantizer.update(z.detach(), numbers)
    tensors |= {f"after.{k}": v for k, v in model.state_dict().items()}
    write(name, tensors)


class PriorBlock(nn.Module):
    def __init__(self, n, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(n), nn.LayerNorm(n)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(n, 3 * n), "c_proj": nn.Linear(n, n)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(n, 4 * n), "c_proj": nn.Linear(4 * n, n)})

    def forward(self, x):
        b, t, n = x.shape
        q, k, v = (y.reshape(b, t, self.heads, -1).transpose(1, 2)
                   for y in self.attn["c_attn"](self.ln_1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](y.transpose(1, 2).reshape(b, t, n))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Prior(nn.Module):
    def __init__(self, learned, codes=7, length=6, classes=3, n=8, heads=2, layers=2):
        super().__init__()
        self.wte, self.wce = nn.Embedding(codes, n), nn.Embedding(classes + 1, n)
        if learned:
            self.wpe = nn.Embedding(length, n)
        else:
            angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, n, 2).double() / n)
            self.waves = torch.stack([angle.sin(), angle.cos()], -1).reshape(length, n)
        self.learned = learned
        self.h = nn.ModuleList(PriorBlock(n, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(n)
        self.lm_head = nn.Linear(n, codes, bias=False)

    def forward(self, codes, labels):
        label = self.wce(labels)[:, None]
        x = torch.cat([label, self.wte(codes[:, :-1]) + label], 1)
        x = x + (self.wpe.weight if self.learned else self.waves)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def prior(name, learned):
    torch.manual_seed(4)
    model = Prior(learned).double()
    codes = torch.randint(7, (3, 6))
    labels = torch.tensor([0, 2, 3])
    logits = model(codes, labels)
    loss = F.cross_entropy(logits.reshape(-1, 7), codes.reshape(-1))
    loss.backward()
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {"codes": codes, "labels": labels, "logits": logits, "loss": loss}
    tensors |= {f"grad.{k}": p.grad for k, p in model.named_parameters()}
    write(name, tensors)


def write(name, tensors):
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()},
              OUT / f"{name}.safetensors", {"torch": torch.__version__})


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    autoencoder("averages", True)
    autoencoder("trained", False)
    prior("prior_learned", True)
    prior("prior_sinusoidal", False)
