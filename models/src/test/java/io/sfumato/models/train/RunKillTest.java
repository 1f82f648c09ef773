// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.ChildJvm;
import io.sfumato.models.data.LossCsv;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A run that is killed again and again, at any moment of its life, and resumed each time: it ends
 * with the bits of a run that was left alone.
 */
class RunKillTest {
  private static final int EVERY = 3;

  @TempDir Path folder;

  /** Trains up to a step, going on from where the run in the folder stands. */
  static final class Run {
    public static void main(String[] args) {
      Path out = Path.of(args[0]);
      train(out, Integer.parseInt(args[1]));
      System.out.println("finished");
    }
  }

  private static void train(Path out, int steps) {
    boolean begun = Checkpoint.find(out.resolve("checkpoint")) != null;
    TrainingRun.Options options =
        TrainingRun.Options.steps(steps).checkpointSteps(EVERY).resume(begun);
    try (DiffusionTrainer trainer = CheckpointKillTest.trainer();
        Interrupts interrupts = Interrupts.catchSignals()) {
      LearningRate rate = LearningRate.cosine(2e-3, 5);
      assertTrue(
          new TrainingRun(out, options, interrupts)
              .train(trainer, rate, Map.of("seed", "1"), List.of("shape")));
    }
  }

  @Test
  void killedThreeTimes() throws Exception {
    killAndResume(3, 30, new Random(4));
  }

  @Tag("slow")
  @Test
  void killedAHundredTimes() throws Exception {
    killAndResume(100, 1500, new Random(5));
  }

  private void killAndResume(int kills, int steps, Random random) throws Exception {
    Path out = folder.resolve("killed");
    int killed = 0;
    long before = 0;
    for (int child = 0; ; child++) {
      assertTrue(child < 10 * kills, "the run does not come to its end");
      try (ChildJvm run =
          ChildJvm.start(
              folder.resolve("output"), Run.class, out.toString(), Integer.toString(steps))) {
        if (killed == kills) {
          assertEquals(0, run.exitCode(), run.text());
          break;
        }
        // Most die at work, every fifth at once: while the JVM starts or the checkpoint is read.
        long from = before;
        if (child % 5 != 4) {
          run.await(() -> step(out) > from || run.text().contains("finished"));
        }
        Thread.sleep(random.nextInt(150));
        run.kill();
        assertTrue(!run.text().contains("finished"), "too few steps for so many kills");
        killed++;
      }
      Path left = Checkpoint.find(out.resolve("checkpoint"));
      long now = left == null ? 0 : Checkpoint.readState(left).step();
      assertTrue(now >= before, now + " after " + before);
      before = now;
    }
    Path whole = folder.resolve("whole");
    train(whole, steps);
    for (String file :
        List.of(
            "training/weights.safetensors",
            "training/optimizer.safetensors",
            "unet/diffusion_pytorch_model.safetensors")) {
      assertArrayEquals(
          Files.readAllBytes(whole.resolve("checkpoint").resolve(file)),
          Files.readAllBytes(out.resolve("checkpoint").resolve(file)),
          file);
    }
    assertEquals(losses(whole), losses(out));
  }

  /** The step of the checkpoint, 0 if none has its name just now; moves nothing. */
  private static long step(Path out) {
    try {
      return Checkpoint.readState(out.resolve("checkpoint")).step();
    } catch (RuntimeException e) {
      return 0; // there is none, or it is just being replaced
    }
  }

  private static List<String> losses(Path out) {
    return LossCsv.read(out.resolve("loss.csv")).stream()
        .map(row -> row.step() + " " + row.loss() + " " + row.learningRate())
        .toList();
  }
}
