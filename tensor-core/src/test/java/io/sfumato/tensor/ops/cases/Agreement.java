// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static org.junit.jupiter.api.Assertions.fail;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.testing.Relay;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Compares what a device computes for a case with the op's reference. */
public final class Agreement {
  private Agreement() {}

  /** The inputs laid out in a way; those that it would give wrong values stay as they are. */
  public static Tensor[] laid(OpCase c, Tensor[] in, Relay relay) {
    int[] mutated = c.op() instanceof InPlaceOp op ? op.mutated() : new int[0];
    Tensor[] y = new Tensor[in.length];
    for (int i = 0; i < in.length; i++) {
      int input = i;
      boolean stretched =
          relay == Relay.EXPANDED
              && (c.inputs().get(i).kind() == Input.Kind.DISTINCT
                  || IntStream.of(mutated).anyMatch(m -> m == input));
      y[i] = stretched ? in[i] : relay.of(in[i]);
    }
    return y;
  }

  /** What shape rules see of tensors. */
  public static List<TensorSpec> specs(Tensor[] in) {
    return Arrays.stream(in).map(Tensor::spec).toList();
  }

  /** The reference on the values the tensors hold; for an in-place op the written inputs. */
  public static Dense[] reference(Op op, Tensor[] in) {
    Dense[] x =
        Arrays.stream(in)
            .map(t -> new Dense(t.shape(), t.dtype(), t.toDoubleArray()))
            .toArray(Dense[]::new);
    Dense[] y =
        op.infer(specs(in)).stream()
            .map(s -> Dense.zeros(s.shape(), s.dtype()))
            .toArray(Dense[]::new);
    op.reference(x, y);
    return op instanceof InPlaceOp o
        ? IntStream.of(o.mutated()).mapToObj(i -> x[i]).toArray(Dense[]::new)
        : y;
  }

  /** Fails unless all outputs are within the case's tolerance; whole numbers must be equal. */
  public static void check(OpCase c, String how, Dense[] expected, Tensor[] out) {
    for (int i = 0; i < out.length; i++) {
      double tolerance =
          out[i].dtype().isFloating() ? c.tolerance() * scale(expected[i].data()) : 0;
      compare(c + ", " + how + ", output " + i, expected[i].data(), out[i], tolerance);
    }
  }

  /** The same for 16-bit types, which may be twice as wrong as rounding the result. */
  public static void checkHalf(OpCase c, DType dtype, Dense[] expected, Tensor[] out) {
    for (int i = 0; i < out.length; i++) {
      double[] exact = expected[i].data();
      double worst = 0;
      for (double v : exact) {
        double error = Math.abs(rounded(out[i].dtype(), v) - v);
        worst = Double.isFinite(error) ? Math.max(worst, error) : worst;
      }
      double tolerance = out[i].dtype().isFloating() ? 2 * worst + c.tolerance() * scale(exact) : 0;
      compare(c + ", " + dtype + ", output " + i, exact, out[i], tolerance);
    }
  }

  /** {@code tolerance} is absolute; a value of magnitude NaN or infinity must be that. */
  public static void compare(String what, double[] expected, Tensor out, double tolerance) {
    double[] got = out.toDoubleArray();
    for (int i = 0; i < got.length; i++) {
      double e = out.dtype() == DType.F64 ? expected[i] : rounded(out.dtype(), expected[i]);
      boolean same = Double.compare(e, got[i]) == 0 || e == got[i];
      if (!same && !(Math.abs(expected[i] - got[i]) <= tolerance)) {
        fail(
            what
                + ", element "
                + i
                + ": expected "
                + expected[i]
                + " ± "
                + tolerance
                + ", got "
                + got[i]);
      }
    }
  }

  /** The largest finite magnitude. */
  public static double scale(double[] values) {
    double most = 0;
    for (double v : values) {
      most = Double.isFinite(v) ? Math.max(most, Math.abs(v)) : most;
    }
    return most;
  }

  private static double rounded(DType dtype, double value) {
    return switch (dtype) {
      case F64 -> value;
      case F32 -> (float) value;
      case BF16 -> Elements.bf16ToFloat(Elements.floatToBf16((float) value));
      case F16 -> Float.float16ToFloat(Float.floatToFloat16((float) value));
      case I64 -> (long) value;
      case I32 -> (int) value;
      case U8 -> (long) value & 0xff;
      case BOOL -> value != 0 ? 1 : 0;
    };
  }
}
