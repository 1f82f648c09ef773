// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.launch.CudaKernels;
import io.sfumato.cuda.launch.Wgmma;
import io.sfumato.cuda.testing.AttentionErrors;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.Attention.Mask;
import io.sfumato.tensor.ops.AttentionBackward;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Attention by the kernels for all devices, at sizes that meet each, with tails of tiles, slices,
 * masks and widths.
 */
class AttentionKernelsTest {
  private static final Device GPU = new Device("cuda", 0);

  /** Normal numbers: each problem takes them from the first on, and drawing takes time. */
  private static final Random RANDOM = new Random(7);

  private static double[] normal = {};

  /** What must come out of the cases that were met: the reference takes as long as a kernel. */
  private static final Map<Case, Expected> EXPECTED = new HashMap<>();

  private final boolean before = Wgmma.allowed();

  @BeforeEach
  void onAnyDevice() {
    Wgmma.allow(false);
  }

  @AfterEach
  void asBefore() {
    Wgmma.allow(before);
  }

  /** How q, k, v lie in memory. */
  enum Lie {
    /** [B, H, L, D]. */
    ROW_MAJOR,
    /** Slices of [B, L, 3, H, D], as a fused projection gives them. */
    FUSED,
    /** [B, H, D, L]: needs a copy. */
    ACROSS
  }

  private record Expected(Dense[] out, Dense[] gradients) {}

  /** One attention. */
  record Case(
      DType dtype,
      int batch,
      int heads,
      int queries,
      int keys,
      int width,
      int values,
      boolean causal,
      Mask mask,
      Lie lie,
      double scale) {
    Attention op() {
      return new Attention(scale, causal, mask);
    }
  }

  static List<Case> exactSizes() {
    List<Case> c = new ArrayList<>();
    for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
      for (int d : new int[] {32, 40, 64, 72, 80, 96, 128, 160, 256}) {
        c.add(plain(dtype, 4, 133, 197, d, false, Lie.FUSED));
        c.add(plain(dtype, 3, 261, 261, d, true, Lie.ROW_MAJOR));
        c.add(plain(dtype, 1, 133, 149, d, d % 16 == 0, Lie.FUSED)); // few blocks: small tiles
      }
    }
    c.add(plain(DType.BF16, 4, 300, 77, 40, false, Lie.FUSED));
    c.add(plain(DType.BF16, 4, 70, 300, 128, true, Lie.FUSED));
    c.add(plain(DType.BF16, 4, 200, 70, 72, true, Lie.FUSED));
    c.add(plain(DType.BF16, 4, 600, 520, 64, true, Lie.FUSED));
    c.add(plain(DType.BF16, 1, 1100, 77, 40, false, Lie.FUSED)); // blocks share the queries
    c.add(plain(DType.F16, 1, 1100, 130, 64, true, Lie.ROW_MAJOR));
    c.add(plain(DType.BF16, 1, 600, 70, 256, false, Lie.FUSED));
    return c;
  }

  static List<Case> otherSizes() {
    List<Case> c = new ArrayList<>();
    int[][] widths = {{1, 1}, {13, 17}, {40, 40}, {64, 50}, {65, 128}, {200, 160}};
    int i = 0;
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
      for (int[] w : widths) {
        for (Mask mask : Mask.values()) {
          i++;
          double scale = (i % 5 == 0 ? -1.2 : 0.7) / Math.sqrt(w[0]);
          Lie lie = Lie.values()[i % 3];
          boolean causal = i / 3 % 2 == 0;
          c.add(new Case(dtype, 2, 2, 67, 85, w[0], w[1], causal, mask, lie, scale));
        }
      }
    }
    return c;
  }

  static List<Case> singleSizes() {
    List<Case> c = new ArrayList<>();
    for (int d : new int[] {4, 32, 40, 64, 72, 80, 128, 160, 256}) {
      c.add(plain(DType.F32, 2, 70, 133, d, false, Lie.FUSED));
      c.add(plain(DType.F32, 1, 130, 130, d, true, Lie.ROW_MAJOR));
    }
    c.add(plain(DType.F32, 1, 1100, 60, 64, false, Lie.FUSED)); // blocks share the queries
    c.add(plain(DType.F32, 4, 133, 70, 64, true, Lie.FUSED)); // many blocks: large tiles
    c.add(plain(DType.F32, 1, 64, 1024, 64, false, Lie.FUSED)); // long sums
    c.add(plain(DType.F32, 1, 1024, 64, 64, false, Lie.FUSED));
    return c;
  }

  private static Case plain(
      DType dtype, int heads, int queries, int keys, int d, boolean causal, Lie lie) {
    double scale = 1 / Math.sqrt(d);
    return new Case(dtype, 1, heads, queries, keys, d, d, causal, Mask.NONE, lie, scale);
  }

  @ParameterizedTest
  @MethodSource({"exactSizes", "otherSizes", "singleSizes"})
  void agreesWithTheReferenceInEachOrderOfThreads(Case c) throws Throwable {
    try (Scope scope = Scope.open()) {
      Problem p = new Problem(c);
      EmulatorControl.inAllOrders(p::check);
    }
  }

  /** The lowest number hides only where there are others: a query that has no others sees all. */
  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16", "F16"})
  void masksOfTheLowestNumber(DType dtype) throws Throwable {
    Case c = new Case(dtype, 1, 2, 67, 85, 64, 64, false, Mask.ADD, Lie.FUSED, 0.125);
    for (String deterministic : new String[] {"false", "true"}) {
      System.setProperty("sfumato.deterministic", deterministic);
      try (Scope scope = Scope.open()) {
        Problem p = new Problem(c, AttentionErrors.lowest(dtype, GPU, c.queries, c.keys));
        EmulatorControl.inAllOrders(p::check);
      } finally {
        System.clearProperty("sfumato.deterministic");
      }
    }
  }

  @ParameterizedTest
  @MethodSource({"otherSizes", "singleSizes"})
  void gradientsRepeatToTheBitOnDemand(Case c) throws Throwable {
    String before = System.getProperty("sfumato.deterministic");
    System.setProperty("sfumato.deterministic", "true");
    try (Scope scope = Scope.open()) {
      Problem p = new Problem(c);
      double[][] once = p.check();
      EmulatorControl.setOrder(-1);
      double[][] again = p.check();
      for (int i = 0; i < once.length; i++) {
        assertArrayEquals(once[i], again[i]);
      }
    } finally {
      EmulatorControl.setOrder(1);
      if (before == null) {
        System.clearProperty("sfumato.deterministic");
      } else {
        System.setProperty("sfumato.deterministic", before);
      }
    }
  }

  static List<Case> wideHeads() {
    List<Case> c = new ArrayList<>();
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16, DType.F64}) {
      c.add(plain(dtype, 1, 37, 37, 512, false, Lie.FUSED));
      for (Mask mask : Mask.values()) {
        c.add(new Case(dtype, 2, 2, 9, 7, 264, 260, mask == Mask.KEEP, mask, Lie.ACROSS, 0.05));
      }
    }
    return c;
  }

  @ParameterizedTest
  @MethodSource("wideHeads")
  void headsThatNoFusedKernelTakes(Case c) throws Throwable {
    try (Scope scope = Scope.open()) {
      Problem p = new Problem(c);
      p.check();
      System.setProperty("sfumato.cuda.attention.bytes", "2000"); // a few queries at a time
      p.check();
      System.setProperty("sfumato.cuda.attention.bytes", "1"); // one
      p.check();
    } finally {
      System.clearProperty("sfumato.cuda.attention.bytes");
    }
  }

  @Test
  void saysWhatItDoesNotTake() {
    try (Scope scope = Scope.open()) {
      Tensor[] none = {empty(0), empty(0), empty(0)};
      Tensor[] out = op(8).infer(specs(none)).stream().map(Tensor::empty).toArray(Tensor[]::new);
      assertNull(CudaKernels.table().find(op(8), none, out));
      assertTrue(CudaKernels.table().explain(op(8), none, out).contains("needs elements"));
    }
  }

  private static double[] normal(int from, int to) {
    if (to > normal.length) {
      int before = normal.length;
      normal = Arrays.copyOf(normal, 2 * to);
      for (int i = before; i < normal.length; i++) {
        double unused = RANDOM.nextDouble(); // one in two, as of a stream of doubles
        normal[i] = RANDOM.nextGaussian();
      }
    }
    return Arrays.copyOfRange(normal, from, to);
  }

  private static Tensor empty(int keys) {
    return Tensor.of(new double[0], DType.F32, GPU, 1, 1, keys, 8);
  }

  // ---- helpers

  private static Op op(int width) {
    return new Attention(1 / Math.sqrt(width), false, Mask.NONE);
  }

  private static List<TensorSpec> specs(Tensor[] in) {
    return Arrays.stream(in).map(Tensor::spec).toList();
  }

  /** Inputs on the device, and what must come out. */
  private static final class Problem {
    private final Case c;
    private int drawn;
    private final Tensor[] in;
    private final Tensor gradient;
    private final Expected expected;

    Problem(Case c) {
      this(c, null);
    }

    Problem(Case c, Tensor mask) {
      this.c = c;
      in = new Tensor[c.mask == Mask.NONE ? 3 : 4];
      in[0] = operand(c.queries, c.width);
      in[1] = operand(c.keys, c.width);
      in[2] = operand(c.keys, c.values);
      if (c.mask == Mask.KEEP) {
        in[3] = mask(DType.BOOL, c.batch, 1, c.queries, c.keys);
      } else if (c.mask == Mask.ADD) {
        in[3] = mask(c.dtype, c.heads, 1, c.keys);
      }
      if (mask != null) {
        in[3] = mask;
      }
      gradient = operand(c.queries, c.values);
      expected = mask != null ? reference() : EXPECTED.computeIfAbsent(c, k -> reference());
    }

    private Expected reference() {
      Dense[] x = new Dense[in.length + 3];
      for (int i = 0; i < in.length; i++) {
        x[i] = dense(in[i]);
      }
      Dense[] out = results(c.op(), specs(in));
      c.op().reference(Arrays.copyOf(x, in.length), out);
      x[in.length] = out[0];
      x[in.length + 1] = out[1];
      x[in.length + 2] = dense(gradient);
      Dense[] gradients = results(c.op(), List.of(in[0].spec(), in[1].spec(), in[2].spec()), 3);
      new AttentionBackward(c.op()).reference(x, gradients);
      return new Expected(out, gradients);
    }

    private static Dense[] results(Attention op, List<TensorSpec> in) {
      return results(op, op.infer(in), 2);
    }

    private static Dense[] results(Attention op, List<TensorSpec> specs, int n) {
      return specs.stream()
          .limit(n)
          .map(s -> Dense.zeros(s.shape(), s.dtype()))
          .toArray(Dense[]::new);
    }

    private static Dense dense(Tensor t) {
      return new Dense(t.shape(), t.dtype(), t.toDoubleArray());
    }

    private double[] normal(int n) {
      drawn += n;
      return AttentionKernelsTest.normal(drawn - n, drawn);
    }

    private Tensor operand(int length, int width) {
      int n = c.batch * length * c.heads * width;
      return switch (c.lie) {
        case ROW_MAJOR -> Tensor.of(normal(n), c.dtype, GPU, c.batch, c.heads, length, width);
        case FUSED ->
            Tensor.of(normal(3 * n), c.dtype, GPU, c.batch, length, 3, c.heads, width)
                .select(2, 1)
                .transpose(1, 2);
        case ACROSS ->
            Tensor.of(normal(n), c.dtype, GPU, c.batch, c.heads, width, length).transpose(2, 3);
      };
    }

    /** Hides all keys from the first query, and one in three. */
    private Tensor mask(DType dtype, int... shape) {
      int n = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      double[] values = normal(n);
      if (dtype == DType.BOOL) {
        for (int i = 0; i < n; i++) {
          values[i] = i < c.keys || values[i] < -0.43 ? 0 : 1;
        }
      }
      return Tensor.of(values, dtype, GPU, shape);
    }

    double[][] check() {
      try (Scope scope = Scope.open()) {
        Tensor[] y = run(c.op(), in);
        Tensor[] x = Arrays.copyOf(in, in.length + 3);
        x[in.length] = y[0];
        x[in.length + 1] = y[1];
        x[in.length + 2] = gradient;
        Tensor[] dx = run(new AttentionBackward(c.op()), x);
        return new double[][] {
          compare("o", expected.out[0], y[0]),
          compare("lse", expected.out[1], y[1]),
          compare("dq", expected.gradients[0], dx[0]),
          compare("dk", expected.gradients[1], dx[1]),
          compare("dv", expected.gradients[2], dx[2])
        };
      }
    }

    private static Tensor[] run(Op op, Tensor[] in) {
      Tensor[] y = Eager.INSTANCE.execute(op, in);
      assertNotNull(CudaKernels.table().find(op, in, y), () -> "no kernel takes " + op);
      return y;
    }

    private double[] compare(String what, Dense expected, Tensor got) {
      return AttentionErrors.compare(what, c.dtype, expected, got);
    }
  }
}
