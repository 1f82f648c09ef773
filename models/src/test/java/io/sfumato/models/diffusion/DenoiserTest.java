// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import org.junit.jupiter.api.Test;

class DenoiserTest {
  private static NoiseSchedule schedule(Prediction prediction) {
    return new NoiseSchedule(SchedulerConfig.ddpm().with(prediction));
  }

  @Test
  void schedulesHaveTheReferencesNumbers() {
    NoiseSchedule linear = new NoiseSchedule(SchedulerConfig.ddpm());
    assertEquals(0.9999, linear.alphaBar(0), 1e-6);
    assertEquals(0.521423, linear.alphaBar(250), 1e-5);
    assertEquals(4.03583e-05, linear.alphaBar(999), 1e-9);
    NoiseSchedule cosine = new NoiseSchedule(SchedulerConfig.ddpm().withBetas("squaredcos_cap_v2"));
    assertEquals(0.9999587, cosine.alphaBar(0), 1e-6);
    assertEquals(0.492285, cosine.alphaBar(500), 1e-5);
    assertEquals(2.428735e-09, cosine.alphaBar(999), 1e-13);
  }

  /** A network that knows the answer makes every parameterisation return it. */
  @Test
  void theEstimateInvertsTheNoising() {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).uniform(2, 3, 4, 4);
      Tensor noise = Rng.seed(2).normal(2, 3, 4, 4);
      int[] t = {300, 300};
      for (Prediction p :
          new Prediction[] {Prediction.EPSILON, Prediction.SAMPLE, Prediction.V_PREDICTION}) {
        NoiseSchedule s = schedule(p);
        Tensor answer =
            switch (p) {
              case EPSILON -> noise;
              case SAMPLE -> x0;
              default -> s.velocity(x0, noise, t);
            };
        Denoiser denoiser = new Denoiser((x, times, y) -> answer, s);
        Tensor noisy = s.addNoise(x0, noise, t);
        Denoiser.Estimate e = denoiser.estimate(noisy, 300);
        assertArrayEquals(x0.toFloatArray(), e.x0().toFloatArray(), 1e-5f, p.name());
        assertArrayEquals(noise.toFloatArray(), e.epsilon().toFloatArray(), 1e-5f, p.name());
        assertEquals(0, denoiser.loss(x0, noise, t, null).item(), 1e-10, p.name());
      }
    }
  }

  @Test
  void aPerfectFlowIsFollowedExactly() {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).uniform(2, 1, 4, 4);
      Tensor start = Rng.seed(2).normal(2, 1, 4, 4);
      Tensor direction = start.sub(x0);
      Sampler sampler = Sampler.of(SchedulerConfig.of("FlowMatchEulerDiscreteScheduler"));
      Denoiser denoiser = new Denoiser((x, t, y) -> direction, new NoiseSchedule(sampler.config()));
      Tensor end = sampler.sample(denoiser, start, Steps.of(5), NoiseSources.none(), Listener.NONE);
      assertArrayEquals(x0.toFloatArray(), end.toFloatArray(), 1e-5f);
      assertTrue(denoiser.loss(x0, null, Rng.seed(3)).item() > 0);
      Denoiser wrong = new Denoiser((x, t, y) -> x, schedule(Prediction.EPSILON));
      assertThrows(
          IllegalArgumentException.class,
          () -> sampler.sample(wrong, start, Steps.of(5), NoiseSources.none(), Listener.NONE));
    }
  }

  @Test
  void exactDdimStepsEndAtTheAnswerOfAPerfectNetwork() {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).uniform(2, 1, 4, 4);
      Tensor start = Rng.seed(2).normal(2, 1, 4, 4);
      SchedulerConfig config =
          SchedulerConfig.of("DDIMScheduler").with(Prediction.SAMPLE).withSpacing("trailing");
      Denoiser denoiser = new Denoiser((x, t, y) -> x0, new NoiseSchedule(config));
      Sampler ddim = Ddim.of(config).clippedEpsilon(true).exactSteps(true);
      for (int steps : new int[] {1, 7, 30}) {
        Tensor end =
            ddim.sample(denoiser, start, Steps.of(steps), NoiseSources.none(), Listener.NONE);
        assertArrayEquals(x0.toFloatArray(), end.toFloatArray(), 1e-5f);
      }
    }
  }

  @Test
  void guidanceExtrapolatesFromTheUnconditional() {
    try (Scope scope = Scope.open()) {
      // The output is the label, so u = 0 and c = 1 or 2.
      Network labels =
          (x, t, y) ->
              io.sfumato.tensor.ops.Num.cast(y, x.dtype())
                  .reshape(-1, 1, 1, 1)
                  .expand(x.shape().dims());
      Tensor none = Tensor.of(new long[] {0}, 1);
      Tensor classes = Tensor.of(new long[] {1, 2}, 2);
      Tensor x = Tensor.zeros(2, 1, 1, 1);
      double[] t = {5, 5};
      assertArrayEquals(
          new float[] {3, 6}, new Guidance(labels, none, 3).call(x, t, classes).toFloatArray());
      assertArrayEquals(
          new float[] {1, 2}, new Guidance(labels, none, 1).call(x, t, classes).toFloatArray());
      assertThrows(
          IllegalArgumentException.class, () -> new Guidance(labels, none, 3).call(x, t, null));
    }
  }

  @Test
  void minSnrWeightsTheLoss() {
    try (Scope scope = Scope.open()) {
      NoiseSchedule s = schedule(Prediction.EPSILON);
      Denoiser plain = new Denoiser((x, t, y) -> x.mul(0), s);
      Tensor x0 = Tensor.zeros(1, 1, 2, 2);
      Tensor noise = Tensor.ones(1, 1, 2, 2);
      assertEquals(1, plain.loss(x0, noise, new int[] {10}, null).item(), 1e-6);
      double weight = 5 / s.snr(10);
      assertTrue(weight < 1);
      assertEquals(weight, plain.withMinSnr(5).loss(x0, noise, new int[] {10}, null).item(), 1e-6);
      assertEquals(1, plain.withMinSnr(5).loss(x0, noise, new int[] {900}, null).item(), 1e-6);
    }
  }

  @Test
  void wrongConfigurationsAreReportedAsAWhole() {
    var json =
        com.fasterxml.jackson.databind.node.JsonNodeFactory.instance
            .objectNode()
            .put("beta_schedule", "spiral")
            .put("timestep_spacing", "random")
            .put("num_train_timesteps", 0);
    String message =
        assertThrows(IllegalArgumentException.class, () -> SchedulerConfig.fromJson(json, "test"))
            .getMessage();
    assertTrue(message.contains("spiral") && message.contains("random"), message);
    assertTrue(message.contains("num_train_timesteps"), message);
  }
}
