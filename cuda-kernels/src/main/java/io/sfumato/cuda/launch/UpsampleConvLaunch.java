// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.UpsampleConv2d;
import io.sfumato.tensor.ops.UpsampleConv2dBackwardWeight;
import io.sfumato.tensor.ops.UpsampleNearest;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Doubling and convolution by the kernels of the two, the large picture between them. */
final class UpsampleConvLaunch {
  private static final ConvOptions SAME = ConvOptions.of().padding(1).resolved(2);

  private UpsampleConvLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(UpsampleConv2d.class, new Forward())
        .add(UpsampleConv2dBackwardWeight.class, new BackwardWeight());
  }

  /** Why the convolution of pictures of this shape cannot run, or null. */
  private static @Nullable String refuse(Shape large, int in, int out) {
    long pixels = (long) large.dim(0) * large.dim(2) * large.dim(3);
    if (in == 0 || out == 0) {
      return "needs channels";
    }
    return pixels * Math.max(in, out) > Integer.MAX_VALUE ? "needs fewer than 2^31 elements" : null;
  }

  /** Runs the second op on the large picture of x. */
  private static void onLarge(Tensor x, LargeBody body) {
    Scope.run(
        () -> {
          UpsampleNearest op = new UpsampleNearest(List.of(2 * x.dim(2), 2 * x.dim(3)));
          body.run(Eager.INSTANCE.execute(op, x)[0]);
        });
  }

  /** What runs on the large picture. */
  @FunctionalInterface
  private interface LargeBody {
    void run(Tensor large);
  }

  private static final class Forward implements Kernel<UpsampleConv2d> {
    @Override
    public @Nullable String refuse(UpsampleConv2d op, Tensor[] in, Tensor[] out) {
      return UpsampleConvLaunch.refuse(out[0].shape(), in[0].dim(1), out[0].dim(1));
    }

    @Override
    public void launch(UpsampleConv2d op, Tensor[] in, Tensor[] out) {
      onLarge(
          in[0],
          large -> {
            Tensor[] all = in.clone();
            all[0] = large;
            new ConvLaunch.Forward<>(Conv2d::options).launch(new Conv2d(SAME, op.bias()), all, out);
          });
    }
  }

  private static final class BackwardWeight implements Kernel<UpsampleConv2dBackwardWeight> {
    @Override
    public @Nullable String refuse(UpsampleConv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      return UpsampleConvLaunch.refuse(in[0].shape(), in[1].dim(1), in[0].dim(1));
    }

    @Override
    public void launch(UpsampleConv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      onLarge(
          in[1],
          large ->
              new ConvLaunch.BackwardWeight<>(Conv2dBackwardWeight::options)
                  .launch(
                      new Conv2dBackwardWeight(SAME, List.of(3, 3)),
                      new Tensor[] {in[0], large},
                      out));
    }
  }
}
