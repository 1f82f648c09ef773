// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

class GradientListenerTest {
  /** A gradient as it was when the listener heard of it. */
  private static Map<String, double[]> heard(
      List<Parameter> parameters, Supplier<Tensor> loss, List<String> order) {
    Map<String, double[]> values = new LinkedHashMap<>();
    Autograd.Result result =
        Autograd.valueAndGradWithExtra(
            parameters,
            () -> new Tensor[] {loss.get()},
            (p, g) -> {
              assertNull(values.put(p.name(), g == null ? new double[0] : g.toDoubleArray()));
              order.add(p.name());
            });
    for (Parameter p : parameters) {
      Tensor g = result.gradients().get(p);
      assertArrayEquals(g == null ? new double[0] : g.toDoubleArray(), values.get(p.name()));
    }
    return values;
  }

  private static List<Parameter> layers(int count) {
    List<Parameter> layers = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      for (int i = 0; i < count; i++) {
        layers.add(new Parameter("w" + i, Rng.seed(1).step(i).normal(3, 3)));
      }
    }
    return layers;
  }

  @Test
  void gradientsAreHeardOfFromTheLastLayerToTheFirstAndAreWhole() {
    List<Parameter> w = layers(4);
    try (Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 3);
      List<String> order = new ArrayList<>();
      // w1 is used in the first layer, too, so its gradient is complete last; w3 is not used.
      heard(
          w,
          () ->
              x.matmul(w.get(1).value())
                  .matmul(w.get(0).value())
                  .matmul(w.get(1).value())
                  .matmul(w.get(2).value())
                  .sum(),
          order);
      assertEquals(List.of("w3", "w2", "w0", "w1"), order);
    } finally {
      w.forEach(Parameter::close);
    }
  }

  @Test
  void checkpointedRegionsTellWhenTheyWereComputedAgain() {
    List<Parameter> w = layers(3);
    try (Scope scope = Scope.open()) {
      Tensor x = Rng.seed(2).normal(2, 3);
      List<String> order = new ArrayList<>();
      heard(
          w,
          () -> {
            Tensor h =
                Autograd.checkpoint(v -> v[0].matmul(w.get(0).value()).matmul(w.get(1).value()), x);
            return h.matmul(w.get(2).value()).matmul(w.get(1).value()).sum();
          },
          order);
      assertEquals(List.of("w2", "w0", "w1"), order);
    } finally {
      w.forEach(Parameter::close);
    }
  }

  @Test
  void aLossThatIsAParameterIsComplete() {
    Parameter p;
    try (Scope scope = Scope.open()) {
      p = new Parameter("p", Tensor.full(2, 1));
    }
    try (Scope scope = Scope.open()) {
      List<String> order = new ArrayList<>();
      assertArrayEquals(new double[] {1}, heard(List.of(p), p::value, order).get("p"));
    } finally {
      p.close();
    }
  }
}
