// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

final class TurnsTest {
  @Test
  void aSuiteMeasuresWhenItIsTold() {
    List<String> options =
        List.of("--turns", "--runs", "2", "--threads", "1", "--only=gemm_256|conv1_8x64x32$");
    try (Turns suite = new Turns(Children.java(Suite.class, List.of(), options))) {
      assertEquals(List.of("gemm_256", "gemm_256"), List.of(name(suite), name(suite)));
      suite.next();
      assertEquals("conv1_8x64x32", name(suite));
      suite.next();
      Programs.Refusal ended = assertThrows(Programs.Refusal.class, suite::measure);
      assertTrue(ended.getMessage().contains("ended with code 0"), ended::getMessage);
    }
  }

  @Test
  void aSuiteThatFailsIsNamedWithItsCode() {
    List<String> options = List.of("--turns", "--only=no-such-case");
    try (Turns suite = new Turns(Children.java(Suite.class, List.of(), options))) {
      Programs.Refusal ended = assertThrows(Programs.Refusal.class, suite::measure);
      assertTrue(ended.getMessage().contains("java ended with code 2"), ended::getMessage);
    }
  }

  private static String name(Turns suite) {
    return Measured.parse(List.of(suite.measure()), Measured.Quantity.TIME).getFirst().name();
  }
}
