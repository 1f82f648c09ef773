// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.OptimizerLoops.AdamStep;
import io.sfumato.tensor.cpu.Optimizers;
import io.sfumato.tensor.cpu.Reductions;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.AddInPlace;
import io.sfumato.tensor.ops.EmaStep;
import io.sfumato.tensor.ops.LionStep;
import io.sfumato.tensor.ops.SgdStep;
import io.sfumato.tensor.ops.SquaredNorm;
import org.jspecify.annotations.Nullable;

/**
 * Updates in place in f32. What is written must lie dense; what is read is copied if it must be.
 */
public final class UpdateLaunch {
  private UpdateLaunch() {}

  /** Why the loops do not take the case, or null. */
  private static @Nullable String refuse(InPlaceOp op, Tensor[] in, int count) {
    for (Tensor t : in) {
      if (t.dtype() != DType.F32) {
        return "needs f32";
      }
    }
    for (int i : op.mutated()) {
      Layout first = in[i % count].layout();
      if (!first.isDense() || !in[i].layout().sameStrides(first)) {
        return "needs dense parameters and state of one layout";
      }
    }
    return null;
  }

  private static long read(Staging staging, Tensor t, Tensor like) {
    return staging.ordered(t, like.layout());
  }

  /** What is read: {@code count} tensors from number {@code first} on, ordered like the first. */
  private static long[] read(Staging staging, Tensor[] in, int first, int count) {
    long[] addresses = new long[count];
    for (int k = 0; k < count; k++) {
      addresses[k] = read(staging, in[first + k], in[k]);
    }
    return addresses;
  }

  private static long[] addresses(Tensor[] in, int first, int count) {
    long[] addresses = new long[count];
    for (int k = 0; k < count; k++) {
      addresses[k] = in[first + k].address();
    }
    return addresses;
  }

  private static long[] sizes(Tensor[] in, int count) {
    long[] sizes = new long[count];
    for (int k = 0; k < count; k++) {
      sizes[k] = in[k].numel();
    }
    return sizes;
  }

  /** {@link AdamWStep}. */
  public static final class AdamW implements Kernel<AdamWStep> {
    /** The kernel. */
    public AdamW() {}

    @Override
    public @Nullable String refuse(AdamWStep op, Tensor[] in, Tensor[] out) {
      int count = op.count();
      DType gradients = in[count].dtype();
      Tensor[] floats = in.clone();
      for (int k = count; k < 2 * count && gradients.isHalf(); k++) {
        if (in[k].dtype() != gradients) {
          return "needs gradients of one type";
        }
        floats[k] = in[k - count]; // widened piece by piece
      }
      return UpdateLaunch.refuse(op, floats, count);
    }

    @Override
    public void launch(AdamWStep op, Tensor[] in, Tensor[] out) {
      double scale =
          op.maxNorm() == null
              ? op.gradScale()
              : op.factor(Memory.getFloat(in[in.length - 1].address()));
      AdamStep step =
          new AdamStep(
              op.learningRate(),
              op.beta1(),
              op.beta2(),
              op.eps(),
              op.weightDecay(),
              op.decoupled(),
              1 - Math.pow(op.beta1(), op.step()),
              1 - Math.pow(op.beta2(), op.step()),
              scale);
      int count = op.count();
      long[] p = addresses(in, 0, count);
      long[] m = addresses(in, 2 * count, count);
      long[] v = addresses(in, 3 * count, count);
      long[] n = sizes(in, count);
      Double decay = op.averageDecay();
      try (Staging staging = new Staging()) {
        long[] g = read(staging, in, count, count);
        DType type = in[count].dtype();
        if (decay == null) {
          Optimizers.adam(p, g, type, m, v, n, step);
        } else {
          long[] averages = addresses(in, 4 * count, count);
          Optimizers.adamAverage(p, g, type, m, v, averages, n, step, decay.floatValue());
        }
      }
    }
  }

  /** {@link SgdStep}. */
  public static final class Sgd implements Kernel<SgdStep> {
    /** The kernel. */
    public Sgd() {}

    @Override
    public @Nullable String refuse(SgdStep op, Tensor[] in, Tensor[] out) {
      return UpdateLaunch.refuse(op, in, op.count());
    }

    @Override
    public void launch(SgdStep op, Tensor[] in, Tensor[] out) {
      var step =
          new io.sfumato.tensor.cpu.OptimizerLoops.SgdStep(
              op.learningRate(), op.momentum(), 0, op.weightDecay(), op.nesterov(), op.gradScale());
      int count = op.count();
      for (int k = 0; k < count; k++) {
        Tensor p = in[k];
        try (Staging staging = new Staging()) {
          long g = read(staging, in[count + k], p);
          if (op.momentum() == 0) {
            Optimizers.sgd(p.address(), g, p.numel(), step);
          } else {
            long v = in[2 * count + k].address();
            Optimizers.sgdMomentum(p.address(), g, v, p.numel(), step);
          }
        }
      }
    }
  }

  /** {@link LionStep}. */
  public static final class Lion implements Kernel<LionStep> {
    /** The kernel. */
    public Lion() {}

    @Override
    public @Nullable String refuse(LionStep op, Tensor[] in, Tensor[] out) {
      return UpdateLaunch.refuse(op, in, op.count());
    }

    @Override
    public void launch(LionStep op, Tensor[] in, Tensor[] out) {
      int count = op.count();
      for (int k = 0; k < count; k++) {
        Tensor p = in[k];
        try (Staging staging = new Staging()) {
          long moved = read(staging, in[count + k], p) - p.address();
          long state = in[2 * count + k].address() - p.address();
          Sweep.over(p.shape(), p)
              .forEach((at, n) -> row(op, at[0], at[0] + moved, at[0] + state, n));
        }
      }
    }

    private static void row(LionStep op, long p, long grad, long m, int n) {
      double keep = 1 - op.learningRate() * op.weightDecay();
      for (long i = 0; i < 4L * n; i += 4) {
        double g = op.gradScale() * Memory.getFloat(grad + i);
        double first = Memory.getFloat(m + i);
        double update = Math.signum(op.beta1() * first + (1 - op.beta1()) * g);
        Memory.putFloat(
            p + i, (float) (Memory.getFloat(p + i) * keep - op.learningRate() * update));
        Memory.putFloat(m + i, (float) (op.beta2() * first + (1 - op.beta2()) * g));
      }
    }
  }

  /** {@link EmaStep}. */
  public static final class Ema implements Kernel<EmaStep> {
    /** The kernel. */
    public Ema() {}

    @Override
    public @Nullable String refuse(EmaStep op, Tensor[] in, Tensor[] out) {
      return UpdateLaunch.refuse(op, in, op.count());
    }

    @Override
    public void launch(EmaStep op, Tensor[] in, Tensor[] out) {
      int count = op.count();
      try (Staging staging = new Staging()) {
        long[] x = read(staging, in, count, count);
        Optimizers.ema(addresses(in, 0, count), x, sizes(in, count), (float) op.decay());
      }
    }
  }

  /** {@link AddInPlace}. */
  public static final class Add implements Kernel<AddInPlace> {
    /** The kernel. */
    public Add() {}

    @Override
    public @Nullable String refuse(AddInPlace op, Tensor[] in, Tensor[] out) {
      return UpdateLaunch.refuse(op, in, 1);
    }

    @Override
    public void launch(AddInPlace op, Tensor[] in, Tensor[] out) {
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      float scale = (float) op.scale();
      Sweep sweep = Sweep.over(in[0].shape(), in[0], in[1]);
      if (sweep.step(1) == 4) {
        sweep.forEach((at, n) -> loops.axpby(scale, at[1], 1, at[0], at[0], n));
        return;
      }
      try (Staging staging = new Staging()) {
        long x = read(staging, in[1], in[0]) - in[0].address();
        Sweep.over(in[0].shape(), in[0])
            .forEach((at, n) -> loops.axpby(scale, at[0] + x, 1, at[0], at[0], n));
      }
    }
  }

  /** {@link SquaredNorm}. */
  public static final class Norm implements Kernel<SquaredNorm> {
    /** The kernel. */
    public Norm() {}

    @Override
    public @Nullable String refuse(SquaredNorm op, Tensor[] in, Tensor[] out) {
      return Operands.floatsOnly(in, out);
    }

    @Override
    public void launch(SquaredNorm op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        long[] x = new long[in.length];
        for (int i = 0; i < in.length; i++) {
          x[i] = in[i].layout().isDense() ? in[i].address() : staging.rowMajor(in[i]);
        }
        double total = Reductions.sumOfSquares(x, sizes(in, in.length));
        Memory.putFloat(out[0].address(), (float) total);
      }
    }
  }
}
