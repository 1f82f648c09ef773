// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.BinaryOp;
import jdk.incubator.vector.FloatVector;

/** One loop per pointwise function of two operands, over whole vectors only. */
final class BinaryVectors {
  private BinaryVectors() {}

  /** {@code y = a op b}; {@code n} is a multiple of the vector length. */
  static void run(BinaryOp op, long a, long b, long y, int n) {
    switch (op) {
      case ADD -> add(a, b, y, n);
      case SUB -> sub(a, b, y, n);
      case MUL -> mul(a, b, y, n);
      case DIV -> div(a, b, y, n);
      case MAX -> max(a, b, y, n);
      case MIN -> min(a, b, y, n);
      case POW -> PowVectors.pow(a, 1, b, 1, y, n);
    }
  }

  /** {@code y = a op s}. */
  static void right(BinaryOp op, long a, float s, long y, int n) {
    switch (op) {
      case ADD -> addRight(a, s, y, n);
      case SUB -> subRight(a, s, y, n);
      case MUL -> mulRight(a, s, y, n);
      case DIV -> divRight(a, s, y, n);
      case MAX -> maxRight(a, s, y, n);
      case MIN -> minRight(a, s, y, n);
      case POW -> {
        if (s == 2) {
          mul(a, a, y, n);
        } else if (s == -1) {
          divLeft(1, a, y, n);
        } else {
          PowVectors.pow(a, 1, equal(s), 0, y, n);
        }
      }
    }
  }

  /** {@code y = s op a}. */
  static void left(BinaryOp op, float s, long a, long y, int n) {
    switch (op) {
      case SUB -> subLeft(s, a, y, n);
      case DIV -> divLeft(s, a, y, n);
      case POW -> PowVectors.pow(equal(s), 0, a, 1, y, n);
      case ADD, MUL, MAX, MIN -> right(op, a, s, y, n);
    }
  }

  /** Address of a vector of equal numbers, valid until the calling thread asks again. */
  private static long equal(float s) {
    long pad = Lanes.lastPad();
    store(all(s), pad);
    return pad;
  }

  private static void add(long a, long b, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).add(load(b, i * 4L)), y, i * 4L);
    }
  }

  private static void sub(long a, long b, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).sub(load(b, i * 4L)), y, i * 4L);
    }
  }

  private static void mul(long a, long b, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).mul(load(b, i * 4L)), y, i * 4L);
    }
  }

  private static void div(long a, long b, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).div(load(b, i * 4L)), y, i * 4L);
    }
  }

  private static void max(long a, long b, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).max(load(b, i * 4L)), y, i * 4L);
    }
  }

  private static void min(long a, long b, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).min(load(b, i * 4L)), y, i * 4L);
    }
  }

  private static void addRight(long a, float s, long y, int n) {
    FloatVector right = all(s);
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).add(right), y, i * 4L);
    }
  }

  private static void subRight(long a, float s, long y, int n) {
    FloatVector right = all(s);
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).sub(right), y, i * 4L);
    }
  }

  private static void mulRight(long a, float s, long y, int n) {
    FloatVector right = all(s);
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).mul(right), y, i * 4L);
    }
  }

  private static void divRight(long a, float s, long y, int n) {
    FloatVector right = all(s);
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).div(right), y, i * 4L);
    }
  }

  private static void maxRight(long a, float s, long y, int n) {
    FloatVector right = all(s);
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).max(right), y, i * 4L);
    }
  }

  private static void minRight(long a, float s, long y, int n) {
    FloatVector right = all(s);
    for (int i = 0; i < n; i += N) {
      store(load(a, i * 4L).min(right), y, i * 4L);
    }
  }

  private static void subLeft(float s, long a, long y, int n) {
    FloatVector left = all(s);
    for (int i = 0; i < n; i += N) {
      store(left.sub(load(a, i * 4L)), y, i * 4L);
    }
  }

  private static void divLeft(float s, long a, long y, int n) {
    FloatVector left = all(s);
    for (int i = 0; i < n; i += N) {
      store(left.div(load(a, i * 4L)), y, i * 4L);
    }
  }
}
