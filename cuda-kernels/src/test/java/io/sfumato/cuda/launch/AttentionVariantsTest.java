// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.AttentionVariants.Direction;
import io.sfumato.cuda.launch.AttentionVariants.Variant;
import io.sfumato.cuda.library.DiskCache;
import io.sfumato.cuda.library.DiskCacheTest;
import io.sfumato.cuda.library.LibrarySearch;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.cuda.library.Nvrtc;
import io.sfumato.cuda.testing.EmulatorBuild;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.cuda.testing.KernelImages;
import io.sfumato.cuda.testing.PtxAssembler;
import io.sfumato.cuda.testing.Subprocess;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.AttentionBackward;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Kernels compiled at run time: by a fake compiler, whose images the emulated device runs. */
class AttentionVariantsTest {
  private static final Device DEVICE = new Device("cuda", 0);
  @TempDir static Path library;
  private static @Nullable Nvrtc nvrtc;
  private static MethodHandle compiled;
  @TempDir Path folder;

  @BeforeAll
  static void build() throws Exception {
    assumeTrue(EmulatorControl.isEmulated(), "on a GPU the real compiler serves all tests");
    Path source = EmulatorBuild.moduleFolder().resolve("src/test/emulator/fake_nvrtc.cpp");
    Path file = library.resolve("libnvrtc.so.13");
    Process p =
        new ProcessBuilder(
                "g++", "-O1", "-std=c++20", "-shared", "-fPIC", source + "", "-o", file + "")
            .inheritIO()
            .start();
    assertEquals(0, p.waitFor(), "g++");
    String before = System.getProperty(LibrarySearch.PROPERTY);
    System.setProperty(LibrarySearch.PROPERTY, library + "");
    try {
      nvrtc = Nvrtc.open(LibrarySearch.ofThisMachine(), true);
    } finally {
      if (before == null) {
        System.clearProperty(LibrarySearch.PROPERTY);
      } else {
        System.setProperty(LibrarySearch.PROPERTY, before);
      }
    }
    compiled =
        Linker.nativeLinker()
            .downcallHandle(
                SymbolLookup.libraryLookup(file, Arena.global())
                    .find("fake_nvrtc_compiled")
                    .orElseThrow(),
                FunctionDescriptor.of(ValueLayout.JAVA_INT));
  }

  @AfterEach
  void asBefore() {
    AttentionVariants.use(Gpu.of(0), null);
  }

  private static int compiled() {
    try {
      return (int) compiled.invokeExact();
    } catch (Throwable t) {
      throw new IllegalStateException(t);
    }
  }

  /** What a new process has: nothing but what is on disk. */
  private void process(@Nullable Nvrtc compiler) {
    Gpu gpu = Gpu.of(0);
    DiskCache cache = DiskCacheTest.cache(folder);
    AttentionVariants.use(gpu, new AttentionVariants(gpu, cache, () -> compiler));
  }

  /** The kernel that computes heads of this width, after its result was compared. */
  private static String kernel(DType dtype, int width) {
    try (Scope scope = Scope.open()) {
      Tensor[] in = new Tensor[3];
      for (int i = 0; i < 3; i++) {
        in[i] = Rng.seed(i).normal(1, 2, 70 + (i + 1) / 2 * 9, width).to(dtype).to(DEVICE);
      }
      Attention op = new Attention(1 / Math.sqrt(width), width == 48, Attention.Mask.NONE);
      Tensor[] out = Eager.INSTANCE.execute(op, in);
      Dense[] host = onHost(in, 3);
      Dense[] expected = {
        Dense.zeros(out[0].shape(), dtype), Dense.zeros(out[1].shape(), DType.F32)
      };
      op.reference(host, expected);
      double tolerance = dtype == DType.F32 ? 1e-5 : dtype == DType.F16 ? 2e-3 : 2e-2;
      assertArrayEquals(expected[0].data(), out[0].toDoubleArray(), tolerance);
      assertArrayEquals(expected[1].data(), out[1].toDoubleArray(), 1e-4);
      return AttentionTile.forward(Gpu.of(0), op, in, 3).name();
    }
  }

  /** The same for the gradients, of 150 queries. */
  private static String backwardKernel(DType dtype, int width, boolean causal, int keys) {
    try (Scope scope = Scope.open()) {
      Attention op = new Attention(1 / Math.sqrt(width), causal, Attention.Mask.NONE);
      Tensor[] in = new Tensor[6];
      for (int i = 0; i < 3; i++) {
        in[i] = normal(i, dtype, i == 0 ? 150 : keys, width);
      }
      Dense[] forward = {
        Dense.zeros(in[0].shape(), DType.F64), Dense.zeros(Shape.of(1, 2, 150), DType.F64)
      };
      op.reference(onHost(in, 3), forward);
      in[3] = Tensor.of(forward[0].data(), dtype, DEVICE, 1, 2, 150, width);
      in[4] = Tensor.of(forward[1].data(), DType.F32, DEVICE, 1, 2, 150);
      in[5] = normal(5, dtype, 150, width);
      Dense[] host = onHost(in, 6);
      Dense[] expected =
          Arrays.stream(in).limit(3).map(t -> Dense.zeros(t.shape(), dtype)).toArray(Dense[]::new);
      new AttentionBackward(op).reference(host, expected);
      Tensor[] got = Eager.INSTANCE.execute(new AttentionBackward(op), in);
      for (int i = 0; i < 3; i++) {
        double most = Arrays.stream(expected[i].data()).map(Math::abs).max().orElseThrow();
        double rounding = dtype == DType.F32 ? 5e-6 : dtype == DType.F16 ? 0x1p-10 : 0x1p-7;
        assertArrayEquals(
            expected[i].data(), got[i].toDoubleArray(), rounding * most, "input " + i);
      }
      return AttentionTile.backward(Gpu.of(0), op, in, 3).name();
    }
  }

  private static Dense[] onHost(Tensor[] in, int n) {
    return Arrays.stream(in)
        .limit(n)
        .map(t -> new Dense(t.shape(), t.dtype(), t.toDoubleArray()))
        .toArray(Dense[]::new);
  }

  private static Tensor normal(int seed, DType dtype, int length, int width) {
    return Rng.seed(seed).normal(1, 2, length, width).to(dtype).to(DEVICE);
  }

  @Test
  void kernelsForTheGradientsAreCompiledOnceAndKept() throws Throwable {
    int before = compiled();
    process(nvrtc);
    EmulatorControl.inAllOrders(
        () -> {
          String bf16 = "attention_backward_48_bf16";
          assertEquals(bf16, backwardKernel(DType.BF16, 48, true, 150), "atomics, causal");
          assertEquals(bf16, backwardKernel(DType.BF16, 48, false, 100), "keys of one block");
        });
    for (String property : new String[] {"true", null}) {
      setDeterministic(property);
      try {
        assertEquals("attention_backward_88_bf16", backwardKernel(DType.BF16, 88, false, 140));
      } finally {
        setDeterministic(null);
      }
    }
    assertEquals("attention_backward_24_f16", backwardKernel(DType.F16, 24, false, 140));
    assertEquals("attention_backward_192_f16", backwardKernel(DType.F16, 192, true, 150));
    assertEquals("attention_backward_96_f32", backwardKernel(DType.F32, 96, false, 140));
    assertEquals("attention_backward_144_f32", backwardKernel(DType.F32, 144, true, 150));
    assertEquals(before + 6, compiled());
    process(nvrtc);
    assertEquals("attention_backward_48_bf16", backwardKernel(DType.BF16, 48, false, 140));
    assertEquals(before + 6, compiled(), "a later process loads what was kept");
    assertEquals("attention_backward_any_64_bf16", backwardKernel(DType.BF16, 56, false, 140));
    assertEquals("attention_backward_any_256_f16", backwardKernel(DType.F16, 168, false, 140));
  }

  private static void setDeterministic(@Nullable String value) {
    if (value == null) {
      System.clearProperty(AttentionLaunch.DETERMINISTIC);
    } else {
      System.setProperty(AttentionLaunch.DETERMINISTIC, value);
    }
  }

  @Test
  void aKernelForTheWidthIsCompiledOnceAndKept() throws Throwable {
    int before = compiled();
    process(nvrtc);
    EmulatorControl.inAllOrders(
        () -> assertEquals("attention_forward_48_bf16", kernel(DType.BF16, 48)));
    assertEquals("attention_forward_96_f32", kernel(DType.F32, 96));
    assertEquals(before + 2, compiled());
    process(nvrtc);
    assertEquals("attention_forward_48_bf16", kernel(DType.BF16, 48));
    assertEquals(before + 2, compiled(), "a later process loads what was kept");
    assertEquals("attention_forward_192_f16", kernel(DType.F16, 192));
    assertEquals(before + 3, compiled());
  }

  @Test
  void whatWasKeptAndIsDamagedIsCompiledAnew() throws Exception {
    process(nvrtc);
    assertEquals("attention_forward_48_bf16", kernel(DType.BF16, 48));
    Path entry;
    try (Stream<Path> files = Files.list(folder)) {
      entry = files.findFirst().orElseThrow();
    }
    byte[] whole = Files.readAllBytes(entry);
    Files.write(entry, Arrays.copyOf(whole, whole.length - 5));
    int before = compiled();
    process(nvrtc);
    assertEquals("attention_forward_48_bf16", kernel(DType.BF16, 48));
    assertEquals(before + 1, compiled());
    assertArrayEquals(whole, Files.readAllBytes(entry));
  }

  @Test
  void withoutACompilerOrAKernelHeadsArePadded() {
    process(null);
    assertEquals("attention_forward_any_64_bf16", kernel(DType.BF16, 48));
    process(nvrtc);
    int before = compiled();
    assertEquals("attention_forward_any_64_bf16", kernel(DType.BF16, 56), "does not compile");
    assertEquals("attention_forward_any_128_bf16", kernel(DType.BF16, 104), "is not loaded");
    assertEquals("attention_forward_any_64_bf16", kernel(DType.BF16, 56));
    assertEquals("attention_forward_any_128_bf16", kernel(DType.BF16, 104));
    assertEquals(before + 2, compiled(), "tried once each");
    assertEquals("attention_forward_any_64_bf16", kernel(DType.BF16, 44), "no multiple of 8");
    assertEquals("attention_forward_any_32_f32", kernel(DType.F32, 32), "is padded to itself");
    assertEquals(before + 2, compiled());
  }

  @Test
  void aFolderThatCannotBeWrittenDoesNotKeepKernelsFromRunning() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "no folder");
    Gpu gpu = Gpu.of(0);
    DiskCache cache = DiskCacheTest.cache(file.resolve("cache"));
    AttentionVariants.use(gpu, new AttentionVariants(gpu, cache, () -> nvrtc));
    assertEquals("attention_forward_48_bf16", kernel(DType.BF16, 48));
  }

  /** The widest heads of each kind; the slower ones spill if any do. */
  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"80", "90a", "120"})
  void variantsKeepTheirSumsInRegisters(String arch) throws Exception {
    List<Variant> widest = new ArrayList<>();
    for (int width : new int[] {56, 120, 152, 240}) {
      for (DType dtype : new DType[] {DType.BF16, DType.F32}) {
        widest.add(Variant.forward(dtype, width));
        widest.add(Variant.backward(dtype, width));
      }
    }
    List<String> spilling = new ArrayList<>();
    for (Variant v : widest.stream().filter(Objects::nonNull).toList()) {
      String ptx = KernelImages.ptx(EmulatorBuild.moduleFolder(), v.source(), arch);
      assumeFalse(ptx.isEmpty(), "there is no nvcc");
      int spills =
          PtxAssembler.ofToolkit().needs(v.name(), ptx, "sm_" + arch).get(v.name()).spills();
      if (spills > 80) { // as KernelGuardTest allows
        spilling.add(v.name() + ": " + spills);
      }
    }
    assertEquals(List.of(), spilling);
  }

  /** NVIDIA's compiler, where it is; in a process without the emulated driver. */
  @Test
  void theRealCompilerTakesTheVariants() {
    compile(RealCompiler.FEW);
  }

  /** Minutes for each kind of device; {@code sfumato.cuda.test.archs} names them. */
  @Tag("slow")
  @Test
  void theRealCompilerTakesEveryVariantThereIs() {
    assertEquals(84, forward().size());
    assertEquals(64, backward().size());
    compile(RealCompiler.ALL);
  }

  private static void compile(String which) {
    List<String> arguments = new ArrayList<>();
    String folders = System.getProperty(LibrarySearch.PROPERTY);
    if (folders != null) {
      arguments.add("-D" + LibrarySearch.PROPERTY + "=" + folders);
    }
    arguments.add(which);
    String archs = System.getProperty("sfumato.cuda.test.archs", "sm_80");
    arguments.addAll(List.of(archs.split(",", -1)));
    Subprocess.Result result =
        Subprocess.run(RealCompiler.class, Map.of(), arguments.toArray(String[]::new));
    String text = result.output();
    assumeFalse(text.contains("no compiler: "), text);
    assertEquals(0, result.exit(), text);
    for (String arch : archs.split(",", -1)) {
      for (Variant v : RealCompiler.variants(which)) {
        assertTrue(text.contains(v.name() + " for " + arch + ": true"), text);
      }
    }
    assertTrue(text.contains("wrong.cu does not compile for sm_80 by "), text);
    assertTrue(text.contains("identifier \"x\" is undefined"), text);
  }

  private static final List<DType> TYPES = List.of(DType.F32, DType.BF16, DType.F16);

  /** All that can be asked for: heads that are padded to themselves have kernels in the jar. */
  private static List<Variant> forward() {
    return widths().flatMap(w -> TYPES.stream().map(t -> Variant.forward(t, w))).toList();
  }

  private static List<Variant> backward() {
    return widths()
        .flatMap(w -> TYPES.stream().map(t -> Variant.backward(t, w)))
        .filter(Objects::nonNull)
        .toList();
  }

  private static Stream<Integer> widths() {
    return IntStream.range(1, 32).mapToObj(i -> 8 * i).filter(w -> !AttentionTile.isPadded(w));
  }

  /**
   * The program. It touches no device: NVIDIA's compiler asks a driver in its process for functions
   * that the emulated one lacks.
   */
  static final class RealCompiler {
    static final String ALL = "all";
    static final String FEW = "few";
    private static final PrintStream OUT = System.out;

    private RealCompiler() {}

    static List<Variant> variants(String which) {
      if (which.equals(ALL)) {
        return Stream.concat(forward().stream(), backward().stream()).toList();
      }
      return Stream.of(
              Variant.forward(DType.BF16, 48),
              Variant.forward(DType.F16, 192),
              Variant.forward(DType.F32, 96),
              Variant.backward(DType.BF16, 48),
              Variant.backward(DType.F16, 192),
              Variant.backward(DType.F32, 96))
          .map(Objects::requireNonNull)
          .toList();
    }

    public static void main(String[] arguments) {
      Nvrtc real;
      try {
        real = Nvrtc.open(LibrarySearch.ofThisMachine(), true);
      } catch (MissingLibraryException e) {
        OUT.println("no compiler: " + e.getMessage());
        return;
      }
      OUT.println(real.name());
      Map<String, String> headers = Direction.FORWARD.headers();
      for (String arch : List.of(arguments).subList(1, arguments.length)) {
        for (Variant v : variants(arguments[0])) {
          long start = System.nanoTime();
          byte[] image = real.compile(v.name(), v.source(), v.direction().headers(), arch);
          long millis = (System.nanoTime() - start) / 1_000_000;
          String text = new String(image, StandardCharsets.ISO_8859_1);
          boolean good = text.startsWith("\u007fELF") && text.contains(v.name());
          OUT.println(v.name() + " for " + arch + ": " + good + ", " + millis + " ms");
        }
      }
      try {
        byte[] none = real.compile("wrong.cu", "__global__ void f() { x; }", headers, "sm_80");
        OUT.println("compiled " + none.length);
      } catch (DeviceException e) {
        OUT.println(e.getMessage());
      }
    }
  }
}
