// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.LossCsv;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.SafeTensors;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The main job from its command line: what it leaves, and what it says to wrong input. */
class TrainDiffusionTest {
  @TempDir Path folder;

  /** Exit code and everything printed. */
  private record Outcome(int code, String text) {}

  private static Outcome run(String... args) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (PrintStream both = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
      System.setOut(both);
      System.setErr(both);
      int code = TrainDiffusion.run(args);
      return new Outcome(code, bytes.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }

  private Outcome train(String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "--out",
                folder.resolve("out").toString(),
                "--size",
                "8",
                "--batch",
                "4",
                "--sampling-steps",
                "2",
                "--samples-per-class",
                "1"));
    args.addAll(List.of(more));
    return run(args.toArray(String[]::new));
  }

  @Test
  void aShortRunLeavesEverything() throws IOException {
    Outcome outcome = train("--steps", "3");
    assertEquals(0, outcome.code, outcome.text);
    Path out = folder.resolve("out");
    for (String picture : List.of("samples.png", "loss.png")) {
      assertTrue(ImageIO.read(out.resolve(picture).toFile()).getWidth() > 50, picture);
    }
    assertEquals(3, LossCsv.read(out.resolve("loss.csv")).size());
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(out.resolve("samples.safetensors"))) {
      assertEquals("[10, 3, 8, 8] u8 cpu", samples.read("images").spec().toString());
      assertEquals("[10] i64 cpu", samples.read("labels").spec().toString());
    }
    Path checkpoint = out.resolve("checkpoint");
    assertTrue(Files.exists(checkpoint.resolve("model_index.json")));
    assertTrue(Files.exists(checkpoint.resolve("scheduler/scheduler_config.json")));
    try (UNet2D unet = UNet2D.open(checkpoint.resolve("unet"))) {
      assertEquals(11, unet.config().numClassEmbeds());
    }
    try (Stream<Path> left = Files.list(out)) {
      assertEquals(5, left.count());
    }
  }

  @Test
  void aResumedRunEqualsAnUninterruptedOne() throws IOException {
    assertEquals(0, train("--steps", "4", "--seed", "3").code);
    Path out = folder.resolve("out");
    byte[] whole = Files.readAllBytes(out.resolve("checkpoint/training/weights.safetensors"));
    List<LossCsv.Row> rows = LossCsv.read(out.resolve("loss.csv"));

    // The learning rate follows the progress, so the first half must aim at the same end.
    assertEquals(0, train("--steps", "4", "--stop-after", "2", "--seed", "3").code);
    assertEquals(2, Checkpoint.readState(out.resolve("checkpoint")).step());
    Outcome resumed = train("--steps", "4", "--seed", "3", "--resume");
    assertEquals(0, resumed.code, resumed.text);
    assertTrue(resumed.text.contains("going on from step 2"), resumed.text);
    List<LossCsv.Row> again = LossCsv.read(out.resolve("loss.csv"));
    assertEquals(
        rows.stream().map(LossCsv.Row::loss).toList(),
        again.stream().map(LossCsv.Row::loss).toList());
    assertTrue(
        java.util.Arrays.equals(
            whole, Files.readAllBytes(out.resolve("checkpoint/training/weights.safetensors"))));
  }

  @Test
  void wrongOptionsAreOneLineAndExitCodeTwo() {
    assertRefused("--steps must be positive", "--steps", "0");
    assertRefused("--minutes must be positive", "--minutes", "-1");
    assertRefused("exclude each other", "--minutes", "1", "--steps", "1");
    assertRefused("--batch must be positive", "--batch", "-4");
    assertRefused("--size must be 8 to 512", "--size", "0");
    assertRefused("--sampler must be ddim or ddpm", "--sampler", "euler");
    assertRefused("--samples-per-class must be 1 to 1000", "--samples-per-class", "0");
    assertRefused("--threads must be 1 to 1024", "--threads", "0");
    assertRefused("unknown device 'tpu'", "--device", "tpu");
    assertRefused("cuda:0: not used, because", "--device", "cuda");
    assertRefused("Unknown option", "--colour", "blue");
    assertRefused("ten", "--steps", "ten");
  }

  private void assertRefused(String part, String... args) {
    List<String> all = new ArrayList<>(List.of(args));
    all.addAll(List.of("--out", folder.resolve("refused").toString()));
    Outcome outcome = run(all.toArray(String[]::new));
    assertEquals(2, outcome.code, outcome.text);
    assertTrue(outcome.text.contains(part), outcome.text);
    assertEquals(1, outcome.text.strip().lines().count(), outcome.text);
  }

  @Test
  void badInputIsNamed() throws IOException {
    Path empty = Files.createDirectories(folder.resolve("empty"));
    assertRefused("empty", "--data", empty.toString());
    assertRefused("nowhere", "--data", folder.resolve("nowhere").toString());
    assertRefused("there is no checkpoint", "--resume");
    Path file = Files.writeString(folder.resolve("file"), "x");
    Outcome outcome = run("--out", file.resolve("below").toString(), "--steps", "1");
    assertEquals(2, outcome.code, outcome.text);
    assertTrue(outcome.text.contains("cannot be written"), outcome.text);
  }

  @Test
  void resumingAnotherConfigurationIsRefused() {
    assertEquals(0, train("--steps", "1").code);
    Outcome outcome = train("--steps", "2", "--resume", "--seed", "9");
    assertEquals(2, outcome.code, outcome.text);
    assertTrue(outcome.text.contains("seed was 0 and is now 9"), outcome.text);
  }

  @Test
  void aDamagedCheckpointIsNamed() throws IOException {
    assertEquals(0, train("--steps", "1").code);
    Path weights = folder.resolve("out/checkpoint/training/weights.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, java.util.Arrays.copyOf(bytes, bytes.length / 2));
    Outcome outcome = train("--steps", "2", "--resume");
    assertEquals(2, outcome.code, outcome.text);
    assertTrue(outcome.text.contains("weights.safetensors"), outcome.text);
    assertTrue(outcome.text.contains("truncated"), outcome.text);
  }

  @Test
  void helpNamesEveryOption() {
    Outcome outcome = run("--help");
    assertEquals(0, outcome.code);
    for (String option :
        List.of(
            "--data",
            "--out",
            "--minutes",
            "--steps",
            "--batch",
            "--size",
            "--seed",
            "--device",
            "--threads",
            "--sampler",
            "--guidance",
            "--samples-per-class",
            "--resume")) {
      assertTrue(outcome.text.contains(option), option);
    }
  }
}
