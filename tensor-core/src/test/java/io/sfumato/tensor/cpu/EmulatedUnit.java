// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.machine.ShortExp;

/**
 * A {@link MatrixUnit} as Intel's manual describes its instructions (TDPBF16PS: sums of even and of
 * odd elements apart, each step rounded once, denormal numbers taken for zero).
 */
public final class EmulatedUnit implements MatrixUnit {
  private static final int ROW = ROW_BYTES;
  private static final int[][] PRODUCTS = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}};

  @Override
  public boolean split(
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      long partStep,
      int lanes,
      int secondLanes,
      long ahead) {
    boolean fit = true;
    int[] low = new int[3];
    int[] high = new int[3];
    for (int block = 0; block < blocks; block++) {
      for (int r = 0; r < rows; r++) {
        for (int j = 0; j < SIDE; j++) {
          long at = from + block * blockStep + r * step + 4L * j;
          fit &= parts(j < lanes ? Memory.getFloat(at) : 0, low);
          fit &= parts(j < secondLanes ? Memory.getFloat(at + second) : 0, high);
          for (int part = 0; part < 3; part++) {
            long pair = to + block * toStep + part * partStep + r * ROW + 4L * j;
            Memory.putInt(pair, low[part] >>> 16 | high[part]);
          }
        }
      }
    }
    return fit;
  }

  @Override
  public void exponentials(
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      long to,
      int lanes,
      int secondLanes) {
    int[] low = new int[3];
    int[] high = new int[3];
    exponentials(
        blocks,
        rows,
        from,
        step,
        shifts,
        sums,
        lanes,
        secondLanes,
        (block, r, j, first, second) -> {
          parts(first, low);
          parts(second, high);
          for (int part = 0; part < 3; part++) {
            long pair = to + (long) block * BLOCK_BYTES + part * TILE_BYTES + r * ROW + 4L * j;
            Memory.putInt(pair, low[part] >>> 16 | high[part]);
          }
        });
  }

  @Override
  public void halfExponentials(
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      long to,
      int lanes,
      int secondLanes) {
    exponentials(
        blocks,
        rows,
        from,
        step,
        shifts,
        sums,
        lanes,
        secondLanes,
        (block, r, j, first, second) -> {
          long row = to + (long) block * TILE_BYTES + r * ROW;
          Memory.putShort(row + 2L * j, narrowed(first));
          Memory.putShort(row + 2L * (j + SIDE), narrowed(second));
        });
  }

  /** Sees two exponentials. */
  private interface Pair {
    void at(int block, int row, int j, float first, float second);
  }

  private static void exponentials(
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      int lanes,
      int secondLanes,
      Pair body) {
    for (int r = 0; r < rows; r++) {
      float shift = Memory.getFloat(shifts + 4L * r);
      for (int block = 0; block < blocks; block++) {
        for (int j = 0; j < SIDE; j++) {
          long at = from + r * step + 4L * (2 * SIDE * block + j);
          long sum = sums + r * ROW + 4L * j;
          float first = j < lanes ? exponential(Memory.getFloat(at) - shift) : 0;
          float second = j < secondLanes ? exponential(Memory.getFloat(at + 4 * SIDE) - shift) : 0;
          Memory.putFloat(sum, Memory.getFloat(sum) + first);
          Memory.putFloat(sum, Memory.getFloat(sum) + second);
          body.at(block, r, j, first, second);
        }
      }
    }
  }

  /** To bfloat16, to nearest, ties to even, denormal numbers to zero. */
  private static short narrowed(float x) {
    int bits = Float.floatToRawIntBits(flushed(x));
    return (short) (Float.isNaN(x) ? bits >>> 16 | 0x40 : bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
  }

  @Override
  public void splitRows(
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      long part,
      int lanes,
      int secondLanes) {
    split(false, blocks, rows, from, second, step, blockStep, to, toStep, part, lanes, secondLanes);
  }

  @Override
  public void splitPairs(
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      long part,
      int lanes,
      int secondLanes) {
    split(true, blocks, rows, from, second, step, blockStep, to, toStep, part, lanes, secondLanes);
  }

  private static void split(
      boolean pairs,
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      long part,
      int lanes,
      int secondLanes) {
    for (int i = 0; i < blocks * rows; i++) {
      for (int j = 0; j < 2 * SIDE; j++) {
        int lane = j % SIDE;
        long at = from + i / rows * blockStep + i % rows * step + 4L * lane;
        boolean there = j < SIDE ? lane < lanes : lane < secondLanes;
        float x = there ? Memory.getFloat(at + (j < SIDE ? 0 : second)) : 0;
        float first = Float.intBitsToFloat(rounded(x));
        int place = pairs ? 2 * lane + j / SIDE : j;
        long row = to + i / rows * toStep + (long) i % rows * ROW + 2L * place;
        Memory.putShort(row, narrowed(first));
        Memory.putShort(row + part, narrowed(x - first));
      }
    }
  }

  private static float exponential(float v) {
    float z = Math.fma(v, ShortExp.LOG2_E, ShortExp.ROUNDER);
    float r = Math.fma(z - ShortExp.ROUNDER, -ShortExp.LN2, v);
    float e = ShortExp.S3;
    for (float c : new float[] {ShortExp.S2, ShortExp.S1, ShortExp.S0, 1, 1}) {
      e = Math.fma(e, r, c);
    }
    int power = (Float.floatToRawIntBits(z) << 23) + ShortExp.ONE_BITS;
    return v < ShortExp.LOWEST ? 0 : e * Float.intBitsToFloat(power);
  }

  private static boolean parts(float x, int[] parts) {
    parts[0] = rounded(x);
    float rest = x - Float.intBitsToFloat(parts[0]);
    parts[1] = rounded(rest);
    float last = rest - Float.intBitsToFloat(parts[1]);
    parts[2] = Float.floatToRawIntBits(last) & 0xFFFF0000;
    return x == 0 || Math.abs(x) >= 0x1p-103f && Math.abs(x) < 0x1p127f;
  }

  private static int rounded(float x) {
    return Float.floatToRawIntBits(x) + 0x8000 & 0xFFFF0000;
  }

  @Override
  public void multiply(
      int slabs,
      long slabTable,
      int steps,
      long stepTable,
      long rowA,
      long partA,
      int panels,
      long b,
      long panelBytes,
      long partB,
      long start,
      long rowC) {
    multiply(
        PRODUCTS,
        slabs,
        slabTable,
        steps,
        stepTable,
        rowA,
        partA,
        panels,
        b,
        panelBytes,
        partB,
        start,
        rowC);
  }

  @Override
  public void multiplyHalves(
      int slabs,
      long slabTable,
      int steps,
      long stepTable,
      long rowA,
      int panels,
      long b,
      long panelBytes,
      long start,
      long rowC) {
    multiply(
        new int[1][2],
        slabs,
        slabTable,
        steps,
        stepTable,
        rowA,
        0,
        panels,
        b,
        panelBytes,
        0,
        start,
        rowC);
  }

  private static void multiply(
      int[][] products,
      int slabs,
      long slabTable,
      int steps,
      long stepTable,
      long rowA,
      long partA,
      int panels,
      long b,
      long panelBytes,
      long partB,
      long start,
      long rowC) {
    float[] left = new float[2 * SIDE];
    for (int tile = 0; tile < slabs * panels; tile++) {
      int panel = tile / slabs;
      long entry = slabTable + (long) tile % slabs * ENTRY_BYTES;
      for (int m = 0; m < SIDE; m++) {
        long c = Memory.getLong(entry + 8) + m * rowC + 4L * SIDE * panel;
        long from = start == ADD ? c : start + 4L * SIDE * panel;
        float[] sums = new float[SIDE];
        for (int n = 0; n < SIDE && start != 0; n++) {
          sums[n] = Memory.getFloat(from + 4L * n);
        }
        for (int step = 0; step < steps; step++) {
          long distances = stepTable + (long) step * ENTRY_BYTES;
          for (int[] product : products) {
            long blockA = Memory.getLong(entry) + Memory.getLong(distances);
            long rowOfA = blockA + product[0] * partA + m * rowA;
            long blockB = b + panel * panelBytes + Memory.getLong(distances + 8);
            for (int k = 0; k < 2 * SIDE; k++) {
              left[k] = bfloat16(rowOfA + 2L * k);
            }
            for (int n = 0; n < SIDE; n++) {
              sums[n] = dot(left, blockB + product[1] * partB + 4L * n, sums[n]);
            }
          }
        }
        for (int n = 0; n < SIDE; n++) {
          Memory.putFloat(c + 4L * n, sums[n]);
        }
      }
    }
  }

  private static float dot(float[] left, long column, float sum) {
    float even = 0;
    float odd = 0;
    for (int k = 0; k < SIDE; k++) {
      long pair = column + (long) k * ROW;
      even = flushed(Math.fma(left[2 * k], bfloat16(pair), even));
      odd = flushed(Math.fma(left[2 * k + 1], bfloat16(pair + 2), odd));
    }
    return flushed(flushed(sum) + flushed(even + odd));
  }

  private static float bfloat16(long at) {
    return flushed(Float.intBitsToFloat(Memory.getShort(at) << 16));
  }

  private static float flushed(float x) {
    return Math.abs(x) < Float.MIN_NORMAL ? Math.copySign(0, x) : x;
  }

  @Override
  public void rows(
      int blocks, int rows, long from, long step, long blockStep, long to, long toStep, int lanes) {
    for (int i = 0; i < blocks * rows; i++) {
      for (int j = 0; j < 2 * SIDE; j++) {
        long at = from + i / rows * blockStep + i % rows * step + 2L * j;
        short value = j < lanes ? Memory.getShort(at) : 0;
        Memory.putShort(to + i / rows * toStep + (long) i % rows * ROW + 2L * j, value);
      }
    }
  }

  @Override
  public void pairs(
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      int lanes,
      int secondLanes,
      long ahead) {
    for (int i = 0; i < blocks * rows; i++) {
      for (int j = 0; j < SIDE; j++) {
        long at = from + i / rows * blockStep + i % rows * step + 2L * j;
        long pair = to + i / rows * toStep + (long) i % rows * ROW + 4L * j;
        Memory.putShort(pair, j < lanes ? Memory.getShort(at) : 0);
        Memory.putShort(pair + 2, j < secondLanes ? Memory.getShort(at + second) : 0);
      }
    }
  }

  @Override
  public void transpose(
      int blocks, long from, long step, long blockStep, long to, long toStep, int lanes) {
    for (int block = 0; block < blocks; block++) {
      for (int r = 0; r < SIDE; r++) {
        for (int j = 0; j < 2 * SIDE; j++) {
          long at = from + block * blockStep + r * step + 2L * j;
          long pair = to + block * toStep + (long) (j / 2) * ROW + 4L * r;
          Memory.putShort(pair + 2 * (j % 2), j < lanes ? Memory.getShort(at) : 0);
        }
      }
    }
  }
}
