// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Adapters taken from differences, brought to other ranks, combined. */
class LoraToolsTest {
  private static final class Net extends Module {
    private final Linear lin;
    private final Conv2d conv;

    Net(Weights weights) {
      super(weights);
      lin = child("lin", w -> new Linear(w, 9, 16));
      conv = child("conv", w -> new Conv2d(w, 4, 5, 3));
    }

    Tensor call(Tensor x) {
      return call(() -> conv.call(lin.call(x).reshape(-1, 4, 2, 2)));
    }
  }

  private static Net net() {
    return new Net(Weights.init(Rng.seed(3)));
  }

  private static Tensor x() {
    return Rng.seed(4).normal(3, 9);
  }

  private static AdapterSet random(Net net, AdapterKind kind, long seed) {
    AdapterSet set = AdapterSet.attach(net, Targets.all(), kind, Rng.seed(seed));
    for (Parameter p : set.parameters()) {
      Updates.copy(p.value(), Rng.seed(seed).fork(p.name()).normal(p.value().spec()).mul(0.3));
    }
    return set;
  }

  private static double distance(Tensor a, Tensor b) {
    return Num.max(Num.abs(a.sub(b))).item();
  }

  @Test
  void aDifferenceOfLowRankIsFoundExactly() {
    try (Net original = net();
        Net tuned = net();
        Scope scope = Scope.open()) {
      Tensor plain = original.call(x());
      try (AdapterSet change = random(tuned, Lora.rank(3).alpha(2), 7)) {
        change.merge();
        Tensor wanted = tuned.call(x());
        try (AdapterSet found =
            LoraTools.extract(original, tuned, Targets.all(), LoraTools.Rank.of(3))) {
          assertEquals(0, distance(wanted, original.call(x())), 2e-5);
        }
        try (AdapterSet less =
            LoraTools.extract(original, tuned, Targets.all(), LoraTools.Rank.of(1))) {
          double rest = distance(wanted, original.call(x()));
          assertTrue(rest > 1e-3 && rest < distance(wanted, plain), "rest " + rest);
        }
      }
      assertEquals(0, distance(plain, original.call(x())));
    }
  }

  /** An embedding's table is its weight's transpose; every method gives the same change back. */
  @Test
  void embeddingsAreExtractedAndCombined() {
    try (Embedding original = new Embedding(Weights.init(Rng.seed(1)).at("table"), 9, 5);
        Embedding tuned = new Embedding(Weights.init(Rng.seed(1)).at("table"), 9, 5);
        Scope scope = Scope.open()) {
      Tensor ids = Tensor.of(new long[] {0, 8, 3, 3}, 2, 2);
      Tensor plain = original.call(ids);
      try (AdapterSet change =
          AdapterSet.attach(tuned, Targets.all(), Lora.rank(2).alpha(3), Rng.seed(5))) {
        AdapterKindsTest.disturb(change);
        change.merge();
        Tensor wanted = tuned.call(ids);
        assertTrue(distance(plain, wanted) > 0.1);
        try (AdapterSet found =
            LoraTools.extract(original, tuned, Targets.all(), LoraTools.Rank.keeping(1))) {
          assertEquals(0, distance(wanted, original.call(ids)), 2e-5);
          for (LoraTools.Method method :
              List.of(LoraTools.Method.LINEAR, LoraTools.Method.CAT, LoraTools.Method.SVD)) {
            found.setOn(false);
            try (AdapterSet again =
                LoraTools.combine(
                    original,
                    List.of(found),
                    List.of(1.0),
                    method,
                    LoraTools.Rank.of(2),
                    Rng.seed(0))) {
              assertEquals(0, distance(wanted, original.call(ids)), 2e-5, method.toString());
            }
          }
        }
      }
    }
  }

  /** No matrix of rank r is closer: the error is that of the singular values left out. */
  @Test
  void resizingKeepsTheLargestSingularValues() {
    try (Scope scope = Scope.open()) {
      Tensor m = Rng.seed(1).normal(7, 12).to(DType.F64);
      LowRankMath.Factors whole = LowRankMath.factorize(m, s -> 7);
      assertEquals(0, distance(m, whole.b().matmul(whole.a())), 1e-12);
      double before = 1;
      for (int i = 6; i >= 1; i--) {
        int r = i;
        LowRankMath.Factors some = LowRankMath.factorize(m, s -> r);
        Tensor rest = m.sub(some.b().matmul(some.a()));
        double share = Num.sum(Num.square(rest)).item() / Num.sum(Num.square(m)).item();
        assertEquals(1 - some.kept(), share, 1e-12);
        assertTrue(some.kept() < before);
        before = some.kept();
      }
      Tensor b = Rng.seed(2).normal(9, 3).to(DType.F64);
      Tensor a = Rng.seed(3).normal(3, 8).to(DType.F64);
      LowRankMath.Factors direct = LowRankMath.factorize(b.matmul(a), s -> 2);
      LowRankMath.Factors product = LowRankMath.factorize(b, a, s -> 2);
      assertEquals(
          0, distance(direct.b().matmul(direct.a()), product.b().matmul(product.a())), 1e-12);
    }
  }

  @Test
  void combinedAdaptersDoWhatTheyDoTogether() {
    try (Net net = net();
        Scope scope = Scope.open();
        AdapterSet one = random(net, Lora.rank(2).alpha(3), 11);
        AdapterSet two = random(net, Lora.rank(3), 12)) {
      one.setStrength(0.7);
      two.setStrength(-0.4);
      Tensor together = net.call(x());
      one.setOn(false);
      two.setOn(false);
      List<AdapterSet> both = List.of(one, two);
      List<Double> weights = List.of(0.7, -0.4);
      Rng rng = Rng.seed(0);
      try (AdapterSet cat =
          LoraTools.combine(net, both, weights, LoraTools.Method.CAT, LoraTools.Rank.of(1), rng)) {
        assertEquals(0, distance(together, net.call(x())), 2e-5);
      }
      try (AdapterSet svd =
          LoraTools.combine(net, both, weights, LoraTools.Method.SVD, LoraTools.Rank.of(5), rng)) {
        assertEquals(0, distance(together, net.call(x())), 2e-5);
      }
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  LoraTools.combine(
                      net, both, weights, LoraTools.Method.LINEAR, LoraTools.Rank.of(1), rng));
      assertTrue(e.getMessage().contains("equal ranks"), e.getMessage());
      e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  LoraTools.combine(
                      net, both, List.of(1.0), LoraTools.Method.CAT, LoraTools.Rank.of(1), rng));
      assertTrue(e.getMessage().contains("as many weights"), e.getMessage());
    }
  }

  /** One adapter alone: LINEAR, TIES with what agrees with itself, and DARE on average. */
  @Test
  void oneAdapterStaysItself() {
    try (Net net = net();
        Scope scope = Scope.open();
        AdapterSet one = random(net, Lora.rank(2).alpha(3), 11)) {
      Tensor alone = net.call(x());
      one.setOn(false);
      Tensor plain = net.call(x());
      List<AdapterSet> sets = List.of(one);
      List<Double> weights = List.of(1.0);
      try (AdapterSet linear =
          LoraTools.combine(
              net, sets, weights, LoraTools.Method.LINEAR, LoraTools.Rank.of(1), Rng.seed(0))) {
        assertEquals(0, distance(alone, net.call(x())), 2e-5);
      }
      try (AdapterSet ties =
          LoraTools.combine(
              net, sets, weights, LoraTools.Method.TIES, LoraTools.Rank.of(9), Rng.seed(0))) {
        double rest = distance(alone, net.call(x()));
        assertTrue(rest > 1e-4 && rest < distance(alone, plain), "rest " + rest);
      }
      Tensor mean = plain.mul(0);
      int draws = 40;
      for (int i = 0; i < draws; i++) {
        try (AdapterSet dare =
            LoraTools.combine(
                net, sets, weights, LoraTools.Method.DARE, LoraTools.Rank.of(99), Rng.seed(i))) {
          Parameter lin = dare.parameters().getFirst();
          assertEquals("lin.lora_A.weight", lin.name());
          Tensor b = dare.stateDict().get("lin.lora_B.weight");
          Tensor delta = b.matmul(lin.value());
          mean = i == 0 ? delta : mean.add(delta);
        }
      }
      Lora.Product p = ((Lora.HasProduct) one.parts().get("lin")).product();
      Tensor expected = p.b().matmul(p.a()).mul(p.scale()).to(DType.F32);
      double scale = Num.max(Num.abs(expected)).item();
      assertEquals(0, distance(expected, mean.div(draws)) / scale, 0.8);
      double meanError = Num.mean(Num.abs(expected.sub(mean.div(draws)))).item() / scale;
      assertTrue(meanError < 0.06, "mean error " + meanError);
    }
  }
}
