// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.testing.AttentionErrors;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.Attention.Mask;
import io.sfumato.tensor.ops.AttentionBackward;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Attention by Hopper's kernels against the reference, in the emulator or on a Hopper GPU. */
class AttentionHopperTest {
  private static final Device DEVICE = new Device("cuda", 0);

  private final SplittableRandom random = new SplittableRandom(11);
  private boolean before;

  /**
   * One attention.
   *
   * @param slack elements between rows, so that strides are not those of whole tensors
   */
  record Case(
      DType dtype,
      int heads,
      int queries,
      int keys,
      int width,
      boolean causal,
      int slack,
      Mask mask) {
    Case(DType dtype, int heads, int queries, int keys, int width, boolean causal, int slack) {
      this(dtype, heads, queries, keys, width, causal, slack, Mask.NONE);
    }

    Attention op() {
      return new Attention(1 / Math.sqrt(width), causal, mask);
    }
  }

  static List<Case> cases() {
    List<Case> c = new ArrayList<>();
    for (int d : new int[] {40, 64, 72, 80, 96, 128, 160, 256}) {
      DType first = d % 16 == 0 ? DType.BF16 : DType.F16;
      DType second = first == DType.BF16 ? DType.F16 : DType.BF16;
      c.add(new Case(first, 2, 133, 301, d, false, 0)); // tails of queries and keys
      c.add(new Case(second, 1, 261, 261, d, true, 8));
    }
    c.add(new Case(DType.BF16, 2, 200, 77, 40, false, 16)); // one block of keys
    c.add(new Case(DType.BF16, 2, 200, 77, 64, false, 16));
    c.add(new Case(DType.F16, 1, 1, 1, 64, false, 0));
    c.add(new Case(DType.BF16, 1, 70, 650, 64, true, 0)); // most keys are after all queries
    c.add(new Case(DType.BF16, 1, 400, 130, 128, true, 24)); // most queries see all keys
    c.add(new Case(DType.BF16, 1, 64, 640, 128, false, 0)); // slots are used again and again
    c.add(new Case(DType.F16, 1, 192, 512, 64, true, 8));
    c.add(new Case(DType.BF16, 1, 1100, 77, 128, false, 0)); // gradients: blocks share the queries
    c.add(new Case(DType.F16, 1, 700, 150, 64, true, 8));
    int many = EmulatorControl.isEmulated() ? 9 : 300; // each block has several tiles
    c.add(new Case(DType.BF16, many, 70, 200, 64, false, 0));
    c.add(new Case(DType.BF16, many, 133, 133, 128, true, 0));
    c.add(new Case(DType.F16, many, 129, 190, 160, true, 0));
    return c;
  }

  @BeforeEach
  void on() {
    assumeTrue(Gpu.of(0).capability() == 90, "the kernels are for Hopper");
    before = Wgmma.allowed();
    Wgmma.allow(true);
  }

  @AfterEach
  void asBefore() {
    Wgmma.allow(before);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreesWithTheReferenceInEachOrderOfThreads(Case c) throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor[] in = operands(c);
      String name = "attention_hopper_" + (c.mask == Mask.NONE ? "" : "masked_");
      String suffix = "_" + c.width + "_" + Types.suffix(c.dtype);
      String kernel = AttentionTile.forward(Gpu.of(0), c.op(), in, 3).name();
      assertTrue(kernel.startsWith(name + "forward_" + c.width + "_"), kernel);
      boolean backward = c.width <= 128;
      if (backward) {
        assertEquals(
            name + "backward" + suffix, AttentionTile.backward(Gpu.of(0), c.op(), in, 3).name());
      }
      Problem p = new Problem(c, in, backward ? operand(c, c.queries) : null);
      EmulatorControl.inAllOrders(p::check);
    }
  }

  /**
   * Masks of bytes that differ from query to query, some of whose queries see nothing, and masks to
   * add that are the same for all queries or lie across.
   */
  static List<Case> masked() {
    List<Case> c = new ArrayList<>();
    for (int d : new int[] {40, 64, 72, 80, 96, 128, 160, 256}) {
      DType first = d % 16 == 0 ? DType.BF16 : DType.F16;
      DType second = first == DType.BF16 ? DType.F16 : DType.BF16;
      int keys = d % 32 == 0 ? 264 : 261; // masks are read where they lie, or copied
      c.add(new Case(first, 2, 133, keys, d, false, 0, Mask.KEEP));
      c.add(new Case(second, 2, 150, 150, d, true, 8, Mask.ADD));
    }
    c.add(new Case(DType.BF16, 2, 200, 77, 40, false, 16, Mask.KEEP)); // text: one block of keys
    c.add(new Case(DType.BF16, 3, 70, 300, 64, false, 0, Mask.ADD));
    c.add(new Case(DType.F16, 3, 200, 400, 72, false, 0, Mask.ADD));
    c.add(new Case(DType.BF16, 2, 264, 264, 96, true, 0, Mask.KEEP));
    c.add(new Case(DType.F16, 1, 700, 150, 64, true, 8, Mask.KEEP)); // blocks share the queries
    int many = EmulatorControl.isEmulated() ? 9 : 300; // each block has several tiles
    c.add(new Case(DType.BF16, many, 133, 133, 128, false, 0, Mask.ADD));
    return c;
  }

  @ParameterizedTest
  @MethodSource("masked")
  void agreesWithTheReferenceWithMasks(Case c) throws Throwable {
    agreesWithTheReferenceInEachOrderOfThreads(c);
  }

  /** The lowest number hides only where there are others: a query that has no others sees all. */
  @Test
  void masksOfTheLowestNumber() throws Throwable {
    Case c = new Case(DType.BF16, 2, 70, 264, 64, false, 0, Mask.ADD);
    try (Scope scope = Scope.open()) {
      Tensor[] in = operands(c);
      in[3] = AttentionErrors.lowest(c.dtype, DEVICE, c.queries, c.keys);
      Problem p = new Problem(c, in, operand(c, c.queries));
      EmulatorControl.inAllOrders(p::check);
    }
  }

  /** Gradients of q by the kernel of its own, which takes masks from the same launch. */
  @Test
  void gradientsWithAMaskAndWithoutAtomics() throws Throwable {
    Case c = new Case(DType.BF16, 2, 100, 300, 64, false, 0, Mask.KEEP);
    System.setProperty("sfumato.deterministic", "true");
    try (Scope scope = Scope.open()) {
      Problem p = new Problem(c, operands(c), operand(c, c.queries));
      EmulatorControl.inAllOrders(p::check);
    } finally {
      System.clearProperty("sfumato.deterministic");
    }
  }

  /** All kernels without a mask, also those that no case above gets, and those of the timings. */
  static List<AttentionTile> tiles() {
    List<AttentionTile> all = new ArrayList<>();
    for (HopperTile tile : HopperTile.PLAIN) {
      for (String type : new String[] {"bf16", "f16"}) {
        String family = "attention_hopper_forward";
        String name = tile.name(family) + "_" + type;
        all.add(AttentionTile.hopperForward(family + "_" + type, name, tile));
      }
    }
    if (EmulatorControl.isEmulated()) { // else they need machine code of the tests' kernels
      AttentionTimings.TRIALS.forEach(t -> all.add(t.kernel()));
    }
    return all;
  }

  @ParameterizedTest
  @MethodSource("tiles")
  void eachTileAgreesWithTheReference(AttentionTile tile) throws Throwable {
    DType type = tile.name().endsWith("_f16") ? DType.F16 : DType.BF16;
    Case causal = new Case(type, 5, 133, 261, tile.width(), true, 0);
    Case few = new Case(type, 5, 200, 77, tile.width(), false, 8);
    try (Scope scope = Scope.open()) {
      for (Case c : List.of(causal, few)) {
        Problem p = new Problem(c, operands(c), null);
        EmulatorControl.inAllOrders(() -> p.check(tile));
      }
    }
  }

  /** Which kernel takes which case on a device of 132 multiprocessors. */
  @Test
  void tilesFillTheDevice() {
    assertEquals("_72_128_2", tile(72, 32 * 16, 256, 256));
    assertEquals("_72_80_3", tile(72, 4 * 28, 4096, 4096));
    assertEquals("_72_80_3", tile(72, 4 * 28, 4096, 77));
    assertEquals("_64_128_3", tile(64, 16 * 32, 1024, 1024));
    assertEquals("_64_128_2", tile(64, 64 * 16, 256, 256));
    assertEquals("_128_80_3", tile(128, 64, 4096, 4096));
    assertEquals("_128_128_2", tile(128, 32 * 16, 256, 256));
    assertEquals("_256_80_2", tile(256, 64, 4096, 4096));
  }

  private static String tile(int width, int heads, int queries, int keys) {
    return HopperTile.of(false, width, heads, queries, keys, false, 132).name("");
  }

  /** Causal tiles are numbered in sections of heads: each must come once. */
  @Test
  void sectionsOfHeads() throws Throwable {
    for (int section : new int[] {1, 3, 7}) {
      Case c = new Case(DType.BF16, 7, 330, 330, 64, true, 0);
      try (Scope scope = Scope.open()) {
        Tensor[] in = operands(c);
        Problem p = new Problem(c, in, null);
        AttentionTile tile = AttentionTile.forward(Gpu.of(0), c.op(), in, 3);
        for (int grid : new int[] {1, 4, 5, 40}) {
          int[] share = tile.share(c.op(), in, grid);
          share[2] = section;
          share[3] = grid / 3;
          p.check(tile, grid, share);
        }
      }
    }
  }

  /** Where runs repeat to the bit, a kernel of its own gives the gradient of q. */
  @Test
  void gradientsWithoutAtomics() throws Throwable {
    Case c = new Case(DType.BF16, 1, 230, 300, 128, true, 0);
    System.setProperty("sfumato.deterministic", "true");
    try (Scope scope = Scope.open()) {
      Tensor[] in = {operand(c, c.queries), operand(c, c.keys), operand(c, c.keys)};
      Problem p = new Problem(c, in, operand(c, c.queries));
      EmulatorControl.inAllOrders(p::check);
    } finally {
      System.clearProperty("sfumato.deterministic");
    }
  }

  /** Scores from -80 to 80: the maximum is raised many times, and some sums are tiny at first. */
  @Test
  void scoresOfAllSizes() throws Throwable {
    Case c = new Case(DType.BF16, 1, 66, 700, 64, false, 0);
    try (Scope scope = Scope.open()) {
      double[] q = new double[c.queries * c.width];
      double[] k = new double[c.keys * c.width];
      for (int i = 0; i < c.queries; i++) {
        q[i * c.width + i % c.width] = 8;
      }
      for (int i = 0; i < k.length; i++) {
        // Blocks of keys are walked from the last: scores grow on the way.
        k[i] = Math.rint(20 * random.nextGaussian() * (1 - i / (double) k.length));
      }
      Tensor[] in = {
        Tensor.of(q, c.dtype, DEVICE, 1, 1, c.queries, c.width),
        Tensor.of(k, c.dtype, DEVICE, 1, 1, c.keys, c.width),
        operand(c, c.keys)
      };
      EmulatorControl.inAllOrders(new Problem(c, in, null)::check);
    }
  }

  @Test
  void otherSizesAndScalesStayWithTheOtherKernels() {
    try (Scope scope = Scope.open()) {
      Case c = new Case(DType.BF16, 1, 64, 64, 64, false, 0);
      Tensor[] in = {operand(c, 64), operand(c, 64), operand(c, 64), operand(c, 64)};
      Attention masked = new Attention(0.125, false, Mask.ADD);
      Attention flipped = new Attention(-0.125, false, Mask.ADD);
      Attention negative = new Attention(-0.125, false, Mask.NONE);
      for (boolean forward : new boolean[] {true, false}) {
        assertTrue(isHopper(forward, masked, in, 3));
        assertFalse(isHopper(forward, flipped, in, 3));
        assertFalse(isHopper(forward, masked, in, 1), "results that do not start at 16 bytes");
        assertFalse(isHopper(forward, negative, in, 3));
        assertFalse(isHopper(forward, c.op(), in, 2), "rows that do not start at 16 bytes");
        assertTrue(isHopper(forward, c.op(), in, 3));
        Wgmma.allow(false);
        assertFalse(isHopper(forward, c.op(), in, 3));
        Wgmma.allow(true);
      }
    }
  }

  private static boolean isHopper(boolean forward, Attention op, Tensor[] in, int aligned) {
    Gpu gpu = Gpu.of(0);
    AttentionTile tile =
        forward
            ? AttentionTile.forward(gpu, op, in, aligned)
            : AttentionTile.backward(gpu, op, in, aligned);
    return tile.hopper();
  }

  /** q, k, v and the mask. */
  private Tensor[] operands(Case c) {
    Tensor q = operand(c, c.queries);
    Tensor k = operand(c, c.keys);
    Tensor v = operand(c, c.keys);
    return switch (c.mask) {
      case NONE -> new Tensor[] {q, k, v};
      case KEEP -> new Tensor[] {q, k, v, keep(c)};
      case ADD -> new Tensor[] {q, k, v, added(c)};
    };
  }

  /** [1, 1, Lq, Lk]; query 5 sees no key, query 6 one. */
  private Tensor keep(Case c) {
    double[] values = new double[c.queries * c.keys];
    for (int i = 0; i < values.length; i++) {
      int query = i / c.keys;
      values[i] =
          query == 6 ? (i % c.keys == 3 ? 1 : 0) : query != 5 && random.nextInt(3) > 0 ? 1 : 0;
    }
    return Tensor.of(values, DType.BOOL, DEVICE, 1, 1, c.queries, c.keys);
  }

  /** [H, 1, Lk], or for causal attention [1, H, Lq, Lk] with keys in rows; some hide. */
  private Tensor added(Case c) {
    double[] values = new double[c.heads * c.keys * (c.causal ? c.queries : 1)];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextInt(8) == 0 ? Double.NEGATIVE_INFINITY : 2 * random.nextGaussian();
    }
    return c.causal
        ? Tensor.of(values, c.dtype, DEVICE, 1, c.heads, c.keys, c.queries).transpose(2, 3)
        : Tensor.of(values, c.dtype, DEVICE, c.heads, 1, c.keys);
  }

  /** [1, H, L, D], in memory [L, H, D + slack]. */
  private Tensor operand(Case c, int length) {
    double[] values = new double[length * c.heads * (c.width + c.slack)];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextGaussian();
    }
    return Tensor.of(values, c.dtype, DEVICE, 1, length, c.heads, c.width + c.slack)
        .slice(3, 0, c.width)
        .transpose(1, 2);
  }

  /** Inputs on the device, and what must come out; without a gradient of o the forward alone. */
  private static final class Problem {
    private final Case c;
    private final Tensor[] in;
    private final Tensor gradient;
    private final Dense[] out;
    private final Dense[] gradients;

    Problem(Case c, Tensor[] in, Tensor gradient) {
      this.c = c;
      this.in = in;
      this.gradient = gradient;
      int n = in.length;
      Dense[] x = new Dense[n + 3];
      for (int i = 0; i < n; i++) {
        x[i] = dense(in[i]);
      }
      out =
          c.op().infer(Arrays.stream(in).map(Tensor::spec).toList()).stream()
              .map(s -> Dense.zeros(s.shape(), s.dtype()))
              .toArray(Dense[]::new);
      c.op().reference(Arrays.copyOf(x, n), out);
      gradients =
          Arrays.stream(in)
              .limit(3)
              .map(t -> Dense.zeros(t.shape(), t.dtype()))
              .toArray(Dense[]::new);
      if (gradient != null) {
        x[n] = out[0];
        x[n + 1] = out[1];
        x[n + 2] = dense(gradient);
        new AttentionBackward(c.op()).reference(x, gradients);
      }
    }

    private static Dense dense(Tensor t) {
      return new Dense(t.shape(), t.dtype(), t.toDoubleArray());
    }

    /** The forward alone, by a tile. */
    void check(AttentionTile tile) {
      check(tile, 0, null);
    }

    /** The same by so many blocks that share the tiles in another way, unless null. */
    void check(AttentionTile tile, int grid, int[] share) {
      try (Scope scope = Scope.open()) {
        Tensor[] y =
            c.op().infer(Arrays.stream(in).map(Tensor::spec).toList()).stream()
                .map(Tensor::empty)
                .toArray(Tensor[]::new);
        AttentionLaunch.Forward.run(c.op(), in, y, tile, grid, share);
        compare("o", out[0], y[0]);
        compare("lse", out[1], y[1]);
      }
    }

    void check() {
      try (Scope scope = Scope.open()) {
        Tensor[] y = Eager.INSTANCE.execute(c.op(), in);
        compare("o", out[0], y[0]);
        compare("lse", out[1], y[1]);
        if (gradient == null) {
          return;
        }
        Tensor[] all = Arrays.copyOf(in, in.length + 3);
        all[in.length] = y[0];
        all[in.length + 1] = y[1];
        all[in.length + 2] = gradient;
        Tensor[] dx = Eager.INSTANCE.execute(new AttentionBackward(c.op()), all);
        compare("dq", gradients[0], dx[0]);
        compare("dk", gradients[1], dx[1]);
        compare("dv", gradients[2], dx[2]);
      }
    }

    private void compare(String what, Dense expected, Tensor got) {
      double[] unused = AttentionErrors.compare(what, c.dtype, expected, got);
    }
  }
}
