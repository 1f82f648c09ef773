// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.ChildJvm;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A process that does nothing but save is killed: what it leaves is a whole checkpoint. */
class CheckpointKillTest {
  @TempDir Path folder;

  /** The process. */
  static final class Saver {
    public static void main(String[] args) {
      Path checkpoint = Path.of(args[0]);
      Path found = Checkpoint.find(checkpoint);
      try (DiffusionTrainer trainer = trainer()) {
        if (found != null) {
          trainer.restore(found, Checkpoint.readState(found).step());
        }
        for (; ; ) {
          trainer.step(1e-3);
          Checkpoint.save(checkpoint, state(trainer.steps()), trainer::save);
          System.out.println(trainer.steps());
        }
      }
    }
  }

  private static Checkpoint.State state(long step) {
    return new Checkpoint.State(step, 0, Map.of(), List.of());
  }

  static DiffusionTrainer trainer() {
    UNet2DConfig config =
        UNet2DConfig.builder()
            .levels(List.of(8), List.of(false))
            .layersPerBlock(1)
            .normNumGroups(4)
            .numClassEmbeds(11)
            .build();
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(64).resolution(8)));
    Rng rng = Rng.seed(1);
    return new DiffusionTrainer(
        new UNet2D(Weights.init(rng), config),
        SchedulerConfig.ddpm(),
        new BatchLoader(data, 2, 4, rng.fork("data"), Device.CPU),
        rng.fork("training"));
  }

  @Test
  void killedOnce() throws Exception {
    killAndRead(1, new Random(2));
  }

  @Tag("slow")
  @Test
  void killedOften() throws Exception {
    killAndRead(25, new Random(3));
  }

  private void killAndRead(int rounds, Random random) throws Exception {
    Path checkpoint = folder.resolve("checkpoint");
    try (DiffusionTrainer expected = trainer()) {
      for (int round = 0; round < rounds; round++) {
        long said;
        try (ChildJvm child =
            ChildJvm.start(folder.resolve("output"), Saver.class, checkpoint.toString())) {
          child.await(() -> child.text().lines().filter(l -> l.matches("\\d+")).count() >= 2);
          Thread.sleep(random.nextInt(60));
          child.kill();
          List<String> lines = child.text().lines().filter(l -> l.matches("\\d+")).toList();
          said = Long.parseLong(lines.getLast());
        }
        Path found = Checkpoint.find(checkpoint);
        assertNotNull(found);
        long step = Checkpoint.readState(found).step();
        assertTrue(step == said || step == said + 1, step + " is left after " + said);
        try (DiffusionTrainer read = trainer()) {
          read.restore(found, Checkpoint.readState(found).step());
          while (expected.steps() < step) {
            expected.step(1e-3);
          }
          assertSame(expected, read);
        }
      }
    }
  }

  /** Compares weights, averages and optimizer state by saving both. */
  private void assertSame(DiffusionTrainer expected, DiffusionTrainer read) throws Exception {
    Path one = folder.resolve("one");
    Path two = folder.resolve("two");
    Checkpoint.save(one, state(expected.steps()), expected::save);
    Checkpoint.save(two, state(read.steps()), read::save);
    for (String file :
        List.of(
            "training/weights.safetensors",
            "training/optimizer.safetensors",
            "training/state.json",
            "training/manifest.json",
            "unet/diffusion_pytorch_model.safetensors")) {
      assertArrayEquals(
          Files.readAllBytes(one.resolve(file)), Files.readAllBytes(two.resolve(file)), file);
    }
    assertEquals(expected.steps(), read.steps());
  }
}
