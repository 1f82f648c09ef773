// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FeedForwardTest {
  @ParameterizedTest
  @EnumSource(FeedForward.Kind.class)
  void eachKindIsItsFormula(FeedForward.Kind kind) {
    try (FeedForward f = new FeedForward(Weights.init(Rng.seed(1)), 3, kind);
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 4, 3);
      Map<String, Tensor> p = f.stateDict();
      Tensor h = NN.linear(x, p.get("net.0.proj.weight"), p.get("net.0.proj.bias"));
      List<Tensor> halves = Shaping.chunk(h, 2, -1);
      Tensor inner =
          switch (kind) {
            case GEGLU -> halves.get(0).mul(NN.gelu(halves.get(1)));
            case SWIGLU -> halves.get(0).mul(NN.silu(halves.get(1)));
            case GELU -> NN.gelu(h);
            case GELU_APPROXIMATE -> NN.geluTanh(h);
            case LINEAR_SILU -> NN.silu(h);
          };
      assertEquals(12, inner.dim(-1));
      Tensor expected = NN.linear(inner, p.get("net.2.weight"), p.get("net.2.bias"));
      assertArrayEquals(expected.toDoubleArray(), f.call(x).toDoubleArray(), 1e-6);
      assertEquals(kind, FeedForward.Kind.parse(kind.configName()));
    }
  }

  @Test
  void theGateIsOneOp() {
    try (FeedForward f = new FeedForward(Weights.init(Rng.seed(1)), 3, FeedForward.Kind.GEGLU);
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 4, 3);
      List<String> ops =
          Trace.of(() -> f.call(x)).events().stream().map(e -> e.op().name()).toList();
      assertEquals(List.of("linear", "gated_unit_gelu", "linear"), ops);
    }
  }

  @Test
  void unknownKindsAreNamed() {
    assertThrows(IllegalArgumentException.class, () -> FeedForward.Kind.parse("geglu-approximate"));
  }
}
