// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The Transformer over codes and how it is sampled. Its numbers are in GoldenVqVaeTest. */
class CodePriorTest {
  @TempDir Path folder;

  private static CodePriorConfig config(String positions) {
    return new CodePriorConfig(11, 3, 4, 2, 16, 3, 4, positions, 0);
  }

  /** A model whose logits differ by much, as those of a trained one do. */
  private static CodePrior model(String positions, DType dtype) {
    CodePrior prior = new CodePrior(Weights.init(Rng.seed(1)).as(dtype), config(positions));
    Rng rng = Rng.seed(2);
    try (Scope scope = Scope.open()) {
      for (Parameter p : prior.parameters()) {
        Tensor noise = rng.fork(p.name()).normal(p.value().spec());
        Updates.add(p.value(), noise, p.name().equals("lm_head.weight") ? 1 : 0.15);
      }
    }
    return prior;
  }

  @Test
  void aCodeDependsOnThoseBeforeItAlone() {
    try (Scope scope = Scope.open();
        CodePrior prior = model("learned", DType.F32)) {
      Tensor labels = Tensor.of(new long[] {0, 2}, 2);
      long[] codes = Rng.seed(3).integers(0, 11, 2, 12).toLongArray();
      float[] before = prior.call(Tensor.of(codes, 2, 12), labels).toFloatArray();
      codes[5] = (codes[5] + 1) % 11;
      float[] after = prior.call(Tensor.of(codes, 2, 12), labels).toFloatArray();
      for (int t = 0; t < 12; t++) {
        float[] a = Arrays.copyOfRange(before, t * 11, (t + 1) * 11);
        float[] b = Arrays.copyOfRange(after, t * 11, (t + 1) * 11);
        assertEquals(t <= 5, Arrays.equals(a, b), "position " + t);
      }
      assertArrayEquals(
          Arrays.copyOfRange(before, 12 * 11, before.length),
          Arrays.copyOfRange(after, 12 * 11, after.length));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"learned", "sinusoidal"})
  void cachedLogitsAreThoseOfAllPositions(String positions) {
    try (Scope scope = Scope.open();
        CodePrior prior = model(positions, DType.F32)) {
      Tensor labels = Tensor.of(new long[] {0, 1, 2}, 3);
      Tensor codes = Rng.seed(4).integers(0, 11, 3, 12);
      Tensor all = prior.call(codes, labels); // [3, 12, 11]
      List<PriorBlock.Cache> caches = prior.caches(3);
      for (int t = 0; t < 12; t++) {
        Tensor one = prior.next(t == 0 ? null : codes.select(1, t - 1), labels, t, caches);
        assertArrayEquals(
            all.select(1, t).toFloatArray(), one.toFloatArray(), 2e-5f, "position " + t);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"1 1 0 1", "2.5 1 0 1", "1 0.7 4 1", "1.5 1.2 0 0.8", "1 0 0 1"})
  void cachedSamplingIsThatOfAllPositions(String options) {
    double[] o = Arrays.stream(options.split(" ")).mapToDouble(Double::parseDouble).toArray();
    var sampling = new CodeSampler.Options(o[0], o[1], (int) o[2], o[3]);
    try (Scope scope = Scope.open();
        CodePrior prior = model("learned", DType.F64)) {
      Tensor labels = Tensor.of(new long[] {0, 1, 1, 2}, 4);
      AtomicInteger told = new AtomicInteger();
      Rng rng = Rng.seed(5);
      Tensor fast = CodeSampler.sample(prior, labels, sampling, rng, told::addAndGet);
      Tensor slow = CodeSampler.sample(prior, labels, sampling, rng, n -> {}, false);
      assertEquals("[4, 3, 4] i64 cpu", fast.spec().toString());
      assertArrayEquals(slow.toLongArray(), fast.toLongArray());
      assertEquals(4 * 12, told.get());
      Tensor again = CodeSampler.sample(prior, labels, sampling, rng, n -> {});
      assertArrayEquals(fast.toLongArray(), again.toLongArray());
      Tensor other = CodeSampler.sample(prior, labels, sampling, Rng.seed(6), n -> {});
      assertEquals(o[1] == 0, Arrays.equals(fast.toLongArray(), other.toLongArray()));
    }
  }

  @Test
  void gradientsAreThoseOfDifferences() {
    try (Scope scope = Scope.open();
        CodePrior prior = model("learned", DType.F64)) {
      Tensor codes = Rng.seed(7).integers(0, 11, 2, 12);
      Tensor labels = Tensor.of(new long[] {1, 2}, 2);
      List<Parameter> parameters = prior.parameters();
      Tensor[] values = parameters.stream().map(Parameter::value).toArray(Tensor[]::new);
      for (int i = 0; i < values.length; i++) {
        double[] gradient =
            Autograd.valueAndGrad(parameters, () -> prior.loss(codes, labels))
                .gradients()
                .get(parameters.get(i))
                .toDoubleArray();
        Tensor direction = Rng.seed(8).fork(parameters.get(i).name()).normal(values[i].spec());
        double[] d = direction.toDoubleArray();
        double expected = 0;
        for (int k = 0; k < d.length; k++) {
          expected += d[k] * gradient[k];
        }
        double h = 1e-5;
        Updates.add(values[i], direction, h);
        double up = prior.loss(codes, labels).item();
        Updates.add(values[i], direction, -2 * h);
        double down = prior.loss(codes, labels).item();
        Updates.add(values[i], direction, h);
        assertEquals(
            expected, (up - down) / (2 * h), 1e-7, "derivative by " + parameters.get(i).name());
      }
    }
  }

  @Test
  void drawingFollowsTheOptions() {
    double[] logits = {1, 3, 2, 3, -1};
    var all = CodeSampler.options();
    assertEquals(1, CodeSampler.draw(logits, new CodeSampler.Options(1, 0, 0, 1), 0.9));
    double total = Math.exp(-2) + 2 + Math.exp(-1) + Math.exp(-4);
    double[] shares = new double[5]; // in the order in which they are drawn: 1, 3, 2, 0, 4
    int n = 20_000;
    for (int i = 0; i < n; i++) {
      shares[CodeSampler.draw(logits, all, (i + 0.5) / n)] += 1.0 / n;
    }
    assertEquals(1 / total, shares[1], 1e-3);
    assertEquals(1 / total, shares[3], 1e-3);
    assertEquals(Math.exp(-1) / total, shares[2], 1e-3);
    assertEquals(Math.exp(-2) / total, shares[0], 1e-3);
    for (int i = 0; i < 100; i++) {
      double u = (i + 0.5) / 100;
      assertTrue(List.of(1, 3).contains(CodeSampler.draw(logits, with(0, 2, 1), u)));
      assertTrue(List.of(1, 3, 2).contains(CodeSampler.draw(logits, with(1, 3, 1), u)));
      assertEquals(1, CodeSampler.draw(logits, with(1, 0, 0.3), u)); // its share is above 0.3
      assertTrue(List.of(1, 3).contains(CodeSampler.draw(logits, with(1, 0, 0.5), u)));
    }
    assertEquals(2, CodeSampler.draw(logits, with(1, 3, 1), 0.9999));
    assertThrows(
        IllegalStateException.class,
        () -> CodeSampler.draw(new double[] {Double.NaN, Double.NaN}, all, 0.5));
  }

  private static CodeSampler.Options with(double temperature, int topK, double topP) {
    return new CodeSampler.Options(1, temperature, topK, topP);
  }

  @Test
  void whatIsWrongIsSaidAtOnce() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> new CodePriorConfig(0, 0, 4, -1, 15, 0, 4, "none", 1))
            .getMessage();
    for (String part :
        List.of("codes", "height", "classes", "heads", "layers", "positions", "dropout")) {
      assertTrue(message.contains(part), message);
    }
    message =
        assertThrows(IllegalArgumentException.class, () -> new CodeSampler.Options(-1, -1, -1, 0))
            .getMessage();
    for (String part : List.of("guidance", "temperature", "top-k", "top-p")) {
      assertTrue(message.contains(part), message);
    }
    try (Scope scope = Scope.open();
        CodePrior prior = model("learned", DType.F32)) {
      Tensor label = Tensor.of(new long[] {0}, 1);
      Tensor wrong = Tensor.of(new long[9], 1, 9);
      String shape =
          assertThrows(ShapeException.class, () -> prior.call(wrong, label)).getMessage();
      assertTrue(shape.contains("3 x 4") && shape.contains("[1, 9]"), shape);
    }
  }

  @Test
  void aSavedModelIsTheSame() {
    try (Scope scope = Scope.open();
        CodePrior prior = model("learned", DType.F32)) {
      prior.save(folder);
      try (CodePrior read = CodePrior.open(folder)) {
        assertEquals(prior.config(), read.config());
        Tensor codes = Rng.seed(7).integers(0, 11, 2, 12);
        Tensor labels = Tensor.of(new long[] {1, 2}, 2);
        assertArrayEquals(
            prior.call(codes, labels).toFloatArray(), read.call(codes, labels).toFloatArray());
      }
    }
  }
}
