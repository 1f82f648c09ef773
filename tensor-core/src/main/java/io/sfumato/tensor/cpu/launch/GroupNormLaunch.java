// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.GroupNormKernel;
import io.sfumato.tensor.cpu.GroupNormKernel.Problem;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import org.jspecify.annotations.Nullable;

/**
 * Group normalisation by {@link GroupNormKernel}, channels-last or row-major as the result lies.
 */
public final class GroupNormLaunch {
  private GroupNormLaunch() {}

  /** The normalisation. */
  public static final class Forward implements Kernel<GroupNorm> {
    @Override
    public @Nullable String refuse(GroupNorm op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GroupNorm op, Tensor[] in, Tensor[] out) {
      Problem problem = problem(op, in[0].shape());
      boolean first = out[0].layout().isContiguous();
      try (Staging staging = new Staging()) {
        long x = first ? staging.rowMajor(in[0]) : staging.channelsLast(in[0]);
        long y = out[0].address();
        long w = op.weight() ? staging.rowMajor(in[1]) : 0;
        long b = op.bias() ? staging.rowMajor(in[op.weight() ? 2 : 1]) : 0;
        long mean = out[1].address();
        long rstd = out[2].address();
        if (first) {
          GroupNormKernel.forwardChannelsFirst(x, y, w, b, mean, rstd, problem, op.eps());
        } else {
          GroupNormKernel.forwardChannelsLast(x, y, w, b, mean, rstd, problem, op.eps());
        }
      }
    }
  }

  /** The gradients. */
  public static final class Backward implements Kernel<GroupNormBackward> {
    @Override
    public @Nullable String refuse(GroupNormBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GroupNormBackward op, Tensor[] in, Tensor[] out) {
      GroupNorm forward = op.forward();
      Problem problem = problem(forward, in[1].shape());
      boolean first = out[0].layout().isContiguous();
      try (Staging staging = new Staging()) {
        long dy = first ? staging.rowMajor(in[0]) : staging.channelsLast(in[0]);
        long x = first ? staging.rowMajor(in[1]) : staging.channelsLast(in[1]);
        long mean = staging.rowMajor(in[2]);
        long rstd = staging.rowMajor(in[3]);
        long w = forward.weight() ? staging.rowMajor(in[4]) : 0;
        long b = forward.bias() ? staging.rowMajor(in[forward.weight() ? 5 : 4]) : 0;
        long dx = out[0].address();
        long dw = op.dw() ? out[1].address() : 0;
        long db = op.db() ? out[op.dw() ? 2 : 1].address() : 0;
        if (first) {
          GroupNormKernel.backwardChannelsFirst(x, dy, w, b, mean, rstd, dx, dw, db, problem);
        } else {
          GroupNormKernel.backwardChannelsLast(x, dy, w, b, mean, rstd, dx, dw, db, problem);
        }
      }
    }
  }

  private static Problem problem(GroupNorm op, Shape x) {
    int spatial = Math.toIntExact(x.numel() / ((long) x.dim(0) * x.dim(1)));
    return new Problem(x.dim(0), x.dim(1), spatial, op.groups(), op.silu());
  }
}
