// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Targets, strengths, several adapters at once, merging, AdaLoRA's budget. */
class AdapterSetTest {
  private static final class Net extends Module {
    private final List<Linear> layers;

    Net(Weights weights) {
      super(weights);
      layers = children("blocks", 3, (w, i) -> new Linear(w.at("to_q"), 6, 6));
    }

    Tensor call(Tensor x) {
      return call(
          () -> {
            Tensor h = x;
            for (Linear layer : layers) {
              h = layer.call(h);
            }
            return h;
          });
    }
  }

  private static Net net() {
    return new Net(Weights.init(Rng.seed(3)));
  }

  private static Tensor x() {
    return Rng.seed(4).normal(2, 6);
  }

  private static AdapterSet lora(Net net, long seed) {
    AdapterSet set = AdapterSet.attach(net, Targets.all(), Lora.rank(2), Rng.seed(seed));
    AdapterKindsTest.disturb(set);
    return set;
  }

  @Test
  void pathsMatchAsTheirRulesSay() {
    assertTrue(Targets.glob("**.to_q").test("to_q"));
    assertTrue(Targets.glob("**.to_q").test("a.b.to_q"));
    assertFalse(Targets.glob("**.to_q").test("a.b.not_to_q"));
    assertTrue(Targets.glob("mid.**").test("mid.a.b"));
    assertFalse(Targets.glob("mid.*").test("mid.a.b"));
    assertTrue(Targets.glob("blocks.*.to_q", "x").test("blocks.12.to_q"));
    assertFalse(Targets.glob("a.c").test("abc"));
    assertTrue(Targets.suffixes(List.of("to_q")).test("a.to_q"));
    assertFalse(Targets.suffixes(List.of("to_q")).test("a.into_q"));
    assertFalse(Targets.suffixes(List.of("to_q")).test("a.to_q.b"));
    assertTrue(Targets.regex("a\\.\\d+").test("a.12"));
    assertFalse(Targets.regex("a\\.\\d").test("a.12"));
    assertTrue(Targets.pattern("lin2").test("a.lin2"));
    assertFalse(Targets.pattern("^lin2").test("a.lin2"));
    assertThrows(IllegalArgumentException.class, () -> Targets.regex("("));
  }

  @Test
  void whatCannotBeAdaptedIsListed() {
    try (Net net = net();
        Embedding table = new Embedding(Weights.init(Rng.seed(0)).at("table"), 4, 5)) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () -> AdapterSet.attach(net, Targets.glob("to_z"), Lora.rank(1), Rng.seed(0)));
      assertTrue(e.getMessage().contains("none of the model's 3 layers"), e.getMessage());
      assertTrue(e.getMessage().contains("blocks.2.to_q"), e.getMessage());
      e =
          assertThrows(
              IllegalArgumentException.class,
              () -> AdapterSet.attach(table, Targets.all(), Loha.rank(1), Rng.seed(0)));
      assertTrue(e.getMessage().contains("table: LoHa is defined for"), e.getMessage());
      assertThrows(IllegalArgumentException.class, () -> Lora.rank(0));
      assertThrows(IllegalArgumentException.class, () -> Lora.rank(1).dropout(1));
    }
  }

  @Test
  void severalAdaptersAddUpAndLeaveNothingBehind() {
    try (Net net = net();
        Scope scope = Scope.open()) {
      float[] plain = net.call(x()).toFloatArray();
      try (AdapterSet one = lora(net, 1)) {
        float[] first = net.call(x()).toFloatArray();
        AdapterSet two = lora(net, 2);
        assertFalse(Arrays.equals(first, net.call(x()).toFloatArray()));
        float[] without = two.without(() -> net.call(x())).toFloatArray();
        assertArrayEquals(first, without);
        assertTrue(two.isOn());
        two.close();
        two.close();
        assertArrayEquals(first, net.call(x()).toFloatArray());
        one.setStrengths(path -> path.startsWith("blocks.1.") ? 0 : 1);
        one.setStrength(0);
        assertArrayEquals(plain, net.call(x()).toFloatArray());
        one.setStrength(1);
        assertFalse(Arrays.equals(first, net.call(x()).toFloatArray()));
        assertThrows(IllegalArgumentException.class, () -> one.setStrength(Double.NaN));
      }
      assertArrayEquals(plain, net.call(x()).toFloatArray());
    }
  }

  @Test
  void mergingIsUndoneInOrderOnly() {
    for (DType dtype : List.of(DType.F32, DType.BF16, DType.F16)) {
      try (Net net = new Net(Weights.init(Rng.seed(3), dtype, Device.CPU));
          Scope scope = Scope.open();
          AdapterSet one = lora(net, 1);
          AdapterSet two = lora(net, 2)) {
        Tensor in = x().to(dtype);
        float[] before = net.call(in).toFloatArray();
        one.merge();
        two.merge();
        assertThrows(IllegalStateException.class, one::merge);
        assertThrows(IllegalStateException.class, () -> one.setStrength(2));
        IllegalStateException e = assertThrows(IllegalStateException.class, one::unmerge);
        assertTrue(e.getMessage().contains("merged after this one"), e.getMessage());
        two.unmerge();
        one.unmerge();
        assertArrayEquals(before, net.call(in).toFloatArray());
        assertThrows(IllegalStateException.class, one::unmerge);
      }
    }
  }

  @Test
  void whatIsNotFiniteIsNotMerged() {
    try (Net net = net();
        Scope scope = Scope.open();
        AdapterSet set = lora(net, 1)) {
      float[] weights = net.layers.getFirst().weight().value().toFloatArray();
      set.setStrength(1e39);
      IllegalStateException e = assertThrows(IllegalStateException.class, set::merge);
      assertTrue(e.getMessage().contains("not finite"), e.getMessage());
      assertFalse(set.isMerged());
      assertArrayEquals(weights, net.layers.getFirst().weight().value().toFloatArray());
    }
  }

  @Test
  void namesAreThoseOfTheLayers() {
    try (Net net = net();
        AdapterSet set =
            AdapterSet.attach(net, Targets.glob("blocks.1.*"), Lora.rank(2), Rng.seed(0))) {
      assertEquals(
          Set.of("blocks.1.to_q.lora_A.weight", "blocks.1.to_q.lora_B.weight"),
          set.stateDict().keySet());
      assertEquals(24, set.parameterCount());
    }
  }

  @Test
  void theBudgetFallsAndTheLeastImportantGo() {
    AdaLoraBudget.Options options = new AdaLoraBudget.Options(1, 2, 3, 1, 12, 0.85, 0.85);
    try (Net net = net();
        Scope scope = Scope.open();
        AdapterSet set = AdapterSet.attach(net, Targets.all(), AdaLora.rank(4), Rng.seed(1));
        AdaLoraBudget budget = new AdaLoraBudget(set, options)) {
      AdapterKindsTest.disturb(set);
      assertEquals(12, budget.budget(2));
      assertEquals(3, budget.budget(10));
      for (long step = 3; step <= 9; step++) {
        assertTrue(budget.budget(step) <= budget.budget(step - 1));
      }
      // PEFT: int(target + (init - target) (1 - (t - tinit) / (total - tfinal - tinit))^3)
      assertEquals((int) (3 + 9 * Math.pow(1 - 3 / 7.0, 3)), budget.budget(5));
      for (long step = 1; step <= 9; step++) {
        Gradients g =
            Autograd.valueAndGrad(set.parameters(), () -> Num.sum(Num.square(net.call(x()))))
                .gradients();
        budget.update(step, g);
        long left =
            set.parts().values().stream()
                .flatMapToDouble(p -> Arrays.stream(((AdaLora.Part) p).e().value().toDoubleArray()))
                .filter(e -> e != 0)
                .count();
        assertEquals(budget.budget(step), left, "step " + step);
      }
      double penalty = budget.orthogonality().item();
      assertTrue(penalty > 0.1 && Double.isFinite(penalty), "penalty " + penalty);
    }
  }
}
