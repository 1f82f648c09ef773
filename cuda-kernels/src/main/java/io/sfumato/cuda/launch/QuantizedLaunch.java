// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Coding;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.DecodeBytes;
import io.sfumato.tensor.ops.Dequantize;
import io.sfumato.tensor.ops.EncodeBytes;
import io.sfumato.tensor.ops.QuantizedConv2d;
import io.sfumato.tensor.ops.QuantizedLinear;
import org.jspecify.annotations.Nullable;

/**
 * Weights and other values in few bits. Products with few rows read the codes and multiply f32
 * values. Those of 16-bit inputs with more rows round the values to the type of the input, as
 * bitsandbytes does, and use tensor cores: up to some number of rows by kernels that read the codes
 * ({@link QuantizedProducts}); all others decode the weight to memory that is free again after the
 * launch and multiply by the best means there are.
 */
final class QuantizedLaunch {
  private static final String FAMILY = "quantized";
  private static final int THREADS = 256; // as in quantized.cu
  private static final int PIECE = 8;
  private static final int ROWS = 8;
  private static final int ROWS_16 = 4; // of 16-bit inputs; with more they are read too often
  private static final String[] VALUES_4 = Types.names("dequantize_4_");
  private static final String[] VALUES_8 = Types.names("dequantize_8_");
  private static final String[] ROWS_4 = Types.names("quantized_rows_4_");
  private static final String[] ROWS_8 = Types.names("quantized_rows_8_");

  private QuantizedLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Dequantize.class, new Values())
        .add(QuantizedLinear.class, new Linear())
        .add(QuantizedConv2d.class, new Convolution())
        .add(EncodeBytes.class, new Encode())
        .add(DecodeBytes.class, new Decode());
  }

  /** Passes the weight whose parts begin at {@code in[first]}. */
  static Launch weight(Launch launch, Staging staging, Coding coding, Tensor[] in, int first) {
    long codes = staging.rowMajor(in[first]);
    long scales = staging.rowMajor(in[first + 1]);
    if (coding.scheme() == Coding.Scheme.ROWS_INT8) {
      return launch.pointer(codes).pointer(scales);
    }
    Coding.Nested nested = coding.nested();
    return launch
        .pointer(codes)
        .pointer(nested == null ? scales : 0)
        .pointer(nested == null ? 0 : scales)
        .pointer(staging.rowMajor(in[first + 2]))
        .pointer(nested == null ? 0 : staging.rowMajor(in[first + 3]))
        .pointer(nested == null ? 0 : staging.rowMajor(in[first + 4]))
        .f32(nested == null ? 0 : nested.offset())
        .i32(Integer.numberOfTrailingZeros(coding.block()))
        .i32(nested == null ? 0 : Integer.numberOfTrailingZeros(nested.block()));
  }

  private static void decode(
      Gpu gpu, Staging staging, Coding coding, Tensor[] in, int first, DType dtype, long to) {
    long n = coding.shape().numel();
    if (n == 0) {
      return;
    }
    boolean eight = coding.scheme() == Coding.Scheme.ROWS_INT8;
    String name = (eight ? VALUES_8 : VALUES_4)[dtype.ordinal()];
    Launch launch =
        gpu.kernel(FAMILY, name).grid(Blocks.ceil(n, (long) THREADS * PIECE)).block(THREADS);
    launch = weight(launch, staging, coding, in, first).pointer(to).i64(n);
    (eight ? launch.i64(coding.rowLength()) : launch).run();
  }

  /** {@link Dequantize}. */
  private static final class Values implements Kernel<Dequantize> {
    @Override
    public void launch(Dequantize op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      try (Staging staging = new Staging(gpu)) {
        decode(gpu, staging, op.coding(), in, 0, op.dtype(), out[0].address());
      }
    }
  }

  /** {@link QuantizedLinear}. */
  private static final class Linear implements Kernel<QuantizedLinear> {
    @Override
    public void launch(QuantizedLinear op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      if (y.numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(y);
      Coding coding = op.coding();
      int n = y.dim(-1);
      int k = in[0].dim(-1);
      int m = Math.toIntExact(y.numel() / n);
      try (Staging staging = new Staging(gpu)) {
        long bias = op.bias() ? staging.rowMajor(in[1 + coding.parts()]) : 0;
        if (readsCodes(op, in[0], m, k)) {
          fewRows(gpu, staging, op, in, y, bias, m);
          return;
        }
        Matrices x = MatMulLaunch.rows(staging, in[0]);
        QuantizedProducts.Call call =
            new QuantizedProducts.Call(op, y.dtype(), m, n, k, staging.rowMajor(in[1]), x);
        if (call.isGood()) {
          QuantizedProducts.run(gpu, staging, call, in, y.address(), bias, null, 0);
          return;
        }
        long w = staging.allocate(coding.shape().numel() * y.dtype().bytes());
        decode(gpu, staging, coding, in, 1, y.dtype(), w);
        Matrices weight = Matrices.rowMajor(w, coding.shape().dim(1));
        Product p =
            Product.of(
                y.dtype(),
                m,
                n,
                k,
                x,
                op.adjoint() ? weight : weight.transposed(),
                Matrices.rowMajor(y.address(), n));
        Products.run(gpu, op.bias() ? p.plusBias(bias) : p);
      }
    }

    /** Whether the kernel for few rows takes the product. */
    private static boolean readsCodes(QuantizedLinear op, Tensor x, int m, int k) {
      return !op.adjoint()
          && m <= (x.dtype().bytes() == 2 ? ROWS_16 : ROWS)
          && k > 0
          && k % PIECE == 0
          && x.dtype() != DType.F64
          && x.layout().isContiguous()
          && x.address() % 16 == 0;
    }

    private static void fewRows(
        Gpu gpu, Staging staging, QuantizedLinear op, Tensor[] in, Tensor y, long bias, int m) {
      Coding coding = op.coding();
      boolean eight = coding.scheme() == Coding.Scheme.ROWS_INT8;
      String name = (eight ? ROWS_8 : ROWS_4)[y.dtype().ordinal()];
      int n = y.dim(-1);
      Launch launch = gpu.kernel(FAMILY, name).grid(Blocks.ceil(n, THREADS / 32)).block(THREADS);
      weight(launch, staging, coding, in, 1)
          .pointer(in[0])
          .pointer(y)
          .pointer(bias)
          .i32(m)
          .i64(n)
          .i64(in[0].dim(-1))
          .run();
    }
  }

  /** {@link QuantizedConv2d}, by the convolution of the decoded weight. */
  private static final class Convolution implements Kernel<QuantizedConv2d> {
    private static final Kernel<Conv2d> PLAIN = new ConvLaunch.Forward<>(Conv2d::options);

    @Override
    public @Nullable String refuse(QuantizedConv2d op, Tensor[] in, Tensor[] out) {
      Storage nowhere = new Storage(out[0].device(), 0, 0, (address, bytes) -> {});
      String reason = PLAIN.refuse(plain(op), operands(op, in, weight(op, nowhere, out)), out);
      nowhere.release();
      return reason;
    }

    @Override
    public void launch(QuantizedConv2d op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      DType dtype = out[0].dtype();
      long bytes = op.coding().shape().numel() * dtype.bytes();
      Storage space = Backends.of(out[0].device()).allocate(bytes);
      try (Staging staging = new Staging(gpu)) {
        decode(gpu, staging, op.coding(), in, 1, dtype, space.address());
        PLAIN.launch(plain(op), operands(op, in, weight(op, space, out)), out);
      } finally {
        space.release();
      }
    }

    private static Conv2d plain(QuantizedConv2d op) {
      return new Conv2d(op.options(), op.bias());
    }

    private static Tensor weight(QuantizedConv2d op, Storage storage, Tensor[] out) {
      Layout layout = Layout.contiguous(op.coding().shape());
      return Tensor.owned(storage, layout, out[0].dtype(), null);
    }

    private static Tensor[] operands(QuantizedConv2d op, Tensor[] in, Tensor w) {
      return op.bias()
          ? new Tensor[] {in[0], w, in[1 + op.coding().parts()]}
          : new Tensor[] {in[0], w};
    }
  }

  /** {@link EncodeBytes}. */
  private static final class Encode implements Kernel<EncodeBytes> {
    @Override
    public void launch(EncodeBytes op, Tensor[] in, Tensor[] out) {
      long n = in[0].numel();
      if (n == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      try (Staging staging = new Staging(gpu)) {
        gpu.kernel(FAMILY, "encode_bytes")
            .grid(Blocks.ceil(n, op.block()))
            .block(THREADS)
            .pointer(staging.rowMajor(in[0]))
            .pointer(staging.rowMajor(in[1]))
            .pointer(out[0])
            .pointer(out[1])
            .i64(n)
            .i32(op.block())
            .run();
      }
    }
  }

  /** {@link DecodeBytes}. */
  private static final class Decode implements Kernel<DecodeBytes> {
    @Override
    public void launch(DecodeBytes op, Tensor[] in, Tensor[] out) {
      long n = in[0].numel();
      if (n == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      try (Staging staging = new Staging(gpu)) {
        gpu.kernel(FAMILY, "decode_bytes")
            .grid(Blocks.ceil(n, op.block()))
            .block(THREADS)
            .pointer(staging.rowMajor(in[0]))
            .pointer(staging.rowMajor(in[1]))
            .pointer(staging.rowMajor(in[2]))
            .pointer(out[0])
            .i64(n)
            .i32(op.block())
            .run();
      }
    }
  }
}
