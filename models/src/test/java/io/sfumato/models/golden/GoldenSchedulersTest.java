// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.diffusion.Samplers;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The samplers against the trajectories of diffusers' schedulers. */
class GoldenSchedulersTest {
  private static final List<String> COVERED = List.of("DDPMScheduler", "DDIMScheduler");

  @TestFactory
  Stream<DynamicTest> trajectories() throws IOException {
    List<Path> files;
    try (Stream<Path> all = Files.list(Golden.folder().resolve("schedulers"))) {
      files =
          all.filter(p -> p.toString().endsWith(".json"))
              .filter(p -> COVERED.contains(ModelConfig.read(p).path("class").asText()))
              .sorted()
              .toList();
    }
    assertTrue(!files.isEmpty(), "no scheduler in " + Golden.folder());
    return files.stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> follow(p)));
  }

  private static void follow(Path file) {
    JsonNode golden = ModelConfig.read(file);
    SchedulerConfig config = SchedulerConfig.fromJson(golden.get("config"), file.toString());
    NoiseSchedule schedule = new NoiseSchedule(config);
    int steps = golden.get("num_inference_steps").intValue();
    assertEquals("0.7*tanh(scaled_input) + 0.05*t/1000", golden.get("model_output").asText());
    double[] times = doubles(golden.get("timesteps"));
    int[] own = schedule.timesteps(steps);
    assertArrayEquals(times, java.util.Arrays.stream(own).asDoubleStream().toArray());

    JsonNode trajectory = golden.get("trajectory");
    JsonNode draws = golden.get("noise_draws");
    int[] shape =
        java.util.Arrays.stream(doubles(golden.get("shape"))).mapToInt(d -> (int) d).toArray();
    try (Scope scope = Scope.open()) {
      Denoiser denoiser =
          new Denoiser((x, t, y) -> Num.tanh(x).mul(0.7).add(0.05 * t[0] / 1000), schedule);
      int[] drawn = {0};
      NoiseSource source =
          spec -> Tensor.of(doubles(draws.get(drawn[0]++)), DType.F32, Device.CPU, shape);
      Samplers.Listener check =
          (step, of, x) ->
              Golden.assertClose(
                  "step " + step, doubles(trajectory.get(step)), x.toDoubleArray(), 1e-5);
      Tensor start = Tensor.of(doubles(trajectory.get(0)), DType.F32, Device.CPU, shape);
      if (config.className().equals("DDPMScheduler")) {
        Samplers.ddpm(denoiser, start, null, steps, source, check);
      } else {
        double eta = golden.get("step_args").path("eta").asDouble(0);
        Samplers.ddim(
            denoiser, start, null, steps, Samplers.DdimOptions.REFERENCE.eta(eta), source, check);
      }
      assertEquals(draws.size(), drawn[0], "noise draws");
    }
  }

  private static double[] doubles(JsonNode array) {
    double[] values = new double[array.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = array.get(i).doubleValue();
    }
    return values;
  }
}
