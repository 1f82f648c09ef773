// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Dropout;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.RandomIntegers;
import org.jspecify.annotations.Nullable;

/** Random numbers, equal to the CPU's to the bit. */
final class RandomLaunch {
  private static final String FAMILY = "random";

  private RandomLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(RandomFill.class, new Fill())
        .add(RandomIntegers.class, new Integers())
        .add(Dropout.class, new Drop());
  }

  /** Blocks of 256 threads that take {@code each} elements. */
  private static long blocks(long n, int each) {
    int block = each * Walk.THREADS;
    return (n + block - 1) / block;
  }

  /** {@link RandomFill}. */
  private static final class Fill implements Kernel<RandomFill> {
    private static final String[] NORMAL = Types.names("random_normal_");
    private static final String[] UNIFORM = Types.names("random_uniform_");

    @Override
    public void launch(RandomFill op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      if (y.numel() > 0) {
        String[] names = op.kind() == RandomFill.Kind.NORMAL ? NORMAL : UNIFORM;
        Gpu.of(y)
            .kernel(FAMILY, names[y.dtype().ordinal()])
            .grid(blocks(y.numel(), 4))
            .block(Walk.THREADS)
            .pointer(y)
            .i64(y.numel())
            .i64(op.key())
            .run();
      }
    }
  }

  /** {@link RandomIntegers}. */
  private static final class Integers implements Kernel<RandomIntegers> {
    @Override
    public void launch(RandomIntegers op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      if (y.numel() > 0) {
        Gpu.of(y)
            .kernel(FAMILY, "random_integers")
            .grid(blocks(y.numel(), 2))
            .block(Walk.THREADS)
            .pointer(y)
            .i64(y.numel())
            .i64(op.key())
            .i64(op.low())
            .i64(op.high() - op.low())
            .run();
      }
    }
  }

  /** {@link Dropout}. Masks belong to the row-major index. */
  private static final class Drop implements Kernel<Dropout> {
    private static final String[] LINEAR = Types.names("dropout_");
    private static final String[] WALKED = Types.names("dropout_walk_");

    @Override
    public @Nullable String refuse(Dropout op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(Dropout op, Tensor[] in, Tensor[] out) {
      Tensor x = in[0];
      Tensor y = out[0];
      DType dtype = y.dtype();
      // kept if the 24 bits k of the uniform number k 2^-24 are at least p 2^24
      int threshold = (int) Math.ceil(op.p() * (1 << 24));
      if (y.numel() == 0) {
        return;
      }
      if (x.layout().isContiguous() && y.layout().isContiguous()) {
        Gpu.of(y)
            .kernel(FAMILY, LINEAR[dtype.ordinal()])
            .grid(blocks(y.numel(), 4))
            .block(Walk.THREADS)
            .pointer(x)
            .pointer(y)
            .i64(y.numel())
            .i64(op.key())
            .i32(threshold)
            .f64(op.scale())
            .run();
        return;
      }
      // operand 2 counts: where it lies is the row-major index
      Walk.of(
              new long[] {y.address(), x.address(), 0},
              new int[] {dtype.bytes(), dtype.bytes(), 1},
              y.layout(),
              x.layout(),
              Layout.contiguous(y.shape()))
          .pieces(walk -> walked(op, dtype, threshold, walk, Gpu.of(y)));
    }

    private static void walked(Dropout op, DType dtype, int threshold, Walk walk, Gpu gpu) {
      gpu.kernel(FAMILY, WALKED[dtype.ordinal()])
          .grid(walk.blocks())
          .block(Walk.THREADS)
          .pointer(walk.address(1))
          .pointer(walk.address(0))
          .i64(walk.address(2))
          .i64(op.key())
          .i32(threshold)
          .f64(op.scale())
          .longs(walk.longs(1))
          .run();
    }
  }
}
