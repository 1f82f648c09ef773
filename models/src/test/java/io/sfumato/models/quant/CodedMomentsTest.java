// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamOptions;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.AdamW8Bit;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.PagedAdamW;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.Quantize;
import io.sfumato.tensor.ops.Updates;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** Optimizers that keep their moments in bytes or elsewhere. */
class CodedMomentsTest {
  private static final AdamOptions OPTIONS = new AdamOptions(0.01, 0.9, 0.99, 1e-8, 0.1);

  private static TensorSource golden() {
    try {
      URL url = CodedMomentsTest.class.getResource("/golden/quantized/moments.safetensors");
      return TensorSource.open(Path.of(Objects.requireNonNull(url).toURI()));
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Parameter copy(String name, Tensor value) {
    Tensor copy = Tensor.zeros(value.spec());
    Updates.copy(copy, value);
    return new Parameter(name, copy);
  }

  private static Tensor moment(Optimizer adam, String name, boolean signed) {
    Map<String, Tensor> state = adam.state();
    Tensor table = Tensor.of(CodeTables.dynamic(signed), 256);
    Tensor codes = Objects.requireNonNull(state.get("p." + name));
    assertEquals(DType.U8, codes.dtype());
    Tensor magnitudes = Objects.requireNonNull(state.get("p." + name + "_absmax"));
    return Quantize.decodeBytes(codes, magnitudes, table, 256);
  }

  /** Equal, but for values whose code is the neighbour's, as rounding may decide. */
  private static void same(Tensor expected, Tensor actual, String what) {
    float[] e = expected.toFloatArray();
    float[] a = actual.toFloatArray();
    int others = 0;
    for (int i = 0; i < e.length; i++) {
      others += Math.abs(e[i] - a[i]) <= 1e-6 * Math.abs(e[i]) ? 0 : 1;
      assertEquals(e[i], a[i], 0.2 * Math.abs(e[i]) + 1e-6, what);
    }
    assertTrue(others <= e.length / 500, what + ": " + others + " other codes");
  }

  @Test
  void momentsInBytesAreTheJudges() {
    try (Scope scope = Scope.open();
        TensorSource golden = golden();
        Parameter p = copy("p", golden.read("p.0"));
        AdamW8Bit adam = new AdamW8Bit(List.of(p), OPTIONS)) {
      for (int t = 1; t <= 3; t++) {
        adam.step(Gradients.of(Map.of(p, golden.read("g." + t))));
        same(golden.read("p." + t), p.value(), "p of step " + t);
        same(golden.read("m." + t), moment(adam, "exp_avg", true), "m of step " + t);
        same(golden.read("v." + t), moment(adam, "exp_avg_sq", false), "v of step " + t);
      }
    }
  }

  @Test
  void smallMomentsStayWideAndStatesComeBack() {
    try (Scope scope = Scope.open();
        Parameter small = copy("small", Rng.seed(1).normal(4095));
        Parameter plain = copy("small", Rng.seed(1).normal(4095));
        Parameter large = copy("large", Rng.seed(2).normal(64, 65));
        Parameter again = copy("large", Rng.seed(2).normal(64, 65));
        AdamW8Bit adam = new AdamW8Bit(List.of(small, large), OPTIONS);
        AdamW wide = new AdamW(List.of(plain), OPTIONS);
        AdamW8Bit resumed = new AdamW8Bit(List.of(again), OPTIONS)) {
      Tensor one = Rng.seed(3).normal(4095);
      Tensor two = Rng.seed(4).normal(64, 65);
      adam.step(Gradients.of(Map.of(small, one, large, two)));
      wide.step(Gradients.of(Map.of(plain, one)));
      assertArrayEquals(plain.value().toFloatArray(), small.value().toFloatArray());
      long bytes = 0;
      Map<String, Tensor> of = new LinkedHashMap<>();
      for (Map.Entry<String, Tensor> e : adam.state().entrySet()) {
        if (!e.getKey().startsWith("small")) {
          of.put(e.getKey(), e.getValue());
          bytes += e.getKey().contains("exp_avg") ? e.getValue().spec().bytes() : 0;
        }
      }
      assertEquals(2 * (4160 + 4 * 17), bytes);
      Updates.copy(again.value(), large.value());
      resumed.load(of);
      for (Optimizer o : List.of(adam, resumed)) {
        Parameter p = o == adam ? large : again;
        o.step(Gradients.of(Map.of(p, two.mul(-0.5))));
      }
      assertArrayEquals(large.value().toFloatArray(), again.value().toFloatArray());
    }
  }

  @Test
  void aLostNumberStaysSeen() {
    try (Scope scope = Scope.open();
        Parameter p = copy("p", Tensor.zeros(5000));
        AdamW8Bit adam = new AdamW8Bit(List.of(p), OPTIONS)) {
      float[] g = new float[5000];
      g[4200] = Float.NaN;
      adam.step(Gradients.of(Map.of(p, Tensor.of(g, 5000))));
      adam.step(Gradients.of(Map.of(p, Tensor.zeros(5000))));
      assertTrue(Float.isNaN(p.value().toFloatArray()[4200]));
      assertEquals(0, p.value().toFloatArray()[0]);
    }
  }

  @Test
  void pagedIsPlainOnTheCpu() {
    try (Scope scope = Scope.open();
        Parameter a = copy("p", Rng.seed(1).normal(70));
        Parameter b = copy("p", Rng.seed(1).normal(70));
        AdamW plain = new AdamW(List.of(a), OPTIONS);
        PagedAdamW paged = new PagedAdamW(List.of(b), OPTIONS)) {
      for (int t = 0; t < 3; t++) {
        Tensor g = Rng.seed(t).normal(70);
        plain.step(Gradients.of(Map.of(a, g)));
        paged.step(Gradients.of(Map.of(b, g)));
      }
      assertArrayEquals(a.value().toFloatArray(), b.value().toFloatArray());
      assertEquals(plain.state().keySet(), paged.state().keySet());
      List<ParameterGroup> groups = List.of(ParameterGroup.of(List.of(b)));
      assertThrows(IllegalArgumentException.class, () -> new PagedAdamW(groups, OPTIONS, 0));
    }
  }
}
