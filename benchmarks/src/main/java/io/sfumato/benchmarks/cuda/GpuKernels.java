// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import io.sfumato.benchmarks.Programs;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Kernels and blocks at the sizes of large models on the first GPU: the cases of {@code
 * peers/torch_gpu_kernels.py} under the same names. First measures two limits of the device, a copy
 * and a large product of bf16; then prints one JSON line per case: the time of one run in a row of
 * many, and what it makes of the limits.
 */
@Command(
    name = "gpu-kernels",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = "Times kernels at the sizes of large models on the first GPU.")
public final class GpuKernels implements Callable<Integer> {
  private static final Device DEVICE = new Device("cuda", 0);
  private static final int SIDE = 8192;
  private static final long COPIED = 1L << 30;

  @Option(names = "--only", description = "Cases whose name contains this expression.")
  private String only = "";

  @Option(names = "--seconds", description = "Time of one measurement.", defaultValue = "0.1")
  private double seconds;

  @Option(
      names = "--scale",
      description = "Divides batches and lengths by this, to try the program out.",
      defaultValue = "1")
  private int scale;

  @Option(names = "--list", description = "Prints the names of the cases, and times nothing.")
  private boolean list;

  private GpuKernels() {}

  /** Runs the program. */
  public static void main(String[] args) {
    System.exit(Programs.run(new GpuKernels(), args));
  }

  /**
   * A case, set up.
   *
   * @param body what is timed
   * @param flops floating-point operations of one run
   * @param bytes read and written at least in one run
   */
  record Work(Runnable body, double flops, double bytes) {}

  @Override
  public Integer call() {
    Map<String, Supplier<Work>> cases = new GpuCases(DEVICE, scale).table();
    cases.keySet().removeIf(Pattern.compile(only).asPredicate().negate());
    if (list) {
      cases.keySet().forEach(System.out::println);
      return 0;
    }
    Gpu gpu;
    try {
      gpu = Gpu.of(0);
    } catch (DeviceException | IllegalArgumentException e) {
      throw new Programs.Refusal(String.valueOf(e.getMessage()));
    }
    double bandwidth = copyBandwidth(gpu);
    double peak = productPeak(gpu);
    System.out.printf(
        Locale.ROOT,
        "{\"device\": \"%s\", \"copy_gbs\": %.0f, \"bf16_tflops\": %.1f}%n",
        gpu.name(),
        bandwidth * 1e-9,
        peak * 1e-12);
    cases.forEach((name, make) -> time(gpu, name, make, bandwidth, peak));
    return 0;
  }

  private double copyBandwidth(Gpu gpu) {
    long bytes = COPIED / scale;
    long from = gpu.memory().allocate(bytes);
    long to = gpu.memory().allocate(bytes);
    gpu.zero(from, bytes);
    double time = time(gpu, () -> gpu.copy(to, from, bytes));
    gpu.memory().free(from);
    gpu.memory().free(to);
    return 2 * bytes / time;
  }

  private double productPeak(Gpu gpu) {
    int n = SIDE / scale;
    try (Scope scope = Scope.open()) {
      Tensor a = Rng.seed(1).normal(n, n).to(DEVICE).to(DType.BF16);
      Tensor b = Rng.seed(2).normal(n, n).to(DEVICE).to(DType.BF16);
      return 2.0 * n * n * n / time(gpu, () -> Num.matmul(a, b));
    }
  }

  private void time(Gpu gpu, String name, Supplier<Work> make, double bandwidth, double peak) {
    try (Scope scope = Scope.open()) {
      Work work = make.get();
      double time = time(gpu, work.body);
      System.out.printf(
          Locale.ROOT,
          "{\"name\": \"%s\", \"us\": %.1f, \"tflops\": %.1f, \"gbs\": %.0f, \"of_product\": %.2f,"
              + " \"of_copy\": %.2f}%n",
          name,
          time * 1e6,
          work.flops / time * 1e-12,
          work.bytes / time * 1e-9,
          work.flops / time / peak,
          work.bytes / time / bandwidth);
    } catch (RuntimeException e) {
      System.out.printf(
          Locale.ROOT,
          "{\"name\": \"%s\", \"error\": \"%s\"}%n",
          name,
          e.toString().replace('"', '\''));
    }
    gpu.memory().trim();
  }

  /** Seconds of one run: the better of two rows of runs. */
  private double time(Gpu gpu, Runnable body) {
    run(gpu, body, 3);
    double once = run(gpu, body, 3) / 3;
    int runs = (int) Math.max(3, Math.min(2000, seconds / once));
    return Math.min(run(gpu, body, runs), run(gpu, body, runs)) / runs;
  }

  private static double run(Gpu gpu, Runnable body, int runs) {
    gpu.synchronize();
    long start = System.nanoTime();
    for (int i = 0; i < runs; i++) {
      Scope.run(body);
    }
    gpu.synchronize();
    return (System.nanoTime() - start) * 1e-9;
  }

  /** The names of all cases. */
  static Set<String> names() {
    return new GpuCases(DEVICE, 1).table().keySet();
  }
}
