// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
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

/**
 * What the benchmarks of kernels have in common: operands made once, results allocated and freed in
 * the timed region, each in a JVM of its own. A subclass has a parameter {@code shape}, an enum of
 * {@link Shapes}, and its methods are known to {@link #work}.
 */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public abstract class KernelBenchmark {
  /** Threads of the library. */
  @Param({"1", "2"})
  public int threads;

  /** The operands. */
  protected Tensor[] t = {};

  private @Nullable Scope scope;
  private long seed;

  /** Makes the operands. */
  protected abstract Tensor[] operands();

  /**
   * What a benchmark method has to do at this shape.
   *
   * @throws IllegalArgumentException if there is no such method
   */
  public abstract Work work(String method);

  /** The exception for a method that is not there. */
  protected static IllegalArgumentException unknown(String method) {
    return new IllegalArgumentException("there is no benchmark method " + method);
  }

  /** Closes what is no tensor. */
  protected void release() {}

  /** Sets threads and makes the operands. */
  @Setup(Level.Trial)
  public void open() {
    Parallel.setThreads(threads);
    scope = Scope.open();
    t = operands();
  }

  /** Frees the operands. */
  @TearDown(Level.Trial)
  public void close() {
    release();
    if (scope != null) {
      scope.close();
    }
  }

  /** Normal values, others at each call. */
  protected Tensor random(int... shape) {
    return Rng.seed(seed++).normal(shape);
  }

  /** Runs a kernel, and frees what it made. */
  protected static void run(Supplier<Tensor> kernel) {
    Scope.run(
        () -> {
          Tensor unused = kernel.get();
        });
  }
}
