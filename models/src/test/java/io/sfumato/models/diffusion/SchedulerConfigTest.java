// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class SchedulerConfigTest {
  private static ObjectNode object(String className) {
    return JsonNodeFactory.instance.objectNode().put("_class_name", className);
  }

  private static String refusal(ObjectNode json) {
    return assertThrows(
            IllegalArgumentException.class, () -> SchedulerConfig.fromJson(json, "a file"))
        .getMessage();
  }

  @ParameterizedTest(name = "{0} {1} {2}")
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          DDPMScheduler                   | variance_type=fixed_large_log                    | fixed_large
          DDPMScheduler                   | beta_schedule=spiral                             | squaredcos_cap_v2
          DDPMScheduler                   | beta_start=-1                                    | beta_start
          DDIMScheduler                   | thresholding=true dynamic_thresholding_ratio=2   | dynamic_thresholding_ratio
          DDIMScheduler                   | thresholding=yes                                 | true or false
          PNDMScheduler                   | prediction_type=sample                           | v_prediction
          EulerDiscreteScheduler          | use_karras_sigmas=true use_beta_sigmas=true      | only one of these
          EulerDiscreteScheduler          | sigma_min=3 sigma_max=2                          | sigma_min must be below
          EulerAncestralDiscreteScheduler | prediction_type=sample                           | epsilon
          HeunDiscreteScheduler           | timestep_spacing=random                          | leading
          DPMSolverMultistepScheduler     | algorithm_type=dpmsolver                         | sigma_min
          DPMSolverMultistepScheduler     | solver_order=4                                   | 1, 2 or 3
          DPMSolverMultistepScheduler     | algorithm_type=sde-dpmsolver solver_order=3 final_sigmas_type=sigma_min | sde-dpmsolver++
          DPMSolverMultistepScheduler     | prediction_type=flow_prediction                  | use_flow_sigmas
          DPMSolverMultistepScheduler     | use_flow_sigmas=true use_karras_sigmas=true      | only one of these
          UniPCMultistepScheduler         | solver_type=bh1                                  | bh2
          UniPCMultistepScheduler         | predict_x0=false                                 | sigma_min
          UniPCMultistepScheduler         | lower_order_final=false                          | sigma_min
          UniPCMultistepScheduler         | shift_terminal=0.1                               | use_flow_sigmas
          LCMScheduler                    | original_inference_steps=2000                    | original_inference_steps
          FlowMatchEulerDiscreteScheduler | shift=0                                          | shift must be positive
          FlowMatchEulerDiscreteScheduler | invert_sigmas=true stochastic_sampling=true      | invert_sigmas
          """)
  void whatContradictsIsRefusedWithAReason(String type, String keys, String reason) {
    ObjectNode json = object(type);
    for (String pair : keys.split(" ")) {
      String[] kv = pair.split("=");
      if (kv[1].matches("true|false")) {
        json.put(kv[0], Boolean.parseBoolean(kv[1]));
      } else if (kv[1].matches("-?[0-9.]+")) {
        json.put(kv[0], Double.parseDouble(kv[1]));
      } else {
        json.put(kv[0], kv[1]);
      }
    }
    String message = refusal(json);
    assertTrue(message.startsWith("a file: " + type), message);
    assertTrue(message.contains(reason), message);
  }

  @Test
  void oneMessageListsEverythingWrong() {
    String message =
        refusal(
            object("DPMSolverMultistepScheduler")
                .put("solver_order", 7)
                .put("algorithm_type", "dpmsolver")
                .put("use_karras_sigmas", true)
                .put("use_beta_sigmas", true)
                .put("steps_offset", -1));
    for (String part : new String[] {"solver_order", "final_sigmas", "only one", "steps_offset"}) {
      assertTrue(message.contains(part), message);
    }
    assertTrue(refusal(object("KarrasVeScheduler")).contains("DDPMScheduler"));
  }

  @ParameterizedTest
  @EnumSource(Samplers.class)
  void defaultsMakeASampler(Samplers kind) {
    SchedulerConfig config = SchedulerConfig.of(kind.className());
    Sampler sampler = Sampler.of(config);
    Plan plan = sampler.plan(Steps.of(20));
    assertTrue(plan.calls() >= 20);
    assertEquals(config, sampler.config());
    assertEquals(
        config,
        SchedulerConfig.fromJson(
            new com.fasterxml.jackson.databind.ObjectMapper().valueToTree(config.toMap()),
            "defaults"));
  }

  @Test
  void unknownKeysAndNumbersStayAsTheyWere(@TempDir Path folder) throws IOException {
    String text =
        """
        {
          "_class_name": "PNDMScheduler",
          "_diffusers_version": "0.6.0",
          "beta_end": 0.012,
          "beta_schedule": "scaled_linear",
          "beta_start": 0.00085,
          "clip_sample": false,
          "num_train_timesteps": 1000,
          "prediction_type": "epsilon",
          "set_alpha_to_one": false,
          "skip_prk_steps": true,
          "steps_offset": 1,
          "timestep_spacing": "leading",
          "trained_betas": [
            0.0001,
            1e-05,
            1
          ]
        }
        """;
    String three = text.replace("1000", "3");
    Path file = folder.resolve("scheduler_config.json");
    Files.writeString(file, three);
    Path copy = folder.resolve("copy.json");
    ModelConfig.write(copy, SchedulerConfig.read(file).toMap());
    assertEquals(three, Files.readString(copy));
  }

  @Test
  void anotherClassKeepsSharedKeys() {
    SchedulerConfig ddpm =
        SchedulerConfig.ddpm().withBetas("scaled_linear").with(Prediction.V_PREDICTION);
    for (String other : List.of("DPMSolverMultistepScheduler", "DDIMScheduler")) {
      assertEquals(1000, ddpm.as(other).integer("num_train_timesteps"));
    }
    SchedulerConfig unipc = ddpm.as("UniPCMultistepScheduler");
    assertEquals("scaled_linear", unipc.text("beta_schedule"));
    assertEquals(Prediction.V_PREDICTION, unipc.prediction());
    assertEquals("bh2", unipc.text("solver_type"));
    assertThrows(IllegalArgumentException.class, () -> ddpm.with("solver_type", "bh1"));
  }

  @Test
  void stepsThatDoNotFitAreRefused() {
    Sampler ddim = Sampler.of(SchedulerConfig.of("DDIMScheduler"));
    assertThrows(IllegalArgumentException.class, () -> Steps.of(0));
    assertThrows(IllegalArgumentException.class, () -> Steps.of(10).strength(1.5));
    assertThrows(IllegalArgumentException.class, () -> Steps.through(1, 2, 3));
    assertThrows(IllegalArgumentException.class, () -> ddim.plan(Steps.of(1001)));
    assertThrows(IllegalArgumentException.class, () -> ddim.plan(Steps.of(10).shift(1)));
    assertThrows(IllegalArgumentException.class, () -> ddim.plan(Steps.through(3, 2, 1)));
    Sampler noSignal =
        Sampler.of(
            SchedulerConfig.of("DDIMScheduler")
                .withSpacing("trailing")
                .with("rescale_betas_zero_snr", true));
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> noSignal.plan(Steps.of(10)))
            .getMessage()
            .contains("v_prediction"));
    Sampler dynamic =
        Sampler.of(
            SchedulerConfig.of("FlowMatchEulerDiscreteScheduler")
                .with("use_dynamic_shifting", true));
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> dynamic.plan(Steps.of(10)))
            .getMessage()
            .contains("shiftOf"));
    assertEquals(0.5, FlowEuler.shiftOf(dynamic.config(), 256), 1e-12);
    assertEquals(1.15, FlowEuler.shiftOf(dynamic.config(), 4096), 1e-12);
  }

  @Test
  void aPredictorOfUniPcIsAnotherSampler() {
    try (Scope scope = Scope.open()) {
      SchedulerConfig config =
          SchedulerConfig.of("UniPCMultistepScheduler")
              .with("disable_corrector", java.util.List.of(0, 1, 2, 3, 4, 5, 6, 7));
      SchedulerConfig dpm = SchedulerConfig.of("DPMSolverMultistepScheduler");
      Network network = (x, t, y) -> x.mul(0.3);
      Tensor start = Rng.seed(1).normal(1, 1, 2, 2);
      Denoiser denoiser = new Denoiser(network, new NoiseSchedule(config));
      Tensor expected =
          Sampler.of(dpm).sample(denoiser, start, Steps.of(8), NoiseSources.none(), Listener.NONE);
      Tensor actual =
          UniPc.of(config)
              .predictor(Sampler.of(dpm))
              .sample(denoiser, start, Steps.of(8), NoiseSources.none(), Listener.NONE);
      org.junit.jupiter.api.Assertions.assertArrayEquals(
          expected.toFloatArray(), actual.toFloatArray());
      Sampler ofJson = Sampler.of(config.with("solver_p", dpm.toMap()));
      org.junit.jupiter.api.Assertions.assertArrayEquals(
          expected.toFloatArray(),
          ofJson
              .sample(denoiser, start, Steps.of(8), NoiseSources.none(), Listener.NONE)
              .toFloatArray());
    }
  }

  /** A network that learned its variance between the two fixed ones. */
  @Test
  void learnedVarianceLiesBetweenTheFixedOnes() {
    try (Scope scope = Scope.open()) {
      float[][] ends = new float[4][];
      String[] types = {"fixed_small", "learned_range", "learned_range", "fixed_large"};
      double[] learned = {0, -1, 1, 0};
      for (int k = 0; k < 4; k++) {
        SchedulerConfig config =
            SchedulerConfig.ddpm().with("variance_type", types[k]).with("clip_sample", false);
        double value = learned[k];
        Network network =
            (x, t, y) -> {
              Tensor epsilon = x.mul(0.3);
              return value == 0
                  ? epsilon
                  : io.sfumato.tensor.ops.Shaping.concat(1, epsilon, x.mul(0).add(value));
            };
        Tensor end =
            Sampler.of(config)
                .sample(
                    new Denoiser(network, new NoiseSchedule(config)),
                    Rng.seed(1).normal(1, 2, 3, 3),
                    Steps.of(10),
                    NoiseSource.of(Rng.seed(2)),
                    Listener.NONE);
        ends[k] = end.toFloatArray();
      }
      org.junit.jupiter.api.Assertions.assertArrayEquals(ends[0], ends[1], 1e-4f);
      org.junit.jupiter.api.Assertions.assertArrayEquals(ends[3], ends[2], 1e-4f);
      SchedulerConfig config = SchedulerConfig.ddpm().with("variance_type", "learned");
      assertThrows(
          IllegalArgumentException.class,
          () ->
              Sampler.of(config)
                  .sample(
                      new Denoiser((x, t, y) -> x, new NoiseSchedule(config)),
                      Rng.seed(1).normal(1, 2, 3, 3),
                      Steps.of(10),
                      NoiseSource.of(Rng.seed(2)),
                      Listener.NONE));
    }
  }
}
