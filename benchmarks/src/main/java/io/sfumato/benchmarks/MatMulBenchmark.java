// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.ops.Num;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** Matrix products of the shapes that models have, through the public API. */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(
    value = 1,
    jvmArgs = {"--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
public class MatMulBenchmark {
  /** Rows, inner dimension and columns. */
  @Param({"256,256,256", "1024,1024,1024", "1024,384,1536", "77,768,320", "4096,40,4096"})
  public String shape = "";

  /** Threads of the library. */
  @Param({"1", "2"})
  public int threads;

  private @Nullable Scope scope;
  private @Nullable Tensor a;
  private @Nullable Tensor b;

  /** Makes the operands. */
  @Setup(Level.Trial)
  public void setUp() {
    Parallel.setThreads(threads);
    String[] n = shape.split(",", -1);
    scope = Scope.open();
    a = Rng.seed(1).normal(Integer.parseInt(n[0]), Integer.parseInt(n[1]));
    b = Rng.seed(2).normal(Integer.parseInt(n[1]), Integer.parseInt(n[2]));
  }

  /** Frees the operands. */
  @TearDown(Level.Trial)
  public void tearDown() {
    if (scope != null) {
      scope.close();
    }
  }

  /** {@code a b}, the result allocated and freed. */
  @Benchmark
  public void multiply() {
    Tensor x = a;
    Tensor y = b;
    if (x != null && y != null) {
      Scope.run(
          () -> {
            Num.matmul(x, y);
          });
    }
  }
}
