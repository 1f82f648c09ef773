// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Values against the formula; NN.batchNorm itself is compared with PyTorch in GoldenOpsTest. */
class BatchNorm2dTest {
  @TempDir Path temporary;

  private static BatchNorm2d layer() {
    return new BatchNorm2d(Weights.init(Rng.seed(1)).at("bn"), 3, 1e-5, 0.25);
  }

  @Test
  void stateIsPyTorchs() {
    try (BatchNorm2d bn = layer()) {
      assertEquals(
          List.of(
              "bn.weight",
              "bn.bias",
              "bn.running_mean",
              "bn.running_var",
              "bn.num_batches_tracked"),
          List.copyOf(bn.stateDict().keySet()));
      assertEquals(2, bn.parameters().size());
      assertEquals(6, bn.parameterCount());
      assertEquals(DType.I64, bn.stateDict().get("bn.num_batches_tracked").dtype());
      assertEquals(0, bn.stateDict().get("bn.num_batches_tracked").rank());
    }
  }

  @Test
  void trainingUsesTheBatchAndFollowsIt() {
    try (Scope scope = Scope.open();
        BatchNorm2d bn = layer()) {
      Tensor x = Rng.seed(2).normal(4, 3, 5, 2).mul(3).add(1);
      Tensor y = Module.training(() -> bn.call(x));
      assertArrayEquals(new double[3], Num.mean(y, 0, 2, 3).toDoubleArray(), 1e-6);
      assertArrayEquals(new double[] {1, 1, 1}, Num.mean(y.mul(y), 0, 2, 3).toDoubleArray(), 1e-5);
      Tensor mean = Num.mean(x, 0, 2, 3);
      Tensor centred = x.sub(mean.reshape(1, 3, 1, 1));
      Tensor unbiased = Num.sum(centred.mul(centred), 0, 2, 3).div(39);
      Map<String, Tensor> state = bn.stateDict();
      assertArrayEquals(
          mean.mul(0.25).toDoubleArray(), state.get("bn.running_mean").toDoubleArray(), 1e-6);
      assertArrayEquals(
          unbiased.mul(0.25).add(0.75).toDoubleArray(),
          state.get("bn.running_var").toDoubleArray(),
          1e-5);
      assertEquals(1, state.get("bn.num_batches_tracked").item());
    }
  }

  @Test
  void elsewhereTheRunningStatisticsStay() {
    try (Scope scope = Scope.open();
        BatchNorm2d bn = layer()) {
      Tensor x = Rng.seed(2).normal(4, 3, 5, 2);
      double[] y = bn.call(x).toDoubleArray(); // mean 0, variance 1
      assertArrayEquals(x.toDoubleArray(), y, 1e-4);
      assertEquals(0, bn.stateDict().get("bn.num_batches_tracked").item());
      assertArrayEquals(new double[3], bn.stateDict().get("bn.running_mean").toDoubleArray());
    }
  }

  @Test
  void savedStatisticsComeBack() {
    Path file = temporary.resolve("bn.safetensors");
    try (Scope scope = Scope.open();
        BatchNorm2d bn = layer()) {
      Tensor x = Rng.seed(2).normal(4, 3, 5, 2).add(2);
      Module.training(() -> bn.call(x));
      SafeTensors.save(file, bn.stateDict());
      try (Weights weights = Weights.open(file);
          BatchNorm2d same = new BatchNorm2d(weights.at("bn"), 3, 1e-5, 0.25)) {
        weights.requireAllUsed();
        assertArrayEquals(bn.call(x).toDoubleArray(), same.call(x).toDoubleArray());
        assertEquals(1, same.stateDict().get("bn.num_batches_tracked").item());
      }
    }
  }

  @Test
  void memoryOrderDoesNotMatter() {
    try (Scope scope = Scope.open();
        BatchNorm2d bn = layer()) {
      Tensor x = Rng.seed(2).normal(4, 3, 5, 2);
      Tensor last = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
      assertEquals(Layout.channelsLast(x.shape()), last.layout());
      Tensor a = Module.training(() -> bn.call(x));
      Tensor b = Module.training(() -> bn.call(last));
      assertArrayEquals(a.toDoubleArray(), b.toDoubleArray());
      assertTrue(b.layout().isChannelsLast());
    }
  }

  @Test
  void gradientsFlowThroughTheStatistics() {
    try (Scope scope = Scope.open();
        BatchNorm2d bn = layer()) {
      Tensor x = Rng.seed(2).normal(4, 3, 5, 2);
      // a shift and a scale of a channel change nothing, so their gradients vanish
      Tensor g = Rng.seed(3).normal(4, 3, 5, 2);
      Tensor dx = Autograd.grad(v -> Num.sum(Module.training(() -> bn.call(v)).mul(g)), x);
      assertArrayEquals(new double[3], Num.sum(dx, 0, 2, 3).toDoubleArray(), 1e-5);
      Tensor centred = x.sub(Num.mean(x, 0, 2, 3).reshape(1, 3, 1, 1));
      assertArrayEquals(new double[3], Num.sum(dx.mul(centred), 0, 2, 3).toDoubleArray(), 1e-3);
      assertTrue(Num.sum(dx.mul(dx)).item() > 1);
    }
  }

  @Test
  void oneValueHasNoVariance() {
    try (Scope scope = Scope.open();
        BatchNorm2d bn = layer()) {
      Tensor x = Tensor.ones(1, 3, 1, 1);
      bn.call(x);
      assertThrows(ShapeException.class, () -> Module.training(() -> bn.call(x)));
    }
  }
}
