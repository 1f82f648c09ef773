// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Gradients of a function of gradients, against PyTorch. */
class GradientPenaltyTest {
  private static Parameter parameter(String name, int k, int... shape) {
    int n = 1;
    for (int d : shape) {
      n *= d;
    }
    double[] values = new double[n];
    for (int i = 0; i < n; i++) {
      values[i] = Math.cos(0.9 * i + k);
    }
    return new Parameter(name, Tensor.of(values, shape));
  }

  @Test
  void penaltyOfASmallNetwork() {
    Golden golden = new Golden("penalty.txt");
    try (Scope scope = Scope.open();
        Parameter w1 = parameter("w1", 1, 3, 8);
        Parameter b1 = parameter("b1", 2, 8);
        Parameter w2 = parameter("w2", 3, 8, 1);
        Parameter x = parameter("x", 4, 5, 3)) {
      Autograd.Result r =
          Autograd.valueAndGrad(
              List.of(w1, b1, w2),
              () -> {
                // the network's value is computed twice: as a result, and inside the gradient
                Tensor d = Autograd.grad(v -> Num.sum(net(v, w1, b1, w2)), x.value());
                Tensor length = Num.sqrt(Num.sum(Num.square(d), 1));
                Tensor penalty = Num.mean(Num.square(length.sub(1)));
                return Num.mean(net(x.value(), w1, b1, w2)).add(penalty.mul(10));
              });
      assertEquals(golden.get("loss")[0], r.value().item(), 1e-12);
      for (Parameter p : List.of(w1, b1, w2)) {
        assertArrayEquals(
            golden.get(p.name()), r.gradients().asMap().get(p).toDoubleArray(), 1e-11);
      }
    }
  }

  private static Tensor net(Tensor x, Parameter w1, Parameter b1, Parameter w2) {
    Tensor h = Num.tanh(Num.matmul(x, w1.value()).add(b1.value()));
    return Num.matmul(h, w2.value());
  }
}
