// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * One number each that diffusers 0.40 arrived at: from x = init_noise_sigma, with the network 0.3 z
 * + 0.02, every draw of noise 0.5, and the βs of Stable Diffusion.
 */
class ReferenceScalarsTest {
  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          DDPM leading          | DDPMScheduler                   | 5  | clip_sample=false                                | 3.26107
          DDIM                  | DDIMScheduler                   | 5  | clip_sample=false steps_offset=1 set_alpha_to_one=false | 2.79752
          DDIM v zero SNR       | DDIMScheduler                   | 5  | clip_sample=false prediction_type=v_prediction timestep_spacing=trailing rescale_betas_zero_snr=true | 0.412307
          PNDM without PRK      | PNDMScheduler                   | 5  | skip_prk_steps=true steps_offset=1               | 2.47674
          PNDM                  | PNDMScheduler                   | 10 | num_train_timesteps=1000                         | 3.51776
          Euler leading         | EulerDiscreteScheduler          | 5  | timestep_spacing=leading steps_offset=1          | 2.77356
          Euler                 | EulerDiscreteScheduler          | 5  | num_train_timesteps=1000                         | 6.5013
          Euler Karras          | EulerDiscreteScheduler          | 5  | use_karras_sigmas=true                           | 6.69129
          ancestral Euler       | EulerAncestralDiscreteScheduler | 5  | num_train_timesteps=1000                         | 6.70059
          Heun                  | HeunDiscreteScheduler           | 5  | num_train_timesteps=1000                         | 4.3868
          DPM++ 2M              | DPMSolverMultistepScheduler     | 5  | num_train_timesteps=1000                         | 5.60784
          DPM++ 2M of 20        | DPMSolverMultistepScheduler     | 20 | num_train_timesteps=1000                         | 5.19464
          DPM++ 2M Karras       | DPMSolverMultistepScheduler     | 5  | use_karras_sigmas=true                           | 4.66142
          DPM++ 2M heun         | DPMSolverMultistepScheduler     | 5  | solver_type=heun                                 | 5.51565
          DPM++ 3M              | DPMSolverMultistepScheduler     | 5  | solver_order=3                                   | 5.58125
          SDE-DPM++ 2M          | DPMSolverMultistepScheduler     | 5  | algorithm_type=sde-dpmsolver++                   | 5.73275
          UniPC bh2             | UniPCMultistepScheduler         | 5  | solver_order=2                                   | 5.38501
          UniPC bh2 of order 3  | UniPCMultistepScheduler         | 8  | solver_order=3                                   | 5.26030
          UniPC bh1             | UniPCMultistepScheduler         | 5  | final_sigmas_type=sigma_min solver_type=bh1      | 5.07661
          UniPC bh1 of order 3  | UniPCMultistepScheduler         | 8  | solver_order=3 final_sigmas_type=sigma_min solver_type=bh1 | 5.22841
          LCM                   | LCMScheduler                    | 4  | num_train_timesteps=1000                         | 5.96382
          """)
  void endsWhereTheReferenceEnds(String name, String type, int n, String keys, double end) {
    SchedulerConfig config =
        SchedulerConfig.of(type)
            .with("beta_start", 0.00085)
            .with("beta_end", 0.012)
            .with("beta_schedule", "scaled_linear");
    for (String pair : keys.split(" ")) {
      String[] kv = pair.split("=");
      config = config.with(kv[0], value(kv[1]));
    }
    assertEquals(end, run(Sampler.of(config), n), 1.5e-5 * end);
  }

  @Test
  void noiseOfDdimIsTheReferences() {
    SchedulerConfig config =
        SchedulerConfig.of("DDIMScheduler")
            .with("beta_start", 0.00085)
            .with("beta_end", 0.012)
            .with("beta_schedule", "scaled_linear")
            .with("clip_sample", false)
            .with("steps_offset", 1)
            .with("set_alpha_to_one", false);
    assertEquals(3.29626, run(Ddim.of(config).eta(1), 5), 1e-5);
  }

  @Test
  void flowsEndWhereTheReferenceEnds() {
    SchedulerConfig config = SchedulerConfig.of("FlowMatchEulerDiscreteScheduler").with("shift", 3);
    assertEquals(0.706308, run(Sampler.of(config), 4), 1e-6);
    assertArrayEquals(
        new double[] {1, 0.8576923, 0.6021506, 0.008928572, 0},
        Sampler.of(config).plan(Steps.of(4)).sigmas(),
        1e-7);
    assertArrayEquals(
        new double[] {1, 0.9045308, 0.7595109, 0.5128441, 0},
        Sampler.of(
                SchedulerConfig.of("FlowMatchEulerDiscreteScheduler")
                    .with("use_dynamic_shifting", true))
            .plan(Steps.through(1, 0.75, 0.5, 0.25).shift(1.15))
            .sigmas(),
        1e-7);
  }

  @Test
  void timestepsAreTheReferences() {
    assertArrayEquals(new double[] {852, 710, 568, 426, 284, 142, 0}, times("DDPM", "leading", 0));
    assertArrayEquals(new double[] {999, 832, 666, 500, 333, 166, 0}, times("DDPM", "linspace", 0));
    assertArrayEquals(
        new double[] {999, 856, 713, 570, 428, 285, 142}, times("DDPM", "trailing", 0));
    assertArrayEquals(
        new double[] {999, 832.5, 666, 499.5, 333, 166.5, 0},
        times("EulerDiscrete", "linspace", 0));
    assertArrayEquals(
        new double[] {875, 750, 625, 500, 375, 250, 125},
        times("DPMSolverMultistep", "leading", 0));
    assertArrayEquals(
        new double[] {999, 856, 714, 571, 428, 285, 143}, times("UniPCMultistep", "linspace", 0));
    SchedulerConfig pndm =
        SchedulerConfig.of("PNDMScheduler").with("skip_prk_steps", true).with("steps_offset", 1);
    assertArrayEquals(
        new double[] {853, 711, 711, 569, 427, 285, 143, 1},
        Sampler.of(pndm).plan(Steps.of(7)).times());
    assertArrayEquals(
        new double[] {
          900, 850, 850, 800, 800, 750, 750, 700, 700, 650, 650, 600, 600, 500, 400, 300, 200, 100,
          0
        },
        Sampler.of(SchedulerConfig.of("PNDMScheduler")).plan(Steps.of(10)).times());
  }

  private static double[] times(String type, String spacing, int offset) {
    return Sampler.of(
            SchedulerConfig.of(type + "Scheduler")
                .withSpacing(spacing)
                .with("steps_offset", offset))
        .plan(Steps.of(7))
        .times();
  }

  private static Object value(String text) {
    if (text.equals("true") || text.equals("false")) {
      return Boolean.valueOf(text);
    }
    return text.matches("[0-9]+") ? (Object) Integer.valueOf(text) : text;
  }

  private static double run(Sampler sampler, int n) {
    try (Scope scope = Scope.open()) {
      Denoiser denoiser =
          new Denoiser((x, t, y) -> x.mul(0.3).add(0.02), new NoiseSchedule(sampler.config()));
      Tensor one = Tensor.of(new double[] {1}, DType.F32, Device.CPU, 1, 1, 1, 1);
      Steps steps = Steps.of(n);
      Tensor start = sampler.plan(steps).start(one);
      return sampler.sample(denoiser, start, steps, spec -> one.mul(0.5), Listener.NONE).item();
    }
  }
}
