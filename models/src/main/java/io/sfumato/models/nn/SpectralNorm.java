// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import org.jspecify.annotations.Nullable;

/**
 * A weight divided by its spectral norm (Miyato et al. 2018): {@code W / σ}, {@code σ = uᵀ W v}
 * with W seen as a matrix [out, everything else] and u, v its first singular vectors, which one
 * step of power iteration per training forward follows: {@code u = W v / |W v|}, {@code v = Wᵀ u /
 * |Wᵀ u|}. They are constants for backward.
 *
 * <p>Names are those of {@code torch.nn.utils.parametrizations.spectral_norm}: {@code
 * parametrizations.weight.original}, and the buffers {@code parametrizations.weight.0._u} and
 * {@code 0._v}.
 */
public final class SpectralNorm extends Module {
  private static final double EPS = 1e-12;
  private static final int FIRST_STEPS = 15;

  private final Parameter original;
  private final Parameter u;
  private final Parameter v;

  private SpectralNorm(Weights weights, Shape shape, Init init) {
    super(weights);
    int out = shape.dim(0);
    int rest = Math.toIntExact(shape.numel() / out);
    boolean stored = weights.has("original");
    this.original = parameter("original", shape, init);
    this.u = buffer("0._u", Shape.of(out), Init.normal(1));
    this.v = buffer("0._v", Shape.of(rest), Init.normal(1));
    if (!stored && !original.value().device().equals(Device.META)) {
      Scope.run(() -> follow(matrix(), FIRST_STEPS));
    }
  }

  /** {@link Conv2d} with a normalised weight. */
  public static Layer conv2d(
      Weights weights, int in, int out, int kernel, ConvOptions options, boolean bias) {
    Shape shape = Shape.of(out, in / options.groups(), kernel, kernel);
    return new Normalised(weights, shape, bias) {
      @Override
      protected Tensor forward(Tensor x) {
        return NN.conv2d(x, weight.normalised(), bias(), options);
      }
    };
  }

  /** {@link Linear} with a normalised weight. */
  public static Layer linear(Weights weights, int in, int out, boolean bias) {
    return new Normalised(weights, Shape.of(out, in), bias) {
      @Override
      protected Tensor forward(Tensor x) {
        return NN.linear(x, weight.normalised(), bias());
      }
    };
  }

  /** {@link Embedding} with a normalised table. */
  public static Layer embedding(Weights weights, int count, int width) {
    return new Layer(weights) {
      private final SpectralNorm table =
          child(
              "parametrizations.weight",
              w -> new SpectralNorm(w, Shape.of(count, width), Init.normal(1)));

      @Override
      protected Tensor forward(Tensor indices) {
        return NN.embedding(indices, table.normalised());
      }
    };
  }

  private abstract static class Normalised extends Layer {
    private final @Nullable Parameter bias;
    final SpectralNorm weight;

    Normalised(Weights weights, Shape shape, boolean hasBias) {
      super(weights);
      Init init = Init.fanIn(shape.numel() / shape.dim(0));
      bias = hasBias ? parameter("bias", Shape.of(shape.dim(0)), init) : null;
      weight = child("parametrizations.weight", w -> new SpectralNorm(w, shape, init));
    }

    @Nullable Tensor bias() {
      return bias == null ? null : bias.value();
    }
  }

  private Tensor matrix() {
    return original.value().reshape(u.value().dim(0), v.value().dim(0));
  }

  /** W / σ, in the current scope. */
  private Tensor normalised() {
    return call(
        () -> {
          Tensor w = matrix(); // [out, rest]
          // New tensors, since the buffers may change before backward needs what was used here.
          Tensor[] uv = Autograd.noGrad(() -> follow(matrix(), isTraining() ? 1 : 0));
          Tensor sigma = Num.sum(uv[0].mul(Num.matmul(w, uv[1]))); // uv [out, 1], [rest, 1]
          return original.value().div(sigma);
        });
  }

  /** Moves u and v by power iteration; columns equal to them. */
  private Tensor[] follow(Tensor w, int steps) {
    Tensor left = u.value().mul(1).unsqueeze(1);
    Tensor right = v.value().mul(1).unsqueeze(1);
    for (int i = 0; i < steps; i++) {
      left = unit(Num.matmul(w, right));
      right = unit(Num.matmul(w, left, true, false));
    }
    if (steps > 0) {
      Updates.copy(u.value(), left.squeeze(1));
      Updates.copy(v.value(), right.squeeze(1));
    }
    return new Tensor[] {left, right};
  }

  private static Tensor unit(Tensor x) {
    Tensor norm = Num.sqrt(Num.sum(x.square()));
    return x.div(Num.clamp(norm, EPS, Double.POSITIVE_INFINITY));
  }
}
