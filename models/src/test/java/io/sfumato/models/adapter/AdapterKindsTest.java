// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** What holds for every kind of adapter on every layer it takes. */
public class AdapterKindsTest {
  /** One layer of each form. */
  private static final class Layers extends Module {
    Layers(Weights weights) {
      super(weights);
      child("linear", w -> new Linear(w, 12, 8));
      child("wide", w -> new Linear(w, 60, 66, false));
      child("conv", w -> new Conv2d(w, 4, 8, 3, ConvOptions.of().stride(2).padding(1)));
      child("broad", w -> new Conv2d(w, 30, 40, 3));
      child("point", w -> new Conv2d(w, 4, 6, 1));
      child("table", w -> new Embedding(w, 9, 5));
      child("norm", w -> new LayerNorm(w, 12, 1e-5, true));
      child("groups", w -> new GroupNorm(w, 2, 4, 1e-6));
    }

    WeightLayer layer(String name) {
      Module layer = children().get(name);
      assertNotNull(layer, name);
      return (WeightLayer) layer;
    }
  }

  /** One of each kind. */
  public static Map<String, AdapterKind> kinds() {
    Map<String, AdapterKind> kinds = new LinkedHashMap<>();
    kinds.put("lora", Lora.rank(3).alpha(5));
    kinds.put("lora, rank stabilized", Lora.rank(4).rankStabilized(true));
    kinds.put("lora, bias", Lora.rank(2).bias(true));
    kinds.put("locon", Lora.rank(2).tucker(true));
    kinds.put("dora", new Dora(Lora.rank(3).alpha(2)));
    kinds.put("dora over inputs", new Dora(Lora.rank(3).alpha(2), true));
    kinds.put("dora over inputs, core", new Dora(Lora.rank(2).tucker(true), true));
    kinds.put("loha", Loha.rank(2).alpha(3));
    kinds.put("loha, cores", Loha.rank(3).effectiveConv(true));
    kinds.put("lokr", Lokr.rank(1).alpha(2));
    kinds.put("lokr, full", Lokr.rank(100).factor(2));
    kinds.put("lokr, both", new Lokr(1, 1, 2, true, true, 0, false, 0));
    kinds.put("ia3", new Ia3(false));
    kinds.put("ia3 of inputs", new Ia3(true));
    kinds.put("oft", Oft.blocks(4));
    kinds.put("oft, exact", new Oft(4, false, 0));
    kinds.put("oft, shared", new Oft(2, true, 4));
    kinds.put("oft, constrained", new Oft(4, false, 5, 0.2, 0));
    kinds.put("oft, of five", Oft.blocks(5));
    kinds.put("boft", new Boft(4, 1));
    kinds.put("boft, two factors", new Boft(2, 2));
    kinds.put("vera", Vera.rank(5));
    kinds.put("adalora", AdaLora.rank(3).alpha(4));
    kinds.put("full", new FullDifference(false));
    kinds.put("glora", new Glora(2, 3));
    kinds.put("glora, core", new Glora(2, 1, true));
    kinds.put("diag-oft", new DiagOft(4, 2, 0.3, true));
    kinds.put("diag-oft of six", new DiagOft(2, 3, 0, false));
    kinds.put("boft of outputs", new LycorisBoft(2, 4, 2, true));
    kinds.put("lycoris ia3", new LycorisIa3(true));
    kinds.put("dylora", DyLora.rank(6, 2).alpha(5));
    kinds.put("delta-lora", new DeltaLora(Lora.rank(3).alpha(2), 0.5, 0));
    kinds.put("norms", new NormDifference());
    kinds.put("whole layers", new WholeLayer());
    kinds.put("trained tokens", new TrainedTokens(List.of(3, 0)));
    return kinds;
  }

  private static Tensor input(String layer) {
    Rng rng = Rng.seed(5);
    return switch (layer) {
      case "linear", "norm" -> rng.normal(2, 3, 12);
      case "wide" -> rng.normal(7, 60);
      case "broad" -> rng.normal(2, 30, 5, 4);
      case "table" -> Tensor.of(new long[] {0, 8, 3, 3}, 2, 2);
      default -> rng.normal(2, 4, 7, 5);
    };
  }

  @TestFactory
  Stream<DynamicTest> outputsAreThoseOfTheMergedWeight() {
    return kinds().entrySet().stream()
        .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> everyLayer(e.getValue())));
  }

  private static void everyLayer(AdapterKind kind) {
    int taken = 0;
    for (String name : List.of("linear", "wide", "conv", "point", "table", "norm", "groups")) {
      try (Layers layers = new Layers(Weights.init(Rng.seed(1)))) {
        WeightLayer layer = layers.layer(name);
        boolean meant = kind.adaptsNorms() || !(layer instanceof Norm);
        if (meant && kind.refuses(layer) == null) {
          oneLayer(layers, name, kind);
          taken++;
        }
      }
    }
    assertTrue(taken > 0);
  }

  private static void oneLayer(Layers layers, String name, AdapterKind kind) {
    WeightLayer layer = layers.layer(name);
    try (Scope scope = Scope.open();
        AdapterSet set = AdapterSet.attach(layers, name::equals, kind, Rng.seed(2))) {
      Tensor x = input(name);
      Tensor plain = set.without(() -> layer.call(x));
      close(plain, layer.call(x), "a fresh adapter changes nothing"); // PEFT's and ours
      disturb(set);
      assertTrue(distance(plain, layer.call(x)) > 1e-3, "it does something");
      for (double strength : List.of(1.0, 0.5, -0.75)) {
        set.setStrength(strength);
        Tensor adapted = layer.call(x);
        set.merge();
        close(adapted, layer.call(x), "merged at " + strength);
        set.unmerge();
        assertArrayEquals(adapted.toFloatArray(), layer.call(x).toFloatArray());
      }
      set.setStrength(0);
      assertArrayEquals(plain.toFloatArray(), layer.call(x).toFloatArray());
      set.setStrength(1);
      everyParameterHasAGradient(set, layer, x);
      onTopOfAnother(layers, name, layer, set, x);
    }
  }

  /** The same output in either way: fused with the layer, or after another adapter. */
  private static void onTopOfAnother(
      Layers layers, String name, WeightLayer layer, AdapterSet set, Tensor x) {
    Tensor alone = layer.call(x);
    set.close();
    io.sfumato.models.nn.Adapter same = (l, in, base) -> base.apply(in);
    layer.attach(same);
    try (AdapterSet again =
        AdapterSet.attach(
            layers, name::equals, set.kinds().values().iterator().next(), Rng.seed(2))) {
      disturb(again);
      close(alone, layer.call(x), "not fused");
      everyParameterHasAGradient(again, layer, x);
    } finally {
      layer.detach(same);
    }
  }

  private static void everyParameterHasAGradient(AdapterSet set, WeightLayer layer, Tensor x) {
    var gradients =
        Autograd.valueAndGrad(set.parameters(), () -> Num.sum(Num.square(layer.call(x))))
            .gradients();
    for (Parameter p : set.parameters()) {
      Tensor g = gradients.get(p);
      assertNotNull(g, p.name());
      assertTrue(Num.max(Num.abs(g)).item() > 0, p.name());
    }
  }

  /** Random values in place of first ones. */
  static void disturb(AdapterSet set) {
    for (Parameter p : set.parameters()) {
      Tensor noise = Rng.seed(9).fork(p.name()).normal(p.value().spec()).mul(0.3);
      Updates.copy(p.value(), p.value().add(noise));
    }
  }

  private static double distance(Tensor a, Tensor b) {
    return Num.max(Num.abs(a.sub(b))).item();
  }

  private static void close(Tensor expected, Tensor actual, String what) {
    double largest = Math.max(1, Num.max(Num.abs(expected)).item());
    assertEquals(0, distance(expected, actual) / largest, 3e-6, what);
  }

  @Test
  void frozenLayersGetNoGradient() {
    try (Layers layers = new Layers(Weights.init(Rng.seed(1)));
        AdapterSet set = AdapterSet.attach(layers, "linear"::equals, Lora.rank(2), Rng.seed(2));
        Scope scope = Scope.open()) {
      Tensor x = input("linear");
      var gradients =
          Autograd.valueAndGrad(set.parameters(), () -> Num.sum(layers.layer("linear").call(x)))
              .gradients();
      assertEquals(2, set.parameters().size());
      assertNull(gradients.get(layers.layer("linear").weight()));
      assertEquals(2 * (12 + 8), set.parameterCount());
    }
  }

  @Test
  void dropoutsActInTrainingOnlyAndRepeat() {
    List<AdapterKind> kinds =
        List.of(
            Lora.rank(4).dropout(0.5),
            Lora.rank(4).rankDropout(0.5),
            new Loha(2, 2, false, 0.5, 0),
            new Lokr(2, 2, -1, false, false, 0.5, true, 0),
            new Loha(2, 2, false, 0, 0.5),
            new Dora(Lora.rank(4).dropout(0.5)),
            Vera.rank(4).dropout(0.5),
            AdaLora.rank(4).dropout(0.5),
            new Oft(2, false, 5, 0, 0.5),
            new Boft(2, 2, 0.5));
    for (AdapterKind kind : kinds) {
      try (Layers layers = new Layers(Weights.init(Rng.seed(1)));
          AdapterSet set = AdapterSet.attach(layers, "linear"::equals, kind, Rng.seed(2));
          Scope scope = Scope.open()) {
        disturb(set);
        Tensor x = input("linear");
        WeightLayer layer = layers.layer("linear");
        Tensor whole = layer.call(x);
        int different = 0;
        for (int i = 0; i < 8; i++) {
          Rng rng = Rng.seed(i);
          Tensor once = Dropout.active(rng, () -> layer.call(x));
          Tensor again = Dropout.active(rng, () -> layer.call(x));
          assertArrayEquals(once.toFloatArray(), again.toFloatArray());
          different += distance(once, whole) > 1e-4 ? 1 : 0;
        }
        assertTrue(different >= 2, kind + " dropped in " + different + " of 8");
        assertArrayEquals(whole.toFloatArray(), layer.call(x).toFloatArray());
      }
    }
  }

  /**
   * PEFT replaces so many blocks, not each with a chance: int(p · blocks), and shared ones never.
   */
  @Test
  void blocksThatDoNotTurnAreCounted() {
    try (Scope scope = Scope.open()) {
      Tensor r = Rng.seed(1).normal(7, 3, 3);
      for (double p : List.of(0.0, 0.1, 0.3, 0.5, 0.99)) {
        Tensor dropped = Dropout.active(Rng.seed(5), () -> new BlockDropout(p).apply(r, "here"));
        int still = 0;
        for (int i = 0; i < 7; i++) {
          Tensor block = dropped.select(0, i);
          if (distance(block, Rotations.eye(r)) == 0) {
            still++;
          } else {
            assertEquals(0, distance(block, r.select(0, i)));
          }
        }
        assertEquals((int) (p * 7), still, "of share " + p);
      }
      Tensor shared = r.slice(0, 0, 1);
      assertEquals(
          0,
          distance(
              shared,
              Dropout.active(Rng.seed(5), () -> new BlockDropout(0.9).apply(shared, "here"))));
    }
  }

  /** No block turns further than the bound, and a block within it turns as it would without. */
  @Test
  void constrainedRotationsStayNearTheIdentity() {
    try (Layers layers = new Layers(Weights.init(Rng.seed(1)));
        Scope scope = Scope.open()) {
      WeightLayer layer = layers.layer("linear");
      Tensor plain = layer.call(input("linear"));
      double before = Double.POSITIVE_INFINITY;
      for (double eps : List.of(0.0, 100.0, 1.0, 0.1, 0.01)) { // 0 is without bound
        try (AdapterSet set =
            AdapterSet.attach(
                layers, "linear"::equals, new Oft(4, false, 0, eps, 0), Rng.seed(2))) {
          disturb(set);
          double moved = distance(plain, layer.call(input("linear")));
          assertTrue(eps == 100 ? moved == before : moved < before, eps + ": " + moved);
          before = moved;
        }
      }
      assertTrue(before < 0.05 && before > 0, "moved by " + before);
    }
  }

  @Test
  void channelsAreDividedAsPeftDoes() {
    int[][] cases = {
      {320, -1, 16, 20},
      {320, 2, 2, 160},
      {320, 4, 4, 80},
      {320, 8, 8, 40},
      {320, 16, 16, 20},
      {640, -1, 20, 32},
      {768, -1, 24, 32},
      {1024, -1, 32, 32},
      {1280, 16, 16, 80},
      {360, -1, 18, 20},
      {250, -1, 10, 25},
      {127, -1, 1, 127},
      {20, 50, 4, 5},
      {12, 8, 3, 4},
      {20, 20, 20, 1}
    };
    for (int[] c : cases) {
      assertArrayEquals(new int[] {c[2], c[3]}, Lokr.factorize(c[0], c[1]), c[0] + " by " + c[1]);
    }
  }
}
