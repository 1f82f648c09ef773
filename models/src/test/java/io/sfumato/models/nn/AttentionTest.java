// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.exec.ViewOp;
import io.sfumato.tensor.exec.ViewsOp;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class AttentionTest {
  private static Attention layer(Attention.Options options) {
    return new Attention(Weights.init(Rng.seed(1)), options);
  }

  /** The formula, element by element. */
  private static double[] formula(Attention layer, Tensor x, Tensor states, boolean[][] visible) {
    Attention.Options o = layer.options();
    Map<String, Tensor> p = layer.stateDict();
    int heads = o.heads();
    int width = o.headWidth();
    double[][][] q = product(x, p, "to_q");
    double[][][] k = product(states, p, "to_k");
    double[][][] v = product(states, p, "to_v");
    double[][][] joined = new double[q.length][q[0].length][heads * width];
    for (int b = 0; b < q.length; b++) {
      for (int h = 0; h < heads; h++) {
        for (int i = 0; i < q[b].length; i++) {
          double[] e = new double[k[b].length];
          double sum = 0;
          for (int j = 0; j < e.length; j++) {
            double dot = 0;
            for (int d = 0; d < width; d++) {
              dot += q[b][i][h * width + d] * k[b][j][h * width + d];
            }
            e[j] = visible[b][j] ? Math.exp(dot / Math.sqrt(width)) : 0;
            sum += e[j];
          }
          for (int j = 0; j < e.length; j++) {
            for (int d = 0; d < width; d++) {
              joined[b][i][h * width + d] += e[j] / sum * v[b][j][h * width + d];
            }
          }
        }
      }
    }
    double[] flat =
        Arrays.stream(joined).flatMap(Arrays::stream).flatMapToDouble(Arrays::stream).toArray();
    Tensor y = Tensor.of(flat, DType.F64, x.device(), x.dim(0), x.dim(1), heads * width);
    return Arrays.stream(product(y, p, "to_out.0"))
        .flatMap(Arrays::stream)
        .flatMapToDouble(Arrays::stream)
        .toArray();
  }

  private static double[][][] product(Tensor x, Map<String, Tensor> p, String name) {
    Tensor weight = p.get(name + ".weight");
    double[] w = weight.toDoubleArray();
    Tensor bias = p.get(name + ".bias");
    double[] values = x.toDoubleArray();
    int in = weight.dim(1);
    int out = weight.dim(0);
    double[][][] y = new double[x.dim(0)][x.dim(1)][out];
    for (int b = 0; b < y.length; b++) {
      for (int i = 0; i < y[b].length; i++) {
        for (int o = 0; o < out; o++) {
          double sum = bias == null ? 0 : bias.toDoubleArray()[o];
          for (int c = 0; c < in; c++) {
            sum += w[o * in + c] * values[(b * y[b].length + i) * in + c];
          }
          y[b][i][o] = sum;
        }
      }
    }
    return y;
  }

  private static boolean[][] all(int batch, int length) {
    boolean[][] visible = new boolean[batch][length];
    Arrays.stream(visible).forEach(row -> Arrays.fill(row, true));
    return visible;
  }

  @Test
  void selfAttentionIsTheFormula() {
    try (Attention plain = layer(Attention.of(6, 3, 4));
        Attention biased = layer(Attention.of(6, 2, 3).bias(true).outBias(false));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 5, 6);
      for (Attention a : List.of(plain, biased)) {
        assertArrayEquals(formula(a, x, x, all(2, 5)), a.call(x).toDoubleArray(), 1e-5);
      }
    }
  }

  @Test
  void crossAttentionIsTheFormulaWithAndWithoutMask() {
    try (Attention a = layer(Attention.of(6, 2, 4).context(10));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 5, 6);
      Tensor states = Rng.seed(3).normal(2, 7, 10);
      assertArrayEquals(
          formula(a, x, states, all(2, 7)), a.call(x, Context.of(states)).toDoubleArray(), 1e-5);
      boolean[][] visible = all(2, 7);
      visible[0][3] = false;
      visible[1][0] = false;
      visible[1][6] = false;
      long[] keep = new long[14];
      for (int i = 0; i < 14; i++) {
        keep[i] = visible[i / 7][i % 7] ? 1 : 0;
      }
      double[] expected = formula(a, x, states, visible);
      Tensor mask = Tensor.of(keep, 2, 7);
      assertArrayEquals(expected, a.call(x, Context.of(states, mask)).toDoubleArray(), 1e-5);
      Tensor bool = Num.cast(mask, DType.BOOL);
      assertArrayEquals(expected, a.call(x, Context.of(states, bool)).toDoubleArray(), 1e-5);
      Tensor nothing = Tensor.of(new long[14], 2, 7);
      assertTrue(Float.isFinite(a.call(x, Context.of(states, nothing)).toFloatArray()[0]));
    }
  }

  @Test
  void aPreparedContextGivesTheSameWithoutItsProducts() {
    try (Attention a = layer(Attention.of(6, 2, 4).context(10));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 5, 6);
      Context context = Context.of(Rng.seed(3).normal(2, 7, 10));
      Context prepared = context.prepare(a);
      assertArrayEquals(a.call(x, context).toFloatArray(), a.call(x, prepared).toFloatArray());
      assertEquals(4, count(Trace.of(() -> a.call(x, context)), "linear"));
      assertEquals(2, count(Trace.of(() -> a.call(x, prepared)), "linear"));
    }
  }

  private static long count(Trace trace, String op) {
    return trace.events().stream().filter(e -> e.op().name().equals(op)).count();
  }

  @Test
  void nothingIsCopiedAroundTheFusedOp() {
    try (Attention a = layer(Attention.of(8, 2, 4));
        Attention cross = layer(Attention.of(8, 2, 4).context(6));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 5, 8);
      Context context = Context.of(Rng.seed(3).normal(2, 7, 6));
      for (Trace trace :
          List.of(Trace.of(() -> a.call(x)), Trace.of(() -> cross.call(x, context)))) {
        List<String> ops =
            trace.events().stream()
                .filter(e -> !(e.op() instanceof ViewOp) && !(e.op() instanceof ViewsOp))
                .map(e -> e.op().name())
                .toList();
        assertEquals(List.of("linear", "linear", "linear", "attention", "linear"), ops);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Attention.QkNorm.class)
  void normalisedQueriesAndKeysHaveDiffusersNames(Attention.QkNorm norm) {
    try (Attention a = layer(Attention.of(6, 2, 4).qkNorm(norm, 1e-6));
        Scope scope = Scope.open()) {
      Map<String, String> shapes = new TreeMap<>();
      for (Parameter p : a.parameters()) {
        if (p.name().startsWith("norm_")) {
          shapes.put(p.name(), p.value().shape().toString());
        }
      }
      String shape = norm.name().endsWith("ACROSS_HEADS") ? "[8]" : "[4]";
      Map<String, String> expected = new TreeMap<>();
      if (norm != Attention.QkNorm.NONE) {
        expected.put("norm_q.weight", shape);
        expected.put("norm_k.weight", shape);
        if (norm.name().startsWith("LAYER")) {
          expected.put("norm_q.bias", shape);
          expected.put("norm_k.bias", shape);
        }
      }
      assertEquals(expected, shapes);
      Tensor x = Rng.seed(2).normal(1, 5, 6);
      Map<String, Tensor> p = a.stateDict();
      Tensor q = x.matmul(p.get("to_q.weight").permute(1, 0)).reshape(1, 5, 2, 4);
      Tensor k = x.matmul(p.get("to_k.weight").permute(1, 0)).reshape(1, 5, 2, 4);
      Tensor v = x.matmul(p.get("to_v.weight").permute(1, 0)).reshape(1, 5, 2, 4);
      Tensor y =
          NN.attention(
              normalised(q, norm).permute(0, 2, 1, 3),
              normalised(k, norm).permute(0, 2, 1, 3),
              v.permute(0, 2, 1, 3),
              AttentionOptions.of());
      Tensor out =
          y.permute(0, 2, 1, 3)
              .reshape(1, 5, 8)
              .matmul(p.get("to_out.0.weight").permute(1, 0))
              .add(p.get("to_out.0.bias"));
      assertArrayEquals(out.toDoubleArray(), a.call(x).toDoubleArray(), 1e-5);
    }
  }

  /** Without gain and offset, which start as one and zero. */
  private static Tensor normalised(Tensor x, Attention.QkNorm norm) {
    double[] v = x.toDoubleArray();
    int width = norm.name().endsWith("ACROSS_HEADS") ? 8 : 4;
    for (int i = 0; i < v.length && norm != Attention.QkNorm.NONE; i += width) {
      double mean = 0;
      double square = 0;
      for (int j = i; j < i + width; j++) {
        mean += norm.name().startsWith("LAYER") ? v[j] / width : 0;
      }
      for (int j = i; j < i + width; j++) {
        square += (v[j] - mean) * (v[j] - mean) / width;
      }
      for (int j = i; j < i + width; j++) {
        v[j] = (v[j] - mean) / Math.sqrt(square + 1e-6);
      }
    }
    return Tensor.of(v, x.dtype(), x.device(), 1, 5, 2, 4);
  }

  @Test
  void wrongContextsAreNamed() {
    try (Attention a = layer(Attention.of(6, 2, 4).context(10));
        Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(2, 5, 6);
      assertMessage("needs a context of width 10", () -> a.call(x));
      assertMessage(
          "the context must be [B, L, 10]", () -> a.call(x, Context.of(Tensor.zeros(2, 7, 8))));
      assertMessage("states must be [B, L, D]", () -> Context.of(Tensor.zeros(7, 8)));
      assertMessage(
          "mask must be [B, L] = [2, 7]",
          () -> Context.of(Tensor.zeros(2, 7, 10), Tensor.zeros(2, 8)));
      assertThrows(
          DTypeException.class, () -> Context.of(Tensor.zeros(2, 7, 10), Tensor.zeros(2, 7)));
      assertThrows(IllegalArgumentException.class, () -> layer(Attention.of(6, 0, 4)));
    }
  }

  private static void assertMessage(String part, Runnable body) {
    String message = assertThrows(ShapeException.class, body::run).getMessage();
    assertTrue(message.contains(part), message);
  }
}
