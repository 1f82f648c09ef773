// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import org.junit.jupiter.api.Test;

class LossWeightTest {
  private static double epsilon(LossWeight w, double snr) {
    return LossWeight.ofOutput(w, snr, Prediction.EPSILON);
  }

  @Test
  void weightsAreThoseOfThePapers() {
    for (double snr : new double[] {1e-4, 0.3, 1, 4.2, 5, 80, 1e4}) {
      assertEquals(Math.min(snr, 5) / snr, epsilon(LossWeight.minSnr(5), snr), 1e-12);
      assertEquals(
          Math.min(snr, 5) / (snr + 1),
          LossWeight.ofOutput(LossWeight.minSnr(5), snr, Prediction.V_PREDICTION),
          1e-12);
      assertEquals(1 / Math.sqrt(1 + snr), epsilon(LossWeight.p2(1, 0.5), snr), 1e-12);
      assertEquals(
          1, LossWeight.ofOutput(LossWeight.snrPlusOne(), snr, Prediction.V_PREDICTION), 1e-12);
      assertEquals(Math.max(snr, 1) / snr, epsilon(LossWeight.truncatedSnr(), snr), 1e-8);
      assertEquals(
          5 / (snr + 5), epsilon(LossWeight.softMinSnr(5), snr), 1e-12, "soft min-SNR at " + snr);
      assertEquals(125 / (snr * snr + 125), epsilon(LossWeight.softMinSnrCubed(5), snr), 1e-12);
      // EDM: λ(σ) = (σ² + σ_data²)/(σ σ_data)² with SNR = 1/σ².
      double sigma = 1 / Math.sqrt(snr);
      assertEquals(
          (sigma * sigma + 0.25) / (sigma * sigma * 0.25),
          LossWeight.edm(0.5).ofX0(snr),
          1e-9 * (snr + 4));
    }
    assertEquals(1, epsilon(LossWeight.minSnr(5), 0), 1e-12, "no signal");
    assertThrows(IllegalArgumentException.class, () -> LossWeight.minSnr(0));
  }

  /** One error has one loss, whatever the network predicts, if the weight is that of x₀. */
  @Test
  void anErrorWeighsTheSameInAllPredictions() {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).uniform(2, 1, 4, 4);
      Tensor noise = Rng.seed(2).normal(2, 1, 4, 4);
      Tensor estimate = x0.add(Rng.seed(3).normal(2, 1, 4, 4).mul(0.1)); // of x₀
      int[] t = {120, 640};
      for (LossWeight weight :
          List.of(LossWeight.minSnr(5), LossWeight.edm(0.5), LossWeight.p2(1, 1))) {
        double sample = 0;
        for (Prediction p :
            List.of(Prediction.SAMPLE, Prediction.EPSILON, Prediction.V_PREDICTION)) {
          NoiseSchedule s = new NoiseSchedule(SchedulerConfig.ddpm().with(p));
          Tensor noisy = s.addNoise(x0, noise, t);
          Network network =
              (x, times, y) -> {
                Tensor a = NoiseSchedule.perSample(roots(s, t, false), x);
                Tensor b = NoiseSchedule.perSample(roots(s, t, true), x);
                Tensor epsilon = noisy.sub(estimate.mul(a)).div(b);
                return switch (p) {
                  case SAMPLE -> estimate;
                  case EPSILON -> epsilon;
                  default -> epsilon.mul(a).sub(estimate.mul(b));
                };
              };
          double loss =
              new Denoiser(network, s)
                  .with(LossOptions.PLAIN.weighted(weight))
                  .loss(x0, noise, t, null)
                  .item();
          sample = p == Prediction.SAMPLE ? loss : sample;
          assertTrue(sample > 0);
          assertEquals(sample, loss, 1e-3 * sample, p.name());
        }
      }
    }
  }

  private static double[] roots(NoiseSchedule s, int[] t, boolean complement) {
    return java.util.Arrays.stream(t)
        .mapToDouble(i -> Math.sqrt(complement ? 1 - s.alphaBar(i) : s.alphaBar(i)))
        .toArray();
  }

  @Test
  void offsetNoiseIsOnePerChannelAndPerturbationIsNotInTheTarget() {
    try (Scope scope = Scope.open()) {
      NoiseSchedule s = new NoiseSchedule(SchedulerConfig.ddpm());
      Tensor x0 = Tensor.zeros(400, 2, 8, 8);
      Tensor[] seen = new Tensor[1];
      Network network =
          (x, t, y) -> {
            seen[0] = x.div(NoiseSchedule.perSample(roots(s, ints(t), true), x));
            return seen[0];
          };
      Denoiser plain = new Denoiser(network, s);
      // The network gives back the noise of its input: no error, whatever the noise is.
      assertEquals(0, plain.loss(x0, null, Rng.seed(1)).item(), 1e-6);
      assertEquals(1, deviationOfMeans(seen[0]) * 8, 0.1);
      assertEquals(
          0,
          plain.with(LossOptions.PLAIN.offsetNoise(0.5)).loss(x0, null, Rng.seed(1)).item(),
          1e-6);
      assertEquals(Math.hypot(0.5, 1.0 / 8), deviationOfMeans(seen[0]), 0.04);
      // Perturbed input: the error is the perturbation alone.
      assertEquals(
          0.09,
          plain.with(LossOptions.PLAIN.inputPerturbation(0.3)).loss(x0, null, Rng.seed(1)).item(),
          2e-3);
    }
  }

  private static int[] ints(double[] t) {
    return java.util.Arrays.stream(t).mapToInt(v -> (int) v).toArray();
  }

  private static double deviationOfMeans(Tensor noise) {
    return Num.std(Num.mean(noise, 2, 3), 0, false, 0, 1).item();
  }
}
