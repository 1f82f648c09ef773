// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.integers;
import static io.sfumato.cuda.DeviceAgreement.normal;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.testing.DeviceArray;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.Gather;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.PutAlong;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.ScatterAdd;
import io.sfumato.tensor.ops.Sort;
import io.sfumato.tensor.ops.TakeAlong;
import io.sfumato.tensor.ops.TopK;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** Choosing, placing, adding by index and sorting, beyond what one block does. */
class IndexKernelsTest {
  private static final double F32 = 2e-6;

  @Test
  void rowsOfATable() throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor index = integers(DType.I64, 1, 500, 301);
      check(0, new IndexSelect(0), normal(DType.F32, 2, 500, 96), index);
      check(0, new IndexSelect(0), normal(DType.BF16, 3, 500, 37), index);
      check(0, new IndexSelect(1), normal(DType.F32, 4, 3, 500, 6), index);
      check(0, new IndexSelect(1), integers(DType.U8, 5, 250, 7, 500), index.to(DType.I32));
    }
  }

  @Test
  void additionsToRows() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int n : new int[] {1, 301, 2049, 5000}) {
        for (int bound : new int[] {1, 7, 300}) { // all to one row, to few, to most
          Tensor index = integers(DType.I64, n + bound, bound, n);
          check(F32, new IndexAdd(0, 300), normal(DType.F32, 6, n, 8), index);
        }
      }
      Tensor few = integers(DType.I32, 9, 5, 40);
      check(F32, new IndexAdd(0, 5), normal(DType.BF16, 10, 40, 300), few);
      check(F32, new IndexAdd(1, 5), normal(DType.F32, 11, 3, 40, 2), few);
      check(F32, new IndexAdd(1, 5), normal(DType.F64, 12, 3, 40), few);
    }
  }

  @Test
  void additionsToElements() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int bound : new int[] {1, 3, 90}) {
        Tensor index = integers(DType.I64, bound, bound, 4, 900);
        Tensor source = normal(DType.F32, 13, 4, 900);
        check(F32, new ScatterAdd(1), normal(DType.F32, 14, 4, 90), index, source);
      }
      Tensor wide = integers(DType.I64, 7, 70000, 3000); // three digits
      check(F32, new ScatterAdd(0), normal(DType.F32, 8, 70000), wide, normal(DType.F32, 12, 3000));
      Tensor rows = integers(DType.I64, 15, 6, 50, 7);
      check(
          F32, new ScatterAdd(0), normal(DType.F32, 16, 6, 9), rows, normal(DType.F32, 17, 50, 7));
      check(
          F32, new ScatterAdd(0), normal(DType.F16, 18, 6, 7), rows, normal(DType.F16, 19, 50, 7));
      check(
          0,
          new ScatterAdd(0),
          integers(DType.I32, 20, 9, 6, 7),
          rows,
          integers(DType.I32, 21, 9, 50, 7));
    }
  }

  @Test
  void elements() throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor x = normal(DType.F32, 22, 5, 40, 30);
      check(0, new Gather(1), x, integers(DType.I64, 23, 40, 4, 70, 30));
      check(0, new Gather(2), x.transpose(1, 2), integers(DType.I32, 24, 40, 5, 30, 3));
      check(0, new TakeAlong(0), x, integers(DType.I64, 25, 5, 9, 40, 30));
      Tensor repeated = integers(DType.I64, 26, 11, 5, 8, 30); // the last one stays
      check(0, new PutAlong(1, 11), normal(DType.F32, 27, 5, 8, 30), repeated);
      check(0, new PutAlong(0, 11), integers(DType.U8, 28, 200, 5, 8, 30), repeated);
    }
  }

  @Test
  void sortedLines() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int n : new int[] {1, 2, 2048, 5000}) {
        sorted(DType.F32, n);
      }
      for (DType dtype : DType.values()) {
        if (dtype != DType.F32 && dtype != DType.BOOL) {
          sorted(dtype, 100);
          sorted(dtype, 2049);
        }
      }
      Tensor distinct = normal(DType.F32, 29, 2600, 3);
      check(0, new Sort(0, true), distinct);
      check(0, new TopK(2600, 0, false), distinct);
      check(0, new Sort(1, false), normal(DType.F32, 30, 3, 40, 5));
    }
  }

  private static void sorted(DType dtype, int n) throws Throwable {
    Tensor x = integers(dtype, n, 200, 2, n);
    check(0, new Sort(1, false), dtype == DType.U8 ? x : x.sub(99));
    check(0, new TopK(Math.min(n, 5), 1, true), x);
  }

  @Test
  void specialValuesSort() throws Throwable {
    double[] special = {0.0, -0.0, Double.NaN, Double.POSITIVE_INFINITY, -1, -0.0, 0.0, Double.NaN};
    double[] v = new double[3000];
    for (int i = 0; i < v.length; i++) {
      v[i] = i % 3 == 0 ? special[i / 3 % 8] : i % 17 == 0 ? Double.NEGATIVE_INFINITY : i % 29 - 14;
    }
    try (Scope scope = Scope.open()) {
      for (DType dtype : new DType[] {DType.F32, DType.F16, DType.F64}) {
        for (int n : new int[] {900, 3000}) {
          Tensor x = Tensor.of(java.util.Arrays.copyOf(v, n), dtype, Device.CPU, n);
          check(0, new Sort(0, false), x);
          check(0, new Sort(0, true), x);
        }
      }
    }
  }

  /** A sort of that many tiles takes too long here, so the kernel that goes on with them alone. */
  @Test
  void countsOfMoreTilesThanABlockHasThreads() throws Throwable {
    int tiles = 600;
    int digits = 3;
    int[] count = new int[digits * tiles];
    int[] before = new int[count.length];
    int[] total = new int[digits];
    for (int i = 0; i < count.length; i++) {
      count[i] = i * 37 % 101;
      before[i] = total[i / tiles];
      total[i / tiles] += count[i];
    }
    EmulatorControl.inAllOrders(
        () -> {
          try (DeviceArray counts = DeviceArray.of(MemorySegment.ofArray(count));
              DeviceArray totals = new DeviceArray(4L * digits)) {
            Gpu.of(0)
                .kernel("sort", "radix_scan")
                .grid(digits)
                .block(256)
                .pointer(counts.address())
                .pointer(totals.address())
                .i32(tiles)
                .run();
            assertArrayEquals(before, counts.ints());
            assertArrayEquals(total, totals.ints());
          }
        });
  }

  @Test
  void anIndexOutOfRangeIsReported() {
    Tensor[] index = new Tensor[1];
    try (Scope scope = Scope.open()) {
      Tensor x = normal(DType.F32, 31, 5, 4);
      index[0] = Tensor.of(new long[] {0, 5, 2, 3}, 4);
      reports(5, 5, new IndexSelect(0), x, index[0]);
      reports(5, 5, new IndexAdd(1, 5), x, index[0]);
      Tensor negative = Tensor.of(new long[] {0, 1, -2, 3}, 1, 4);
      reports(-2, 5, new Gather(0), x, negative);
      reports(-2, 5, new TakeAlong(0), x, negative);
      reports(-2, 7, new PutAlong(0, 7), x.slice(0, 0, 1), negative);
      reports(-2, 5, new ScatterAdd(0), x, negative, x.slice(0, 0, 1));
      CrossEntropy loss = new CrossEntropy(-100, 0, Reduction.MEAN);
      reports(4, 4, loss, x, Tensor.of(new long[] {0, 1, -100, 3, 4}, 5));
    }
  }

  private static void reports(long value, long limit, Op op, Tensor... in) {
    Scope.run(
        () -> {
          ShapeException e =
              assertThrows(
                  ShapeException.class,
                  () -> {
                    DeviceAgreement.run(op, in);
                    Backends.of(new Device("cuda", 0)).synchronize();
                  },
                  op.name());
          assertTrue(e.getMessage().contains("below " + limit), e.getMessage());
          assertTrue(e.getMessage().contains("got " + value), e.getMessage());
        });
    Backends.of(new Device("cuda", 0)).synchronize(); // nothing is left over
  }
}
