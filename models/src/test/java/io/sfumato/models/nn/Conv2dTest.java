// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import org.junit.jupiter.api.Test;

/** Convolutions behind doubled pictures. */
class Conv2dTest {
  private static Tensor[] both(Conv2d conv, Tensor x) {
    return new Tensor[] {conv.callDoubled(x), conv.call(NN.upsampleNearest(x, 2))};
  }

  private static void checkEqual(Conv2d conv, Tensor x) {
    Tensor[] y = both(conv, x);
    assertEquals(y[1].shape(), y[0].shape());
    assertArrayEquals(y[1].toFloatArray(), y[0].toFloatArray(), 2e-6f);
  }

  @Test
  void doublesAndConvolves() {
    try (Scope scope = Scope.open();
        Conv2d conv = new Conv2d(Weights.init(Rng.seed(1)), 5, 7, 3);
        Conv2d plain =
            new Conv2d(
                Weights.init(Rng.seed(2)), 5, 7, 3, ConvOptions.of().padding(1), null, false)) {
      Tensor x = Rng.seed(3).normal(2, 5, 3, 4);
      checkEqual(conv, x);
      checkEqual(plain, x);
      Trace trace = new Trace(Executor.current());
      Executor.with(trace, () -> conv.callDoubled(x));
      assertEquals(1, trace.events().size());
    }
  }

  @Test
  void otherKernelsAndAdaptersSeeTheLargePicture() {
    try (Scope scope = Scope.open();
        Conv2d pointwise = new Conv2d(Weights.init(Rng.seed(1)), 5, 7, 1);
        Conv2d conv = new Conv2d(Weights.init(Rng.seed(2)), 5, 7, 3)) {
      Tensor x = Rng.seed(3).normal(2, 5, 3, 4);
      checkEqual(pointwise, x);
      Shape[] seen = new Shape[1];
      conv.attach(
          (layer, input, base) -> {
            seen[0] = input.shape();
            return base.apply(input);
          });
      checkEqual(conv, x);
      conv.callDoubled(x);
      assertEquals(Shape.of(2, 5, 6, 8), seen[0]);
    }
  }
}
