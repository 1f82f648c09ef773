// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Registers of all kernels: none spills to memory but those listed, and none needs so many that the
 * blocks it is launched with do not fit a multiprocessor. Assembling all of them takes many
 * minutes; a run that is cut off goes on where it was ({@link PtxAssembler}).
 */
@Tag("slow")
class KernelGuardTest {
  /** Registers that a block of 1024 threads can have; kernels without launch bounds stay below. */
  private static final int WITHOUT_BOUNDS = 64;

  /** The version of PTX that all supported drivers read. */
  private static final String OLDEST = "8.0";

  /** Kernels that may spill, by a pattern, with the bytes and the reason. */
  private record Allowed(String kernels, int bytes, String reason) {}

  private static final List<Allowed> SPILLS =
      List.of(
          new Allowed(".*_f64", 64, "double precision runs on a GPU for the sake of tests"),
          new Allowed("attention_backward_.*", 80, "sums of wide heads take nearly all registers"),
          new Allowed("attention_forward_.*", 8, "an address, read once per tile of keys at most"),
          new Allowed("gemm_large_kr_tf32", 4, "an address, one of 600 instructions of a round"),
          new Allowed("conv_weight_eight_tf32", 12, "addresses, read once per block of the sum"),
          new Allowed("group_norm_fused_last_k16_.*", 12, "three indices, once per block"),
          new Allowed("radix_scatter_64", 12, "three indices, once per block"),
          new Allowed("arg_columns_u8", 4, "one index, once per block"),
          new Allowed("gated_norm_backward_block_k2_bf16", 8, "one address, once per block"),
          new Allowed("group_norm_(backward_)?step_last_f16", 8, "one address, once per block"));

  private static List<KernelImages.Ptx> ptx() throws Exception {
    Path module = EmulatorBuild.moduleFolder();
    KernelImages shipped = new KernelImages(module);
    boolean usable = true;
    for (KernelImages.Ptx p : shipped.ptx()) {
      usable &= shipped.isUpToDate(p);
    }
    if (usable) {
      return shipped.ptx();
    }
    assumeTrue(isThere("nvcc"), "the jar's PTX is old and there is no nvcc");
    KernelImages fresh = new KernelImages(module, module.resolve("target/ptx"));
    assertEquals(List.of(), fresh.makePtx());
    return fresh.ptx();
  }

  private static boolean isThere(String program) {
    return Stream.of(System.getenv("PATH").split(java.io.File.pathSeparator))
        .anyMatch(d -> Files.isExecutable(Path.of(d, program)));
  }

  private static void check(PtxAssembler assembler, String arch, Predicate<KernelImages.Ptx> which)
      throws Exception {
    List<String> faults = new ArrayList<>();
    ExecutorService pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
    try {
      List<Future<List<String>>> jobs = new ArrayList<>();
      for (KernelImages.Ptx p : ptx()) {
        if (which.test(p) && (p.arch().equals("80") || arch.equals("sm_" + p.arch()))) {
          jobs.add(pool.submit(() -> faults(assembler, p.file(), arch)));
        }
      }
      for (Future<List<String>> job : jobs) {
        faults.addAll(job.get());
      }
    } finally {
      pool.shutdownNow();
    }
    assertEquals(List.of(), faults);
  }

  private static List<String> faults(PtxAssembler assembler, Path file, String arch)
      throws IOException, InterruptedException {
    List<String> faults = new ArrayList<>();
    for (Map.Entry<String, PtxAssembler.Needs> e : assembler.needs(file, arch).entrySet()) {
      String name = e.getKey();
      PtxAssembler.Needs needs = e.getValue();
      if (SPILLS.stream()
          .noneMatch(a -> needs.spills() <= a.bytes() && name.matches(a.kernels()))) {
        if (needs.spills() > 0) {
          faults.add(name + " on " + arch + " spills " + needs.spills() + " bytes");
        }
      }
      if (needs.threads() == 0 && needs.registers() > WITHOUT_BOUNDS) {
        faults.add(
            name + " on " + arch + " needs KERNEL_BOUNDS: " + needs.registers() + " registers");
      }
    }
    return faults;
  }

  @ParameterizedTest
  @ValueSource(strings = {"sm_80", "sm_90a", "sm_100", "sm_120"})
  void theToolkitFindsRegistersEnough(String arch) throws Exception {
    assumeTrue(isThere("ptxas"));
    check(PtxAssembler.ofToolkit(), arch, p -> true);
  }

  @Test
  void theOldestDriversAssemblerFindsRegistersEnough() throws Exception {
    check(PtxAssembler.ofJcuda(), "sm_90a", p -> p.version().equals(OLDEST));
  }

  /**
   * Drivers from 525 on have CUDA 12.0, which reads version 8.0 of PTX. It must refuse what is
   * written in a later one by its version, since that is how the loader knows to take the PTX for
   * all devices (KernelModulesTest). Families for Hopper alone are not loaded then (WgmmaTest):
   * they must be of the version that the driver they wait for reads.
   */
  @Test
  void theOldestDriversAssemblerRefusesLaterPtxByItsVersion() throws Exception {
    List<KernelImages.Ptx> all = ptx();
    List<KernelImages.Ptx> later = all.stream().filter(p -> !p.version().equals(OLDEST)).toList();
    assertFalse(later.isEmpty());
    List<String> faults = new ArrayList<>();
    for (KernelImages.Ptx p : later) {
      String file = p.file().getFileName().toString();
      String said = PtxAssembler.ofJcuda().assemble(KernelImages.read(p.file()), "sm_90a");
      if (!said.startsWith("error " + PtxAssembler.Jcuda.UNSUPPORTED_VERSION + "\n")) {
        faults.add(file + ": " + said);
      }
      boolean alone =
          all.stream().noneMatch(q -> q.source().equals(p.source()) && q.version().equals(OLDEST));
      boolean waits = file.contains("hopper");
      if (alone != waits) {
        faults.add(file + (alone ? " has no PTX for all devices" : " is not for Hopper alone"));
      }
      if (!p.version().equals("8.1")) {
        faults.add(file + " has version " + p.version() + "; CUDA 12.1, which it waits for, 8.1");
      }
    }
    assertEquals(List.of(), faults);
  }
}
