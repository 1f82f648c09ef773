// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CodedWeight;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.QuantizedGemm;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Coding;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Dequantize;
import io.sfumato.tensor.ops.QuantizedConv2d;
import io.sfumato.tensor.ops.QuantizedLinear;
import org.jspecify.annotations.Nullable;

/** Products and convolutions with coded weights, and their values. */
public final class QuantizedLaunch {
  private static final int PIECE = 1 << 14;

  private QuantizedLaunch() {}

  /** Adds the kernels to a table. */
  public static KernelTable addTo(KernelTable table) {
    return BytesLaunch.addTo(table)
        .add(Dequantize.class, new Values())
        .add(QuantizedLinear.class, new Linear())
        .add(QuantizedConv2d.class, new Convolution());
  }

  private static @Nullable String refuse(
      Coding coding, int bias, Tensor[] in, Tensor[] out, int first) {
    if (out[0].dtype() != DType.F32 || (first > 0 && in[0].dtype() != DType.F32)) {
      return "needs f32";
    }
    if (bias > 0 && in[bias].dtype() != DType.F32) {
      return "needs f32";
    }
    for (Tensor t : in) {
      if (t.numel() == 0) {
        return "needs elements";
      }
    }
    return out[0].numel() == 0 ? "needs elements" : CodedWeight.refuse(coding, in, first);
  }

  private static void decode(CodedWeight w, long n, long to) {
    int pieces = Math.toIntExact((n + PIECE - 1) / PIECE);
    Parallel.forRange(
        pieces,
        1,
        (begin, end, worker) -> {
          for (long p = begin; p < end; p++) {
            w.decode(p * PIECE, (int) Math.min(PIECE, n - p * PIECE), to + 4 * p * PIECE);
          }
        });
  }

  /** {@link Dequantize}. */
  private static final class Values implements Kernel<Dequantize> {
    @Override
    public @Nullable String refuse(Dequantize op, Tensor[] in, Tensor[] out) {
      return QuantizedLaunch.refuse(op.coding(), 0, in, out, 0);
    }

    @Override
    public void launch(Dequantize op, Tensor[] in, Tensor[] out) {
      decode(CodedWeight.of(op.coding(), in, 0), out[0].numel(), out[0].address());
    }
  }

  /** {@link QuantizedLinear}. */
  private static final class Linear implements Kernel<QuantizedLinear> {
    @Override
    public @Nullable String refuse(QuantizedLinear op, Tensor[] in, Tensor[] out) {
      int bias = op.bias() ? 1 + op.coding().parts() : 0;
      return QuantizedLaunch.refuse(op.coding(), bias, in, out, 1);
    }

    @Override
    public void launch(QuantizedLinear op, Tensor[] in, Tensor[] out) {
      Tensor x = in[0];
      int k = x.dim(-1);
      int n = out[0].dim(-1);
      int m = Math.toIntExact(x.numel() / k);
      Layout rows = x.layout().reshape(Shape.of(m, k));
      try (Staging staging = new Staging()) {
        Matrix a =
            rows == null
                ? Matrix.rowMajor(staging.rowMajor(x), k)
                : new Matrix(x.address(), rows.stride(0), rows.stride(1), 0);
        long bias = op.bias() ? staging.rowMajor(in[1 + op.coding().parts()]) : 0;
        CodedWeight w = CodedWeight.of(op.coding(), in, 1);
        Matrix y = Matrix.rowMajor(out[0].address(), n);
        QuantizedGemm.multiply(m, n, k, a, w, op.adjoint(), y, bias);
      }
    }
  }

  /** {@link QuantizedConv2d}, on a weight that is decoded for the time of the launch. */
  private static final class Convolution implements Kernel<QuantizedConv2d> {
    private final Kernel<Conv2d> plain = new Conv2dLaunch.Forward();

    @Override
    public @Nullable String refuse(QuantizedConv2d op, Tensor[] in, Tensor[] out) {
      int bias = op.bias() ? 1 + op.coding().parts() : 0;
      return QuantizedLaunch.refuse(op.coding(), bias, in, out, 1);
    }

    @Override
    public void launch(QuantizedConv2d op, Tensor[] in, Tensor[] out) {
      Shape shape = op.coding().shape();
      Storage space = CpuBackend.instance().allocate(4 * shape.numel());
      try {
        decode(CodedWeight.of(op.coding(), in, 1), shape.numel(), space.address());
        Tensor w = Tensor.owned(space, Layout.contiguous(shape), DType.F32, null);
        Conv2d conv = new Conv2d(op.options(), op.bias());
        plain.launch(
            conv,
            op.bias()
                ? new Tensor[] {in[0], w, in[1 + op.coding().parts()]}
                : new Tensor[] {in[0], w},
            out);
      } finally {
        space.release();
      }
    }
  }
}
