// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class HostCollectivesTest {
  private static void inScope(Executable body) {
    try (Scope scope = Scope.open()) {
      body.execute();
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  private static Tensor values(int rank, DType type, int n) {
    return Rng.seed(1).step(rank).normal(n).to(type).contiguous();
  }

  /** What the sum must be: in the order of the ranks, in f64 or f32, then rounded. */
  private static double[] expected(int ranks, DType type, int n, Reduction reduction) {
    double[] sum = new double[n];
    for (int r = 0; r < ranks; r++) {
      double[] x = values(r, type, n).toDoubleArray();
      for (int i = 0; i < n; i++) {
        sum[i] = type == DType.F64 ? sum[i] + x[i] : (float) sum[i] + (float) x[i];
      }
    }
    double factor = reduction == Reduction.MEAN ? 1.0 / ranks : 1;
    for (int i = 0; i < n; i++) {
      sum[i] = type == DType.F64 ? sum[i] * factor : (float) sum[i] * (float) factor;
    }
    return Tensor.of(sum, type, Device.CPU, n).toDoubleArray();
  }

  @ParameterizedTest
  @CsvSource({
    "1,F32,10",
    "2,F32,10",
    "3,F32,4099",
    "5,F64,10",
    "8,F64,5000",
    "3,BF16,77",
    "4,F16,77",
    "7,F32,3",
    "4,F32,0"
  })
  void aSumIsTakenInTheOrderOfTheRanksOnEveryRank(int ranks, DType type, int n) {
    for (Reduction reduction : Reduction.values()) {
      List<double[]> results =
          ThreadRanks.run(
              ranks,
              c -> {
                Tensor x = values(c.rank(), type, n);
                c.allReduce(x, reduction).await();
                return x.toDoubleArray();
              });
      inScope(
          () -> {
            double[] wanted = expected(ranks, type, n, reduction);
            results.forEach(r -> assertArrayEquals(wanted, r));
          });
    }
  }

  @Test
  void reduceScatterGivesEachRankItsSegmentOfTheSumAndLeavesTheRest() {
    long[] counts = {2, 0, 5};
    List<double[]> results =
        ThreadRanks.run(
            3,
            c -> {
              Tensor x = values(c.rank(), DType.F64, 7);
              double[] before = x.toDoubleArray();
              c.reduceScatter(x, counts, Reduction.SUM).await();
              double[] after = x.toDoubleArray();
              int from = c.rank() == 2 ? 2 : 0;
              int to = c.rank() == 0 ? 2 : c.rank() == 1 ? 0 : 7;
              for (int i = 0; i < 7; i++) {
                if (i < from || i >= to) {
                  assertEquals(before[i], after[i]);
                }
              }
              return Arrays.copyOfRange(after, from, to);
            });
    inScope(
        () -> {
          double[] wanted = expected(3, DType.F64, 7, Reduction.SUM);
          assertArrayEquals(Arrays.copyOfRange(wanted, 0, 2), results.get(0));
          assertEquals(0, results.get(1).length);
          assertArrayEquals(Arrays.copyOfRange(wanted, 2, 7), results.get(2));
        });
  }

  @Test
  void gathersBroadcastsAndMessagesReachEverybody() {
    long[] counts = {1, 3, 0, 2};
    ThreadRanks.run(
        4,
        c -> {
          long[] own = new long[6];
          Arrays.fill(own, -1);
          long start = Segments.starts(counts)[c.rank()];
          for (int i = 0; i < counts[c.rank()]; i++) {
            own[(int) start + i] = 10L * c.rank() + i;
          }
          Tensor all = Tensor.of(own, 6);
          Pending gathered = c.allGather(all, counts);
          Tensor two = Tensor.of(new byte[] {(byte) c.rank()}, 1);
          Pending sent = c.broadcast(two, 2);
          gathered.await();
          sent.await();
          assertArrayEquals(new long[] {0, 10, 11, 12, 30, 31}, all.toLongArray());
          assertArrayEquals(new byte[] {2}, two.toByteArray());
          byte[][] messages = c.exchange("x".repeat(c.rank()).getBytes(StandardCharsets.UTF_8));
          for (int r = 0; r < 4; r++) {
            assertEquals(r, messages[r].length);
          }
          c.barrier();
          assertEquals(4, c.traffic().operations());
          return null;
        });
  }

  private static void assertFails(String message, Executable body) {
    String said = assertThrows(RuntimeException.class, body).getMessage();
    assertTrue(said.contains(message), said);
  }

  @Test
  void wrongTensorsAndCountsAreRefusedBeforeAnythingIsSent() {
    ThreadRanks.run(
        2,
        c -> {
          Tensor integers = Tensor.of(new long[] {1}, 1);
          Tensor transposed = Tensor.zeros(2, 3).transpose(0, 1);
          Tensor three = Tensor.zeros(3);
          assertFails("only floating values", () -> c.allReduce(integers, Reduction.SUM));
          assertFails("contiguous", () -> c.allReduce(transposed, Reduction.SUM));
          assertFails("2 ranks need as many segments", () -> c.allGather(three, new long[] {1, 1}));
          assertFails("0 to 1", () -> c.broadcast(three, 2));
          assertEquals(0, c.traffic().operations());
          return null;
        });
  }

  @Test
  void whatFailsOnceFailsForGoodAndSaysWhy() {
    ThreadRanks.run(
        1,
        c -> {
          ((HostCollectives) c).fail("rank 7 (process 1) is gone");
          Tensor x = Tensor.zeros(2);
          for (int i = 0; i < 2; i++) {
            CollectiveException e =
                assertThrows(
                    CollectiveException.class, () -> c.allReduce(x, Reduction.SUM).await());
            assertEquals("rank 7 (process 1) is gone", e.getMessage());
          }
          return null;
        });
  }

  @Test
  void noAbsentRankIsWaitedForForever() {
    AssertionError error =
        assertThrows(
            AssertionError.class,
            () ->
                ThreadRanks.run(
                    2,
                    0.05,
                    c -> {
                      if (c.rank() == 0) {
                        c.barrier();
                      }
                      return null;
                    }));
    assertTrue(error.getMessage().contains("rank 0 has waited"), error.getMessage());
    assertTrue(error.getMessage().contains("in a barrier for other ranks"), error.getMessage());
  }
}
