// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What goes around a sampler: image-to-image starts, inpainting, listeners, guidance. */
class AroundSamplersTest {
  /** A configuration whose network knows the clean sample, where its class can say so. */
  private static SchedulerConfig config(Samplers kind) {
    SchedulerConfig config = SchedulerConfig.of(kind.className());
    if (config.has("skip_prk_steps")) {
      config = config.with("skip_prk_steps", true);
    }
    return config.has("clip_sample") ? config.with("clip_sample", false) : config;
  }

  private static Denoiser denoiser(SchedulerConfig config) {
    return new Denoiser((x, t, y) -> Num.tanh(x).mul(0.5), new NoiseSchedule(config));
  }

  @ParameterizedTest
  @EnumSource(Samplers.class)
  void shortenedWaysBeginWherePipelinesDo(Samplers kind) {
    Sampler sampler = Sampler.of(config(kind));
    int calls = kind == Samplers.HEUN ? 2 : 1;
    assertEquals(0, sampler.plan(Steps.of(10)).begin());
    assertEquals(4 * calls, sampler.plan(Steps.of(10).strength(0.6)).begin());
    // 5.5 steps: U-Net pipelines take 5, those of flows 6.
    int begin = kind == Samplers.FLOW_EULER ? 4 : 5 * calls;
    assertEquals(begin, sampler.plan(Steps.of(10).strength(0.55)).begin());
    Steps half = Steps.of(10).strength(0.05);
    if (kind == Samplers.FLOW_EULER) {
      assertEquals(9, sampler.plan(half).begin());
    } else {
      assertThrows(IllegalArgumentException.class, () -> sampler.plan(half));
    }
  }

  /** Going on from the middle of a run with the same sample gives the same end. */
  @ParameterizedTest
  @EnumSource(
      value = Samplers.class,
      names = {"DDPM", "DDIM", "EULER", "EULER_ANCESTRAL", "HEUN", "LCM", "FLOW_EULER"})
  void aShortenedWayIsTheLastPartOfTheWhole(Samplers kind) {
    try (Scope scope = Scope.open()) {
      SchedulerConfig config = config(kind);
      Sampler sampler = Sampler.of(config);
      Tensor noise = Rng.seed(1).normal(1, 1, 3, 3);
      NoiseSource half = spec -> Rng.seed(2).normal(spec);
      List<float[]> middle = new ArrayList<>();
      int calls = kind == Samplers.HEUN ? 8 : 4;
      Steps whole = Steps.of(10);
      Tensor end =
          sampler.sample(
              denoiser(config),
              sampler.plan(whole).start(noise),
              whole,
              half,
              Listener.watching(
                  p -> {
                    if (p.step() == calls) {
                      middle.add(p.x().toFloatArray());
                    }
                  }));
      int[] seen = {0};
      Tensor again =
          sampler.sample(
              denoiser(config),
              Tensor.of(middle.getFirst(), 1, 1, 3, 3),
              whole.strength(0.6),
              half,
              Listener.watching(p -> seen[0] = p.of()));
      assertArrayEquals(end.toFloatArray(), again.toFloatArray(), 1e-6f);
      assertEquals(sampler.plan(whole).calls() - calls, seen[0]);
    }
  }

  @Test
  void imagesAreNoisedToTheFirstLevel() {
    try (Scope scope = Scope.open()) {
      Tensor image = Rng.seed(1).uniform(1, 1, 2, 2);
      Tensor noise = Rng.seed(2).normal(1, 1, 2, 2);
      Steps steps = Steps.of(10).strength(0.3);
      Plan ddim = Sampler.of(SchedulerConfig.of("DDIMScheduler")).plan(steps);
      NoiseSchedule schedule = new NoiseSchedule(SchedulerConfig.ddpm());
      assertEquals(200, ddim.time(ddim.begin()));
      assertArrayEquals(
          schedule.addNoise(image, noise, new int[] {200}).toFloatArray(),
          ddim.start(image, noise).toFloatArray(),
          1e-6f);
      Plan euler = Sampler.of(SchedulerConfig.of("EulerDiscreteScheduler")).plan(steps);
      assertArrayEquals(
          image.add(noise.mul(euler.sigmas()[7])).toFloatArray(),
          euler.start(image, noise).toFloatArray(),
          1e-6f);
      Plan flow = Sampler.of(SchedulerConfig.of("FlowMatchEulerDiscreteScheduler")).plan(steps);
      double s = flow.sigmas()[flow.begin()];
      assertArrayEquals(
          image.mul(1 - s).add(noise.mul(s)).toFloatArray(),
          flow.start(image, noise).toFloatArray(),
          1e-6f);
      assertThrows(IllegalArgumentException.class, () -> ddim.start(noise));
    }
  }

  @ParameterizedTest
  @EnumSource(Samplers.class)
  void inpaintingKeepsWhatIsKnown(Samplers kind) {
    try (Scope scope = Scope.open()) {
      SchedulerConfig config = config(kind);
      Tensor image = Rng.seed(1).uniform(2, 1, 2, 2);
      Tensor noise = Rng.seed(2).normal(2, 1, 2, 2);
      Tensor mask = Tensor.of(new float[] {1, 0, 0, 1}, 1, 1, 2, 2);
      Sampler free = Sampler.of(config);
      Sampler sampler = new Inpainting(free, image, mask, noise);
      Steps steps = Steps.of(6);
      Plan plan = sampler.plan(steps);
      Tensor end =
          sampler.sample(
              denoiser(config),
              plan.start(noise),
              steps,
              NoiseSource.of(Rng.seed(3)),
              Listener.watching(
                  p -> {
                    Tensor known = p.step() < p.of() ? plan.noised(image, noise, p.step()) : image;
                    float[] x = p.x().toFloatArray();
                    float[] k = known.toFloatArray();
                    assertEquals(k[1], x[1], 1e-4f);
                    assertEquals(k[6], x[6], 1e-4f);
                  }));
      float[] x = end.toFloatArray();
      float[] k = image.toFloatArray();
      assertArrayEquals(new float[] {k[1], k[2], k[5], k[6]}, new float[] {x[1], x[2], x[5], x[6]});
      assertTrue(Math.abs(x[0] - k[0]) > 1e-3);
    }
  }

  /** A listener stops where it says, and sees x₀ as the network estimates it. */
  @ParameterizedTest
  @EnumSource(Samplers.class)
  void listenersStopAndPreview(Samplers kind) {
    try (Scope scope = Scope.open()) {
      SchedulerConfig config = config(kind);
      Sampler sampler = Sampler.of(config);
      Steps steps = Steps.of(8);
      Plan plan = sampler.plan(steps);
      List<float[]> seen = new ArrayList<>();
      List<float[]> previews = new ArrayList<>();
      Tensor start = plan.start(Rng.seed(1).normal(1, 1, 2, 2));
      Tensor stopped =
          sampler.sample(
              denoiser(config),
              start,
              steps,
              NoiseSource.of(Rng.seed(3)),
              p -> {
                seen.add(p.x().toFloatArray());
                previews.add(p.x0().toFloatArray());
                assertEquals(plan.time(p.step() - 1), p.time());
                return p.step() < 3;
              });
      assertEquals(3, seen.size());
      assertArrayEquals(seen.get(2), stopped.toFloatArray());
      // The first preview, from the start itself: x₀ = (x - s ε)/a, or x - v for a flow at σ = 1.
      float[] x = start.toFloatArray();
      double initial = plan.initialSigma();
      double t = plan.time(0);
      float bar = kind == Samplers.FLOW_EULER ? 0 : new NoiseSchedule(config).bar((int) t);
      double a = Math.sqrt(bar);
      double s = Math.sqrt(1 - bar);
      for (int i = 0; i < x.length; i++) {
        double z = initial == 1 ? x[i] : x[i] / Math.hypot(plan.sigmas()[0], 1);
        double said = 0.5 * Math.tanh(z);
        double x0 = kind == Samplers.FLOW_EULER ? x[i] - said : (z - s * said) / a;
        if (kind == Samplers.LCM) {
          continue; // its preview has the boundary condition
        }
        assertEquals(x0, previews.getFirst()[i], 2e-3 * Math.abs(x0) + 1e-3);
      }
    }
  }

  @Test
  void guidanceCanBeLimitedToAnIntervalAndRescaled() {
    try (Scope scope = Scope.open()) {
      int[] rows = {0};
      Network labels =
          (x, t, y) -> {
            rows[0] = x.dim(0);
            return x.mul(Num.cast(y, x.dtype()).reshape(-1, 1, 1, 1));
          };
      Tensor none = Tensor.of(new long[] {1}, 1);
      Tensor classes = Tensor.of(new long[] {3, 3}, 2);
      Tensor x = Rng.seed(1).normal(2, 1, 4, 4);
      Guidance guidance = new Guidance(labels, none, 5).between(200, 700);
      float[] inside = guidance.call(x, new double[] {700, 700}, classes).toFloatArray();
      assertEquals(4, rows[0]);
      assertArrayEquals(x.mul(11).toFloatArray(), inside, 1e-4f);
      float[] outside = guidance.call(x, new double[] {701, 701}, classes).toFloatArray();
      assertEquals(2, rows[0], "outside, the network runs once");
      assertArrayEquals(x.mul(3).toFloatArray(), outside, 1e-5f);
      assertThrows(
          IllegalArgumentException.class, () -> guidance.call(x, new double[] {100, 300}, classes));
      // φ = 1 gives the guided output the deviation of the conditional one, 11/3 times less here.
      float[] rescaled =
          new Guidance(labels, none, 5, 0.5).call(x, new double[] {5, 5}, classes).toFloatArray();
      assertArrayEquals(x.mul(0.5 * 3 + 0.5 * 11).toFloatArray(), rescaled, 1e-4f);
    }
  }
}
