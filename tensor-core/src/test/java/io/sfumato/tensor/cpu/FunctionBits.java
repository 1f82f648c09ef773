// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * What pointwise functions give, bit for bit: a program that prints one line per function. Started
 * in JVMs that compile differently, it must print the same.
 */
final class FunctionBits {
  /** No multiple of a vector, and more than a block of it. */
  private static final int COUNT = 1100;

  /** Before functions with a sum over a row, whose order depends on the length of vectors. */
  static final String ROW = "row ";

  private FunctionBits() {}

  /** Arguments: how often each function is computed; the last time counts. */
  public static void main(String[] args) {
    lines(Integer.parseInt(args[0])).forEach(System.out::println);
  }

  static List<String> lines(int times) {
    ElementwiseLoops loops = Simd.provider().loops().elementwise();
    NativeFloats x = new NativeFloats(COUNT);
    NativeFloats other = new NativeFloats(COUNT);
    NativeFloats y = new NativeFloats(COUNT);
    Random random = new Random(5);
    for (int i = 0; i < COUNT; i++) {
      int kind = i % 4;
      float any = Float.intBitsToFloat(random.nextInt());
      float near = (float) random.nextGaussian();
      x.set(i, kind == 0 ? any : kind == 1 ? 1000 * near : kind == 2 ? 3 * near : Math.abs(near));
      other.set(i, kind == 0 ? Float.intBitsToFloat(random.nextInt()) : 2 * near);
    }
    List<String> lines = new ArrayList<>();
    for (UnaryOp op : UnaryOp.values()) {
      repeat(times, () -> loops.unary(op, x.address, y.address, COUNT));
      lines.add(op + " " + hash(y));
    }
    for (UnaryGradient op : UnaryGradient.values()) {
      repeat(times, () -> loops.gradient(op, x.address, other.address, y.address, COUNT));
      lines.add(op + " gradient " + hash(y));
    }
    for (BinaryOp op : BinaryOp.values()) {
      repeat(times, () -> loops.binary(op, x.address, other.address, y.address, COUNT));
      lines.add(op + " " + hash(y));
    }
    NativeFloats finite = NativeFloats.random(COUNT, 6, 0, 4);
    repeat(times, () -> loops.shiftedExp(-1, 2, finite.address, y.address, COUNT));
    lines.add("shiftedExp " + hash(y));
    RowLoops rows = Simd.provider().loops().rows();
    repeat(times, () -> rows.softmax(finite.address, y.address, 1, COUNT));
    lines.add(ROW + "softmax " + hash(y));
    repeat(times, () -> rows.logSoftmax(finite.address, y.address, 1, COUNT));
    lines.add(ROW + "logSoftmax " + hash(y));
    repeat(times, () -> y.set(0, rows.logSumExp(finite.address, COUNT)));
    lines.add(ROW + "logSumExp " + hash(y));
    return lines;
  }

  private static void repeat(int times, Runnable loop) {
    for (int i = 0; i < times; i++) {
      loop.run();
    }
  }

  /** All NaN count as one. */
  private static String hash(NativeFloats y) {
    long hash = 1;
    for (int i = 0; i < y.n; i++) {
      hash = hash * 1_000_003 + Float.floatToIntBits(y.get(i));
    }
    return Long.toHexString(hash);
  }
}
