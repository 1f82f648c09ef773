# SPDX-License-Identifier: Apache-2.0
"""Writes src/test/resources/torch: what the autoencoders must compute where the reference's golden files show
nothing: other block types, spatial norms, tiles, the discriminator and its losses. Formulas are those of
the diffusers and taming-transformers repositories, written anew in PyTorch; this script first checks itself
against the reference's own golden files.

    python make_autoencoders.py          (needs torch, safetensors)
"""
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

RESOURCES = pathlib.Path(__file__).parent.parent / "resources"
ACT = {"silu": F.silu, "swish": F.silu, "gelu": F.gelu, "relu": F.relu, "mish": F.mish}


class Spatial(nn.Module):
    def __init__(self, c, z):
        super().__init__()
        self.norm_layer = nn.GroupNorm(32, c, eps=1e-6)
        self.conv_y = nn.Conv2d(z, c, 1)
        self.conv_b = nn.Conv2d(z, c, 1)

    def forward(self, x, zq):
        zq = F.interpolate(zq, size=x.shape[-2:], mode="nearest")
        return self.norm_layer(x) * self.conv_y(zq) + self.conv_b(zq)


class Group(nn.GroupNorm):
    def forward(self, x, zq=None):
        return super().forward(x)


def norm(c, groups, z):
    return Spatial(c, z) if z else Group(groups, c, eps=1e-6)


class Resnet(nn.Module):
    def __init__(self, i, o, groups, act, z):
        super().__init__()
        self.act = act
        self.norm1, self.conv1 = norm(i, groups, z), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = norm(o, groups, z), nn.Conv2d(o, o, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def forward(self, x, zq):
        h = self.conv1(self.act(self.norm1(x, zq)))
        h = self.conv2(self.act(self.norm2(h, zq)))
        return self.conv_shortcut(x) + h


class Attention(nn.Module):
    def __init__(self, c, groups, z):
        super().__init__()
        if z:
            self.spatial_norm = Spatial(c, z)
        else:
            self.group_norm = Group(groups, c, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(c, c) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(c, c)])

    def forward(self, x, zq):
        n = (self.spatial_norm if hasattr(self, "spatial_norm") else self.group_norm)(x, zq)
        t = n.flatten(2).transpose(1, 2)
        w = torch.softmax(self.to_q(t) @ self.to_k(t).transpose(1, 2) / x.shape[1] ** 0.5, -1)
        return self.to_out[0](w @ self.to_v(t)).transpose(1, 2).reshape(x.shape) + x


class Conv(nn.Module):
    def __init__(self, c, up):
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(c, c, 3, padding=1) if up else nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0) if self.up else F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    def __init__(self, i, o, layers, attention, resample, config, z, middle=False):
        super().__init__()
        g, act = config["norm_num_groups"], ACT[config["act_fn"]]
        n = (1 if middle else layers) if attention else 0
        self.attentions = nn.ModuleList([Attention(o, g, z) for _ in range(n)])
        self.resnets = nn.ModuleList([Resnet(i if k == 0 else o, o, g, act, z) for k in range(layers)])
        if resample:
            setattr(self, resample + "samplers", nn.ModuleList([Conv(o, resample == "up")]))

    def forward(self, x, zq=None):
        for k, r in enumerate(self.resnets):
            x = r(x, zq)
            if k < len(self.attentions):
                x = self.attentions[k](x, zq)
        for name in ("downsamplers", "upsamplers"):
            for m in getattr(self, name, []):
                x = m(x)
        return x


class Coder(nn.Module):
    def __init__(self, config, down, i, o, z):
        super().__init__()
        cs = config["block_out_channels"] if down else config["block_out_channels"][::-1]
        types = config["down_block_types" if down else "up_block_types"]
        layers = config["layers_per_block"] + (0 if down else 1)
        self.down = down
        self.conv_in = nn.Conv2d(i, cs[0], 3, padding=1)
        blocks = nn.ModuleList([
            Level(cs[max(0, k - 1)], cs[k], layers, types[k].startswith("Attn"),
                  "" if k == len(cs) - 1 else "down" if down else "up", config, z) for k in range(len(cs))])
        setattr(self, "down_blocks" if down else "up_blocks", blocks)
        deep = cs[-1] if down else cs[0]
        self.mid_block = Level(deep, deep, 2, config["mid_block_add_attention"], "", config, z, middle=True)
        self.conv_norm_out = norm(cs[-1], config["norm_num_groups"], z)
        self.conv_out = nn.Conv2d(cs[-1], o, 3, padding=1)

    def forward(self, x, zq=None):
        h = self.conv_in(x)
        for b in self.down_blocks if self.down else [self.mid_block, *self.up_blocks]:
            h = b(h, zq)
        if self.down:
            h = self.mid_block(h, zq)
        return self.conv_out(F.silu(self.conv_norm_out(h, zq)))


class KL(nn.Module):
    def __init__(self, config):
        super().__init__()
        n = config["latent_channels"]
        self.config = config
        self.encoder = Coder(config, True, config["in_channels"], 2 * n, 0)
        self.decoder = Coder(config, False, n, config["out_channels"], 0)
        self.quant_conv = nn.Conv2d(2 * n, 2 * n, 1) if config["use_quant_conv"] else nn.Identity()
        self.post_quant_conv = nn.Conv2d(n, n, 1) if config["use_post_quant_conv"] else nn.Identity()

    def moments(self, x):
        return self.quant_conv(self.encoder(x))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))

    def tiled(self, x, f, size, step, blend, limit):
        rows = [[f(x[:, :, i:i + size, j:j + size]) for j in range(0, x.shape[3], step)]
                for i in range(0, x.shape[2], step)]
        out = []
        for i, row in enumerate(rows):
            kept = []
            for j, tile in enumerate(row):
                for old, axis in ((rows[i - 1][j] if i else None, 2), (row[j - 1] if j else None, 3)):
                    if old is not None:
                        e = min(old.shape[axis], tile.shape[axis], blend)
                        for k in range(e):  # in place: later tiles see blended ones
                            a = old.select(axis, old.shape[axis] - e + k)
                            tile.select(axis, k).copy_(a * (1 - k / e) + tile.select(axis, k) * (k / e))
                kept.append(tile[:, :, :limit, :limit])
            out.append(torch.cat(kept, 3))
        return torch.cat(out, 2)

    def tiled_moments(self, x):
        s = self.config["sample_size"]
        n = s // 2 ** (len(self.config["block_out_channels"]) - 1)
        return self.tiled(x, self.moments, s, int(s * 0.75), int(n * 0.25), n - int(n * 0.25))

    def tiled_decode(self, z):
        s = self.config["sample_size"]
        n = s // 2 ** (len(self.config["block_out_channels"]) - 1)
        return self.tiled(z, self.decode, n, int(n * 0.75), int(s * 0.25), s - int(s * 0.25))


class VQ(nn.Module):
    def __init__(self, config):
        super().__init__()
        n = config["latent_channels"]
        d = config["vq_embed_dim"] or n
        self.spatial = config["norm_type"] == "spatial"
        self.encoder = Coder(config, True, config["in_channels"], n, 0)
        self.quant_conv = nn.Conv2d(n, d, 1)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(config["num_vq_embeddings"], d)})
        self.post_quant_conv = nn.Conv2d(d, n, 1)
        self.decoder = Coder(config, False, n, config["out_channels"], n if self.spatial else 0)

    def forward(self, x):
        z = self.quant_conv(self.encoder(x))
        v = z.permute(0, 2, 3, 1)
        e = self.quantize["embedding"].weight
        index = torch.cdist(v.reshape(-1, v.shape[-1]), e).argmin(1)
        q = e[index].view(v.shape)
        loss = ((q.detach() - v) ** 2).mean() + 0.25 * ((q - v.detach()) ** 2).mean()
        q = (v + (q - v).detach()).permute(0, 3, 1, 2)
        return z, index, q, loss, self.decoder(self.post_quant_conv(q), q if self.spatial else None)


class Patch(nn.Module):
    """The discriminator of pix2pix and taming-transformers."""

    def __init__(self, i, c, n):
        super().__init__()
        layers = [nn.Conv2d(i, c, 4, 2, 1), nn.LeakyReLU(0.2)]
        for k in range(1, n + 1):
            a, b = c * min(2 ** (k - 1), 8), c * min(2 ** k, 8)
            layers += [nn.Conv2d(a, b, 4, 2 if k < n else 1, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(c * min(2 ** n, 8), 1, 4, 1, 1))

    def forward(self, x):
        return self.main(x)


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, x):
        a = F.relu(self.conv1(x))
        return [a, F.relu(self.conv2(a))]


def lpips(net, weights, x, y):
    total = 0
    for w, a, b in zip(weights, net(x), net(y)):
        a, b = (f / ((f ** 2).sum(1, keepdim=True).sqrt() + 1e-10) for f in (a, b))
        total = total + F.conv2d((a - b) ** 2, w).mean((2, 3), keepdim=True)
    return total


def autoencoder_loss(io, name, hinge, per_picture, logvar, weight, factor, perceptual):
    """LPIPSWithDiscriminator and VQLPIPSWithDiscriminator of LDM and taming-transformers."""
    torch.manual_seed(7)
    last = nn.Conv2d(4, 3, 3, padding=1)
    judge = randomize(Patch(3, 4, 2), 8).train()
    features = randomize(Features(), 9)
    lins = [torch.rand(1, 4, 1, 1), torch.rand(1, 6, 1, 1)]
    h = torch.randn(2, 4, 20, 16, requires_grad=True)
    x = torch.randn(2, 3, 20, 16)
    io.update({"x": x, "h": h, "lin0": lins[0], "lin1": lins[1]})
    io.update({"last." + k: v for k, v in last.state_dict().items()})
    io.update({"features." + k: v for k, v in features.state_dict().items()})
    io.update({"judge." + k: v.clone() for k, v in judge.state_dict().items()})
    y = last(h)
    rec = (x - y).abs()
    if perceptual:
        p = lpips(features, lins, x, y)
        io[name + ".distance"] = p
        rec = rec + perceptual * p
    if per_picture:
        nll = rec / torch.exp(torch.tensor(logvar)) + logvar
        nll = nll.sum() / nll.shape[0]
    else:
        nll = rec.mean()
    g = -judge(y).mean()
    a, b = (torch.autograd.grad(v, last.weight, retain_graph=True)[0].norm() for v in (nll, g))
    lam = (a / (b + 1e-4)).clamp(0, 1e4).detach() * weight
    total = nll + 0.25 + lam * factor * g
    grads = torch.autograd.grad(total, [h, last.weight, last.bias])
    real, fake = judge(x), judge(y.detach())
    if hinge:
        d = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    else:
        d = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    names, params = zip(*judge.named_parameters())
    dgrads = torch.autograd.grad(factor * d, params)
    values = {"total": total, "nll": nll, "g": g, "weight": lam * factor, "grad.h": grads[0],
              "grad.last.weight": grads[1], "grad.last.bias": grads[2], "d": factor * d}
    values.update({"grad.judge." + n: v for n, v in zip(names, dgrads)})
    values.update({"after." + k: v.clone() for k, v in judge.state_dict().items() if "running" in k or "tracked" in k})
    judge.eval()
    values["scores"] = judge(x)
    io.update({name + "." + k: v for k, v in values.items()})


def gaussian():
    """DiagonalGaussianDistribution, by torch.distributions."""
    torch.manual_seed(11)
    p, q = torch.randn(2, 4, 3, 2), torch.randn(2, 4, 3, 2)
    p[0, 2, 0, 0], p[1, 3, 2, 1] = -45, 33  # beyond the limits of logvar
    x, noise = torch.randn(2, 2, 3, 2), torch.randn(2, 2, 3, 2)
    io = {"p": p, "q": q, "x": x, "noise": noise}
    p.requires_grad_()

    def normal(t):
        mean, logvar = t.chunk(2, 1)
        return torch.distributions.Normal(mean, logvar.clamp(-30, 20).div(2).exp())

    a, b = normal(p), normal(q)
    kl = torch.distributions.kl_divergence(a, torch.distributions.Normal(0.0, 1.0)).sum((1, 2, 3))
    other = torch.distributions.kl_divergence(b, a).sum((1, 2, 3))
    nll = -b.log_prob(x).sum((1, 2, 3))
    io.update({"kl": kl, "kl_of_q_and_p": other, "nll": nll, "sample": b.mean + b.stddev * noise,
               "grad.kl": torch.autograd.grad(kl.sum(), p)[0]})
    return io


def randomize(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * (1 if "embedding" in name else 0.3 if p.dim() == 1 else 1.0 / p[0].numel() ** 0.5))
            if "norm" in name and name.endswith("weight") and p.dim() == 1:
                p.add_(1)
    return model


def differentiate(model, x, output, extra=0):
    g = torch.randn_like(output)
    total = (output * g).sum() + extra
    names, params = zip(*model.named_parameters())
    grads = torch.autograd.grad(total, [x, *params], allow_unused=True)
    io = {"gradin.x": grads[0]}
    io.update({"grad." + n: v for n, v in zip(names, grads[1:]) if v is not None})
    return g, io


def write(name, model, config, io):
    folder = RESOURCES / "torch" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    save_file({k: v.detach().contiguous() for k, v in io.items()}, folder / "io.safetensors")


def kl_io(model, x):
    m = model.moments(x)
    mean, logvar = m.chunk(2, 1)
    logvar = logvar.clamp(-30, 20)
    kl = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).sum((1, 2, 3))
    recon = model.decode(mean)
    g, io = differentiate(model, x, recon)
    io.update({"in.x": x, "out.mean": mean, "out.logvar": logvar, "out.kl": kl, "out.recon_of_mode": recon,
               "g.recon_of_mode": g})
    return io


def vq_io(model, x):
    z, index, q, loss, recon = model(x)
    g, io = differentiate(model, x, recon)
    io.update({"in.x": x, "out.latents": z, "out.indices": index, "out.quantized": q, "out.loss": loss[None],
               "out.recon": recon, "g.recon": g})
    names, params = zip(*model.named_parameters())
    grads = torch.autograd.grad(model(x)[3], params, allow_unused=True)
    for n, v in zip(names, grads):
        if n.startswith("quant"):
            io["lossgrad." + n] = v
    return io


def check(name, cls, make):
    folder = RESOURCES / "golden" / "models" / name
    config = json.loads((folder / "config.json").read_text())
    model = cls(config)
    model.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    golden = load_file(folder / "io.safetensors")
    x = golden["in.x"].requires_grad_()
    ours = make(model, x)
    for k, v in golden.items():
        if k.startswith("out.") and k != "out.loss":
            error = ((ours[k] - v).abs().max() / v.abs().max()).item()
            assert error < 1e-5, (name, k, error)
    return model, config


def keys(cls, config):
    with torch.device("meta"):
        state = cls(config).state_dict()
    return {k: "[" + ",".join(map(str, v.shape)) + "]" for k, v in state.items()}


def write_keys(kl, vq):
    """The names of Stable Diffusion's autoencoder; those of a VQModel are the reference's, and judge this script."""
    def config(base, channels):
        n = len(channels)
        return dict(base, block_out_channels=channels, layers_per_block=2, norm_num_groups=32,
                    down_block_types=["DownEncoderBlock2D"] * n, up_block_types=["UpDecoderBlock2D"] * n)
    folder = RESOURCES / "keys"
    known = dict(line.split("\t") for line in (folder / "vq_model.txt").read_text().splitlines())
    assert keys(VQ, dict(config(vq, [128, 256, 512]), num_vq_embeddings=8192)) == known
    names = keys(KL, config(kl, [128, 256, 512, 512]))
    (folder / "autoencoder_kl.txt").write_text("".join(k + "\t" + v + "\n" for k, v in names.items()))


def main():
    model, config = check("autoencoder_kl", KL, kl_io)
    write_keys(config, check("vq_model", VQ, vq_io)[1])
    torch.manual_seed(1)
    with torch.no_grad():
        x = torch.randn(2, 3, 58, 42)
        z = torch.randn(1, 4, 23, 30)
        folder = RESOURCES / "torch" / "tiles"
        folder.mkdir(parents=True, exist_ok=True)
        io = {"in.x": x, "in.z": z, "out.moments": model.tiled_moments(x), "out.recon": model.tiled_decode(z)}
        save_file({k: v.contiguous() for k, v in io.items()}, folder / "io.safetensors")

    config = dict(config, act_fn="mish", block_out_channels=[8, 16, 16], layers_per_block=2, latent_channels=2,
                  down_block_types=["AttnDownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
                  up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D", "AttnUpDecoderBlock2D"],
                  in_channels=1, out_channels=2, norm_num_groups=4, mid_block_add_attention=False,
                  use_quant_conv=False, use_post_quant_conv=False)
    model = randomize(KL(config), 2)
    write("autoencoder_kl_variants", model, config, kl_io(model, torch.randn(2, 1, 13, 10, requires_grad=True)))

    folder = RESOURCES / "golden" / "models" / "vq_model"
    config = dict(json.loads((folder / "config.json").read_text()), act_fn="gelu", block_out_channels=[32, 32],
                  down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
                  up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"], norm_type="spatial",
                  latent_channels=4, vq_embed_dim=4, norm_num_groups=16)
    model = randomize(VQ(config), 3)
    write("vq_model_spatial", model, config, vq_io(model, torch.randn(2, 3, 8, 12, requires_grad=True)))

    io = {}
    autoencoder_loss(io, "kl", True, True, 0.5, 0.8, 0.5, 0.7)
    autoencoder_loss(io, "vq", False, False, 0.0, 1.0, 1.0, 0)
    folder = RESOURCES / "torch" / "loss"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in io.items()}, folder / "io.safetensors")
    folder = RESOURCES / "torch" / "gaussian"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in gaussian().items()}, folder / "io.safetensors")


if __name__ == "__main__":
    main()
