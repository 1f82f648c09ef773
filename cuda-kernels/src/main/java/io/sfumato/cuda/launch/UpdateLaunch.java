// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.CopyAll;
import io.sfumato.tensor.ops.EmaStep;
import io.sfumato.tensor.ops.LionStep;
import io.sfumato.tensor.ops.RunningAverage;
import io.sfumato.tensor.ops.SgdStep;
import io.sfumato.tensor.ops.SquaredNorm;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Optimiser steps and averages over many tensors: a table of up to 70 parameters is passed with
 * each launch. What is written and does not lie dense is copied there and back.
 */
final class UpdateLaunch {
  private static final int SLOTS = 70; // as in optimizers.cu
  private static final int WORDS = 7;
  private static final int CHUNK = 8192;
  private static final int THREADS = 256;

  private UpdateLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(AdamWStep.class, new AdamW())
        .add(SgdStep.class, new Step<>("sgd_", SgdStep::count, UpdateLaunch::sgd))
        .add(LionStep.class, new Step<>("lion_", LionStep::count, UpdateLaunch::lion))
        .add(
            EmaStep.class,
            new Step<>("average_", EmaStep::count, (op, launch) -> launch.f64(1 - op.decay())))
        .add(
            RunningAverage.class,
            new Step<>("average_", op -> 1, (op, launch) -> launch.f64(op.momentum())))
        .add(CopyAll.class, new Step<>("copy_all_", CopyAll::count, (op, launch) -> launch))
        .add(SquaredNorm.class, new Norm());
  }

  /** {@link AdamWStep}: the squared norm, if there is one, is no part of the table. */
  private static final class AdamW implements Kernel<AdamWStep> {
    private static final Step<AdamWStep> CHECKS =
        new Step<>("adamw_", AdamWStep::count, (op, launch) -> launch);

    @Override
    public @Nullable String refuse(AdamWStep op, Tensor[] in, Tensor[] out) {
      return CHECKS.refuse(op, lists(op, in), out);
    }

    @Override
    public void launch(AdamWStep op, Tensor[] in, Tensor[] out) {
      Tensor norm = op.maxNorm() == null ? null : in[in.length - 1];
      String name = op.averageDecay() == null ? "adamw_" : "adamw_averaged_";
      new Step<>(name, AdamWStep::count, (AdamWStep o, Launch launch) -> adamw(o, launch, norm))
          .launch(op, lists(op, in), out);
    }

    private static Tensor[] lists(AdamWStep op, Tensor[] in) {
      return Arrays.copyOf(in, op.count() * op.lists());
    }
  }

  private static Launch adamw(AdamWStep op, Launch launch, @Nullable Tensor norm) {
    double wd = op.weightDecay();
    Double maxNorm = op.maxNorm();
    Double averageDecay = op.averageDecay();
    launch
        .f64(op.learningRate() / (1 - Math.pow(op.beta1(), op.step())))
        .f64(op.beta1())
        .f64(1 - op.beta1())
        .f64(op.beta2())
        .f64(1 - op.beta2())
        .f64(op.eps())
        .f64(op.decoupled() ? 0 : wd)
        .f64(op.decoupled() ? 1 - op.learningRate() * wd : 1)
        .f64(1 / Math.sqrt(1 - Math.pow(op.beta2(), op.step())))
        .f64(op.gradScale())
        .f64(maxNorm == null ? 0 : maxNorm)
        .pointer(norm == null ? 0 : norm.address())
        .i32(norm != null && norm.dtype() == DType.F64 ? 1 : 0);
    return averageDecay == null ? launch : launch.f64(1 - averageDecay);
  }

  private static Launch sgd(SgdStep op, Launch launch) {
    return launch
        .f64(op.learningRate())
        .f64(op.momentum())
        .f64(op.weightDecay())
        .f64(op.gradScale())
        .i32(op.nesterov() ? 1 : 0);
  }

  private static Launch lion(LionStep op, Launch launch) {
    return launch
        .f64(op.learningRate())
        .f64(op.beta1())
        .f64(1 - op.beta1())
        .f64(op.beta2())
        .f64(1 - op.beta2())
        .f64(1 - op.learningRate() * op.weightDecay())
        .f64(op.gradScale());
  }

  // ---- the table

  /** Parameters of one kernel, gathered until the table is full. */
  private static final class Table {
    private final long[] words = new long[SLOTS * WORDS];
    private int count;
    private long blocks;

    boolean isFull() {
      return count == SLOTS;
    }

    /** Adds the parameter of tensors k, k + step, …, up to five, that lie at these addresses. */
    void add(long[] addresses, Tensor[] in, int k, int step) {
      long n = in[k].numel();
      if (n == 0) {
        return;
      }
      int at = count++ * WORDS;
      long codes = 0;
      for (int i = 0; i < addresses.length; i++) {
        words[at + i] = addresses[i];
        codes |= (long) code(in[k + i * step].dtype()) << (2 * i);
      }
      words[at + 5] = n;
      words[at + 6] = blocks << 16 | codes;
      blocks += Blocks.ceil(n, CHUNK);
    }

    /** A launch over the table, with it and the count as arguments. */
    Launch launch(Gpu gpu, String kernel) {
      return gpu.kernel("optimizers", kernel).grid(blocks).block(THREADS).longs(words).i32(count);
    }

    boolean isEmpty() {
      return count == 0;
    }

    /** Empties it. */
    void clear() {
      Arrays.fill(words, 0);
      count = 0;
      blocks = 0;
    }
  }

  private static final String[] VARIANTS = {"f32", "mixed", "f64"};

  private static int code(DType dtype) {
    return switch (dtype) {
      case F32 -> 0;
      case BF16 -> 1;
      case F16 -> 2;
      case F64 -> 3;
      default -> throw new IllegalArgumentException(dtype + " is not floating");
    };
  }

  /**
   * Which of {@link #VARIANTS} computes with the tensors k, k + step, …: one for f32 alone, one
   * that converts, one for f64 alone; -1 for a mixture with f64.
   */
  private static int variant(Tensor[] in, int k, int step) {
    int plain = 0;
    int wide = 0;
    int all = 0;
    for (int i = k; i < in.length; i += step) {
      plain += in[i].dtype() == DType.F32 ? 1 : 0;
      wide += in[i].dtype() == DType.F64 ? 1 : 0;
      all++;
    }
    return plain == all ? 0 : wide == 0 ? 1 : wide == all ? 2 : -1;
  }

  // ---- steps

  /** The numbers of an op, as arguments after table and count. */
  @FunctionalInterface
  private interface Numbers<O> {
    Launch fill(O op, Launch launch);
  }

  private record Step<O extends InPlaceOp>(
      String name, ToIntFunction<O> countOf, Numbers<O> numbers) implements Kernel<O> {

    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      int count = countOf.applyAsInt(op);
      for (int k = 0; k < count; k++) {
        if (variant(in, k, count) < 0) {
          return "needs f64 in all tensors of a parameter or in none";
        }
      }
      return null;
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      int count = countOf.applyAsInt(op);
      if (count == 0) {
        return;
      }
      Gpu gpu = Gpu.of(in[0]);
      boolean[] written = new boolean[in.length];
      for (int i : op.mutated()) {
        written[i] = true;
      }
      List<Copied> copies = new ArrayList<>();
      try (Staging staging = new Staging(gpu)) {
        Table[] tables = {new Table(), new Table(), new Table()};
        long[] addresses = new long[in.length / count];
        for (int k = 0; k < count; k++) {
          int variant = variant(in, k, count);
          Table table = tables[variant];
          fill(addresses, staging, in, k, written, copies);
          table.add(addresses, in, k, count);
          if (table.isFull()) {
            numbers.fill(op, table.launch(gpu, name + VARIANTS[variant])).run();
            table.clear();
          }
        }
        for (int variant = 0; variant < VARIANTS.length; variant++) {
          if (!tables[variant].isEmpty()) {
            numbers.fill(op, tables[variant].launch(gpu, name + VARIANTS[variant])).run();
          }
        }
        for (Copied c : copies) {
          CopyLaunch.copy(gpu, c.copy, c.original.address(), c.original.layout());
        }
      } finally {
        copies.forEach(c -> c.copy.storage().release());
      }
    }

    /** Tensors of parameter k in one dense order; written ones that do not lie so are copied. */
    private static void fill(
        long[] addresses,
        Staging staging,
        Tensor[] in,
        int k,
        boolean[] written,
        List<Copied> copies) {
      int count = in.length / addresses.length;
      Layout first = in[k].layout();
      Layout order = first.isDense() ? first.like(in[k].shape()) : Layout.contiguous(in[k].shape());
      for (int i = 0; i < addresses.length; i++) {
        Tensor t = in[i * count + k];
        if (written[i * count + k] && !t.layout().sameStrides(order)) {
          Storage storage = Backends.of(t.device()).allocate(t.spec().bytes());
          Copied c = new Copied(t, Tensor.owned(storage, order, t.dtype(), null));
          copies.add(c);
          CopyLaunch.copy(Gpu.of(t), t, c.copy.address(), order);
          addresses[i] = c.copy.address();
        } else {
          addresses[i] = staging.ordered(t, order);
        }
      }
    }
  }

  /** A written tensor and the dense copy that stands for it. */
  private record Copied(Tensor original, Tensor copy) {}

  /** The squared norm of all: sums of chunks, then the sum of those in f64. */
  private static final class Norm implements Kernel<SquaredNorm> {
    @Override
    public @Nullable String refuse(SquaredNorm op, Tensor[] in, Tensor[] out) {
      return variant(in, 0, 1) < 0 ? "needs f64 in all tensors or in none" : null;
    }

    @Override
    public void launch(SquaredNorm op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      long chunks = 0;
      for (Tensor t : in) {
        chunks += Blocks.ceil(t.numel(), CHUNK);
      }
      String result = Types.suffix(out[0].dtype());
      try (Staging staging = new Staging(gpu)) {
        long partial = staging.allocate(chunks * out[0].dtype().bytes());
        long base = 0;
        String kernel = "squared_norm_" + VARIANTS[variant(in, 0, 1)];
        Table table = new Table();
        long[] address = new long[1];
        for (int k = 0; k < in.length; k++) {
          Tensor t = in[k];
          address[0] = t.layout().isDense() ? t.address() : staging.rowMajor(t);
          table.add(address, in, k, 1);
          if (table.isFull() || (k == in.length - 1 && !table.isEmpty())) {
            table.launch(gpu, kernel).pointer(partial).i64(base).run();
            base += table.blocks;
            table.clear();
          }
        }
        gpu.kernel("optimizers", "norm_total_" + result)
            .grid(1)
            .block(512)
            .pointer(partial)
            .pointer(out[0])
            .i64(chunks)
            .run();
      }
    }
  }
}
