// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** Tensors of random numbers, from Philox and from PyTorch's generator. */
class RandomTensorsTest {
  private static final Rng RNG = Rng.seed(3);

  @Test
  void integersStayInTheirRangeAndFillIt() {
    Scope.run(
        () -> {
          long[] x = RNG.integers(-2, 3, 40, 50).toLongArray();
          assertEquals(-2, LongStream.of(x).min().orElseThrow());
          assertEquals(2, LongStream.of(x).max().orElseThrow());
          for (int v = -2; v <= 2; v++) {
            int value = v;
            long n = LongStream.of(x).filter(i -> i == value).count();
            assertTrue(Math.abs(n - 400) < 5 * Math.sqrt(2000 * 0.2 * 0.8), v + ": " + n);
          }
        });
  }

  @Test
  void permutationHasEveryNumberOnceAndItsPlacesAreUniform() {
    Scope.run(
        () -> {
          long[] order = RNG.permutation(100).toLongArray();
          assertArrayEquals(RNG.permutation(100).toLongArray(), order);
          assertFalse(Arrays.equals(RNG.step(1).permutation(100).toLongArray(), order));
          long[] sorted = order.clone();
          Arrays.sort(sorted);
          assertArrayEquals(LongStream.range(0, 100).toArray(), sorted);
          int[][] counts = new int[4][4];
          for (int i = 0; i < 4000; i++) {
            long[] p = RNG.step(i).permutation(4).toLongArray();
            for (int k = 0; k < 4; k++) {
              counts[k][(int) p[k]]++;
            }
          }
          for (int[] row : counts) {
            for (int n : row) {
              assertTrue(Math.abs(n - 1000) < 5 * Math.sqrt(4000 * 0.25 * 0.75), "count " + n);
            }
          }
        });
  }

  @Test
  void shuffledIsTheSameOrderFromTheOtherSide() {
    Scope.run(
        () -> {
          long[] order = Rng.seed(7).step(3).permutation(12).toLongArray();
          assertArrayEquals(new long[] {7, 3, 6, 8, 0, 4, 11, 10, 2, 9, 1, 5}, order);
          int[] shuffled = Rng.seed(7).step(3).shuffled(12);
          for (int i = 0; i < 12; i++) {
            assertEquals(i, order[shuffled[i]]);
          }
        });
  }

  @Test
  void bernoulliHasItsProbability() {
    Scope.run(
        () -> {
          Tensor x = RNG.bernoulli(0.3, 10_000);
          assertEquals(DType.BOOL, x.dtype());
          double mean = x.to(DType.F32).mean().item();
          assertTrue(Math.abs(mean - 0.3) < 5 * Math.sqrt(0.21 / 10_000), "mean " + mean);
        });
  }

  @Test
  void dropoutDependsOnPlaceAndKeyAloneNotOnLayoutOrType() {
    Scope.run(
        () -> {
          Tensor x = RNG.fork("x").normal(2, 8, 16, 16);
          Tensor y = NN.dropout(x, 0.25, RNG);
          assertArrayEquals(
              y.toFloatArray(), NN.dropout(Shaping.channelsLast(x), 0.25, RNG).toFloatArray());
          assertArrayEquals(
              Num.ne(y, 0).toByteArray(),
              Num.ne(NN.dropout(x.to(DType.F64), 0.25, RNG), 0).toByteArray());
          double kept = Num.ne(y, 0).to(DType.F32).mean().item();
          assertTrue(Math.abs(kept - 0.75) < 5 * Math.sqrt(0.1875 / 4096), "kept " + kept);
          assertSame(x, NN.dropout(x, 0, RNG));
        });
  }

  @Test
  void torchTensorsAreThoseOfTheGenerator() {
    Scope.run(
        () -> {
          TorchGenerator numbers = new TorchGenerator(7);
          float[] normal = numbers.randn(24);
          float[] uniform = numbers.rand(6);
          long[] integers = numbers.randint(-3, 5, 6);
          long[] order = numbers.randperm(9);
          TorchGenerator generator = new TorchGenerator(7);
          Tensor x = TorchRandom.randn(generator, 2, 3, 4);
          assertEquals(Shape.of(2, 3, 4), x.shape());
          assertArrayEquals(normal, x.toFloatArray());
          assertArrayEquals(uniform, TorchRandom.rand(generator, 2, 3).toFloatArray());
          assertArrayEquals(integers, TorchRandom.randint(generator, -3, 5, 3, 2).toLongArray());
          assertArrayEquals(order, TorchRandom.randperm(generator, 9).toLongArray());
        });
  }
}
