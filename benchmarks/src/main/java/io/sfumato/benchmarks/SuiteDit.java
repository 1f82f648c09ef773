// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.TimeFeatures;
import io.sfumato.models.nn.TimestepEmbedding;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** The DiT of the suite: depth 6, width 192, 3 heads, patch 2, pictures 3x32x32, 10 classes. */
final class SuiteDit extends Module {
  private static final int WIDTH = 192;
  private static final int HEADS = 3;
  private static final int PATCH = 2;
  private static final int SIDE = 16;

  private final Conv2d patches;
  private final Parameter positions;
  private final TimestepEmbedding time;
  private final Embedding classes;
  private final List<Block> blocks;
  private final LayerNorm norm;
  private final Linear modulation;
  private final Linear out;
  private @Nullable AdapterSet adapters;

  SuiteDit(Weights weights) {
    super(weights);
    patches = child("patches", w -> new Conv2d(w, 3, WIDTH, PATCH, ConvOptions.of().stride(PATCH)));
    positions = parameter("positions", Shape.of(1, SIDE * SIDE, WIDTH), Init.normal(1));
    time = child("time", w -> new TimestepEmbedding(w, 256, WIDTH));
    classes = child("classes", w -> new Embedding(w, 11, WIDTH));
    blocks = children("blocks", 6, (w, i) -> new Block(w));
    norm = child("norm", w -> new LayerNorm(w, WIDTH, 1e-6, false));
    modulation = child("modulation", w -> new Linear(w, WIDTH, 2 * WIDTH));
    out = child("out", w -> new Linear(w, WIDTH, PATCH * PATCH * 3));
  }

  Tensor call(Tensor x, double[] t, Tensor y) {
    return call(
        () -> {
          int b = x.dim(0);
          Tensor c = time.call(TimeFeatures.sinusoidal(t, 256, true, 0, x.device()).to(x.dtype()));
          c = NN.silu(c.add(classes.call(y))); // [B, D]
          Tensor h = patches.call(x).permute(0, 2, 3, 1).reshape(b, SIDE * SIDE, WIDTH);
          h = h.add(positions.value()); // [B, N, D]
          for (Block block : blocks) {
            h = block.call(h, c);
          }
          List<Tensor> m = Shaping.chunk(modulation.call(c), 2, 1);
          h = NN.layerNormModulate(h, m.get(0), m.get(1), 1e-6);
          h = out.call(h).reshape(b, SIDE, SIDE, PATCH, PATCH, 3);
          return h.permute(0, 5, 1, 3, 2, 4).reshape(b, 3, SIDE * PATCH, SIDE * PATCH);
        });
  }

  /** Puts an adapter on the four products of each block and returns its parameters. */
  List<Parameter> adapt(AdapterKind kind) {
    Predicate<String> products = Targets.suffixes(List.of("qkv", "proj", "fc1", "fc2"));
    adapters = AdapterSet.attach(this, products, kind, Rng.seed(1));
    return adapters.parameters();
  }

  @Override
  public void close() {
    if (adapters != null) {
      adapters.close();
    }
    super.close();
  }

  /** Attention and MLP, each modulated and gated by the condition (adaLN). */
  private static final class Block extends Module {
    private final Linear qkv;
    private final Linear proj;
    private final Linear fc1;
    private final Linear fc2;
    private final Linear modulation;

    Block(Weights weights) {
      super(weights);
      qkv = child("qkv", w -> new Linear(w, WIDTH, 3 * WIDTH));
      proj = child("proj", w -> new Linear(w, WIDTH, WIDTH));
      fc1 = child("fc1", w -> new Linear(w, WIDTH, 4 * WIDTH));
      fc2 = child("fc2", w -> new Linear(w, 4 * WIDTH, WIDTH));
      modulation = child("modulation", w -> new Linear(w, WIDTH, 6 * WIDTH));
    }

    Tensor call(Tensor x, Tensor c) {
      return call(
          () -> {
            int b = x.dim(0);
            int n = x.dim(1);
            List<Tensor> m = Shaping.chunk(modulation.call(c), 6, 1); // [B, D] each
            Tensor h = NN.layerNormModulate(x, m.get(0), m.get(1), 1e-6);
            Tensor z = qkv.call(h).reshape(b, n, 3, HEADS, WIDTH / HEADS).permute(2, 0, 3, 1, 4);
            List<Tensor> parts = Shaping.unbind(z, 0); // queries, keys, values
            h = NN.attention(parts.get(0), parts.get(1), parts.get(2), AttentionOptions.of());
            h = proj.call(h.permute(0, 2, 1, 3).reshape(b, n, WIDTH));
            GatedResidualNorm.Result y =
                NN.gatedResidualNorm(x, h, m.get(2), m.get(3), m.get(4), 1e-6);
            h = fc2.call(NN.geluTanh(fc1.call(y.normalised())));
            return NN.gatedResidual(y.sum(), h, m.get(5));
          });
    }
  }
}
