// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** {@link GemmTile} in plain Java: four "lanes" of one float each, two vectors wide. */
final class ScalarGemmTile implements GemmTile {
  private static final int LANES = 4;

  @Override
  public int maxRows() {
    return 4;
  }

  @Override
  public int nextRows(int left) {
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
  }

  @Override
  public int lanes() {
    return LANES;
  }

  @Override
  public int maxVectors() {
    return 2;
  }

  @Override
  public void store(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long c,
      long ldc) {
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) {
        long row = a + 4 * r * rowStrideA;
        dot4(k, row, 4 * colStrideA, b + 16L * v, 4 * ldb, 0, c + 4 * r * ldc + 16L * v);
      }
    }
  }

  @Override
  public void sum(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long d,
      long ldd,
      long c,
      long ldc) {
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) {
        long row = a + 4 * r * rowStrideA;
        long addend = d + 4 * r * ldd + 16L * v;
        dot4(k, row, 4 * colStrideA, b + 16L * v, 4 * ldb, addend, c + 4 * r * ldc + 16L * v);
      }
    }
  }

  /** Four columns of one row: {@code c[j] = d[j] + sum_p a[p] b[p, j]}; no d if it is 0. */
  private static void dot4(int k, long a, long aStep, long b, long bStep, long d, long c) {
    float s0 = 0;
    float s1 = 0;
    float s2 = 0;
    float s3 = 0;
    for (int p = 0; p < k; p++) {
      float x = Memory.getFloat(a);
      s0 += x * Memory.getFloat(b);
      s1 += x * Memory.getFloat(b + 4);
      s2 += x * Memory.getFloat(b + 8);
      s3 += x * Memory.getFloat(b + 12);
      a += aStep;
      b += bStep;
    }
    if (d != 0) {
      s0 += Memory.getFloat(d);
      s1 += Memory.getFloat(d + 4);
      s2 += Memory.getFloat(d + 8);
      s3 += Memory.getFloat(d + 12);
    }
    Memory.putFloat(c, s0);
    Memory.putFloat(c + 4, s1);
    Memory.putFloat(c + 8, s2);
    Memory.putFloat(c + 12, s3);
  }

  @Override
  public void copyRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    for (int r = 0; r < rows; r++) {
      Memory.copy(from + 4 * r * fromStride, to + 4 * r * toStride, 4L * n);
    }
  }

  @Override
  public void addRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    for (int r = 0; r < rows; r++) {
      for (long i = 0; i < 4L * n; i += 4) {
        Memory.putFloat(to + i, Memory.getFloat(to + i) + Memory.getFloat(from + i));
      }
      from += 4 * fromStride;
      to += 4 * toStride;
    }
  }
}
