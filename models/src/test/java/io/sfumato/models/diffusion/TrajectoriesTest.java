// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Every spacing, respacing, prediction, order and solver of every class against trajectories
 * computed with PyTorch from the papers' formulae (src/test/golden/make_trajectories.py).
 */
class TrajectoriesTest {
  private static final double TOLERANCE = 1e-5;

  @TestFactory
  List<DynamicTest> agreeWithTheFormulae() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    try (InputStream file = TrajectoriesTest.class.getResourceAsStream("trajectories.json.gz");
        InputStream text = new GZIPInputStream(file)) {
      for (JsonNode c : new ObjectMapper().readTree(text)) {
        String name =
            tests.size()
                + " "
                + c.get("class").asText()
                + c.get("changed")
                + " "
                + c.get("num_inference_steps");
        tests.add(DynamicTest.dynamicTest(name, () -> follow(c)));
      }
    }
    assertTrue(tests.size() > 800);
    return tests;
  }

  private static void follow(JsonNode c) {
    ObjectNode json = c.get("changed").deepCopy();
    json.set("_class_name", c.get("class"));
    for (String key : List.of("beta_start", "beta_end", "timestep_spacing", "clip_sample")) {
      fillIn(json, key);
    }
    SchedulerConfig config = SchedulerConfig.fromJson(json, "case");
    Sampler sampler = Sampler.of(config);
    Steps steps = Steps.of(c.get("num_inference_steps").intValue());
    double[] churn = {0, 0, Double.POSITIVE_INFINITY, 1};
    for (Map.Entry<String, JsonNode> e : c.get("arguments").properties()) {
      double v = e.getValue().doubleValue();
      switch (e.getKey()) {
        case "mu" -> steps = steps.shift(v);
        case "eta" -> sampler = ((Ddim) sampler).eta(v);
        case "use_clipped_model_output" -> sampler = ((Ddim) sampler).clippedEpsilon(true);
        case "s_churn" -> churn[0] = v;
        case "s_tmin" -> churn[1] = v;
        case "s_tmax" -> churn[2] = v;
        default -> churn[3] = v;
      }
    }
    if (churn[0] > 0) {
      sampler = ((Euler) sampler).churn(new Euler.Churn(churn[0], churn[1], churn[2], churn[3]));
    }
    Plan plan = sampler.plan(steps);
    close("timesteps", doubles(c.get("timesteps")), plan.times(), 1e-6);
    if (!c.get("sigmas").isNull()) {
      close("sigmas", doubles(c.get("sigmas")), plan.sigmas(), 1e-6);
    }
    double initial = c.get("init_noise_sigma").doubleValue();
    assertEquals(initial, plan.initialSigma(), 1e-6 * initial);
    try (Scope scope = Scope.open()) {
      int[] drawn = {0};
      JsonNode draws = c.get("noise_draws");
      NoiseSource source = spec -> tensor(draws.get(drawn[0]++));
      Network network = (x, t, y) -> Num.tanh(x).mul(0.7).add(0.05 * t[0] / 1000);
      int half = (plan.calls() + 1) / 2;
      Listener middle =
          Listener.watching(
              p -> {
                if (p.step() == half) {
                  close("middle", doubles(c.get("middle")), p.x().toDoubleArray(), TOLERANCE);
                }
              });
      Tensor end =
          sampler.sample(
              new Denoiser(network, new NoiseSchedule(config)),
              tensor(c.get("start")),
              steps,
              source,
              middle);
      close("end", doubles(c.get("end")), end.toDoubleArray(), TOLERANCE);
      assertEquals(draws.size(), drawn[0], "draws");
    }
  }

  /** The script has the same defaults in all classes; here they are the classes' own. */
  private static void fillIn(ObjectNode json, String key) {
    if (json.has(key) || !Samplers.of(json.get("_class_name").asText()).keys().containsKey(key)) {
      return;
    }
    switch (key) {
      case "beta_start" -> json.put(key, 1e-4);
      case "beta_end" -> json.put(key, 0.02);
      case "timestep_spacing" -> json.put(key, "linspace");
      default -> json.put(key, false);
    }
    if (!json.has("beta_schedule")) {
      json.put("beta_schedule", "linear");
    }
  }

  private static Tensor tensor(JsonNode values) {
    return Tensor.of(doubles(values), DType.F32, Device.CPU, 2, 2, 2, 2);
  }

  private static double[] doubles(JsonNode array) {
    double[] values = new double[array.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = array.get(i).doubleValue();
    }
    return values;
  }

  private static void close(String what, double[] expected, double[] actual, double relative) {
    assertEquals(expected.length, actual.length, what);
    double largest = 1e-12;
    for (double v : expected) {
      largest = Math.max(largest, Math.abs(v));
    }
    for (int i = 0; i < expected.length; i++) {
      double error = Math.abs(expected[i] - actual[i]) / largest;
      assertTrue(
          error <= relative,
          what + "[" + i + "]: " + expected[i] + " but was " + actual[i] + ", off by " + error);
    }
  }
}
