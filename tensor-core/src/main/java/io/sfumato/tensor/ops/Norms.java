// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Executor;
import java.util.Arrays;
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
    Shape channels = channels(x.shape());
    Tensor mean = Shaping.reshape(runningMean, channels);
    Tensor var = Shaping.reshape(runningVar, channels);
    Tensor centred;
    if (training) {
      long n = x.numel() / Math.max(1, x.dim(1));
      mean = Num.sumTo(x, channels).mul(1.0 / n);
      centred = x.sub(mean);
      var = Num.sumTo(centred.mul(centred), channels).mul(1.0 / n);
      RunningAverage update = new RunningAverage(momentum);
      Executor.current().execute(update, runningMean, Shaping.reshape(mean, runningMean.shape()));
      Tensor unbiased = var.mul(n / Math.max(1.0, n - 1.0));
      Executor.current().execute(update, runningVar, Shaping.reshape(unbiased, runningVar.shape()));
    } else {
      centred = x.sub(mean);
    }
    Tensor factor = Num.rsqrt(var.add(eps));
    Tensor y = centred.mul(w == null ? factor : factor.mul(Shaping.reshape(w, channels)));
    return b == null ? y : y.add(Shaping.reshape(b, channels));
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
