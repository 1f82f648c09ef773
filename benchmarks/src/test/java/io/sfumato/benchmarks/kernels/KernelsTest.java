// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.benchmarks.Programs;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Parallel;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

final class KernelsTest {
  private static final double EXACT = 1e-12;

  @Test
  void everyShapeIsWellFormed() throws IllegalAccessException {
    int shapes = 0;
    for (Class<?> type : Shapes.class.getDeclaredClasses()) {
      Set<String> sizes = new HashSet<>();
      for (Object constant : type.getEnumConstants()) {
        KernelShape shape = (KernelShape) constant;
        assertTrue(shape.name().matches("(SQUARE|SD15|SDXL|DIT_XL|VAE|IMAGENET|CLIP|VQ)\\w*"));
        assertTrue(sizes.add(shape.sizes()), () -> type + " has two of " + shape.sizes());
        for (Field field : type.getDeclaredFields()) {
          if (field.getType() == int.class && !Modifier.isStatic(field.getModifiers())) {
            assertTrue(field.getInt(shape) > 0, () -> shape + "." + field.getName());
          }
        }
        shapes++;
      }
    }
    assertTrue(shapes > 50, "only " + shapes);
  }

  @Test
  void shapesKeepTheRulesOfTheirLayers() {
    for (Shapes.Conv c : Shapes.Conv.values()) {
      assertEquals((c.side + c.stride - 1) / c.stride, c.outSide(), c.name());
    }
    for (Shapes.GroupNorm g : Shapes.GroupNorm.values()) {
      assertEquals(0, g.channels % 32, g.name());
    }
    for (Shapes.Attention a : Shapes.Attention.values()) {
      boolean cross = a.name().contains("CROSS");
      assertEquals(cross ? 77 : a.queries, a.keys, a.name());
    }
    for (Shapes.LayerNorm l : Shapes.LayerNorm.values()) {
      assertEquals(0, l.rows % 2, l.name());
    }
    assertEquals(
        4L * 1152 * 1152 + 2L * 1152 * 4608 + 1152L * 6912, Shapes.AdamW.DIT_XL_BLOCK.sum());
  }

  @Test
  void everyKernelKnowsItsWork() {
    Set<String> labels = new HashSet<>();
    for (KernelList.Case one : KernelList.cases()) {
      Work work = one.work();
      assertTrue(work.flops() >= 0 && work.bytes() > 0, one::label);
      assertTrue(labels.add(one.label()), one::label);
    }
    assertEquals(2.0 * 1024 * 1024 * 1024, GemmBenchmark.products(Shapes.Gemm.SQUARE_1024).flops());
    assertEquals(3 * 4.0 * 1024 * 1024, GemmBenchmark.products(Shapes.Gemm.SQUARE_1024).bytes());
    assertEquals(
        2.0 * 2 * 64 * 64 * 320 * 320 * 9, ConvBenchmark.products(Shapes.Conv.SD15_RES_64).flops());
    assertThrows(IllegalArgumentException.class, () -> new GemmBenchmark().work("divide"));
  }

  /** The smallest shape of each kernel, once, so that no benchmark is broken. */
  @Test
  void everyKernelRunsAndLeavesNothingBehind() throws ReflectiveOperationException {
    Map<String, KernelList.Case> smallest = new LinkedHashMap<>();
    Comparator<KernelList.Case> bySize =
        Comparator.comparingDouble(c -> c.work().flops() + c.work().bytes());
    for (KernelList.Case one : KernelList.cases()) {
      smallest.merge(one.kernel(), one, (a, b) -> bySize.compare(a, b) <= 0 ? a : b);
    }
    assertTrue(smallest.size() >= 20, () -> "only " + smallest.keySet());
    int threads = Parallel.threads();
    long before = CpuBackend.instance().memory().live();
    try {
      for (KernelList.Case one : smallest.values()) {
        KernelBenchmark benchmark = one.type().getDeclaredConstructor().newInstance();
        benchmark.threads = 2;
        one.type().getField("shape").set(benchmark, one.shape());
        benchmark.open();
        one.type().getMethod(one.method()).invoke(benchmark);
        benchmark.close();
        assertEquals(before, CpuBackend.instance().memory().live(), one::label);
      }
    } finally {
      Parallel.setThreads(threads);
    }
  }

  @Test
  void aRateIsMeasuredAgainstTheLimitThatBinds() {
    MachineLimits limit = new MachineLimits(1, 100e9, 10e9);
    Rate products = Rate.of(new Work(50e9, 1e9), 1, limit);
    assertTrue(products.computing());
    assertEquals(0.5, products.share(), EXACT);
    assertEquals("50.0 GFLOP/s", products.text());
    assertEquals("50 % FMA", products.shareText());
    Rate moves = Rate.of(new Work(5e9, 5e9), 2, limit);
    assertFalse(moves.computing());
    assertEquals(0.25, moves.share(), EXACT);
    assertEquals("2.5 GB/s", moves.text());
    assertEquals("25 % copy", moves.shareText());
    GemmPeak peak = new GemmPeak(1024, 200e9, 150e9, 285e9);
    assertEquals(0.75, peak.share(), EXACT);
    assertEquals(1.9, peak.speedUp(), EXACT);
    assertEquals(
        "GemmPeak 1024: 1 thread 150.0 GFLOP/s, 75 % of the FMA peak of 200.0; 2 threads 285.0"
            + " GFLOP/s, 1.90 times as fast",
        peak.toString());
  }

  @Test
  void selectionFindsPartsOfLabels() {
    List<String> found = new ArrayList<>();
    Kernels.selected("^Attention.backward.*CROSS").forEach(c -> found.add(c.shape().name()));
    assertEquals(
        List.of("SD15_CROSS_64", "SD15_CROSS_32", "SD15_CROSS_16", "SDXL_CROSS_32"), found);
    assertThrows(Programs.Refusal.class, () -> Kernels.selected("nothing"));
    assertThrows(Programs.Refusal.class, () -> Kernels.selected("("));
  }
}
