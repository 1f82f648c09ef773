// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.Convolutions.From;
import io.sfumato.cuda.launch.Convolutions.Way;
import io.sfumato.cuda.library.Cudnn;
import io.sfumato.cuda.library.CudnnConvolution;
import io.sfumato.cuda.library.CudnnConvolution.Kind;
import io.sfumato.cuda.library.DiskCacheTest;
import io.sfumato.cuda.library.LibrarySearch;
import io.sfumato.cuda.library.NativesCache;
import io.sfumato.cuda.testing.EmulatorBuild;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Shaping;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What cuDNN is asked for, and which of its engines are taken. On a machine without a GPU it is a
 * library made for the test, which checks what it is told and computes on the host; its engines are
 * described in {@code fake_cudnn.cpp}.
 */
class CudnnPlansTest {
  private static final Device DEVICE = new Device("cuda", 0);
  private static final ConvOptions SAME = ConvOptions.of().padding(1);

  @TempDir static Path folder;

  private static Cudnn cudnn;
  private static MethodHandle alive;

  @BeforeAll
  static void build() throws Exception {
    assumeTrue(EmulatorControl.isEmulated(), "on a GPU the real library serves all tests");
    Path source = EmulatorBuild.moduleFolder().resolve("src/test/emulator/fake_cudnn.cpp");
    Path library = folder.resolve("libcudnn.so.9");
    Path map = Files.writeString(folder.resolve("map"), "libcudnn.so.9 { global: *; };\n");
    Process p =
        new ProcessBuilder(
                "g++",
                "-O1",
                "-std=c++20",
                "-shared",
                "-fPIC",
                "-Wl,-soname,libcudnn.so.9",
                "-Wl,--version-script=" + map,
                source + "",
                "-o",
                library + "")
            .inheritIO()
            .start();
    assertEquals(0, p.waitFor(), "g++");
    System.setProperty(LibrarySearch.PROPERTY, folder + "");
    System.setProperty(NativesCache.PROPERTY, folder.resolve("cache") + "");
    cudnn = Cudnn.open(LibrarySearch.ofThisMachine(), true, Gpu.of(0));
    alive =
        Linker.nativeLinker()
            .downcallHandle(
                SymbolLookup.libraryLookup(library, Arena.global())
                    .find("fake_cudnn_alive")
                    .orElseThrow(),
                FunctionDescriptor.of(ValueLayout.JAVA_INT));
  }

  @AfterAll
  static void restore() {
    System.clearProperty(LibrarySearch.PROPERTY);
    System.clearProperty(NativesCache.PROPERTY);
  }

  private static int alive() {
    try {
      return (int) alive.invokeExact();
    } catch (Throwable t) {
      throw new IllegalStateException(t);
    }
  }

  @Test
  void strictFloatsTakeEnginesThatDoNotRound() {
    List<String> expected = List.of("cuDNN 5, engine 2, bias after it", "own kernels");
    assertEquals(expected, ways(DType.F32, false, SAME, true));
    assertEquals(List.of("cuDNN 5, engine 2", "own kernels"), ways(DType.F32, false, SAME, false));
  }

  @Test
  void enginesThatRoundComeWhereTheyMay() {
    assertEquals(
        List.of("cuDNN 2, engine 0", "cuDNN 5, engine 2", "own kernels"),
        ways(DType.F32, true, SAME, false));
    assertEquals(
        List.of(
            "cuDNN 2, engine 0, bias after it",
            "cuDNN 5, engine 2, bias after it",
            "cuDNN 2, engine 0, bias in the kernel",
            "cuDNN 5, engine 2, bias in the kernel",
            "own kernels"),
        ways(DType.BF16, false, SAME.stride(2, 1).dilation(1, 2), true));
  }

  @Test
  void whatVariesComesOnlyIfThereIsNothingElse() {
    assertEquals(
        List.of("cuDNN 1, engine 1", "own kernels"), ways(DType.F16, false, SAME.groups(2), false));
  }

  @Test
  void theFallbackIsAskedIfNothingElseServes() {
    assertEquals(
        List.of("cuDNN 2, engine 5", "own kernels"), ways(DType.F32, false, SAME.stride(3), false));
  }

  @Test
  void theChosenWayServesFromThenOn() {
    try (Scope scope = Scope.open()) {
      int before = alive();
      Case k = new Case(DType.BF16, SAME.resolved(2));
      Convolutions all = Convolutions.of(Gpu.of(0), cudnn);
      try (ConvWeights weights = new ConvWeights(Gpu.of(0), k.c, k.w)) {
        all.forward(k.c, k.x.address(), weights, k.b.address(), k.y.address());
        int kept = alive() - before;
        double[] first = k.y.toDoubleArray();
        all.forward(k.c, k.x.address(), weights, k.b.address(), k.y.address());
        assertEquals(kept, alive() - before, "nothing is made anew but what is freed");
        assertTrue(kept <= 12, "the others are freed: " + kept + " are kept");
        double[] second = k.y.toDoubleArray();
        for (int i = 0; i < first.length; i++) {
          assertEquals(first[i], second[i], 0);
        }
      }
    }
  }

  @Test
  void aLaterProcessTakesWhatWasChosen(@TempDir Path choices) throws Exception {
    try (Scope scope = Scope.open()) {
      Case k = new Case(DType.BF16, SAME.resolved(2));
      Convolutions.Key key =
          new Convolutions.Key(Kind.FORWARD, k.c, true, ConvPrecision.tf32(), true);
      ConvChoices first = choices(choices);
      assertNull(first.known(key));
      forward(k, first);
      String chosen = first.known(key);
      assertTrue(chosen != null && chosen.matches("cuDNN .*|own kernels.*"), chosen);
      int before = alive();
      first.keep(key, "own kernels");
      forward(k, choices(choices));
      assertEquals(before, alive(), "no plan of cuDNN is made");
      first.keep(key, "cuDNN 5, engine 2, bias after it");
      forward(k, choices(choices));
      assertTrue(alive() > before, "the plan that was chosen serves");
      assertEquals("cuDNN 5, engine 2, bias after it", first.known(key));
      first.keep(key, "cuDNN 9, engine 77"); // of a version that had it
      forward(k, choices(choices));
      assertTrue(first.known(key).matches("cuDNN [25], engine.*|own kernels.*"), first.known(key));
      Convolutions.Key other = new Convolutions.Key(Kind.INPUT, k.c, true, false, true);
      assertNull(first.known(other));
      Gpu gpu = Gpu.of(0);
      assertNull(
          new ConvChoices(gpu, null, DiskCacheTest.cache(choices)).known(key), "without cuDNN");
    }
  }

  private static ConvChoices choices(Path folder) {
    return new ConvChoices(Gpu.of(0), cudnn, DiskCacheTest.cache(folder));
  }

  private static void forward(Case k, ConvChoices choices) {
    Convolutions all = Convolutions.of(Gpu.of(0), cudnn, choices);
    Convolutions own = Convolutions.of(Gpu.of(0), null);
    try (ConvWeights weights = new ConvWeights(Gpu.of(0), k.c, k.w)) {
      own.forward(k.c, k.x.address(), weights, k.b.address(), k.y.address());
      double[] expected = k.y.toDoubleArray();
      all.forward(k.c, k.x.address(), weights, k.b.address(), k.y.address());
      double[] got = k.y.toDoubleArray();
      for (int i = 0; i < got.length; i++) {
        assertEquals(expected[i], got[i], 0x1p-6 * Math.max(1, Math.abs(expected[i])), "at " + i);
      }
    }
  }

  /** A convolution of 2 x 8 x 7 x 6 with 3 x 3 taps to 12 channels. */
  private static final class Case {
    private final Tensor x;
    private final Tensor w;
    private final Tensor b;
    private final Tensor y;
    private final Convolution c;

    Case(DType dtype, ConvOptions o) {
      Random random = new Random(1);
      TensorSpec spec = new TensorSpec(Shape.of(2, 8, 7, 6), dtype, DEVICE);
      Shape kernel = Shape.of(12, 8 / o.groups(), 3, 3);
      Shape result =
          new Conv2d(o, false).infer(List.of(spec, spec.with(kernel))).getFirst().shape();
      x = tensor(random, dtype, Layout.channelsLast(spec.shape()));
      w = tensor(random, dtype, Layout.contiguous(kernel));
      b = tensor(random, dtype, Layout.contiguous(Shape.of(12)));
      y = tensor(random, dtype, Layout.channelsLast(result));
      c = Convolution.of(o, x, w, y);
    }
  }

  /**
   * The names of the ways to compute each product, without further tiles of the own kernels. They
   * are the same for all three products but for the bias; each agrees with the kernels of this
   * library.
   */
  private static List<String> ways(DType dtype, boolean tf32, ConvOptions options, boolean bias) {
    int before = alive();
    List<String> names = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Case k = new Case(dtype, options.resolved(2));
      try (ConvWeights weights = new ConvWeights(Gpu.of(0), k.c, k.w)) {
        From forward = new From(k.x.address(), weights, 0, bias ? k.b.address() : 0);
        names.addAll(compare(Kind.FORWARD, k, forward, k.y, tf32));
        List<String> back =
            compare(Kind.INPUT, k, new From(k.y.address(), weights, 0, 0), k.x, tf32);
        From both = new From(k.y.address(), null, k.x.address(), 0);
        assertEquals(back, compare(Kind.WEIGHT, k, both, k.w, tf32));
        if (!bias) {
          assertEquals(back, names);
        }
      }
    }
    assertEquals(before, alive(), "all is freed");
    return names;
  }

  private static List<String> compare(Kind kind, Case k, From from, Tensor like, boolean tf32) {
    Gpu gpu = Gpu.of(0);
    Tensor out = tensor(new Random(2), like.dtype(), like.layout());
    Map<String, Way> ways =
        Convolutions.of(gpu, cudnn).candidates(kind, k.c, from.bias() != 0, tf32);
    Convolutions.of(gpu, null)
        .candidates(kind, k.c, from.bias() != 0, false)
        .get("own kernels")
        .run(from, out.address());
    double[] right = out.toDoubleArray();
    double most = Arrays.stream(right).map(Math::abs).max().orElseThrow();
    // one rounding each, and one before the bias
    double rounding = like.dtype() == DType.BF16 ? 0x1p-8 : like.dtype() == DType.F16 ? 0x1p-11 : 0;
    double tolerance = ((from.bias() != 0 ? 3.03 : 2.02) * rounding + (tf32 ? 2e-3 : 1e-5)) * most;
    ways.forEach(
        (name, way) -> {
          gpu.zero(out.address(), out.spec().bytes());
          way.run(from, out.address());
          double[] got = out.toDoubleArray();
          for (int i = 0; i < right.length; i++) {
            assertEquals(right[i], got[i], tolerance, kind + " by " + name + ", element " + i);
          }
          way.close();
        });
    return ways.keySet().stream().filter(name -> !name.startsWith("own kernels,")).toList();
  }

  @Test
  void aRefusalTellsWhy() {
    try (Scope scope = Scope.open()) {
      Case k = new Case(DType.F32, SAME.resolved(2));
      int[] image = {2, 8, 7, 6};
      int[] wrong = {12, 8, 5, 5};
      int before = alive();
      DeviceException e =
          assertThrows(
              DeviceException.class,
              () ->
                  CudnnConvolution.prepare(
                      cudnn,
                      Kind.FORWARD,
                      new CudnnConvolution.Sizes(
                          k.x.dtype(),
                          image,
                          wrong,
                          new int[] {2, 12, 7, 6},
                          new int[] {1, 1},
                          new int[] {1, 1},
                          new int[] {1, 1}),
                      false,
                      false,
                      3));
      assertTrue(e.getMessage().contains("status 2000, sizes do not fit"), e.getMessage());
      assertEquals(before, alive(), "all is freed");
    }
  }

  /** Random numbers on the device. */
  private static Tensor tensor(Random random, DType dtype, Layout layout) {
    double[] values =
        DoubleStream.generate(random::nextGaussian).limit(layout.shape().numel()).toArray();
    Tensor t = Tensor.of(values, dtype, DEVICE, layout.shape().dims());
    return layout.isContiguous() ? t : Shaping.channelsLast(t);
  }
}
