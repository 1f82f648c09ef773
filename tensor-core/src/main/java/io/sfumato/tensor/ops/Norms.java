// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Executor;
import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** What {@link NN} and the backwards of normalisations share. */
final class Norms {
  private Norms() {}

  static Tensor groupNorm(
      Tensor x, int groups, @Nullable Tensor w, @Nullable Tensor b, double eps, boolean silu) {
    return Executor.run(new GroupNorm(groups, eps, w != null, b != null, silu), present(x, w, b));
  }

  static Tensor layerNorm(Tensor x, int dims, @Nullable Tensor w, @Nullable Tensor b, double eps) {
    return Executor.run(new LayerNorm(dims, eps, w != null, b != null), present(x, w, b));
  }

  static @Nullable Tensor[] groupNormBackward(GroupNorm op, Backward c, boolean dw, boolean db) {
    int n = c.inputs();
    Tensor[] in = new Tensor[n + 3];
    in[0] = c.grad(0);
    in[1] = c.input(0);
    in[2] = c.output(1);
    in[3] = c.output(2);
    for (int i = 1; i < n; i++) {
      in[3 + i] = c.input(i);
    }
    Tensor[] out = Executor.current().execute(new GroupNormBackward(op, dw, db), in);
    return spread(c, op.weight(), dw, db, out);
  }

  static @Nullable Tensor[] layerNormBackward(LayerNorm op, Backward c, boolean dw, boolean db) {
    LayerNormBackward backward = new LayerNormBackward(op.dims(), op.eps(), op.weight(), dw, db);
    Tensor[] in =
        present(c.grad(0), c.input(0), c.output(1), c.output(2), op.weight() ? c.input(1) : null);
    return spread(c, op.weight(), dw, db, Executor.current().execute(backward, in));
  }

  static @Nullable Tensor[] layerNormModulateBackward(double eps, Backward c, boolean modulation) {
    Tensor[] out =
        Executor.current()
            .execute(
                new LayerNormModulateBackward(eps, modulation),
                c.grad(0),
                c.input(0),
                c.output(1),
                c.output(2),
                c.input(2));
    return new @Nullable Tensor[] {
      c.needs(0) ? out[0] : null, c.needs(1) ? out[1] : null, c.needs(2) ? out[2] : null
    };
  }

  static @Nullable Tensor[] rmsNormBackward(RmsNorm op, Backward c, boolean dw) {
    Tensor[] in = present(c.grad(0), c.input(0), c.output(1), op.weight() ? c.input(1) : null);
    Tensor[] out = Executor.current().execute(new RmsNormBackward(op.eps(), op.weight(), dw), in);
    return spread(c, op.weight(), dw, false, out);
  }

  static Tensor batchNorm(
      Tensor x,
      Tensor runningMean,
      Tensor runningVar,
      @Nullable Tensor w,
      @Nullable Tensor b,
      boolean training,
      double momentum,
      double eps) {
    if (x.rank() < 2) {
      throw new ShapeException("batchNorm: the input must be [N, C, ...]; got " + x.spec());
    }
    Shape channels = Shape.of(x.dim(1));
    Require.shape(runningMean.spec(), channels, "batchNorm: running mean", "[C]");
    Require.shape(runningVar.spec(), channels, "batchNorm: running variance", "[C]");
    return training
        ? batchNormTraining(x, runningMean, runningVar, w, b, momentum, eps)
        : batchNormFixed(x, runningMean, runningVar, w, b, eps);
  }

  /**
   * A batch [N, C, ...] seen as one image [1, C, N ..., 1]; then a channel's statistics are those
   * of a group of one channel. A view if the batch is channels-last, as convolutions leave it.
   */
  private static Tensor batchNormTraining(
      Tensor x,
      Tensor runningMean,
      Tensor runningVar,
      @Nullable Tensor w,
      @Nullable Tensor b,
      double momentum,
      double eps) {
    int channels = x.dim(1);
    int n = Math.toIntExact(x.numel() / Math.max(1, channels));
    if (n < 2) {
      throw new ShapeException(
          "batchNorm: training needs more than one value per channel; got " + x.spec());
    }
    Tensor last = x.permute(channelsLast(x.rank())); // [N, ..., C]
    Tensor image = last.reshape(1, n, 1, channels).permute(0, 3, 1, 2); // [1, C, n, 1]
    GroupNorm op = new GroupNorm(channels, eps, w != null, b != null, false);
    Tensor[] out = Executor.current().execute(op, present(image, w, b));
    follow(runningMean, out[1].reshape(channels), momentum);
    Tensor rstd = out[2].reshape(channels);
    Tensor var = Num.clamp(Num.reciprocal(rstd.mul(rstd)).sub(eps), 0, Double.POSITIVE_INFINITY);
    follow(runningVar, var.mul(n / (n - 1.0)), momentum);
    Tensor y = Shaping.reshape(out[0].permute(0, 2, 3, 1), last.shape()); // [N, ..., C]
    return y.permute(channelsFirst(x.rank()));
  }

  private static void follow(Tensor running, Tensor value, double momentum) {
    Tensor same = Num.cast(value, running.dtype());
    Executor.current().execute(new RunningAverage(momentum), running, same);
  }

  private static Tensor batchNormFixed(
      Tensor x, Tensor mean, Tensor var, @Nullable Tensor w, @Nullable Tensor b, double eps) {
    Shape channels = channels(x.shape());
    Tensor factor = Num.rsqrt(var.add(eps));
    factor = Shaping.reshape(w == null ? factor : factor.mul(w), channels);
    Tensor y = x.sub(Shaping.reshape(mean, channels)).mul(factor);
    return b == null ? y : y.add(Shaping.reshape(b, channels));
  }

  /** 0, 2, 3, ..., 1: what makes [N, C, ...] [N, ..., C]. */
  private static int[] channelsLast(int rank) {
    return IntStream.range(0, rank).map(i -> i == 0 ? 0 : i == rank - 1 ? 1 : i + 1).toArray();
  }

  /** 0, rank - 1, 1, 2, ...: the inverse. */
  private static int[] channelsFirst(int rank) {
    return IntStream.range(0, rank).map(i -> i == 0 ? 0 : i == 1 ? rank - 1 : i - 1).toArray();
  }

  /** [1, C, 1, ...] for x [N, C, ...]. */
  private static Shape channels(Shape x) {
    int[] dims = new int[x.rank()];
    Arrays.fill(dims, 1);
    dims[1] = x.dim(1);
    return Shape.of(dims);
  }

  private static Tensor[] present(@Nullable Tensor... tensors) {
    return Stream.of(tensors).filter(t -> t != null).toArray(Tensor[]::new);
  }

  /** Outputs dx, dw, db (as far as computed) as gradients of inputs x, w, b (as far as there). */
  private static @Nullable Tensor[] spread(
      Backward c, boolean weight, boolean dw, boolean db, Tensor[] out) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[c.inputs()];
    gradients[0] = c.needs(0) ? out[0] : null;
    if (dw) {
      gradients[1] = out[1];
    }
    if (db) {
      gradients[weight ? 2 : 1] = out[dw ? 2 : 1];
    }
    return gradients;
  }
}
