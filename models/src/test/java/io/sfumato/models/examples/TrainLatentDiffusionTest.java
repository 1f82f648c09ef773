// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.models.Outcome;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Latent diffusion from the command line: trained, drawn with, and what wrong input is told. */
class TrainLatentDiffusionTest {
  @TempDir Path folder;

  private Outcome train(String out, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "--out",
                folder.resolve(out).toString(),
                "--size",
                "16",
                "--batch",
                "2",
                "--sampling-steps",
                "1",
                "--samples-per-class",
                "1",
                "--first-share",
                "0.5"));
    args.addAll(List.of(more));
    return Outcome.of(TrainLatentDiffusion::run, args);
  }

  @Test
  void trainsAndDraws() throws IOException {
    Outcome outcome = train("out", "--steps", "4", "--preview-steps", "2");
    assertEquals(0, outcome.code(), outcome.text());
    Path out = folder.resolve("out");
    assertTrue(outcome.text().contains("previews show the first 40 of 80 classes"), outcome.text());
    assertTrue(Files.exists(out.resolve("previews/step-000000002.png")));
    assertTrue(Files.exists(out.resolve("autoencoder/previews/step-000000002.png")));
    assertEquals(2, LossCsv.read(out.resolve("loss.csv")).size());
    assertEquals(2, LossCsv.read(out.resolve("autoencoder/loss.csv")).size());
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(out.resolve("samples.safetensors"))) {
      assertEquals("[80, 3, 16, 16] u8 cpu", samples.read("images").spec().toString());
    }
    try (LatentDiffusion pipeline = LatentDiffusion.open(out)) {
      assertEquals(80, pipeline.classNames().size());
      assertTrue(pipeline.vae().config().scalingFactor() != 0.18215, "latents were scaled");
    }

    String drawn = folder.resolve("drawn").toString();
    List<String> common =
        List.of(out.toString(), "--prompt", "red star", "--count", "2", "--steps", "2");
    outcome = Outcome.of(Sample::run, and(common, "--out", drawn));
    assertEquals(0, outcome.code(), outcome.text());
    String picture = folder.resolve("drawn/pictures/001.png").toString();
    assertTrue(Files.exists(Path.of(picture)), picture);
    String next = folder.resolve("next").toString();
    outcome = Outcome.of(Img2Img::run, and(common, "--out", next, "--image", picture));
    assertEquals(0, outcome.code(), outcome.text());
    outcome = Outcome.of(Inpaint::run, and(common, "--out", next, "--image", picture));
    assertEquals(0, outcome.code(), outcome.text());
    outcome =
        Outcome.of(Inpaint::run, and(common, "--out", next, "--image", picture, "--mask", picture));
    assertEquals(0, outcome.code(), outcome.text());

    outcome = Outcome.of(Sample::run, and(common, "--size", "18", "--guidance", "-1"));
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("divisible by 8"), outcome.text());
    assertTrue(outcome.text().contains("guidance must be 0 or more"), outcome.text());
    outcome = Outcome.of(Sample::run, List.of(out.toString(), "--prompt", "red dragon"));
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("the word 'dragon'"), outcome.text());
    outcome = Outcome.of(Inpaint::run, and(common, "--image", picture, "--box", "1,0,0.5,1"));
    assertEquals(2, outcome.code(), outcome.text());
    outcome = Outcome.of(Sample::run, List.of(folder.resolve("nothing").toString()));
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("is no pipeline"), outcome.text());
  }

  private static List<String> and(List<String> args, String... more) {
    List<String> all = new ArrayList<>(args);
    all.addAll(List.of(more));
    return all;
  }

  @Test
  void shapesAreJudged() {
    var world =
        new ShapesWorld(
            ShapesWorld.options()
                .resolution(16)
                .count(8)
                .labels(ShapesWorld.Labels.COLOUR_AND_SHAPE));
    Path file = folder.resolve("samples.safetensors");
    try (Scope scope = Scope.open()) {
      long[] labels = new long[8];
      Arrays.setAll(labels, i -> i < 6 ? world.label(i) : (world.label(i) + 1) % 80); // two wrong
      SafeTensors.save(
          file,
          Map.of(
              "images", Tensor.of(world.pixels(0, 8), 8, 3, 16, 16),
              "labels", Tensor.of(labels, 8)));
    }
    Outcome outcome = Outcome.of(JudgeShapes::run, List.of(file.toString()));
    assertEquals(0, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("8 pictures, 75.0 % show"), outcome.text());
    outcome = Outcome.of(JudgeShapes::run, List.of(folder.resolve("none.safetensors").toString()));
    assertEquals(2, outcome.code(), outcome.text());
  }

  /** Pictures that are held out come to the network as those do that it learns from. */
  @Test
  void isValidatedOnLatentsThatWereKeptAsOnPictures() throws IOException {
    List<String> some = new ArrayList<>(List.of("--steps", "4", "--validation-steps", "1"));
    some.addAll(List.of("--validation-share", "0.01", "--validation-batches", "2"));
    Outcome outcome = train("pictures", some.toArray(String[]::new));
    assertEquals(0, outcome.code(), outcome.text());
    some.add("--cache-latents");
    outcome = train("kept", some.toArray(String[]::new));
    assertEquals(0, outcome.code(), outcome.text());
    List<Double> losses = validation("pictures");
    List<Double> kept = validation("kept");
    assertEquals(2, losses.size());
    for (int i = 0; i < 2; i++) {
      assertEquals(losses.get(i), kept.get(i), 1e-4 * losses.get(i), "validation " + i);
    }
  }

  private List<Double> validation(String out) throws IOException {
    List<Double> losses = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve(out).resolve("metrics.jsonl"))) {
      JsonNode json = new ObjectMapper().readTree(line);
      if (json.has("validation_loss")) {
        losses.add(json.get("validation_loss").doubleValue());
      }
    }
    return losses;
  }

  /** A run that stopped in its second stage goes on as if it had not. */
  @Test
  void resumes() throws IOException {
    assertEquals(0, train("whole", "--steps", "4").code());
    assertEquals(0, train("parts", "--steps", "4", "--stop-after", "1").code());
    Outcome outcome = train("parts", "--steps", "4", "--resume");
    assertEquals(0, outcome.code(), outcome.text());
    String weights = "checkpoint/unet/diffusion_pytorch_model.safetensors";
    for (String name :
        List.of(weights, "autoencoder/checkpoint/vae/config.json", "samples.safetensors")) {
      assertArrayEquals(
          Files.readAllBytes(folder.resolve("whole").resolve(name)),
          Files.readAllBytes(folder.resolve("parts").resolve(name)),
          name);
    }
  }

  @Test
  void wrongOptionsAreRefused() {
    Outcome outcome = train("out", "--first-share", "1.5");
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("--first-share"), outcome.text());
  }
}
