// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

class LinearTest {
  /** Layers of one input in a module. */
  private static final class Several extends Module {
    private final Linear[] layers;

    Several(boolean bias) {
      super(Weights.init(Rng.seed(3)));
      layers =
          new Linear[] {
            child("a", w -> new Linear(w, 6, 4, bias)),
            child("b", w -> new Linear(w, 6, 8, bias)),
            child("c", w -> new Linear(w, 6, 4, bias))
          };
    }
  }

  @Test
  void joinedLayersGiveWhatEachGivesAndTheSameGradients() {
    for (boolean bias : new boolean[] {true, false}) {
      try (Several module = new Several(bias)) {
        Scope.run(
            () -> {
              Tensor x = Rng.seed(4).normal(2, 5, 6);
              List<Tensor> joined = Linear.joined(x, module.layers);
              List<Tensor> separate = Linear.callAll(x, module.layers);
              for (int i = 0; i < 3; i++) {
                assertArrayEquals(
                    separate.get(i).toDoubleArray(), joined.get(i).toDoubleArray(), 1e-6);
              }
              var expected = gradients(module, () -> Linear.callAll(x, module.layers));
              var got = gradients(module, () -> Linear.joined(x, module.layers));
              assertEquals(expected.size(), got.size());
              for (int i = 0; i < got.size(); i++) {
                assertArrayEquals(
                    expected.get(i).toDoubleArray(), got.get(i).toDoubleArray(), 1e-5);
              }
            });
      }
    }
  }

  /** Of the sum of products of the results, so that each matters in its own way. */
  private static List<Tensor> gradients(Module module, Supplier<List<Tensor>> results) {
    List<Parameter> parameters = module.parameters();
    var found =
        Autograd.valueAndGrad(
            parameters,
            () -> {
              List<Tensor> y = results.get();
              return y.get(0).mul(y.get(2)).sum().add(y.get(1).square().sum());
            });
    List<Tensor> gradients = new ArrayList<>();
    for (Parameter p : parameters) {
      gradients.add(found.gradients().get(p));
    }
    return gradients;
  }
}
