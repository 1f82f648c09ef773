// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import io.sfumato.autograd.Autograd;
import io.sfumato.benchmarks.cuda.GpuKernels.Work;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * The cases of {@link GpuKernels}. A name that ends in {@code _bwd} is forward and backward
 * together. Operations and bytes are the least that the mathematics needs.
 */
final class GpuCases {
  private static final double EPS = 1e-6;

  private final Device device;
  private final int scale;
  private final Map<String, Supplier<Work>> cases = new LinkedHashMap<>();
  private long seed;

  GpuCases(Device device, int scale) {
    this.device = device;
    this.scale = scale;
  }

  Map<String, Supplier<Work>> table() {
    for (DType t : List.of(DType.BF16, DType.F32)) {
      rows(t);
      products(t);
      convolutions(t);
    }
    lowRank();
    attention();
    blocks();
    return cases;
  }

  private Tensor random(DType dtype, int... shape) {
    TensorSpec wide = new TensorSpec(Shape.of(shape), DType.F32, device);
    return Rng.seed(++seed).normal(wide).to(dtype);
  }

  private int less(int n) {
    return Math.max(1, n / scale);
  }

  private void forward(
      String name,
      double flops,
      double bytes,
      Supplier<Tensor[]> inputs,
      Function<Tensor[], Tensor> f) {
    cases.put(
        name,
        () -> {
          Tensor[] in = inputs.get();
          return new Work(
              () -> {
                Tensor unused = f.apply(in);
              },
              flops,
              bytes);
        });
  }

  /** Forward alone, and with the gradients of the first {@code n} inputs. */
  private void both(
      String name,
      double flops,
      double bytes,
      double flopsBoth,
      double bytesBoth,
      int n,
      Supplier<Tensor[]> inputs,
      Function<Tensor[], Tensor> f) {
    forward(name, flops, bytes, inputs, f);
    cases.put(
        name + "_bwd",
        () -> {
          Tensor[] all = inputs.get();
          Tensor[] by = Arrays.copyOf(all, n);
          Function<Tensor[], Tensor> partly =
              t -> {
                Tensor[] in = all.clone();
                System.arraycopy(t, 0, in, 0, n);
                return f.apply(in);
              };
          Tensor first = f.apply(all);
          Tensor cotangent = random(first.dtype(), first.shape().dims());
          return new Work(() -> Autograd.vjp(partly, by, cotangent), flopsBoth, bytesBoth);
        });
  }

  private void rows(DType t) {
    int e = t.bytes();
    String end = "_" + t.label();
    int rows = less(65536);
    double n = 1152.0 * rows * e;
    both(
        "layernorm_65536x1152" + end,
        0,
        2 * n,
        0,
        5 * n,
        3,
        () -> new Tensor[] {random(t, rows, 1152), random(t, 1152), random(t, 1152)},
        x -> NN.layerNorm(x[0], 1, x[1], x[2], EPS));
    int b = less(256);
    both(
        "layernorm_modulate_256x256x1152" + end,
        0,
        2 * n,
        0,
        5 * n,
        3,
        () -> new Tensor[] {random(t, b, 256, 1152), random(t, b, 1152), random(t, b, 1152)},
        x -> NN.layerNormModulate(x[0], x[1], x[2], EPS));
    int g = less(32);
    double m = 320.0 * 4096 * g * e;
    both(
        "groupnorm_silu_32x320x64x64" + end,
        0,
        2 * m,
        0,
        5 * m,
        3,
        () ->
            new Tensor[] {
              Shaping.channelsLast(random(t, g, 320, 64, 64)), random(t, 320), random(t, 320)
            },
        x -> NN.groupNormSilu(x[0], 32, x[1], x[2], EPS));
    int s = less(16384);
    forward(
        "softmax_16384x4096" + end,
        0,
        2.0 * s * 4096 * e,
        () -> new Tensor[] {random(t, s, 4096)},
        x -> NN.softmax(x[0], -1));
    int big = less(64 << 20);
    forward(
        "gelu_tanh_64m" + end,
        0,
        2.0 * big * e,
        () -> new Tensor[] {random(t, big)},
        x -> NN.geluTanh(x[0]));
    forward(
        "add_mul_64m" + end,
        0,
        4.0 * big * e,
        () -> new Tensor[] {random(t, big), random(t, big), random(t, big)},
        x -> x[0].add(x[1].mul(x[2])));
    cases.put("adamw_100m" + end, () -> adamW(t));
  }

  /** f32 parameters and moments, gradients of the type. */
  private Work adamW(DType t) {
    int side = less(10000);
    List<Tensor> p = List.of(random(DType.F32, side, 5000), random(DType.F32, side, 5000));
    List<Tensor> g = List.of(random(t, side, 5000), random(t, side, 5000));
    List<Tensor> m = p.stream().map(x -> x.mul(0)).toList();
    List<Tensor> v = p.stream().map(x -> x.mul(0)).toList();
    int[] step = {0};
    return new Work(
        () ->
            Updates.adamW(
                p, g, m, v, new Updates.Adam(1e-4, 0.9, 0.999, 1e-8, 0.01, true, ++step[0], 1)),
        0,
        1e4 * side * (24 + t.bytes()));
  }

  private void products(DType t) {
    String end = "_" + t.label();
    int e = t.bytes();
    int n = less(4096);
    forward(
        "gemm_4096" + end,
        2.0 * n * n * n,
        3.0 * n * n * e,
        () -> new Tensor[] {random(t, n, n), random(t, n, n)},
        x -> Num.matmul(x[0], x[1]));
    int rows = less(16384);
    double work = 2.0 * rows * 1152 * 4608;
    both(
        "linear_16384x1152x4608" + end,
        work,
        0,
        3 * work,
        0,
        3,
        () -> new Tensor[] {random(t, rows, 1152), random(t, 4608, 1152), random(t, 4608)},
        x -> NN.linear(x[0], x[1], x[2]));
  }

  private void convolutions(DType t) {
    String end = "_" + t.label();
    int[][] shapes = {{16, 320, 64}, {16, 640, 32}, {16, 1280, 16}};
    for (int[] s : shapes) {
      int b = less(s[0]);
      int c = s[1];
      double work = 2.0 * b * s[2] * s[2] * c * c * 9;
      both(
          "conv3_16x" + c + "x" + s[2] + end,
          work,
          0,
          3 * work,
          0,
          3,
          () ->
              new Tensor[] {
                Shaping.channelsLast(random(t, b, c, s[2], s[2])),
                random(t, c, c, 3, 3),
                random(t, c)
              },
          x -> NN.conv2d(x[0], x[1], x[2], ConvOptions.of().padding(1)));
    }
  }

  /** A frozen layer of 1280 x 1280 alone and with low-rank factors; bf16. */
  private void lowRank() {
    DType t = DType.BF16;
    for (int tokens : new int[] {4096, 16384}) {
      int n = less(tokens);
      double base = 2.0 * n * 1280 * 1280;
      both(
          "frozen_linear_" + tokens + "x1280",
          base,
          0,
          2 * base,
          0,
          1,
          () -> new Tensor[] {random(t, n, 1280), random(t, 1280, 1280)},
          x -> NN.linear(x[0], x[1], null));
      for (int r : new int[] {8, 16, 64}) {
        double small = 4.0 * n * 1280 * r;
        both(
            "lora_linear_" + tokens + "x1280_r" + r,
            base + small,
            0,
            2 * base + 3 * small,
            0,
            3,
            () ->
                new Tensor[] {
                  random(t, n, 1280), random(t, r, 1280), random(t, 1280, r), random(t, 1280, 1280)
                },
            x -> NN.lowRank(x[0], x[3], null, x[1], x[2], 2));
      }
    }
  }

  /** [batch, heads, queries, keys, width], bf16. */
  private void attention() {
    int[][] shapes = {
      {4, 16, 4096, 4096, 64},
      {4, 16, 4096, 4096, 128},
      {32, 16, 256, 256, 72},
      {8, 16, 1024, 1024, 72},
      {8, 8, 4096, 4096, 40},
      {8, 8, 4096, 77, 40},
      {8, 8, 1024, 1024, 80}
    };
    for (int[] s : shapes) {
      int b = less(s[0]);
      double work = 4.0 * b * s[1] * s[2] * s[3] * s[4];
      String name = "attention_" + s[0] + "x" + s[1] + "x" + s[2] + "x" + s[3] + "x" + s[4];
      both(
          name,
          work,
          0,
          3.5 * work,
          0,
          3,
          () ->
              new Tensor[] {
                heads(b, s[2], s[1], s[4]), heads(b, s[3], s[1], s[4]), heads(b, s[3], s[1], s[4])
              },
          x -> NN.attention(x[0], x[1], x[2], AttentionOptions.of()));
    }
  }

  /** [B, H, L, D] as a projection leaves it: in memory [B, L, H, D]. */
  private Tensor heads(int b, int l, int h, int d) {
    return random(DType.BF16, b, l, h, d).permute(0, 2, 1, 3);
  }

  // ---- blocks of models, bf16

  private void blocks() {
    int b = less(32);
    double tokens = 256.0 * b;
    double work = tokens * 2 * 12 * 1152 * 1152 + 4 * tokens * 256 * 1152;
    both("dit_xl2_block_32x256", work, 0, 3 * work, 0, 12, () -> ditWeights(b), GpuCases::ditBlock);
    int u = less(8);
    double conv = 2.0 * u * 4096 * 320 * 320 * 9;
    both(
        "sd15_resnet_8x320x64",
        2 * conv,
        0,
        6 * conv,
        0,
        12,
        () -> resnetWeights(u),
        GpuCases::resnetBlock);
    double rows = 4096.0 * u;
    double self = rows * 2 * (4 + 2 + 12) * 320 * 320 + 4 * rows * 4096 * 320;
    both(
        "sd15_transformer_8x4096x320",
        self,
        0,
        3 * self,
        0,
        8,
        () -> transformerWeights(u),
        GpuCases::transformerBlock);
  }

  private Tensor weight(int out, int in) {
    return random(DType.BF16, out, in).mul(1 / Math.sqrt(in));
  }

  private Tensor[] ditWeights(int b) {
    DType t = DType.BF16;
    int d = 1152;
    return new Tensor[] {
      random(t, b, 256, d),
      random(t, b, d),
      weight(3 * d, d),
      random(t, 3 * d),
      weight(d, d),
      random(t, d),
      weight(4 * d, d),
      random(t, 4 * d),
      weight(d, 4 * d),
      random(t, d),
      weight(6 * d, d),
      random(t, 6 * d)
    };
  }

  /** Attention and MLP, each modulated and gated by the condition (Peebles and Xie 2023). */
  private static Tensor ditBlock(Tensor[] w) {
    Tensor x = w[0];
    int b = x.dim(0);
    int n = x.dim(1);
    int d = x.dim(2);
    List<Tensor> m = Shaping.chunk(NN.linear(NN.silu(w[1]), w[10], w[11]), 6, 1);
    Tensor h = NN.layerNormModulate(x, m.get(0), m.get(1), EPS);
    Tensor z = NN.linear(h, w[2], w[3]).reshape(b, n, 3, 16, d / 16).permute(2, 0, 3, 1, 4);
    List<Tensor> qkv = Shaping.unbind(z, 0);
    h = NN.attention(qkv.get(0), qkv.get(1), qkv.get(2), AttentionOptions.of());
    h = NN.linear(h.permute(0, 2, 1, 3).reshape(b, n, d), w[4], w[5]);
    x = NN.gatedResidual(x, h, m.get(2));
    h = NN.layerNormModulate(x, m.get(3), m.get(4), EPS);
    h = NN.linear(NN.geluTanh(NN.linear(h, w[6], w[7])), w[8], w[9]);
    return NN.gatedResidual(x, h, m.get(5));
  }

  private Tensor[] resnetWeights(int b) {
    DType t = DType.BF16;
    int c = 320;
    return new Tensor[] {
      Shaping.channelsLast(random(t, b, c, 64, 64)),
      random(t, b, 1280),
      random(t, c),
      random(t, c),
      weight(c, c * 9).reshape(c, c, 3, 3),
      random(t, c),
      weight(c, 1280),
      random(t, c),
      random(t, c),
      random(t, c),
      weight(c, c * 9).reshape(c, c, 3, 3),
      random(t, c)
    };
  }

  private static Tensor resnetBlock(Tensor[] w) {
    ConvOptions same = ConvOptions.of().padding(1);
    Tensor h = NN.conv2d(NN.groupNormSilu(w[0], 32, w[2], w[3], 1e-5), w[4], w[5], same);
    h = h.add(NN.linear(NN.silu(w[1]), w[6], w[7]).unsqueeze(-1).unsqueeze(-1));
    h = NN.conv2d(NN.groupNormSilu(h, 32, w[8], w[9], 1e-5), w[10], w[11], same);
    return w[0].add(h);
  }

  private Tensor[] transformerWeights(int b) {
    DType t = DType.BF16;
    int c = 320;
    return new Tensor[] {
      random(t, b, 4096, c),
      random(t, c),
      random(t, c),
      weight(3 * c, c),
      weight(c, c),
      weight(8 * c, c),
      random(t, 8 * c),
      weight(c, 4 * c),
    };
  }

  /** Self-attention of 8 heads and the gated MLP of Stable Diffusion 1.5's first level. */
  private static Tensor transformerBlock(Tensor[] w) {
    Tensor x = w[0];
    int b = x.dim(0);
    int n = x.dim(1);
    int c = x.dim(2);
    Tensor h = NN.layerNorm(x, 1, w[1], w[2], 1e-5);
    Tensor z = NN.linear(h, w[3], null).reshape(b, n, 3, 8, c / 8).permute(2, 0, 3, 1, 4);
    List<Tensor> qkv = Shaping.unbind(z, 0);
    h = NN.attention(qkv.get(0), qkv.get(1), qkv.get(2), AttentionOptions.of());
    x = x.add(NN.linear(h.permute(0, 2, 1, 3).reshape(b, n, c), w[4], null));
    h = NN.linear(NN.layerNorm(x, 1, w[1], w[2], 1e-5), w[5], w[6]);
    List<Tensor> halves = Shaping.chunk(h, 2, -1);
    return x.add(NN.linear(halves.get(0).mul(NN.gelu(halves.get(1))), w[7], null));
  }
}
