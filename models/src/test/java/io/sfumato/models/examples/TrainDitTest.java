// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitLayout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The transformers' examples from their command lines. */
class TrainDitTest {
  @TempDir Path folder;

  private Outcome run(ToIntFunction<String[]> program, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "--out",
                folder.resolve("out").toString(),
                "--size",
                "8",
                "--batch",
                "4",
                "--depth",
                "1",
                "--heads",
                "1",
                "--sampling-steps",
                "2",
                "--samples-per-class",
                "1"));
    args.addAll(List.of(more));
    return Outcome.of(program, args);
  }

  private Path checkResults(Outcome outcome, int steps) throws IOException {
    assertEquals(0, outcome.code(), outcome.text());
    Path out = folder.resolve("out");
    for (String picture : List.of("samples.png", "loss.png")) {
      assertTrue(ImageIO.read(out.resolve(picture).toFile()).getWidth() > 50, picture);
    }
    assertEquals(steps, LossCsv.read(out.resolve("loss.csv")).size());
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(out.resolve("samples.safetensors"))) {
      assertEquals("[10, 3, 8, 8] u8 cpu", samples.read("images").spec().toString());
      assertEquals("[10] i64 cpu", samples.read("labels").spec().toString());
    }
    return out.resolve("checkpoint");
  }

  @Test
  void aShortRunLeavesAModelInDiffusersLayout() throws IOException {
    Path checkpoint = checkResults(run(TrainDit::run, "--steps", "3"), 3);
    try (Dit dit = Dit.open(checkpoint.resolve("transformer"))) {
      assertEquals(DitLayout.DIFFUSERS, dit.config().layout());
      assertEquals(10, dit.config().numEmbedsAdaNorm());
      assertEquals(1, dit.config().freqShift());
    }
    String index = Files.readString(checkpoint.resolve("model_index.json"));
    assertTrue(index.contains("DiTTransformer2DModel"), index);
  }

  @Test
  void aLearnedVarianceAndOtherConditionings() throws IOException {
    Path checkpoint =
        checkResults(
            run(
                TrainDit::run,
                "--steps",
                "2",
                "--learn-variance",
                "--prediction",
                "epsilon",
                "--conditioning",
                "in_context",
                "--positions",
                "rotary"),
            2);
    try (Dit dit = Dit.open(checkpoint.resolve("transformer"))) {
      assertEquals(6, dit.config().outputs());
      assertEquals("rotary", dit.config().positions());
    }
    SchedulerConfig scheduler =
        SchedulerConfig.read(checkpoint.resolve("scheduler/scheduler_config.json"));
    assertEquals("learned_range", scheduler.values().get("variance_type"));
    assertEquals(Prediction.EPSILON, scheduler.prediction());
  }

  @ParameterizedTest
  @ValueSource(strings = {"euler", "heun", "sde", "sde-heun"})
  void aFlowIsFollowedInEveryWay(String sampler) throws IOException {
    Path checkpoint =
        checkResults(
            run(TrainFlowMatching::run, "--steps", "2", "--sampler", sampler, "--path", "gvp"), 2);
    String scheduler = Files.readString(checkpoint.resolve("scheduler/scheduler_config.json"));
    assertTrue(scheduler.contains("\"flow_path\": \"gvp\""), scheduler);
  }

  @Test
  void aResumedRunEqualsAnUninterruptedOne() throws IOException {
    Path weights = folder.resolve("out/checkpoint/training/weights.safetensors");
    assertEquals(0, run(TrainFlowMatching::run, "--steps", "4").code());
    byte[] whole = Files.readAllBytes(weights);
    assertEquals(0, run(TrainFlowMatching::run, "--steps", "4", "--stop-after", "2").code());
    Outcome resumed = run(TrainFlowMatching::run, "--steps", "4", "--resume");
    assertEquals(0, resumed.code(), resumed.text());
    assertTrue(resumed.text().contains("going on from step 2"), resumed.text());
    assertArrayEquals(whole, Files.readAllBytes(weights));
    Outcome other = run(TrainFlowMatching::run, "--steps", "4", "--resume", "--path", "gvp");
    assertEquals(2, other.code());
    assertTrue(other.text().contains("another configuration"), other.text());
  }

  @Test
  void wrongOptionsAreOneLineAndExitCodeTwo() {
    assertRefused(TrainDit::run, "--sampler must be ddim or ddpm", "--sampler", "euler");
    assertRefused(TrainDit::run, "prediction_type must be", "--prediction", "score");
    assertRefused(TrainDit::run, "TrainFlowMatching", "--prediction", "flow_prediction");
    assertRefused(TrainDit::run, "needs --sampler ddpm", "--learn-variance", "--sampler", "ddim");
    assertRefused(TrainDit::run, "--sampling-steps must be", "--sampling-steps", "0");
    assertRefused(TrainDit::run, "--guidance must be", "--guidance", "-1");
    assertRefused(TrainDit::run, "--patch must be", "--patch", "0");
    assertRefused(TrainDit::run, "num_layers must be positive", "--depth", "0");
    assertRefused(TrainDit::run, "num_attention_heads must be positive", "--heads", "0");
    assertRefused(TrainDit::run, "conditioning must be one of", "--conditioning", "magic");
    assertRefused(TrainDit::run, "positions must be one of", "--positions", "magic");
    assertRefused(TrainFlowMatching::run, "--sampler must be euler", "--sampler", "ddpm");
    assertRefused(TrainFlowMatching::run, "linear or gvp", "--path", "curved");
    assertRefused(TrainFlowMatching::run, "2 or more", "--sampler", "sde", "--sampling-steps", "1");
  }

  private void assertRefused(ToIntFunction<String[]> program, String part, String... args) {
    List<String> all = new ArrayList<>(List.of("--steps", "1", "--size", "8"));
    all.addAll(List.of("--out", folder.resolve("refused").toString()));
    all.addAll(List.of(args));
    Outcome outcome = Outcome.of(program, all);
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains(part), outcome.text());
    assertEquals(1, outcome.text().strip().lines().count(), outcome.text());
  }
}
