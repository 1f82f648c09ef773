// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.nn.Module;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.CodePriorConfig;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.models.vqvae.VqVaeConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Both stages learn, and go on from a checkpoint as if they had not stopped. */
class VqVaeTrainerTest {
  private static final VqVaeConfig CONFIG = VqVaeConfig.of(3).widths(16, 8).codebook(32, 8);

  @TempDir Path folder;

  private static BatchLoader loader() {
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(64).resolution(8)));
    return new BatchLoader(data, 8, 4, Rng.seed(1), Device.CPU);
  }

  private static VqVaeTrainer autoencoder() {
    return new VqVaeTrainer(new VqVae(Weights.init(Rng.seed(2)), CONFIG), loader(), Rng.seed(3));
  }

  private static CodePrior prior(int side) {
    return new CodePrior(
        Weights.init(Rng.seed(4)),
        new CodePriorConfig(32, side, side, 10, 16, 2, 2, "learned", 0.1));
  }

  private static Map<String, float[]> values(Module model) {
    Map<String, float[]> values = new HashMap<>();
    model.stateDict().forEach((name, t) -> values.put(name, t.toFloatArray()));
    return values;
  }

  private static void assertSame(Module expected, Module got) {
    Map<String, float[]> e = values(expected);
    Map<String, float[]> g = values(got);
    assertEquals(e.keySet(), g.keySet());
    e.forEach((name, v) -> assertArrayEquals(v, g.get(name), name));
  }

  @Test
  void theAutoencoderLearnsAndGoesOn() throws IOException {
    Path checkpoint = Files.createDirectories(folder.resolve("checkpoint"));
    try (VqVaeTrainer whole = autoencoder();
        VqVaeTrainer resumed = autoencoder()) {
      double first = whole.step(2e-3).loss();
      double error = whole.reconstruction();
      for (int i = 1; i < 60; i++) {
        whole.step(2e-3);
      }
      whole.save(checkpoint);
      resumed.restore(checkpoint, whole.steps());
      double last = whole.step(2e-3).loss();
      assertEquals(last, resumed.step(2e-3).loss());
      assertSame(whole.model(), resumed.model());
      assertTrue(last < 0.5 * first, first + " became " + last);
      assertTrue(whole.reconstruction() < 0.5 * error, error + " became " + whole.reconstruction());
      assertTrue(whole.perplexity() > 4, "perplexity " + whole.perplexity());
      try (VqVae read = VqVae.open(checkpoint.resolve("vqvae"))) {
        assertEquals(CONFIG, read.config());
      }
    }
  }

  @Test
  void thePriorLearnsAndGoesOn() throws IOException {
    Path checkpoint = Files.createDirectories(folder.resolve("checkpoint"));
    try (VqVaeTrainer autoencoder = autoencoder();
        CodePriorTrainer whole = priorOf(autoencoder);
        CodePriorTrainer resumed = priorOf(autoencoder)) {
      for (int i = 0; i < 20; i++) {
        autoencoder.step(2e-3);
      }
      double first = whole.step(2e-3).loss();
      assertEquals(Math.log(32), first, 0.1); // it knows nothing yet
      double sum = 0;
      for (int i = 0; i < 60; i++) {
        double loss = whole.step(2e-3).loss();
        sum += i < 50 ? 0 : loss / 10;
      }
      assertTrue(sum < 0.8 * first, first + " became " + sum);
      whole.save(checkpoint);
      resumed.restore(checkpoint, whole.steps());
      assertEquals(whole.step(1e-3).loss(), resumed.step(1e-3).loss());
      assertSame(whole.prior(), resumed.prior());
      try (CodePrior read = CodePrior.open(checkpoint.resolve("prior"))) {
        assertEquals(whole.prior().config(), read.config());
      }
    }
  }

  private static CodePriorTrainer priorOf(VqVaeTrainer autoencoder) {
    return new CodePriorTrainer(prior(2), autoencoder.model(), loader(), Rng.seed(5));
  }

  @Test
  void modelsThatDoNotFitAreRefused() {
    try (VqVae codes = new VqVae(Weights.init(Rng.seed(2)), CONFIG);
        CodePrior prior = prior(3)) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> new CodePriorTrainer(prior, codes, loader(), Rng.seed(5)))
              .getMessage();
      assertTrue(message.contains("3 x 3") && message.contains("2.0 x 2.0"), message);
    }
  }

  @Test
  void picturesOfOneColourAreRefused() {
    byte[] black = new byte[2 * 3 * 8 * 8];
    var data =
        InMemoryImageDataset.of(black, 3, 8, 8, new int[2], List.of("black"), List.of("", ""));
    BatchLoader loader = new BatchLoader(data, 2, 4, Rng.seed(1), Device.CPU);
    try (VqVae codes = new VqVae(Weights.init(Rng.seed(2)), CONFIG)) {
      assertThrows(
          IllegalArgumentException.class, () -> new VqVaeTrainer(codes, loader, Rng.seed(3)));
    }
  }
}
