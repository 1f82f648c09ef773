// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static io.sfumato.tensor.io.TensorFiles.assertSays;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** This reader accepts and refuses what the reference implementation does. */
class VerdictsTest {
  /** Names given twice: forbidden by the format's description, let pass by the reference. */
  private static final Set<String> STRICTER =
      Set.of(
          "metadata key twice",
          "tensor twice, alike",
          "tensor twice, unlike",
          "tensor twice, once escaped");

  /** What the message says for each kind of error of the reference. */
  private static final Map<String, String> KINDS =
      Map.of(
          "header too small", "too short for a safetensors file",
          "header too large", "exceeds the limit of 100000000",
          "invalid header length", "exceeds the file's",
          "invalid JSON in header", "header is not valid",
          "invalid UTF-8 in header", "is not UTF-8",
          "invalid shape, data type, or offset for tensor", "data_offsets span",
          "overflow computing buffer size from shape and/or element type", "overflows 64 bits",
          "incomplete metadata, file not fully covered", "the header promises");

  @TempDir private Path folder;

  private record Case(String name, String verdict, byte[] bytes) {
    @Override
    public String toString() {
      return name;
    }
  }

  static List<Case> cases() throws IOException {
    try (Stream<String> lines = Files.lines(TensorFiles.golden("verdicts.tsv"))) {
      return lines
          .map(line -> line.split("\t", -1))
          .map(f -> new Case(f[0], f[1], HexFormat.of().parseHex(f[2])))
          .toList();
    }
  }

  @Test
  void everyKindOfVerdictOccurs() throws IOException {
    Set<String> verdicts = cases().stream().map(Case::verdict).collect(Collectors.toSet());
    assertTrue(verdicts.contains("ok"));
    assertTrue(verdicts.containsAll(KINDS.keySet()), verdicts::toString);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void verdictIsThatOfTheReference(Case c) throws IOException {
    Path file = Files.write(folder.resolve("x.safetensors"), c.bytes);
    MemoryStats before = CpuBackend.instance().memory();
    if (c.verdict.equals("ok") && !STRICTER.contains(c.name)) {
      try (SafeTensors opened = SafeTensors.open(file)) {
        Scope.run(() -> readAll(opened));
      }
      return;
    }
    CpuBackend.instance().resetPeak();
    TensorFileException e =
        assertThrows(TensorFileException.class, () -> SafeTensors.open(file).close());
    assertEquals(before.reserved(), CpuBackend.instance().memory().reserved());
    assertEquals(before.live(), CpuBackend.instance().memory().peak(), "nothing is allocated");
    assertSays(e, file, STRICTER.contains(c.name) ? "second" : says(c.verdict));
  }

  private static String says(String verdict) {
    if (verdict.startsWith("invalid offset for tensor")) {
      return "leave a hole or overlap";
    }
    return verdict.startsWith("The slice") ? "whole number of bytes" : KINDS.get(verdict);
  }

  /** Every listed tensor can be read or is refused with a reason. */
  private static void readAll(SafeTensors file) {
    file.entries()
        .forEach(
            (name, entry) -> {
              if (entry.dtype().isPresent() && entry.dims().stream().allMatch(d -> d >>> 31 == 0)) {
                Tensor t = file.read(name);
                assertEquals(entry.shape(), t.shape());
                assertEquals(entry.bytes(), t.spec().bytes());
                t.toDoubleArray();
              } else {
                assertSays(
                    assertThrows(TensorFileException.class, () -> file.read(name)),
                    file.description(),
                    HeaderJson.quoted(name),
                    "cannot be read");
              }
            });
  }
}
