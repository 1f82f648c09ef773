// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.models.vae.AutoencoderLoss;
import io.sfumato.models.vae.PatchDiscriminator;
import io.sfumato.models.vae.VQModel;
import io.sfumato.models.vae.VQModelConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AutoencoderTrainerTest {
  private static final double RATE = 1e-3;

  @TempDir Path folder;

  private static BatchLoader loader() {
    var data = new ShapesWorld(ShapesWorld.options().count(32).resolution(16).seed(1));
    return new BatchLoader(data, 4, 4, Rng.seed(2), Device.CPU);
  }

  private static final AutoencoderKLConfig KL =
      AutoencoderKLConfig.builder().levels(List.of(8, 8)).normNumGroups(4).build();

  private static AutoencoderKL kl() {
    return new AutoencoderKL(Weights.init(Rng.seed(3)), KL);
  }

  private static VQModel vq() {
    VQModelConfig config =
        VQModelConfig.builder().levels(List.of(8, 8)).normNumGroups(4).codebook(32, null).build();
    return new VQModel(Weights.init(Rng.seed(3)), config);
  }

  /** A trainer whose discriminator begins at step 2, and the parameters of both. */
  private static AutoencoderTrainer adversarial(List<Parameter> parameters) {
    AutoencoderKL model = kl();
    var judge = new PatchDiscriminator(Weights.init(Rng.seed(4)), 3, 4, 2);
    parameters.addAll(model.parameters());
    parameters.addAll(judge.parameters());
    parameters.addAll(judge.buffers());
    return new AutoencoderTrainer(
        model,
        AutoencoderLoss.Options.kl().adversarial(GanLoss.HINGE, 0.5, 2),
        AutoencoderTrainer.KL_WEIGHT,
        null,
        judge,
        AutoencoderTrainer.UPDATE,
        loader(),
        Rng.seed(5));
  }

  @Test
  void aRunThatGoesOnIsTheRunThatWasNotStopped() {
    List<Parameter> whole = new ArrayList<>();
    List<Parameter> parts = new ArrayList<>();
    try (Scope scope = Scope.open();
        AutoencoderTrainer first = adversarial(whole);
        AutoencoderTrainer second = adversarial(parts)) {
      float[] start = whole.getLast().value().toFloatArray();
      for (int i = 0; i < 3; i++) {
        first.step(RATE);
      }
      first.save(folder);
      List<Double> expected = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        expected.add(first.step(RATE).loss());
      }
      second.restore(folder, 3);
      assertEquals(expected, List.of(second.step(RATE).loss(), second.step(RATE).loss()));
      for (int i = 0; i < whole.size(); i++) {
        assertArrayEquals(
            whole.get(i).value().toDoubleArray(),
            parts.get(i).value().toDoubleArray(),
            whole.get(i).name());
      }
      assertEquals(5, second.steps());
      assertEquals(0, start[0]);
      // steps 2, 3 and 4, each of three batches
      assertEquals(9, whole.getLast().value().toLongArray()[0], whole.getLast().name());
      try (AutoencoderKL saved = AutoencoderKL.open(folder.resolve("vae"))) {
        assertEquals(KL, saved.config());
      }
      assertTrue(Files.exists(folder.resolve("training/discriminator/weights.safetensors")));
    }
  }

  @Test
  void bothKindsLearn() {
    var options = AutoencoderLoss.Options.kl();
    try (var withKl =
            new AutoencoderTrainer(
                kl(),
                options,
                AutoencoderTrainer.KL_WEIGHT,
                null,
                null,
                AutoencoderTrainer.UPDATE,
                loader(),
                Rng.seed(5));
        var withCodes =
            new AutoencoderTrainer(
                vq(),
                AutoencoderLoss.Options.vq(),
                null,
                null,
                AutoencoderTrainer.UPDATE,
                loader(),
                Rng.seed(5))) {
      for (AutoencoderTrainer trainer : List.of(withKl, withCodes)) {
        double first = 0;
        double last = 0;
        for (int i = 0; i < 60; i++) {
          double loss = trainer.step(3e-3).loss();
          first += i < 5 ? loss / 5 : 0;
          last += i >= 55 ? loss / 5 : 0;
        }
        assertTrue(last < 0.6 * first, first + " to " + last);
      }
    }
  }

  @Test
  void theScalingFactorGivesLatentsUnitSpread() {
    try (AutoencoderKL vae = kl();
        Scope scope = Scope.open()) {
      double factor = AutoencoderTrainer.scalingFactor(vae, loader(), 2, Rng.seed(6));
      AutoencoderKLConfig config = vae.config().withScalingFactor(factor);
      double sum = 0;
      double squares = 0;
      int count = 0;
      for (int i = 0; i < 2; i++) {
        Tensor z = vae.encode(loader().batch(i).images()).sample(Rng.seed(6).step(i));
        for (double v : z.mul(config.scalingFactor()).toDoubleArray()) {
          sum += v;
          squares += v * v;
          count++;
        }
      }
      assertEquals(1, squares / count - sum * sum / count / count, 1e-3);
      assertThrows(
          IllegalArgumentException.class,
          () -> AutoencoderTrainer.scalingFactor(vae, loader(), 0, Rng.seed(6)));
    }
  }
}
