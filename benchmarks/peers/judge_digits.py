# SPDX-License-Identifier: Apache-2.0
"""Judges drawn digits: python judge_digits.py --mnist FOLDER [--judge judge.pt] [samples.safetensors ...]

A small convolutional network is trained on four fifths of the MNIST files in FOLDER, with light augmentation, and
tested on the rest. Then, for each file of samples (`images` U8 [N, 1, H, W], `labels` I64 [N]):

accepted   the share of samples that the network takes for their label,
distance   the Frechet distance between the network's features (96, after the ReLU) of the samples and of all real
           images in FOLDER: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)),
floor      the same distance for random draws of as many real images with the same labels: what perfect samples would
           get. It falls with N, so compare only files with equally many samples.

Features are not standardised, so distances of different judges do not compare: keep one with --judge. Needs PyTorch
and NumPy only.
"""

import argparse
import gzip
import json
import os
import struct
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

FEATURES = 96
SIDE = 28


def fail(message):
    sys.exit(f"judge_digits: {message}")


def read_idx(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        data = f.read()
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        fail(f"{path}: not an IDX file of bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != np.prod(shape):
        fail(f"{path}: {values.size} values for the shape {shape}")
    return values.reshape(shape)


def read_mnist(folder):
    """All pictures [N, 28, 28] and labels [N] of the parts that are there."""
    images, labels = [], []
    for part in ("train", "t10k"):
        for end in ("", ".gz"):
            pictures = os.path.join(folder, f"{part}-images-idx3-ubyte{end}")
            if os.path.exists(pictures):
                images.append(read_idx(pictures))
                labels.append(read_idx(os.path.join(folder, f"{part}-labels-idx1-ubyte{end}")))
                break
    if not images:
        fail(f"{folder}: no MNIST files (t10k-images-idx3-ubyte.gz and the like)")
    return np.concatenate(images), np.concatenate(labels)


def read_samples(path):
    """`images` and `labels` of a safetensors file; 8 bytes of length, a JSON header, the data."""
    with open(path, "rb") as f:
        data = f.read()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:start])
    tensors = []
    for name, dtype, code in (("images", "U8", "u1"), ("labels", "I64", "<i8")):
        entry = header.get(name)
        if entry is None or entry["dtype"] != dtype:
            fail(f"{path}: needs a tensor '{name}' of {dtype}")
        begin, end = (start + offset for offset in entry["data_offsets"])
        tensors.append(np.frombuffer(data[begin:end], code).reshape(entry["shape"]))
    images, labels = tensors
    if images.ndim != 4 or images.shape[1] != 1 or min(images.shape[2:]) < SIDE:
        fail(f"{path}: images must be [N, 1, {SIDE} or more, {SIDE} or more]; got {list(images.shape)}")
    if labels.shape != images.shape[:1] or len(labels) < 2 or labels.min() < 0 or labels.max() > 9:
        fail(f"{path}: needs two samples at least, and labels 0 to 9, one each; got {list(labels.shape)}")
    top, left = ((n - SIDE) // 2 for n in images.shape[2:])  # a padded margin is cut off
    return images[:, 0, top : top + SIDE, left : left + SIDE], labels


class Judge(nn.Module):
    def __init__(self):
        super().__init__()

        def conv(c, k, size):
            return nn.Sequential(nn.Conv2d(c, k, size, padding=size // 2, bias=False), nn.BatchNorm2d(k), nn.ReLU())

        self.body = nn.Sequential(
            conv(1, 24, 5), nn.MaxPool2d(2), conv(24, 48, 3), conv(48, 48, 3), nn.MaxPool2d(2), conv(48, 96, 3),
            conv(96, 48, 3), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 7 * 7, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, x):
        features = self.body(x)
        return self.head(features), features


def to_input(images):
    return torch.from_numpy(images.astype(np.float32) / 255)[:, None]


def augment(x):
    """Turns by up to 15 degrees, scales by up to 15 %, slants a little and shifts by up to two pixels."""
    n = len(x)
    angle, slant = (torch.rand(2, n) * 2 - 1) * torch.tensor([[0.26], [0.3]])
    scale = 1 + (torch.rand(n) * 2 - 1) * 0.15
    shift = (torch.rand(n, 2) * 2 - 1) * (4 / SIDE)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([cos, slant - sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(n, 2, 3)
    return F.grid_sample(x, F.affine_grid(rows, list(x.shape), align_corners=False), align_corners=False)


def evaluate(judge, images):
    """Verdicts [N] and features [N, FEATURES] (float64)."""
    judge.eval()
    with torch.no_grad():
        parts = [judge(to_input(images[i : i + 500])) for i in range(0, len(images), 500)]
    verdicts = torch.cat([logits for logits, _ in parts]).argmax(1).numpy()
    return verdicts, torch.cat([features for _, features in parts]).double().numpy()


def split(count):
    """Indices to train on and indices to test on: always the same."""
    order = np.random.default_rng(0).permutation(count)
    return order[: count * 4 // 5], order[count * 4 // 5 :]


def train(images, labels, epochs, batch=64):
    torch.manual_seed(0)
    judge = Judge()
    judge.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.02)
    rows, _ = split(len(labels))
    x, y = to_input(images[rows]), torch.from_numpy(labels[rows].astype(np.int64))
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        judge.train()
        total = 0.0
        order = torch.randperm(len(x))[: len(x) // batch * batch]
        for chosen in order.view(-1, batch):
            logits, _ = judge(augment(x[chosen]))
            loss = F.cross_entropy(logits, y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total / (len(order) // batch):.4f}", file=sys.stderr, flush=True)
    return judge


def moments(features):
    return features.mean(0), np.cov(features, rowvar=False)


def frechet(a, b):
    (m1, c1), (m2, c2) = a, b
    values, vectors = np.linalg.eigh(c1)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ c2 @ root), 0)).sum()
    return float(((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * cross)


def draw_like(labels, real_labels, rng):
    """Indices of real images with the labels of the samples, without repetition where there are enough."""
    chosen = []
    for digit, count in zip(*np.unique(labels, return_counts=True)):
        of = np.flatnonzero(real_labels == digit)
        chosen.append(rng.choice(of, count, replace=count > len(of)))
    return np.concatenate(chosen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="*", help="files of samples")
    parser.add_argument("--mnist", required=True, help="folder with MNIST's files, packed or not")
    parser.add_argument("--judge", help="file that keeps the trained network: read if it is there, else written")
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--draws", type=int, default=8, help="random draws of real images for the floor")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    images, labels = read_mnist(args.mnist)
    if args.judge and os.path.exists(args.judge):
        judge = Judge()
        judge.load_state_dict(torch.load(args.judge, weights_only=True))
    else:
        judge = train(images, labels, args.epochs)
        if args.judge:
            torch.save(judge.state_dict(), args.judge)

    verdicts, features = evaluate(judge, images)
    right = verdicts == labels
    seen, unseen = split(len(labels))
    print(f"judge: {100 * right[unseen].mean():.2f} % of {len(unseen)} held-out images, "
          f"{100 * right[seen].mean():.2f} % of {len(seen)} it was trained on")
    real = moments(features)
    for path in args.samples:
        drawn, wanted = read_samples(path)
        verdicts, drawn_features = evaluate(judge, drawn)
        rng = np.random.default_rng(1)
        floor = [frechet(moments(features[draw_like(wanted, labels, rng)]), real) for _ in range(args.draws)]
        worst = min((100 * (verdicts[wanted == d] == d).mean(), d) for d in np.unique(wanted))
        print(f"{path}: {len(wanted)} samples, accepted {100 * (verdicts == wanted).mean():.1f} % "
              f"(least: digit {worst[1]}, {worst[0]:.0f} %), distance {frechet(moments(drawn_features), real):.2f}, "
              f"floor {np.mean(floor):.2f} ({min(floor):.2f} to {max(floor):.2f} in {len(floor)} draws)")


if __name__ == "__main__":
    main()
