// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.guides;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.check.GradCheck;
import io.sfumato.cuda.CudaBackend;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.ops.Num;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The op of the guide "Add an op with a CUDA kernel". */
final class AddAnOpTest {
  private static final Device CUDA = new Device("cuda", 0);

  @BeforeAll
  static void addKernels() {
    SnakeKernels.addTo(CUDA);
  }

  // @start region="gradcheck"
  @Test
  void theGradientsAreRight() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.of(new double[] {0.3, -1.2, 2.0, 0.7, 0.1, -0.4}, 2, 3);
      Tensor a = Tensor.of(new double[] {1.0, 0.5, 2.0}, 3);
      GradCheck check = GradCheck.of(in -> new Tensor[] {Executor.run(new Snake(), in)});
      check.check(x, a).orThrow();
      check.tolerance(1e-6).checkSecondOrder(x, a).orThrow();
    }
  }

  // @end

  // @start region="compare"
  @Test
  void theKernelsAgreeWithTheReference() throws Throwable {
    EmulatorControl.inAllOrders( // of threads; once on a real GPU
        () -> {
          try (Scope scope = Scope.open()) {
            Tensor x = Rng.seed(0).normal(1000, 37);
            Tensor a = Rng.seed(1).uniform(37).add(0.5);
            Tensor[] cpu = gradients(x, a);
            Tensor[] gpu = gradients(x.to(CUDA), a.to(CUDA));
            for (int i = 0; i < cpu.length; i++) {
              float[] expected = cpu[i].toFloatArray();
              assertArrayEquals(expected, gpu[i].toFloatArray(), 2e-3f);
            }
          }
        });
  }

  private static Tensor[] gradients(Tensor... inputs) {
    return Autograd.grad(in -> Num.sum(Num.square(Executor.run(new Snake(), in))), inputs);
  }

  // @end

  @Test
  void theKernelsTakeTheCasesTheySay() {
    var kernels = ((CudaBackend) Backends.of(CUDA)).kernels();
    try (Scope scope = Scope.open()) {
      Tensor x = Rng.seed(0).normal(4, 3).to(CUDA);
      Tensor a = Rng.seed(1).uniform(3).add(0.5).to(CUDA);
      Tensor[] in = {x, a};
      assertNotNull(kernels.find(new Snake(), in, in));
      Tensor[] turned = {Rng.seed(0).normal(3, 4).to(CUDA).transpose(0, 1), a};
      assertNull(kernels.find(new Snake(), turned, turned));
      Tensor y = Executor.run(new Snake(), turned); // by the reference
      assertEquals(x.shape(), y.shape());
      assertNotEquals(0, y.select(0, 0).select(0, 0).item());
      Tensor none = Executor.run(new Snake(), x.slice(0, 0, 0).contiguous(), a);
      assertEquals(0, none.numel());
    }
  }
}
