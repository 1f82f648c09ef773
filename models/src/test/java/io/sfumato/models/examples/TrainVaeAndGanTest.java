// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.vae.Vae;
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

/** TrainVae, TrainGan and Interpolate from their command lines. */
class TrainVaeAndGanTest {
  @TempDir Path folder;

  private Outcome train(ToIntFunction<String[]> program, String... more) {
    List<String> args = new ArrayList<>();
    args.addAll(List.of("--out", folder.toString(), "--size", "8", "--batch", "4"));
    args.addAll(List.of("--samples-per-class", "2"));
    args.addAll(List.of(more));
    return Outcome.of(program, args.toArray(String[]::new));
  }

  private void assertPictures(String... names) throws IOException {
    for (String name : names) {
      assertTrue(ImageIO.read(folder.resolve(name).toFile()).getWidth() > 50, name);
    }
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(folder.resolve("samples.safetensors"))) {
      assertEquals("[20, 3, 8, 8] u8 cpu", samples.read("images").spec().toString());
      assertEquals("[20] i64 cpu", samples.read("labels").spec().toString());
    }
  }

  private void interpolate(String path) throws IOException {
    Outcome walk =
        Outcome.of(
            Interpolate::run,
            "--model",
            folder.resolve("checkpoint").toString(),
            "--out",
            folder.toString(),
            "--rows",
            "3",
            "--steps",
            "4",
            "--path",
            path);
    assertEquals(0, walk.code(), walk.text());
    assertTrue(ImageIO.read(folder.resolve("interpolation.png").toFile()).getWidth() > 50);
  }

  @Test
  void aVaeLeavesEverything() throws IOException {
    Outcome outcome = train(TrainVae::run, "--steps", "3", "--preview-steps", "2");
    assertEquals(0, outcome.code(), outcome.text());
    assertTrue(
        outcome.text().contains("log p(x) of 4 training pictures: at least -"), outcome.text());
    assertPictures("samples.png", "loss.png", "reconstructions.png", "previews/step-000000002.png");
    assertEquals(3, LossCsv.read(folder.resolve("loss.csv")).size());
    try (Vae vae = Vae.open(folder.resolve("checkpoint"))) {
      assertEquals(10, vae.config().numClasses());
    }
    interpolate("spherical");
  }

  @Test
  void everyKindOfVaeRuns() {
    for (String architecture : List.of("conv", "mlp")) {
      for (String variance : List.of("fixed", "shared", "predicted")) {
        Outcome outcome =
            train(
                TrainVae::run,
                "--steps",
                "1",
                "--architecture",
                architecture,
                "--likelihood",
                "gaussian",
                "--variance",
                variance);
        assertEquals(0, outcome.code(), outcome.text());
      }
    }
  }

  @Test
  void aGanLeavesEverythingAndGoesOn() throws IOException {
    Outcome outcome = train(TrainGan::run, "--steps", "4");
    assertEquals(0, outcome.code(), outcome.text());
    assertPictures("samples.png", "loss.png");
    byte[] whole = Files.readAllBytes(folder.resolve("checkpoint/model.safetensors"));
    try (Gan gan = Gan.open(folder.resolve("checkpoint"))) {
      assertEquals(10, gan.config().numClasses());
    }
    interpolate("linear");

    assertEquals(0, train(TrainGan::run, "--steps", "4", "--stop-after", "2").code());
    Outcome resumed = train(TrainGan::run, "--steps", "4", "--resume");
    assertEquals(0, resumed.code(), resumed.text());
    assertArrayEquals(whole, Files.readAllBytes(folder.resolve("checkpoint/model.safetensors")));
    Outcome other = train(TrainGan::run, "--steps", "5", "--resume", "--r1", "2");
    assertEquals(2, other.code(), other.text());
    assertTrue(other.text().contains("the checkpoint is of another configuration"), other.text());
  }

  @Test
  void everyKindOfGanRuns() {
    for (String loss : List.of("non-saturating", "hinge", "wgan-gp")) {
      for (String architecture : List.of("dcgan", "mlp")) {
        Outcome outcome =
            train(
                TrainGan::run,
                "--steps",
                "1",
                "--loss",
                loss,
                "--architecture",
                architecture,
                "--spectral-norm",
                "--r1",
                "1");
        assertEquals(0, outcome.code(), outcome.text());
      }
    }
  }

  private void assertRefused(String part, ToIntFunction<String[]> program, String... args) {
    Outcome outcome = Outcome.of(program, args);
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains(part), outcome.text());
    assertEquals(1, outcome.text().strip().lines().count(), outcome.text());
  }

  @Test
  void wrongInputIsOneLineAndExitCodeTwo() throws IOException {
    String out = folder.resolve("refused").toString();
    assertRefused(
        "--architecture must be conv or mlp; got unet",
        TrainVae::run,
        "--architecture",
        "unet",
        "--out",
        out);
    assertRefused(
        "--likelihood must be bernoulli or gaussian",
        TrainVae::run,
        "--likelihood",
        "poisson",
        "--out",
        out);
    assertRefused(
        "variance must be one of fixed, shared, predicted; got 'full'",
        TrainVae::run,
        "--likelihood",
        "gaussian",
        "--variance",
        "full",
        "--out",
        out);
    assertRefused("latent_dim must be positive", TrainVae::run, "--latent-dim", "0", "--out", out);
    assertRefused("beta must not be negative", TrainVae::run, "--beta", "-1", "--out", out);
    assertRefused(
        "--validation-steps: the losses of a GAN tell who",
        TrainGan::run,
        "--validation-steps",
        "1",
        "--out",
        out);
    assertRefused(
        "the loss must be one of non-saturating, hinge, wgan-gp; got 'lsgan'",
        TrainGan::run,
        "--loss",
        "lsgan",
        "--out",
        out);
    assertRefused("r1 must not be negative; got -1.0", TrainGan::run, "--r1", "-1", "--out", out);
    assertRefused("--rows must be 1 to 100; got 0", Interpolate::run, "--rows", "0");
    assertRefused("--steps must be 2 to 100; got 1", Interpolate::run, "--steps", "1");
    assertRefused(
        "--path must be spherical or linear; got curved", Interpolate::run, "--path", "curved");
    assertRefused("holds no config.json", Interpolate::run, "--model", out);
    Path other = Files.createDirectories(folder.resolve("other"));
    Files.writeString(other.resolve("config.json"), "{\"_class_name\": \"UNet2DModel\"}");
    assertRefused(
        "is of the class 'UNet2DModel'; known are Vae and Gan",
        Interpolate::run,
        "--model",
        other.toString());
  }
}
