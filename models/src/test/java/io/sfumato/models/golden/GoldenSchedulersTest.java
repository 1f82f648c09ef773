// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.models.diffusion.Ddim;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.Euler;
import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.diffusion.Plan;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.diffusion.Samplers;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.diffusion.Steps;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The samplers against the trajectories of diffusers' schedulers. */
class GoldenSchedulersTest {
  @TestFactory
  Stream<DynamicTest> trajectories() throws IOException {
    return files().stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> follow(p)));
  }

  @Test
  void everySamplerHasATrajectory() throws IOException {
    Set<String> seen = new HashSet<>();
    for (Path file : files()) {
      seen.add(ModelConfig.read(file).path("class").asText());
    }
    for (Samplers s : Samplers.values()) {
      assertTrue(seen.contains(s.className()), s.className());
    }
  }

  private static List<Path> files() throws IOException {
    try (Stream<Path> all = Files.list(Golden.folder().resolve("schedulers"))) {
      return all.filter(p -> p.toString().endsWith(".json")).sorted().toList();
    }
  }

  private static void follow(Path file) {
    JsonNode golden = ModelConfig.read(file);
    SchedulerConfig config = SchedulerConfig.fromJson(config(golden), file.toString());
    Steps steps = Steps.of(golden.get("num_inference_steps").intValue());
    for (String key : List.of("mu", "shift")) {
      if (golden.hasNonNull(key)) {
        steps = steps.shift(golden.get(key).doubleValue());
      }
    }
    Sampler sampler = withArguments(Sampler.of(config), golden.path("step_args"));
    assertEquals("0.7*tanh(scaled_input) + 0.05*t/1000", golden.get("model_output").asText());

    Plan plan = sampler.plan(steps);
    Golden.assertClose("timesteps", doubles(golden.get("timesteps")), plan.times(), 1e-6);
    JsonNode sigmas = golden.get("sigmas");
    if (sigmas != null && sigmas.isArray()) {
      Golden.assertClose("sigmas", doubles(sigmas), plan.sigmas(), 1e-6);
    }
    double initial = golden.get("init_noise_sigma").doubleValue();
    assertEquals(initial, plan.initialSigma(), 1e-6 * initial, "init_noise_sigma");

    JsonNode trajectory = golden.get("trajectory");
    JsonNode draws = golden.get("noise_draws");
    int[] shape = Arrays.stream(doubles(golden.get("shape"))).mapToInt(d -> (int) d).toArray();
    try (Scope scope = Scope.open()) {
      Denoiser denoiser =
          new Denoiser(
              (x, t, y) -> Num.tanh(x).mul(0.7).add(0.05 * t[0] / 1000), new NoiseSchedule(config));
      int[] drawn = {0};
      NoiseSource source =
          spec -> Tensor.of(doubles(draws.get(drawn[0]++)), DType.F32, Device.CPU, shape);
      int[] seen = {0};
      Listener check =
          Listener.watching(
              p -> {
                seen[0] = p.step();
                assertEquals(trajectory.size() - 1, p.of());
                Golden.assertClose(
                    "step " + p.step(),
                    doubles(trajectory.get(p.step())),
                    p.x().toDoubleArray(),
                    1e-5);
              });
      Tensor start = Tensor.of(doubles(trajectory.get(0)), DType.F32, Device.CPU, shape);
      sampler.sample(denoiser, start, steps, source, check);
      assertEquals(trajectory.size() - 1, seen[0], "steps");
      assertEquals(draws.size(), drawn[0], "noise draws");
    }
  }

  /** The configuration; null stands for an infinite value in the file. */
  private static ObjectNode config(JsonNode golden) {
    ObjectNode config = golden.get("config").deepCopy();
    if (config.has("lambda_min_clipped") && config.get("lambda_min_clipped").isNull()) {
      config.set("lambda_min_clipped", DoubleNode.valueOf(Double.NEGATIVE_INFINITY));
    }
    return config;
  }

  /** The sampler with the arguments that the reference's step was given. */
  private static Sampler withArguments(Sampler sampler, JsonNode arguments) {
    Euler.Churn churn = Euler.Churn.NONE;
    for (Map.Entry<String, JsonNode> e : arguments.properties()) {
      double v = e.getValue().doubleValue();
      switch (e.getKey()) {
        case "eta" -> sampler = ((Ddim) sampler).eta(v);
        case "use_clipped_model_output" ->
            sampler = ((Ddim) sampler).clippedEpsilon(e.getValue().booleanValue());
        case "s_churn" -> churn = new Euler.Churn(v, churn.least(), churn.most(), churn.noise());
        case "s_tmin" -> churn = new Euler.Churn(churn.amount(), v, churn.most(), churn.noise());
        case "s_tmax" -> churn = new Euler.Churn(churn.amount(), churn.least(), v, churn.noise());
        case "s_noise" -> churn = new Euler.Churn(churn.amount(), churn.least(), churn.most(), v);
        default -> fail("no such argument of a step is known here: " + e.getKey());
      }
    }
    return churn == Euler.Churn.NONE ? sampler : ((Euler) sampler).churn(churn);
  }

  /** What is read is written as Python wrote it, but for the line breaks of the golden files. */
  @TestFactory
  Stream<DynamicTest> configurationsAreWrittenBack() throws IOException {
    return files().stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> writeBack(p)));
  }

  private static void writeBack(Path file) throws IOException {
    String whole = Files.readString(file);
    int start = whole.indexOf("\"config\": ") + "\"config\": ".length();
    String python =
        whole
            .substring(start, whole.indexOf(", \"num_inference_steps\""))
            .replace("\"lambda_min_clipped\": null", "\"lambda_min_clipped\": -Infinity");
    Path written = Files.createTempFile("scheduler_config", ".json");
    try {
      ObjectNode json = config(ModelConfig.read(file));
      ModelConfig.write(written, SchedulerConfig.fromJson(json, file.toString()).toMap());
      String text = Files.readString(written);
      assertTrue(text.startsWith("{\n  \"_class_name\": ") && text.endsWith("\n}\n"), text);
      assertEquals(
          python,
          text.strip().replaceAll(",\n *", ", ").replaceAll("(?<=[\\[{])\n *|\n *(?=[\\]}])", ""));
    } finally {
      Files.delete(written);
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
