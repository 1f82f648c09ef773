// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class VariationalBoundTest {
  /** Both parts of the hybrid loss and their gradients, by the formulas in PyTorch. */
  @Test
  void theHybridLossIsTheReferences() {
    try (Scope scope = Scope.open();
        SafeTensors golden = FlowSamplersTest.golden("bound.safetensors")) {
      Tensor x0 = golden.read("x0");
      Tensor noise = golden.read("noise");
      int[] t = Arrays.stream(golden.read("t").toLongArray()).mapToInt(Math::toIntExact).toArray();
      SchedulerConfig config = SchedulerConfig.ddpm().with("variance_type", "learned_range");
      try (Parameter value = new Parameter("value", golden.read("value"));
          Parameter fraction = new Parameter("fraction", golden.read("fraction"))) {
        Denoiser denoiser =
            new Denoiser(
                (x, times, y) -> Shaping.concat(1, value.value(), fraction.value()),
                new NoiseSchedule(config));
        var result =
            Autograd.valueAndGrad(
                List.of(value, fraction), () -> denoiser.loss(x0, noise, t, null));
        double simple = golden.read("simple").item();
        double bound = Num.mean(golden.read("terms")).item();
        assertTrue(bound > 0.01, "the bound counts");
        // The schedule is computed in f32, as diffusers does.
        assertEquals(simple + bound, result.value().item(), 2e-4 * (simple + bound));
        double[] expected = golden.read("grad.fraction").toDoubleArray();
        double[] actual = result.gradients().get(fraction).toDoubleArray();
        double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        assertArrayEquals(expected, actual, 5e-4 * largest);
        double[] ofValue = result.gradients().get(value).toDoubleArray();
        Tensor plain = golden.read("value").sub(noise).mul(2.0 / ofValue.length);
        assertArrayEquals(plain.toDoubleArray(), ofValue, 1e-12, "the mean learns simply");
      }
    }
  }

  @Test
  void aVarianceNeedsItsSchedule() {
    try (Scope scope = Scope.open()) {
      Network network = (x, t, y) -> Tensor.zeros(1, 2, 2, 2);
      Denoiser denoiser = new Denoiser(network, new NoiseSchedule(SchedulerConfig.ddpm()));
      Tensor x = Tensor.zeros(1, 1, 2, 2);
      String message =
          assertThrows(
                  IllegalArgumentException.class, () -> denoiser.loss(x, x, new int[] {3}, null))
              .getMessage();
      assertTrue(message.contains("learned_range"), message);
    }
  }

  @Test
  void guidanceLeavesTheVarianceAlone() {
    try (Scope scope = Scope.open()) {
      Network labels =
          (x, t, y) ->
              Shaping.concat(1, Num.cast(y, DType.F32), Num.cast(y, DType.F32).mul(10))
                  .reshape(-1, 2, 1, 1);
      Tensor none = Tensor.of(new long[] {0}, 1, 1);
      Tensor classes = Tensor.of(new long[] {1, 2}, 2, 1);
      Tensor x = Tensor.zeros(2, 1, 1, 1);
      assertArrayEquals(
          new float[] {3, 10, 6, 20},
          new Guidance(labels, none, 3).call(x, new double[] {5, 5}, classes).toFloatArray());
    }
  }
}
