// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Full;
import io.sfumato.tensor.ops.Pad;
import io.sfumato.tensor.ops.PadBackward;
import io.sfumato.tensor.ops.Sequence;
import io.sfumato.tensor.ops.SliceScatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Padding and its adjoint, constants, sequences. */
final class ShapingLaunch {
  private static final String FAMILY = "shaping";

  private ShapingLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Pad.class, new Forward())
        .add(PadBackward.class, new Backward())
        .add(SliceScatter.class, new Scatter())
        .add(Full.class, new Constant())
        .add(Sequence.class, new Steps());
  }

  private static long blocks(long n) {
    return (n + Walk.THREADS - 1) / Walk.THREADS;
  }

  /** The bits of {@code value} rounded to a type, repeated to eight bytes. */
  private static long pattern(DType dtype, double value) {
    long bits =
        switch (dtype) {
          case F64 -> Double.doubleToRawLongBits(value);
          case F32 -> Float.floatToRawIntBits((float) value);
          case BF16 -> Elements.floatToBf16((float) value);
          case F16 -> Float.floatToFloat16((float) value);
          case I64 -> (long) value;
          case I32 -> (int) value;
          case U8 -> (byte) (long) value;
          case BOOL -> value != 0 ? 1 : 0;
        };
    return switch (dtype.bytes()) {
      case 8 -> bits;
      case 4 -> (bits & 0xffffffffL) * 0x100000001L;
      case 2 -> (bits & 0xffffL) * 0x1000100010001L;
      default -> (bits & 0xffL) * 0x101010101010101L;
    };
  }

  /** {@link Pad}. */
  private static final class Forward implements Kernel<Pad> {
    @Override
    public @Nullable String refuse(Pad op, Tensor[] in, Tensor[] out) {
      return refused(out[0]);
    }

    @Override
    public void launch(Pad op, Tensor[] in, Tensor[] out) {
      pad(op, in[0], out[0]);
    }
  }

  private static @Nullable String refused(Tensor result) {
    return result.numel() >= 1L << 31 ? "needs fewer than 2^31 elements" : Walk.refuse(result);
  }

  private static final String[] PAD = {"pad_1", "pad_2", "pad_4", "pad_8", "pad_16"};

  private static void pad(Pad op, Tensor x, Tensor y) {
    if (y.numel() == 0) {
      return;
    }
    Padding padding = new Padding(op, y, x, x);
    int bytes = y.dtype().bytes();
    int unit = padding.widen(bytes, x.address() | y.address());
    long[] v = padding.longs(pattern(y.dtype(), op.value()));
    Gpu.of(y)
        .kernel(FAMILY, PAD[Integer.numberOfTrailingZeros(unit)])
        .grid(blocks((v[0] + 3) / 4))
        .block(Walk.THREADS)
        .pointer(x)
        .pointer(y)
        .longs(v)
        .run();
  }

  /** {@link PadBackward}. */
  private static final class Backward implements Kernel<PadBackward> {
    private static final String[] NAMES = Types.names("pad_backward_");

    @Override
    public @Nullable String refuse(PadBackward op, Tensor[] in, Tensor[] out) {
      return out[0].dtype().isFloating() ? refused(out[0]) : "needs a floating type";
    }

    @Override
    public void launch(PadBackward op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      long[] v = new Padding(op.forward(), out[0], in[0], out[0]).longs(0);
      Gpu.of(out[0])
          .kernel(FAMILY, NAMES[out[0].dtype().ordinal()])
          .grid(blocks(v[0]))
          .block(Walk.THREADS)
          .pointer(in[0])
          .pointer(out[0])
          .longs(v)
          .run();
    }
  }

  /** {@link SliceScatter}: padding with zeros, or zeros and a copy if the slice has a step. */
  private static final class Scatter implements Kernel<SliceScatter> {
    @Override
    public @Nullable String refuse(SliceScatter op, Tensor[] in, Tensor[] out) {
      return refused(out[0]);
    }

    @Override
    public void launch(SliceScatter op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      int axis = y.shape().axis(op.axis());
      if (op.step() == 1) {
        List<Integer> before = new ArrayList<>(Collections.nCopies(y.rank(), 0));
        List<Integer> after = new ArrayList<>(before);
        before.set(axis, op.start());
        after.set(axis, op.size() - op.end());
        pad(new Pad(before, after, Pad.Mode.CONSTANT, 0), in[0], y);
        return;
      }
      Gpu gpu = Gpu.of(y);
      gpu.zero(y.address(), y.spec().bytes());
      Layout slice = y.layout().slice(axis, op.start(), op.end(), op.step());
      int bytes = y.dtype().bytes();
      long to = y.storage().address() + slice.offset() * bytes;
      new Copies(gpu, bytes).add(in[0].address(), in[0].layout(), to, slice).run();
    }
  }

  /** {@link Full}. */
  private static final class Constant implements Kernel<Full> {
    @Override
    public void launch(Full op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      long bytes = y.spec().bytes();
      long pattern = pattern(y.dtype(), op.value());
      if (pattern == 0) {
        Gpu.of(y).zero(y.address(), bytes);
      } else if (bytes > 0) {
        Gpu.of(y)
            .kernel(FAMILY, "fill")
            .grid(blocks((bytes + 63) / 64))
            .block(Walk.THREADS)
            .pointer(y)
            .i64(bytes)
            .i64(pattern)
            .run();
      }
    }
  }

  /** {@link Sequence}. */
  private static final class Steps implements Kernel<Sequence> {
    private static final String[] NAMES = Types.names("sequence_");

    @Override
    public void launch(Sequence op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      if (y.numel() > 0) {
        Gpu.of(y)
            .kernel(FAMILY, NAMES[y.dtype().ordinal()])
            .grid(blocks(y.numel()))
            .block(Walk.THREADS)
            .pointer(y)
            .i64(y.numel())
            .f64(op.start())
            .f64(op.step())
            .run();
      }
    }
  }
}
