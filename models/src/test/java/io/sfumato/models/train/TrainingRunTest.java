// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.models.LogCapture;
import io.sfumato.models.data.HeldOut;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.vae.Vae;
import io.sfumato.models.vae.VaeConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongPredicate;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** What a run writes on its way, and what it does when something goes wrong. */
class TrainingRunTest {
  private static final UpdateOptions AVERAGED =
      UpdateOptions.adam().ema(Ema.options()).accumulate(2);

  @TempDir Path folder;
  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models");

  private static HeldOut data() {
    return HeldOut.of(
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(40).resolution(8))),
        0.2,
        Rng.seed(9));
  }

  /** A loader of which some batches are NaN. */
  private static Batches batches(LongPredicate spoiled) {
    Batches good = new BatchLoader(data().training(), 4, 1, Rng.seed(1), Device.CPU);
    return new Batches() {
      @Override
      public Batch batch(long number) {
        Batch batch = good.batch(number);
        return spoiled.test(number)
            ? new Batch(nan(4 * 3 * 8 * 8), batch.labels(), batch.shown())
            : batch;
      }

      @Override
      public String describe(long number) {
        return good.describe(number);
      }

      @Override
      public Device device() {
        return good.device();
      }

      @Override
      public int height() {
        return good.height();
      }

      @Override
      public int width() {
        return good.width();
      }
    };
  }

  private static Tensor nan(int elements) {
    double[] values = new double[elements];
    values[17] = Double.NaN;
    return Tensor.of(values, DType.F32, Device.CPU, 4, 3, 8, 8);
  }

  private static VaeTrainer trainer(LongPredicate spoiled) {
    VaeConfig config = VaeConfig.builder().mlp(8).bernoulli().image(3, 8, 8).latentDim(2).build();
    Vae vae = new Vae(Weights.init(Rng.seed(2), DType.F32, Device.CPU), config);
    return new VaeTrainer(vae, AVERAGED, batches(spoiled), Rng.seed(3));
  }

  private TrainingRun run(Path out, TrainingRun.Options options, Interrupts interrupts) {
    return new TrainingRun(out, options, interrupts)
        .validation(new BatchLoader(data().held(), 4, 1, Rng.seed(4), Device.CPU), 2)
        .preview(png -> write(png, "a picture"));
  }

  private static void write(Path file, String text) {
    try {
      Files.writeString(file, text);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private void train(Path out, TrainingRun.Options options, LongPredicate spoiled) {
    try (VaeTrainer trainer = trainer(spoiled);
        Interrupts interrupts = Interrupts.catchSignals()) {
      run(out, options, interrupts)
          .train(trainer, LearningRate.constant(1e-2, 1), Map.of("seed", "1"), List.of("shape"));
    }
  }

  private static TrainingRun.Options watched(int steps) {
    return TrainingRun.Options.steps(steps)
        .checkpointSteps(4)
        .watching(new TrainingRun.Watching(3, 5, 2, false));
  }

  private static List<JsonNode> metrics(Path out) throws IOException {
    List<JsonNode> lines = new ArrayList<>();
    for (String line : Files.readAllLines(out.resolve("metrics.jsonl"))) {
      lines.add(new ObjectMapper().readTree(line));
    }
    return lines;
  }

  /** Lines without what depends on the clock and on the pool. */
  private static List<String> numbers(Path out) throws IOException {
    return metrics(out).stream()
        .map(
            l ->
                l.path("step")
                    + " "
                    + l.path("loss")
                    + " "
                    + l.path("gradient_norm")
                    + " "
                    + l.path("validation_loss"))
        .toList();
  }

  private static List<String> names(Path folder) throws IOException {
    try (var all = Files.list(folder)) {
      return all.map(p -> p.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void tensorBoardGetsNumbersPicturesAndHistograms() throws Exception {
    TrainingRun.Options options =
        TrainingRun.Options.steps(4).watching(new TrainingRun.Watching(null, 4, 0, true, 2));
    try (VaeTrainer trainer = trainer(n -> false);
        Interrupts interrupts = Interrupts.catchSignals()) {
      new TrainingRun(folder, options, interrupts)
          .preview(TrainingRunTest::writePicture)
          .train(trainer, LearningRate.constant(1e-2, 1), Map.of(), List.of("shape"));
    }
    List<Path> files;
    try (var all = Files.list(folder.resolve("tensorboard"))) {
      files = all.toList();
    }
    String events = Files.readString(files.getFirst(), StandardCharsets.ISO_8859_1);
    int parameters = 0;
    try (VaeTrainer trainer = trainer(n -> false)) {
      for (Parameter p : trainer.updates().getFirst().parameters()) {
        parameters++;
        assertEquals(2, count(events, "weights/" + p.name()), p.name());
        assertEquals(2, count(events, "gradients/" + p.name()), p.name());
      }
    }
    assertTrue(parameters > 4);
    assertEquals(1, count(events, "previews"));
    assertEquals(1, count(events, "IHDR"));
    assertEquals(4, count(events, "learning_rate"));
  }

  private static void writePicture(Path png) {
    try {
      ImageIO.write(new BufferedImage(3, 2, BufferedImage.TYPE_INT_RGB), "png", png.toFile());
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** How often a tag stands in a file; protocol buffers put its type right behind it. */
  private static int count(String text, String tag) {
    int found = 0;
    for (int at = text.indexOf(tag); at >= 0; at = text.indexOf(tag, at + 1)) {
      char next = text.charAt(at + tag.length());
      found += Character.isLetterOrDigit(next) || next == '.' || next == '_' ? 0 : 1;
    }
    return found;
  }

  @Test
  void aRunLeavesMetricsPreviewsBestAndProfile() throws Exception {
    train(folder, watched(12), n -> false);
    List<JsonNode> lines = metrics(folder);
    JsonNode first = lines.getFirst();
    Set<String> keys = new HashSet<>();
    first.fieldNames().forEachRemaining(keys::add);
    assertEquals(
        Set.of(
            "step",
            "seconds",
            "loss",
            "learning_rate",
            "gradient_norm",
            "images_per_second",
            "live_bytes",
            "peak_bytes"),
        keys);
    List<JsonNode> validations = lines.stream().filter(l -> l.has("validation_loss")).toList();
    assertEquals(
        List.of(3L, 6L, 9L, 12L),
        validations.stream().map(l -> l.get("step").longValue()).toList());
    double best =
        validations.stream()
            .mapToDouble(l -> l.get("validation_loss").doubleValue())
            .min()
            .orElseThrow();
    Checkpoint.State state = Checkpoint.readState(folder.resolve("checkpoint-best"));
    assertEquals(best, state.bestLoss());
    assertEquals(best, Checkpoint.readState(folder.resolve("checkpoint")).bestLoss());
    assertEquals(
        best,
        validations.stream()
            .filter(l -> l.get("step").longValue() == state.step())
            .findFirst()
            .orElseThrow()
            .get("validation_loss")
            .doubleValue());
    assertEquals(
        List.of("step-000000005.png", "step-000000010.png"), names(folder.resolve("previews")));
    JsonNode profile = new ObjectMapper().readTree(folder.resolve("profile.json").toFile());
    Set<String> modules = new HashSet<>();
    for (JsonNode line : profile) {
      modules.add(line.get("module").textValue());
      assertTrue(line.get("seconds").doubleValue() > 0 && line.get("calls").longValue() > 0);
    }
    assertTrue(modules.stream().anyMatch(m -> m.startsWith("encoder.")), modules.toString());
  }

  /** With micro-batches, averages, validation and the best checkpoint; asynchronous or not. */
  @Test
  void aRunThatGoesOnEndsWithTheSameBits() throws Exception {
    Path whole = folder.resolve("whole");
    train(whole, watched(12), n -> false);
    Path parts = folder.resolve("parts");
    TrainingRun.Options synchronous =
        watched(12).saving(new TrainingRun.Saving(4, 0, 1, false)).stopAfter(7);
    train(parts, synchronous, n -> false);
    write(parts.resolve("previews/step-000000010.png"), "of another run");
    Files.writeString(
        parts.resolve("metrics.jsonl"),
        Files.readString(parts.resolve("metrics.jsonl"))
            + "{\"step\":8,\"loss\":1}\n{\"step\":9,\"lo");
    train(parts, watched(12).resume(true), n -> false);
    for (String file : List.of("weights", "optimizer")) {
      String name = "checkpoint/training/" + file + ".safetensors";
      assertArrayEquals(
          Files.readAllBytes(whole.resolve(name)), Files.readAllBytes(parts.resolve(name)), name);
    }
    assertEquals(numbers(whole), numbers(parts));
    assertEquals("a picture", Files.readString(parts.resolve("previews/step-000000010.png")));
  }

  /**
   * One second for a step, a hundred for what comes between steps, on a clock of the test's own.
   */
  private List<LossCsv.Row> timed(Path out, TrainingRun.Options options) {
    AtomicLong clock = new AtomicLong();
    try (VaeTrainer trainer =
            trainer(
                n -> {
                  clock.addAndGet(n % 2 == 0 ? 1_000_000_000L : 0); // two batches per step
                  return false;
                });
        Interrupts interrupts = Interrupts.catchSignals()) {
      new TrainingRun(out, options, interrupts)
          .clock(clock::get)
          .validation(new BatchLoader(data().held(), 4, 1, Rng.seed(4), Device.CPU), 2)
          .preview(
              png -> {
                clock.addAndGet(100_000_000_000L);
                write(png, "a picture");
              })
          .train(trainer, LearningRate.cosine(1e-3, 1), Map.of(), List.of("shape"));
    }
    return LossCsv.read(out.resolve("loss.csv"));
  }

  /** So that the learning rate of a run of minutes does not jump where a picture was drawn. */
  @Test
  void ofARunThatLastsATimeTheTimeOfStepsCountsAlsoWhenItGoesOn() {
    TrainingRun.Options options =
        TrainingRun.Options.minutes(10 / 60.0)
            .checkpointSteps(3)
            .watching(new TrainingRun.Watching(4, 1, 0, false));
    List<LossCsv.Row> rows = timed(folder.resolve("whole"), options);
    assertEquals(10, rows.size());
    for (int i = 0; i < rows.size(); i++) {
      assertEquals(5e-4 * (1 + Math.cos(Math.PI * i / 10)), rows.get(i).learningRate(), 1e-15);
      assertEquals(i + 1, rows.get(i).seconds(), 1e-9);
    }
    Path parts = folder.resolve("parts");
    timed(parts, options.stopAfter(4));
    List<LossCsv.Row> again = timed(parts, options.resume(true));
    assertEquals(rows, again);
  }

  @Test
  void aBatchOfNanEndsTheRunWithItsPicturesNamedAndTheCheckpointKept() {
    String message =
        assertThrows(IllegalStateException.class, () -> train(folder, watched(12), n -> n == 11))
            .getMessage();
    assertTrue(message.startsWith("the loss became NaN at step 6: "), message);
    assertTrue(message.contains("input 0 came with it: its element 17 is NaN"), message);
    assertTrue(
        message.matches("(?s).*; in batch 11 \\(pictures \\d.* of the data set\\).*"), message);
    assertTrue(message.contains("the last good checkpoint is in "), message);
    assertEquals(4, Checkpoint.readState(Checkpoint.find(folder.resolve("checkpoint"))).step());
  }

  @Test
  void batchesOfNanAreSkippedAndCountedUntilTheyAreTooMany() throws Exception {
    TrainingRun.Options options = watched(12).onNan(new TrainingRun.OnNan(true, 2));
    train(folder, options, n -> n == 3 || n == 8 || n == 10);
    List<Long> skipped =
        metrics(folder).stream()
            .filter(l -> l.has("skipped"))
            .map(l -> l.get("step").longValue())
            .toList();
    assertEquals(List.of(2L, 5L, 6L), skipped);
    assertEquals(3, log.lines().stream().filter(l -> l.contains("the step is left out")).count());
    assertEquals(12, Checkpoint.readState(folder.resolve("checkpoint")).step());
    String message =
        assertThrows(
                IllegalStateException.class,
                () -> train(folder.resolve("more"), options, n -> n >= 8 && n <= 13))
            .getMessage();
    assertTrue(message.contains("3 steps in a row, more than --nan-limit"), message);
  }

  /** The disk is full while a thread writes: the next step says so, and the old one stays. */
  @Test
  void aCheckpointThatCannotBeWrittenIsToldAtTheNextStepAndTheOldOneStays() throws Exception {
    Path checkpoint = folder.resolve("checkpoint");
    Checkpoint.State one = new Checkpoint.State(1, 1, Map.of(), List.of());
    CountDownLatch begin = new CountDownLatch(1);
    try (CheckpointWriter writer = new CheckpointWriter(true)) {
      writer.save(checkpoint, 0, one, to -> write(to.resolve("a"), "1"), () -> {});
      writer.await();
      Checkpoint.State two = new Checkpoint.State(2, 2, Map.of(), List.of());
      writer.save(
          checkpoint,
          0,
          two,
          to -> {
            write(to.resolve("training/manifest.json.blocked"), "");
            makeFolder(to.resolve("training/manifest.json")); // cannot be replaced by a file
            begin.countDown();
          },
          () -> {});
      TensorFileException e = null;
      for (int i = 0; i < 2000 && e == null; i++) {
        try {
          writer.check();
          Thread.sleep(5);
        } catch (TensorFileException found) {
          e = found;
        }
      }
      assertTrue(e != null && e.getMessage().contains("manifest.json"), String.valueOf(e));
      writer.check(); // told once
    }
    assertEquals(1, Checkpoint.readState(checkpoint).step());
    assertFalse(Files.exists(folder.resolve("checkpoint.new")));
  }

  private static void makeFolder(Path folder) {
    TrainingFiles.makeFolder(folder.resolve("full"));
  }

  @Test
  void whatARunLacksIsSaidBeforeTheFirstStep() {
    try (VaeTrainer trainer = trainer(n -> false);
        Interrupts interrupts = Interrupts.catchSignals()) {
      TrainingRun run = new TrainingRun(folder, watched(3), interrupts);
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> run.train(trainer, LearningRate.constant(1, 1), Map.of(), List.of()))
              .getMessage();
      assertTrue(message.contains("--preview-steps: this run has nothing to draw"), message);
      assertEquals(0, trainer.steps());
    }
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> TrainingRun.Options.steps(-1).checkpointSteps(0))
            .getMessage();
    assertTrue(message.contains("--steps must be positive; got -1"), message);
  }

  @Test
  void metricsThatAreNoneAreRefused() {
    write(folder.resolve("metrics.jsonl"), "{\"step\":1}\nstep 2\n");
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> MetricsFile.open(folder.resolve("metrics.jsonl"), 5))
            .getMessage();
    assertTrue(message.contains("metrics.jsonl: line 2 is no JSON object with a step"), message);
  }
}
