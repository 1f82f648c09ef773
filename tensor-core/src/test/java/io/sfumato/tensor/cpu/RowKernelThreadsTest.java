// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.sfumato.tensor.cpu.GroupNormKernel.Problem;
import io.sfumato.tensor.cpu.LayerNormKernel.Affine;
import io.sfumato.tensor.cpu.LayerNormKernel.Gradients;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Pointwise, row and normalisation kernels give the same bits for any number of threads. */
class RowKernelThreadsTest {
  private final int before = Parallel.threads();

  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Parallel.setThreads(before);
  }

  @FunctionalInterface
  private interface Computation {
    void run(List<NativeFloats> results);
  }

  private static void sameForAnyThreads(Computation computation) {
    List<NativeFloats> first = new ArrayList<>();
    for (int threads = 1; threads <= 3; threads++) {
      Parallel.setThreads(threads);
      List<NativeFloats> results = new ArrayList<>();
      computation.run(results);
      for (int i = 0; i < results.size(); i++) {
        if (threads > 1) {
          assertArrayEquals(first.get(i).toArray(), results.get(i).toArray(), "result " + i);
        }
      }
      if (threads == 1) {
        first = results;
      }
    }
  }

  @Test
  void pointwiseAndReductions() {
    int n = 100_003;
    NativeFloats x = NativeFloats.random(n, 1);
    sameForAnyThreads(
        results -> {
          NativeFloats y = new NativeFloats(n);
          Elementwise.unary(UnaryOp.GELU, x.address, y.address, n);
          NativeFloats columns = new NativeFloats(101);
          Reductions.columnSums(x.address, columns.address, n / 101, 101);
          float sum = (float) Reductions.sum(x.address, n);
          float dot = (float) Reductions.dot(x.address, y.address, n);
          float max = Reductions.max(x.address, n);
          results.addAll(List.of(y, columns, NativeFloats.of(sum, dot, max)));
        });
  }

  @Test
  void layerNorm() {
    int rows = 333;
    int n = 100;
    NativeFloats x = NativeFloats.random(rows * n, 1);
    NativeFloats dy = NativeFloats.random(rows * n, 2);
    NativeFloats w = NativeFloats.random(n, 3);
    sameForAnyThreads(
        results -> {
          NativeFloats y = new NativeFloats(rows * n);
          NativeFloats dx = new NativeFloats(rows * n);
          NativeFloats mean = new NativeFloats(rows);
          NativeFloats rstd = new NativeFloats(rows);
          NativeFloats dw = new NativeFloats(n);
          NativeFloats db = new NativeFloats(n);
          Affine a = Affine.of(rows, n, w.address, w.address);
          LayerNormKernel.forward(x.address, y.address, mean.address, rstd.address, a, 1e-5);
          LayerNormKernel.backward(
              x.address,
              dy.address,
              mean.address,
              rstd.address,
              a,
              new Gradients(dx.address, dw.address, db.address, 0, 0, 0));
          results.addAll(List.of(y, dx, mean, rstd, dw, db));
        });
  }

  @Test
  void groupNorm() {
    for (int batch : new int[] {1, 2, 5}) {
      Problem p = new Problem(batch, 40, 1700, 5, true);
      int n = batch * 40 * 1700;
      NativeFloats x = NativeFloats.random(n, 1);
      NativeFloats dy = NativeFloats.random(n, 2);
      NativeFloats w = NativeFloats.random(40, 3);
      sameForAnyThreads(
          results -> {
            NativeFloats y = new NativeFloats(n);
            NativeFloats dx = new NativeFloats(n);
            NativeFloats mean = new NativeFloats(batch * 5);
            NativeFloats rstd = new NativeFloats(batch * 5);
            NativeFloats dw = new NativeFloats(40);
            NativeFloats db = new NativeFloats(40);
            GroupNormKernel.forwardChannelsLast(
                x.address, y.address, w.address, 0, mean.address, rstd.address, p, 1e-5);
            GroupNormKernel.backwardChannelsLast(
                x.address,
                dy.address,
                w.address,
                0,
                mean.address,
                rstd.address,
                dx.address,
                dw.address,
                db.address,
                p);
            results.addAll(List.of(y, dx, mean, rstd, dw, db));
          });
    }
  }
}
