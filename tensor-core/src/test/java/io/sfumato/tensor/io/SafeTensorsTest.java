// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static io.sfumato.tensor.io.TensorFiles.assertSays;
import static io.sfumato.tensor.io.TensorFiles.golden;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.cpu.CpuBackend;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafeTensorsTest {
  @TempDir private Path folder;

  // ---- files of the Python library

  @ParameterizedTest
  @ValueSource(
      strings = {
        "computed",
        "bool",
        "uint8",
        "float16",
        "bfloat16",
        "int32",
        "float32",
        "float64",
        "int64",
        "names",
        "metadata",
        "nothing",
        "only_metadata"
      })
  void whatIsReadIsWrittenWithTheSameBytes(String name) throws IOException {
    Path original = golden(name + ".safetensors");
    Path copy = folder.resolve("copy.safetensors");
    Scope.run(
        () -> {
          try (SafeTensors file = SafeTensors.open(original)) {
            Map<String, Tensor> tensors = new HashMap<>(); // in no order
            file.entries().keySet().forEach(key -> tensors.put(key, file.read(key)));
            SafeTensors.save(copy, tensors, file.metadata());
          }
        });
    assertArrayEquals(Files.readAllBytes(original), Files.readAllBytes(copy));
  }

  @Test
  void valuesOfEveryType() {
    Map<String, DType> types =
        Map.of(
            "bool",
            DType.BOOL,
            "uint8",
            DType.U8,
            "float16",
            DType.F16,
            "bfloat16",
            DType.BF16,
            "int32",
            DType.I32,
            "float32",
            DType.F32,
            "float64",
            DType.F64,
            "int64",
            DType.I64);
    Map<String, Shape> shapes =
        Map.of(
            "matrix",
            Shape.of(2, 5),
            "scalar",
            Shape.SCALAR,
            "vector",
            Shape.of(3),
            "empty",
            Shape.of(0),
            "hollow",
            Shape.of(2, 0, 3));
    try (SafeTensors file = SafeTensors.open(golden("computed.safetensors"));
        Scope scope = Scope.open()) {
      assertEquals(types.size() * shapes.size(), file.entries().size());
      assertEquals(Map.of("format", "pt"), file.metadata());
      types.forEach(
          (type, dtype) ->
              shapes.forEach(
                  (form, shape) -> {
                    Tensor t = file.read(form + "." + type);
                    assertEquals(new TensorSpec(shape, dtype, Device.CPU), t.spec());
                    double[] expected =
                        IntStream.range(0, (int) shape.numel())
                            .mapToDouble(i -> value(dtype, i))
                            .toArray();
                    assertArrayEquals(expected, t.toDoubleArray(), form + " " + type);
                  }));
    }
  }

  private static double value(DType dtype, int i) {
    return dtype.isFloating() ? (i - 3) / 2.0 : dtype == DType.BOOL ? i % 2 : i;
  }

  @Test
  void typesThatCannotBeComputedWithAreListed() {
    try (SafeTensors file = SafeTensors.open(golden("foreign.safetensors"));
        Scope scope = Scope.open()) {
      assertEquals(11, file.entries().size());
      assertEquals("F8_E4M3", file.entries().get("float8_e4m3fn").type());
      file.entries()
          .forEach(
              (name, entry) -> {
                assertEquals(List.of(3L), entry.dims());
                assertTrue(entry.dtype().isEmpty());
                TensorFileException e =
                    assertThrows(TensorFileException.class, () -> file.read(name));
                assertSays(e, "foreign.safetensors", name, entry.type(), "not supported");
              });
    }
  }

  @Test
  void namesAreDecoded() {
    try (SafeTensors file = SafeTensors.open(golden("names.safetensors"))) {
      for (String name : List.of("", "quote\"", "back\\slash", "bell\u0007", "数", "😀", "\uffff")) {
        assertTrue(file.entries().containsKey(name), name);
      }
      assertEquals(21, file.entries().size());
    }
    try (SafeTensors file = SafeTensors.open(golden("metadata.safetensors"))) {
      String text = file.metadata().keySet().iterator().next();
      assertEquals(text, file.metadata().get(text));
      assertTrue(text.startsWith("quote \" back \\ slash / tab \t line \n return \r bell \u0007"));
    }
  }

  @Test
  void entriesComeInFileOrderAndCannotBeChanged() {
    try (SafeTensors file = SafeTensors.open(golden("int32.safetensors"))) {
      assertEquals(List.of("a.int32", "b.int32"), List.copyOf(file.entries().keySet()));
      assertThrows(UnsupportedOperationException.class, () -> file.entries().clear());
      assertThrows(UnsupportedOperationException.class, () -> file.metadata().clear());
    }
  }

  // ---- what is no file of the format

  @Test
  void missingFileFolderAndPipeAreNamed() throws IOException, InterruptedException {
    Path none = folder.resolve("none.safetensors");
    assertSays(fails(none), none, "no such file");
    assertSays(fails(folder), folder, "is not a file");
    Path pipe = folder.resolve("pipe");
    assumeTrue(Files.isExecutable(Path.of("/usr/bin/mkfifo")), "no mkfifo");
    assertEquals(0, new ProcessBuilder("/usr/bin/mkfifo", pipe.toString()).start().waitFor());
    assertTimeoutPreemptively(
        Duration.ofSeconds(20), () -> assertSays(fails(pipe), pipe, "is not a file"));
  }

  @Test
  void aTinyFileThatPromisesMuchCostsNothing() throws IOException {
    Path file = folder.resolve("x.safetensors");
    ByteBuffer bytes = ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN);
    Files.write(file, bytes.putLong(SafeTensorsHeader.MAX_LENGTH).array());
    fails(file); // loads classes
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    assertSays(fails(file), file, "header length 100000000", "exceeds the file's 64 bytes");
    TensorFiles.write(
        file,
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1073741824],\"data_offsets\":[0,4294967296]}}",
        4);
    assertSays(fails(file), file, "promises 4294967296 bytes", "has 4 (truncated)");
    long spent = threads.getCurrentThreadAllocatedBytes() - before;
    assertTrue(spent < 1_000_000, spent + " bytes allocated");
  }

  @Test
  void deepNestingIsRefusedAndNoStackOverflows() throws IOException {
    Path file = folder.resolve("x.safetensors");
    String deep = "[".repeat(2_000_000);
    String extra = "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":";
    for (String header :
        List.of(deep, extra + deep, extra + "{\"y\":".repeat(1_000_000), "{\"a\":" + deep)) {
      TensorFiles.write(file, header, 4);
      assertSays(fails(file), file, "header is not valid");
    }
    TensorFiles.write(file, extra + "[".repeat(100) + "]".repeat(100) + "}}", 4);
    SafeTensors.open(file).close();
  }

  @Test
  void hugeHeadersTakeMemoryInProportion() throws IOException {
    Path file = folder.resolve("x.safetensors");
    StringBuilder header = new StringBuilder("{\"a\":{\"dtype\":\"F32\",\"x\":[0");
    header.append(",{},[],\"\"".repeat(1_000_000)); // skipped without being kept
    TensorFiles.write(file, header + "],\"shape\":[],\"data_offsets\":[0,4]}}", 4);
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    SafeTensors.open(file).close();
    long spent = threads.getCurrentThreadAllocatedBytes() - before;
    assertTrue(spent < 200_000_000, spent + " bytes allocated for " + header.length());
  }

  @Test
  void messagesDoNotRepeatControlCharactersOrEndlessNames() throws IOException {
    Path file = folder.resolve("x.safetensors");
    String name = "\\u001b[31m\\n" + "n".repeat(100_000);
    TensorFiles.write(
        file, "{\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[1,5]}}", 5);
    String message = fails(file).getMessage();
    assertTrue(message.length() < 1000, message);
    assertTrue(message.chars().noneMatch(Character::isISOControl), message);
  }

  // ---- reading

  @Test
  void readsBeyondTwoGigabytes() throws IOException {
    Path path = folder.resolve("large.safetensors");
    long big = 3L << 30;
    String header =
        "{\"pad\":{\"dtype\":\"U8\",\"shape\":["
            + big
            + "],\"data_offsets\":[0,"
            + big
            + "]},\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":["
            + big
            + ","
            + (big + 8)
            + "]}}";
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    long start = 8L + json.length;
    try (RandomAccessFile sparse = new RandomAccessFile(path.toFile(), "rw")) {
      sparse.setLength(start + big + 8);
      ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      sparse.write(length.putLong(json.length).array());
      sparse.write(json);
      sparse.seek(start + big);
      ByteBuffer values = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      sparse.write(values.putFloat(1.5f).putFloat(-2).array());
    }
    try (SafeTensors file = SafeTensors.open(path);
        Scope scope = Scope.open()) {
      assertArrayEquals(new float[] {1.5f, -2}, file.read("x").toFloatArray());
      assertSays(
          assertThrows(TensorFileException.class, () -> file.read("pad")),
          path,
          "\"pad\"",
          "too large");
    }
  }

  @Test
  void readingNeedsAnOpenFileAnOpenScopeAndAKnownName() {
    SafeTensors file = SafeTensors.open(golden("int32.safetensors"));
    assertThrows(IllegalStateException.class, () -> file.read("a.int32"));
    Scope.run(
        () -> {
          TensorFileException e = assertThrows(TensorFileException.class, () -> file.read("c\n"));
          assertSays(e, "int32.safetensors", "no tensor \"c\\u000a\"");
          Tensor kept = file.read("a.int32");
          file.close();
          file.close();
          assertThrows(IllegalStateException.class, () -> file.read("a.int32"));
          assertEquals(7, kept.toLongArray().length);
        });
  }

  @Test
  void truncationAfterOpeningIsAnErrorNotACrash() throws IOException {
    assumeTrue(Files.isDirectory(Path.of("/proc/self")), "pages of mapped files vanish on Linux");
    Path path = folder.resolve("x.safetensors");
    Scope.run(() -> SafeTensors.save(path, Map.of("x", Tensor.zeros(1 << 20))));
    try (SafeTensors file = SafeTensors.open(path);
        RandomAccessFile same = new RandomAccessFile(path.toFile(), "rw")) {
      same.setLength(4096);
      Scope.run(
          () ->
              assertSays(
                  assertThrows(TensorFileException.class, () -> file.read("x")),
                  path,
                  "truncated"));
    }
  }

  // ---- writing

  @Test
  void anyLayoutIsWrittenInRowMajorOrder() {
    Path path = folder.resolve("x.safetensors");
    Scope.run(
        () -> {
          Tensor x = Rng.seed(3).normal(2, 3, 4, 5);
          Map<String, Tensor> views =
              Map.of(
                  "transposed", x.transpose(1, 3),
                  "sliced", x.slice(2, 1, 3),
                  "expanded", x.slice(0, 0, 1).expand(4, 3, 4, 5),
                  "selected", x.select(1, 2));
          SafeTensors.save(path, views);
          try (SafeTensors file = SafeTensors.open(path)) {
            assertEquals(Map.of("format", "pt"), file.metadata());
            views.forEach(
                (name, view) -> {
                  assertEquals(view.shape(), file.read(name).shape());
                  assertArrayEquals(view.toFloatArray(), file.read(name).toFloatArray(), name);
                });
          }
        });
  }

  @Test
  void equalContentGivesEqualBytesAndAlignedData() throws IOException {
    Path one = folder.resolve("1.safetensors");
    Path two = folder.resolve("2.safetensors");
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = new TreeMap<>();
          for (int i = 0; i < 40; i++) {
            tensors.put("t" + i, Tensor.full(i, i % 3));
          }
          Map<String, Tensor> shuffled = new LinkedHashMap<>();
          tensors.keySet().stream()
              .sorted((a, b) -> b.compareTo(a))
              .forEach(n -> shuffled.put(n, tensors.get(n)));
          SafeTensors.save(one, tensors, new TreeMap<>(Map.of("b", "1", "a", "2")));
          SafeTensors.save(two, shuffled, new HashMap<>(Map.of("a", "2", "b", "1")));
        });
    byte[] bytes = Files.readAllBytes(one);
    assertArrayEquals(bytes, Files.readAllBytes(two));
    assertEquals(0, ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong() % 8);
  }

  @Test
  void aFileCanBeReplacedWhileItIsOpen() {
    Path path = folder.resolve("x.safetensors");
    Scope.run(
        () -> {
          SafeTensors.save(path, Map.of("x", Tensor.full(1, 3)));
          try (SafeTensors old = SafeTensors.open(path)) {
            SafeTensors.save(path, Map.of("x", old.read("x").add(1)));
            assertArrayEquals(new float[] {1, 1, 1}, old.read("x").toFloatArray());
          }
          try (SafeTensors file = SafeTensors.open(path)) {
            assertArrayEquals(new float[] {2, 2, 2}, file.read("x").toFloatArray());
          }
        });
  }

  @ParameterizedTest
  @CsvSource({"__metadata__, __metadata__", "\ud800, surrogate"})
  void namesNoReaderWouldAcceptAreRefused(String name, String part) throws IOException {
    Path path = folder.resolve("x.safetensors");
    Scope.run(
        () -> {
          IllegalArgumentException e =
              assertThrows(
                  IllegalArgumentException.class,
                  () -> SafeTensors.save(path, Map.of(name, Tensor.zeros(1))));
          assertTrue(e.getMessage().contains(part), e.getMessage());
        });
    assertEquals(List.of(), TensorFiles.names(folder));
  }

  @Test
  void headersBeyondTheLimitAreRefused() throws IOException {
    Map<String, String> much = Map.of("k", "x".repeat((int) SafeTensorsHeader.MAX_LENGTH));
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> SafeTensors.save(folder.resolve("x.safetensors"), Map.of(), much));
    assertTrue(e.getMessage().contains("100000000"), e.getMessage());
    assertEquals(List.of(), TensorFiles.names(folder));
  }

  @Test
  void aFailureLeavesTheOldFile() throws IOException {
    Path path = folder.resolve("x.safetensors");
    Scope.run(() -> SafeTensors.save(path, Map.of("x", Tensor.full(7, 2))));
    byte[] before = Files.readAllBytes(path);
    Map<String, Tensor> tensors = new TreeMap<>();
    Scope.run(
        () -> {
          tensors.put("a", Tensor.zeros(4));
          Scope.run(
              () -> {
                tensors.put("freed", Tensor.zeros(4));
              });
          assertThrows(TensorException.class, () -> SafeTensors.save(path, tensors));
          tensors.remove("freed");
          tensors.put("valueless", Weights.meta().get("m", Shape.of(2), Init.zeros()).value());
          assertThrows(TensorException.class, () -> SafeTensors.save(path, tensors));
        });
    assertArrayEquals(before, Files.readAllBytes(path));
    assertEquals(List.of("x.safetensors"), TensorFiles.names(folder));
  }

  @Test
  void writingCopiesOnlyWhatIsNotRowMajor() {
    Path path = folder.resolve("x.safetensors");
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = new HashMap<>();
          for (int i = 0; i < 8; i++) {
            tensors.put("t" + i, Tensor.zeros(256, 256).transpose(0, 1));
          }
          long live = CpuBackend.instance().memory().live();
          CpuBackend.instance().resetPeak();
          SafeTensors.save(path, tensors);
          long extra = CpuBackend.instance().memory().peak() - live;
          assertTrue(extra <= 2 * 256 * 256 * 4, extra + " bytes: more than one copy at a time");
          assertFalse(Arrays.equals(new byte[0], readAll(path)));
        });
  }

  private static byte[] readAll(Path path) {
    try {
      return Files.readAllBytes(path);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static TensorFileException fails(Path file) {
    return assertThrows(TensorFileException.class, () -> SafeTensors.open(file).close());
  }
}
