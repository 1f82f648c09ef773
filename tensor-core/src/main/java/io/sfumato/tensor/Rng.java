// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.RandomIntegers;
import java.nio.charset.StandardCharsets;

/**
 * A key of the counter-based generator Philox4x32-10 (Salmon et al., 2011). A draw is a pure
 * function of key, shape and element index: the same on every device and for any number of threads,
 * and the same again when a checkpointed region is recomputed. Two draws from one key are equal;
 * take a fork for each purpose, and {@link #step} for each iteration.
 *
 * @param key the 64-bit key
 */
public record Rng(long key) {
  /** The root of all streams of a seed. */
  public static Rng seed(long seed) {
    return new Rng(Philox.deriveKey(seed, 0));
  }

  /** An independent stream with a name. */
  public Rng fork(String name) {
    long hash = 0xcbf29ce484222325L; // FNV-1a
    for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
      hash = (hash ^ (b & 0xff)) * 0x100000001b3L;
    }
    return new Rng(Philox.deriveKey(key, hash));
  }

  /** An independent stream with a number, for loops. */
  public Rng step(long number) {
    return new Rng(Philox.deriveKey(key, number));
  }

  /** Standard normal values. */
  public Tensor normal(TensorSpec spec) {
    return Executor.run(new RandomFill(RandomFill.Kind.NORMAL, key, spec));
  }

  /** Standard normal F32 values on the CPU. */
  public Tensor normal(int... shape) {
    return normal(new TensorSpec(Shape.of(shape), DType.F32, Device.CPU));
  }

  /** Uniform values in [0, 1). */
  public Tensor uniform(TensorSpec spec) {
    return Executor.run(new RandomFill(RandomFill.Kind.UNIFORM, key, spec));
  }

  /** Uniform F32 values in [0, 1) on the CPU. */
  public Tensor uniform(int... shape) {
    return uniform(new TensorSpec(Shape.of(shape), DType.F32, Device.CPU));
  }

  /** I64 values on the CPU, uniform in [{@code low}, {@code high}). */
  public Tensor integers(long low, long high, int... shape) {
    return integers(low, high, new TensorSpec(Shape.of(shape), DType.I64, Device.CPU));
  }

  /** I64 values, uniform in [{@code low}, {@code high}). */
  public Tensor integers(long low, long high, TensorSpec spec) {
    return Executor.run(new RandomIntegers(low, high, key, spec));
  }

  /** BOOL values on the CPU, true with probability {@code p}. */
  public Tensor bernoulli(double p, int... shape) {
    return Num.lt(uniform(shape), p);
  }

  /** The numbers 0 to {@code n - 1} in random order (Fisher and Yates, from the last one down). */
  public int[] shuffled(int n) {
    int[] order = new int[n];
    for (int i = 0; i < n; i++) {
      order[i] = i;
    }
    for (int i = n - 1; i > 0; i--) {
      int other = (int) Philox.integer(key, i, 0, i + 1L);
      int moved = order[i];
      order[i] = order[other];
      order[other] = moved;
    }
    return order;
  }

  /**
   * The numbers 0 to {@code n - 1} in random order, I64 on the CPU: where each of them is in {@link
   * #shuffled}.
   */
  public Tensor permutation(int n) {
    int[] shuffled = shuffled(n);
    long[] order = new long[n];
    for (int i = 0; i < n; i++) {
      order[shuffled[i]] = i;
    }
    return Tensor.of(order, n);
  }
}
