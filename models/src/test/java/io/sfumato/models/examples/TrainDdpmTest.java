// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.SafeTensors;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The main job from its command line: what it leaves, and what it says to wrong input. */
class TrainDdpmTest {
  @TempDir Path folder;

  private static Outcome run(String... args) {
    return Outcome.of(TrainDdpm::run, args);
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
    assertEquals(0, outcome.code(), outcome.text());
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
      assertEquals(
          List.of(
              ".lock",
              "checkpoint",
              "config.yaml",
              "environment.json",
              "loss.csv",
              "loss.png",
              "metrics.jsonl",
              "report.html",
              "samples.png",
              "samples.safetensors"),
          left.map(file -> file.getFileName().toString()).sorted().toList());
    }
  }

  @Test
  void aResumedRunEqualsAnUninterruptedOne() throws IOException {
    assertEquals(0, train("--steps", "4", "--seed", "3").code());
    Path out = folder.resolve("out");
    byte[] whole = Files.readAllBytes(out.resolve("checkpoint/training/weights.safetensors"));
    List<LossCsv.Row> rows = LossCsv.read(out.resolve("loss.csv"));

    // The learning rate follows the progress, so the first half must aim at the same end.
    assertEquals(0, train("--steps", "4", "--stop-after", "2", "--seed", "3").code());
    assertEquals(2, Checkpoint.readState(out.resolve("checkpoint")).step());
    Outcome resumed = train("--steps", "4", "--seed", "3", "--resume");
    assertEquals(0, resumed.code(), resumed.text());
    assertTrue(resumed.text().contains("going on from step 2"), resumed.text());
    List<LossCsv.Row> again = LossCsv.read(out.resolve("loss.csv"));
    assertEquals(
        rows.stream().map(LossCsv.Row::loss).toList(),
        again.stream().map(LossCsv.Row::loss).toList());
    assertTrue(
        Arrays.equals(
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
    assertRefused("unknown device ''", "--device", "");
    assertRefused("--minutes must be positive", "--minutes", "NaN");
    assertRefused("--minutes must be positive", "--minutes", "Infinity");
    assertRefused("--guidance must be 0 to 1000", "--guidance", "NaN");
    assertRefused("--guidance must be 0 to 1000", "--guidance", "-0.5");
    assertRefused("--sampling-steps must be 1 to 1000", "--sampling-steps", "0");
    assertRefused("--checkpoint-seconds must not be", "--checkpoint-seconds", "NaN");
    assertRefused("--stop-after must be positive", "--stop-after", "0");
    assertRefused("--size must be 8 to 512", "--size", "513");
    assertRefused("a batch of 2000000000 pictures", "--batch", "2000000000");
    assertRefused("--samples-per-class must be", "--samples-per-class", "2000000000");
    assertRefused("--threads must be 1 to 1024", "--threads", "100000");
    assertRefused("Expected parameter for option '--sampler'", "--sampler");
    assertRefused("Unmatched argument", "more");
    assertRefused("99999999999", "--steps", "99999999999");
    assertRefused("Unknown option", "--colour", "blue");
    assertRefused("ten", "--steps", "ten");
  }

  @Test
  void whyAStepCannotBeRecordedIsSaid() {
    Outcome outcome = run("--cuda-graph", "--device", "cpu", "--accumulate", "2", "--profile", "1");
    assertEquals(2, outcome.code(), outcome.text());
    for (String part :
        List.of(
            "--cuda-graph: a recorded step has one batch; --accumulate 2 has more",
            "--cuda-graph: the cpu has no launches to save",
            "--cuda-graph: --profile sees ops one by one")) {
      assertTrue(outcome.text().contains(part), outcome.text());
    }
    Outcome another = Outcome.of(TrainGan::run, "--cuda-graph");
    assertEquals(2, another.code(), another.text());
    assertTrue(
        another.text().contains("the steps of this program need new numbers"), another.text());
  }

  private void assertRefused(String part, String... args) {
    List<String> all = new ArrayList<>(List.of(args));
    all.addAll(List.of("--out", folder.resolve("refused").toString()));
    Outcome outcome = run(all.toArray(String[]::new));
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains(part), outcome.text());
    assertEquals(1, outcome.text().strip().lines().count(), outcome.text());
  }

  @Test
  void badInputIsNamed() throws IOException {
    Path empty = Files.createDirectories(folder.resolve("empty"));
    assertRefused("empty", "--data", empty.toString());
    assertRefused("nowhere", "--data", folder.resolve("nowhere").toString());
    assertRefused("there is no checkpoint", "--resume");
    Path file = Files.writeString(folder.resolve("file"), "x");
    assertRefused("give the folder it is in", "--data", file.toString());
    Outcome onFile = run("--out", file.toString(), "--steps", "1");
    assertEquals(2, onFile.code(), onFile.text());
    assertTrue(onFile.text().contains(file + ": cannot be written: is a file"), onFile.text());
    Outcome outcome = run("--out", file.resolve("below").toString(), "--steps", "1");
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("cannot be written"), outcome.text());
  }

  /** IDX files: ten pictures of 28 x 28 and their labels. */
  private static byte[] idx(int... dims) {
    int size = Arrays.stream(dims).reduce(1, (a, b) -> a * b);
    ByteBuffer bytes = ByteBuffer.allocate(4 + 4 * dims.length + size);
    bytes.putInt(0x800 + dims.length);
    Arrays.stream(dims).forEach(bytes::putInt);
    return bytes.array();
  }

  private static byte[] gzip(byte[] bytes) throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
      out.write(bytes);
    }
    return packed.toByteArray();
  }

  @Test
  void damagedDataIsNamed() throws IOException {
    byte[] images = idx(10, 28, 28);
    Path data = Files.createDirectories(folder.resolve("data"));
    Path file = data.resolve("t10k-images-idx3-ubyte");
    Path packed = data.resolve("t10k-images-idx3-ubyte.gz");
    Files.write(file, images);
    assertDataRefused("no MNIST labels", data);
    Files.write(data.resolve("t10k-labels-idx1-ubyte"), idx(10));
    Files.write(file, Arrays.copyOf(images, images.length / 2));
    assertDataRefused(file + ": at byte", data);
    Files.write(file, idx(0, 28, 28));
    assertDataRefused("0", data);
    Files.delete(file);
    byte[] gz = gzip(images);
    Files.write(packed, Arrays.copyOf(gz, gz.length / 2));
    assertDataRefused(packed + ": at byte", data);
    gz[gz.length - 6] ^= 1; // the checksum
    Files.write(packed, gz);
    assertDataRefused(packed.toString(), data);
    Files.writeString(packed, "hello");
    assertDataRefused(packed + ": at byte 0", data);
  }

  private void assertDataRefused(String part, Path data) {
    Outcome outcome =
        run("--data", data.toString(), "--out", folder.resolve("o").toString(), "--steps", "1");
    assertEquals(2, outcome.code(), outcome.text());
    // Which part of MNIST is taken is logged, in two lines.
    List<String> lines = outcome.text().strip().lines().toList();
    assertTrue(lines.getLast().contains(part), outcome.text());
    assertTrue(lines.size() == 1 || lines.size() == 3, outcome.text());
    assertTrue(!outcome.text().contains("\tat "), outcome.text());
  }

  @Test
  void resumingAnotherConfigurationIsRefused() {
    assertEquals(0, train("--steps", "1").code());
    Outcome outcome = train("--steps", "2", "--resume", "--seed", "9");
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("seed was 0 and is now 9"), outcome.text());
  }

  /** What the report shows: not what was asked for, but what was done. */
  @Test
  void settingsOfACheckpointAreTheEffectiveOnes() {
    assertEquals(0, train("--steps", "1", "--beta2", "0.9").code());
    Map<String, String> settings =
        Checkpoint.readState(folder.resolve("out/checkpoint")).settings();
    assertEquals("0.002", settings.get("learning_rate"));
    assertEquals("50", settings.get("warm_up"));
    assertEquals("half a cosine", settings.get("schedule"));
    assertEquals("adamw", settings.get("optimizer"));
    assertEquals("0.9,0.9", settings.get("betas"));
    assertEquals("1.0", settings.get("clip_norm"));
    assertEquals("none", settings.get("parameter_groups"));
    assertTrue(settings.get("ema").startsWith("0.9999"), settings.get("ema"));
    Outcome outcome = train("--steps", "2", "--resume", "--beta2", "0.9", "--learning-rate", "1");
    assertTrue(outcome.text().contains("learning_rate was 0.002 and is now 1.0"), outcome.text());
  }

  @Test
  void aDamagedCheckpointIsNamed() throws IOException {
    assertEquals(0, train("--steps", "1").code());
    Path weights = folder.resolve("out/checkpoint/training/weights.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(bytes, bytes.length / 2));
    Outcome outcome = train("--steps", "2", "--resume");
    assertEquals(2, outcome.code(), outcome.text());
    String problem = "training/weights.safetensors has " + bytes.length / 2 + " bytes instead of ";
    assertTrue(outcome.text().contains(problem + bytes.length), outcome.text());
  }

  @Test
  void helpNamesEveryOption() {
    Outcome outcome = run("--help");
    assertEquals(0, outcome.code());
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
      assertTrue(outcome.text().contains(option), option);
    }
  }
}
