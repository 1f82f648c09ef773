// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.cpu.AttentionProblem.Mask;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention, forward and backward, of both providers against a direct double computation. */
class AttentionKernelTest {
  private enum Masking {
    NONE,
    CAUSAL,
    ADDEND,
    BOOLEAN,
    CAUSAL_BOOLEAN
  }

  private static final Masking[] LARGE_MASKINGS = {Masking.NONE, Masking.CAUSAL_BOOLEAN};

  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Loops.use(Simd.provider());
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1, 1, 1, 1",
    "1, 2, 5, 7, 3",
    "2, 1, 48, 64, 64",
    "1, 2, 50, 33, 40",
    "1, 1, 100, 300, 72",
    "2, 2, 97, 257, 16",
    "1, 1, 130, 520, 80",
    "1, 3, 33, 77, 160",
    "1, 1, 60, 260, 256",
    "1, 1, 3, 1000, 24",
    "1, 1, 200, 3, 8",
    "17, 1, 49, 17, 32",
    "4, 4, 110, 300, 32"
  })
  void followsDoublePrecision(int batch, int heads, int queries, int keys, int dim) {
    boolean small = (long) batch * queries * keys * dim < 500_000;
    for (SimdProvider provider : NativeFloats.productProviders()) {
      Loops.use(provider);
      for (Masking masking : small ? Masking.values() : LARGE_MASKINGS) {
        new Case(batch, heads, queries, keys, dim, masking, false).check();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 3, 60, 32", "1, 2, 260, 24", "2, 2, 17, 7"})
  void readsSlicesOfOneFusedProduct(int batch, int heads, int length, int dim) {
    for (SimdProvider provider : NativeFloats.productProviders()) {
      Loops.use(provider);
      new Case(batch, heads, length, length, dim, Masking.NONE, true).check();
      new Case(batch, heads, length, length, dim, Masking.CAUSAL, true).check();
    }
  }

  @Test
  void aQueryThatSeesNoKeyGetsZero() {
    for (SimdProvider provider : NativeFloats.productProviders()) {
      Loops.use(provider);
      Case c = new Case(1, 1, 5, 20, 8, Masking.BOOLEAN, false);
      for (int j = 0; j < 20; j++) {
        Memory.putByte(c.maskBytes.address + 2 * 20 + j, (byte) 0);
      }
      c.check();
      for (int d = 0; d < 8; d++) {
        assertEquals(0f, c.out.get(2 * 8 + d));
      }
      assertEquals(Float.NEGATIVE_INFINITY, c.lse.get(2));
    }
  }

  /** Some are denormal, and some too small for a matrix unit. */
  @Test
  void tinyProbabilities() {
    for (SimdProvider provider : NativeFloats.productProviders()) {
      Loops.use(provider);
      Case c = new Case(1, 1, 130, 260, 32, Masking.ADDEND, false);
      for (int j = 0; j < 260; j += 3) {
        c.addends.set(j, j % 2 == 0 ? -72 : -95);
      }
      c.check();
    }
  }

  /** Where a matrix unit cannot take an operand, its head is computed without. */
  @Test
  void operandsThatCannotBeSplit() {
    for (SimdProvider provider : NativeFloats.productProviders()) {
      Loops.use(provider);
      for (int operand = 0; operand < 4; operand++) {
        Case c = new Case(2, 2, 140, 270, 32, Masking.NONE, false);
        NativeFloats x = List.of(c.q, c.k, c.v, c.dout).get(operand);
        x.set(x.n / 2 + 7, 3e-36f);
        x.set(x.n - 1, -2e-39f);
        c.check();
      }
    }
  }

  @Test
  void withoutKeysTheOutputIsZero() {
    Case c = new Case(1, 1, 5, 0, 8, Masking.NONE, false);
    c.check();
  }

  @Test
  void resultsDoNotDependOnTheNumberOfThreads() {
    sameOnAnyNumberOfThreads(1, 7, 20);
    Loops.use(NativeFloats.productProviders().getLast());
    sameOnAnyNumberOfThreads(1, 7);
  }

  private static void sameOnAnyNumberOfThreads(int... batches) {
    int before = Parallel.threads();
    try {
      for (int batch : batches) {
        float[][] first = null;
        for (int threads = 1; threads <= 3; threads++) {
          Parallel.setThreads(threads);
          Case c = new Case(batch, 1, 130, 600, 32, Masking.ADDEND, false);
          c.run();
          float[][] results = {
            c.out.toArray(), c.dq.toArray(), c.dk.toArray(), c.dv.toArray(), c.lse.toArray()
          };
          if (first == null) {
            first = results;
          } else {
            for (int i = 0; i < results.length; i++) {
              assertArrayEquals(first[i], results[i]);
            }
          }
        }
      }
    } finally {
      Parallel.setThreads(before);
    }
  }

  /** One problem with its operands and the direct computation. */
  private static final class Case {
    final AttentionProblem p;
    final Matrix mq;
    final Matrix mk;
    final Matrix mv;
    final Matrix mo;
    final NativeFloats q;
    final NativeFloats k;
    final NativeFloats v;
    final NativeFloats dout;
    final NativeFloats out;
    final NativeFloats lse;
    final NativeFloats dq;
    final NativeFloats dk;
    final NativeFloats dv;
    final NativeFloats maskBytes;
    final NativeFloats addends;
    final boolean fused;
    final String what;

    Case(int b, int h, int lq, int lk, int d, Masking masking, boolean fused) {
      this.fused = fused;
      boolean causal = masking == Masking.CAUSAL || masking == Masking.CAUSAL_BOOLEAN;
      boolean bool = masking == Masking.BOOLEAN || masking == Masking.CAUSAL_BOOLEAN;
      maskBytes = new NativeFloats((b * lq * lk + 3) / 4 + 2);
      Random random = new Random(9);
      for (int i = 0; i < b * lq * lk; i++) {
        boolean visible = random.nextInt(4) > 0 || i % lk == 0 || i / 64 % 2 == 0;
        Memory.putByte(maskBytes.address + i, (byte) (visible ? 1 : 0));
      }
      addends = NativeFloats.random(h * lk, 8);
      Mask mask =
          bool
              ? new Mask(maskBytes.address, true, (long) lq * lk, 0, lk)
              : masking == Masking.ADDEND ? new Mask(addends.address, false, 0, lk, 0) : null;
      p = new AttentionProblem(b, h, lq, lk, d, (float) (1.3 / Math.sqrt(d)), causal, mask);
      what = b + "x" + h + "x" + lq + "x" + lk + "x" + d + " " + masking + (fused ? " fused" : "");
      if (fused) {
        int row = 3 * h * d;
        q = NativeFloats.random(b * lq * row, 1);
        k = q;
        v = q;
        dq = new NativeFloats(q.n);
        dk = dq;
        dv = dq;
        mq = new Matrix(q.address, (long) lq * row, d, row);
        mk = new Matrix(q.address + h * d * 4L, (long) lq * row, d, row);
        mv = new Matrix(q.address + 2L * h * d * 4, (long) lq * row, d, row);
        mo = new Matrix(0, (long) lq * h * d, d, (long) h * d);
      } else {
        q = NativeFloats.random(b * h * lq * d, 1);
        k = NativeFloats.random(b * h * lk * d, 2);
        v = NativeFloats.random(b * h * lk * d, 3);
        dq = new NativeFloats(q.n);
        dk = new NativeFloats(k.n);
        dv = new NativeFloats(v.n);
        mq = Matrix.contiguous(q.address, h, lq, d);
        mk = Matrix.contiguous(k.address, h, lk, d);
        mv = Matrix.contiguous(v.address, h, lk, d);
        mo = Matrix.contiguous(0, h, lq, d);
      }
      dout = NativeFloats.random(b * h * lq * d, 4);
      out = new NativeFloats(b * h * lq * d);
      lse = new NativeFloats(b * h * lq);
    }

    private static Matrix at(Matrix like, long address) {
      return new Matrix(address, like.batchStride(), like.headStride(), like.rowStride());
    }

    private Matrix gradient(Matrix of, NativeFloats data, NativeFloats gradient) {
      return at(of, of.address() - data.address + gradient.address);
    }

    void run() {
      Matrix o = at(mo, out.address);
      AttentionKernel.forward(p, mq, mk, mv, o, lse.address);
      AttentionKernel.backward(
          p,
          mq,
          mk,
          mv,
          o,
          lse.address,
          at(mo, dout.address),
          gradient(mq, q, dq),
          gradient(mk, k, dk),
          gradient(mv, v, dv));
    }

    private static double get(Matrix m, int b, int h, int r, int d) {
      return Memory.getFloat(m.head(b, h) + (r * m.rowStride() + d) * 4);
    }

    private static int index(Matrix m, NativeFloats data, int b, int h, int r) {
      return (int) ((m.head(b, h) + r * m.rowStride() * 4 - data.address) / 4);
    }

    private double bias(int b, int h, int i, int j) {
      Mask m = p.mask();
      if (p.causal() && j > i) {
        return Double.NEGATIVE_INFINITY;
      }
      if (m == null) {
        return 0;
      }
      long e = b * m.batchStride() + h * m.headStride() + i * m.queryStride() + j;
      if (m.bool()) {
        return Memory.getByte(m.address() + e) == 0 ? Double.NEGATIVE_INFINITY : 0;
      }
      return Memory.getFloat(m.address() + e * 4);
    }

    void check() {
      run();
      double[] eo = new double[out.n];
      double[] elog = new double[lse.n];
      double[] eq = new double[dq.n];
      double[] ek = fused ? eq : new double[dk.n];
      double[] ev = fused ? eq : new double[dv.n];
      for (int b = 0; b < p.batch(); b++) {
        for (int h = 0; h < p.heads(); h++) {
          for (int i = 0; i < p.queries(); i++) {
            row(b, h, i, eo, elog, eq, ek, ev);
          }
        }
      }
      out.check(eo, 3e-6, 1, what);
      lse.check(elog, 2e-6, 2, what + " lse");
      double size = Math.max(1, Math.sqrt(p.queries()));
      dq.check(eq, 5e-6, fused ? size : 1, what + " dq");
      dk.check(ek, 5e-6, size, what + " dk");
      dv.check(ev, 5e-6, size, what + " dv");
    }

    private void row(
        int b, int h, int i, double[] eo, double[] elog, double[] eq, double[] ek, double[] ev) {
      int n = p.keys();
      int dim = p.dim();
      double[] s = new double[n];
      double max = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < n; j++) {
        for (int d = 0; d < dim; d++) {
          s[j] += get(mq, b, h, i, d) * get(mk, b, h, j, d);
        }
        s[j] = s[j] * p.scale() + bias(b, h, i, j);
        max = Math.max(max, s[j]);
      }
      int at = (b * p.heads() + h) * p.queries() + i;
      if (max == Double.NEGATIVE_INFINITY) {
        elog[at] = Double.NEGATIVE_INFINITY;
        return;
      }
      double sum = 0;
      for (int j = 0; j < n; j++) {
        sum += s[j] = Math.exp(s[j] - max);
      }
      elog[at] = max + Math.log(sum);
      Matrix o = at(mo, out.address);
      Matrix g = at(mo, dout.address);
      int to = index(o, out, b, h, i);
      double[] dp = new double[n];
      double delta = 0;
      for (int j = 0; j < n; j++) {
        s[j] /= sum;
        int value = index(mv, v, b, h, j);
        for (int d = 0; d < dim; d++) {
          double gradient = get(g, b, h, i, d);
          eo[to + d] += s[j] * get(mv, b, h, j, d);
          ev[value + d] += s[j] * gradient;
          dp[j] += gradient * get(mv, b, h, j, d);
        }
        delta += s[j] * dp[j];
      }
      int query = index(mq, q, b, h, i);
      for (int j = 0; j < n; j++) {
        double ds = p.scale() * s[j] * (dp[j] - delta);
        int key = index(mk, k, b, h, j);
        for (int d = 0; d < dim; d++) {
          eq[query + d] += ds * get(mk, b, h, j, d);
          ek[key + d] += ds * get(mq, b, h, i, d);
        }
      }
    }
  }
}
