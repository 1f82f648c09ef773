// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import org.junit.jupiter.api.Test;

class ModuleTest {
  private static final class Mlp extends Layer {
    final Linear first;
    final List<Linear> rest;

    Mlp(Weights weights) {
      super(weights);
      first = child("first", w -> new Linear(w, 3, 4));
      rest = children("rest", 2, (w, i) -> new Linear(w, 4, 4, i == 0));
    }

    @Override
    protected Tensor forward(Tensor x) {
      return rest.get(1).call(rest.get(0).call(first.call(x)));
    }
  }

  @Test
  void namesAreTheLiteralsJoined() {
    try (Mlp mlp = new Mlp(Weights.init(Rng.seed(0)))) {
      assertEquals(
          List.of("first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "rest.1.weight"),
          mlp.parameters().stream().map(Parameter::name).toList());
      assertEquals(List.of("", "first", "rest.0", "rest.1"), List.copyOf(mlp.modules().keySet()));
      assertEquals(3 * 4 + 4 + 2 * 16 + 4, mlp.parameterCount());
    }
  }

  @Test
  void aCallFreesItsTemporaries() {
    try (Mlp mlp = new Mlp(Weights.init(Rng.seed(0)));
        Scope scope = Scope.open()) {
      Tensor x = Tensor.ones(2, 3);
      long before = CpuBackend.instance().memory().buffers();
      mlp.call(x);
      assertEquals(before + 1, CpuBackend.instance().memory().buffers());
    }
  }

  @Test
  void errorsNameTheModule() {
    try (Mlp mlp = new Mlp(Weights.init(Rng.seed(0)));
        Scope scope = Scope.open()) {
      Tensor x = Tensor.ones(2, 5);
      ShapeException e = assertThrows(ShapeException.class, () -> mlp.call(x));
      assertTrue(e.getMessage().endsWith("at first"), e.getMessage());
      assertTrue(e.getMessage().contains("[2, 5] f32 cpu"), e.getMessage());
    }
  }

  @Test
  void anAdapterChangesOutputsAndNothingElse() {
    try (Mlp mlp = new Mlp(Weights.init(Rng.seed(0)));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(2, 3);
      float[] plain = mlp.call(x).toFloatArray();
      List<Parameter> parameters = mlp.parameters();
      Adapter doubled = (layer, input, base) -> base.apply(input).mul(2);
      mlp.first.attach(doubled);
      float[] adapted = mlp.first.call(x).toFloatArray();
      assertEquals(parameters, mlp.parameters());
      Adapter shifted = (layer, input, base) -> base.apply(input).add(1);
      mlp.first.attach(shifted);
      float[] both = mlp.first.call(x).toFloatArray();
      mlp.first.detach(shifted);
      mlp.first.detach(doubled);
      assertThrows(IllegalStateException.class, () -> mlp.first.detach(doubled));
      float[] base = mlp.first.call(x).toFloatArray();
      for (int i = 0; i < base.length; i++) {
        assertEquals(2 * base[i], adapted[i]);
        assertEquals(adapted[i] + 1, both[i]);
      }
      assertArrayEquals(plain, mlp.call(x).toFloatArray());
    }
  }

  @Test
  void freshWeightsDependOnTheirNamesOnly() {
    try (Mlp mlp = new Mlp(Weights.init(Rng.seed(7)));
        Linear alone = new Linear(Weights.init(Rng.seed(7)).at("first"), 3, 4)) {
      assertArrayEquals(
          mlp.first.weight().value().toFloatArray(), alone.weight().value().toFloatArray());
      float bound = (float) (1 / Math.sqrt(3));
      for (float v : alone.weight().value().toFloatArray()) {
        assertTrue(Math.abs(v) <= bound);
      }
    }
  }

  @Test
  void dropoutActsInsideTheRegionOnlyAndRepeats() {
    try (Dropout dropout = new Dropout(Weights.init(Rng.seed(0)).at("d"), 0.5);
        Scope scope = Scope.open()) {
      Tensor x = Tensor.ones(1000);
      assertArrayEquals(x.toFloatArray(), dropout.call(x).toFloatArray());
      float[] once = Dropout.active(Rng.seed(3), () -> dropout.call(x)).toFloatArray();
      float[] again = Dropout.active(Rng.seed(3), () -> dropout.call(x)).toFloatArray();
      assertArrayEquals(once, again);
      int kept = 0;
      for (float v : once) {
        assertTrue(v == 0 || v == 2);
        kept += v == 2 ? 1 : 0;
      }
      assertTrue(kept > 400 && kept < 600, "kept " + kept);
    }
  }
}
