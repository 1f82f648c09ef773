// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.DeltaLora;
import io.sfumato.models.adapter.DyLora;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.LoraPlus;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Training of adapters that goes on from files, with kinds whose state is more than parameters. */
class AdapterTrainerTest {
  @TempDir Path folder;

  private static final ImageDataset DATA =
      InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(16).resolution(8)));

  private static final Map<String, AdapterKind> KINDS =
      Map.of(
          "delta-lora", new DeltaLora(Lora.rank(2), 0.5, 2),
          "dylora", DyLora.rank(4, 1),
          "lora", Lora.rank(2));

  private static UNet2D unet() {
    return new UNet2D(
        Weights.init(Rng.seed(1)),
        UNet2DConfig.builder()
            .levels(List.of(8, 8), List.of(false, true))
            .layersPerBlock(1)
            .normNumGroups(4)
            .numClassEmbeds(DATA.classNames().size() + 1)
            .build());
  }

  private static Map<String, float[]> values(AdapterSet set) {
    Map<String, float[]> values = new LinkedHashMap<>();
    for (Map.Entry<String, Tensor> e : set.stateDict().entrySet()) {
      values.put(e.getKey(), e.getValue().toFloatArray());
    }
    return values;
  }

  private Map<String, float[]> run(
      AdapterKind kind, boolean plus, int from, int until, Path folder) {
    try (UNet2D unet = unet();
        AdapterSet set =
            AdapterSet.attach(unet, Targets.glob("**.to_*", "**.conv2"), kind, Rng.seed(2))) {
      Denoiser denoiser =
          new Denoiser(
              (x, t, labels) -> unet.call(x, t, labels), new NoiseSchedule(SchedulerConfig.ddpm()));
      BatchLoader loader = new BatchLoader(DATA, 2, 2, Rng.seed(3), Device.CPU);
      try (AdapterTrainer trainer =
          plus
              ? new AdapterTrainer(
                  set,
                  denoiser,
                  AdapterTrainer.UPDATE,
                  loader,
                  Rng.seed(4),
                  LoraPlus.ratio(4),
                  0.01)
              : new AdapterTrainer(set, denoiser, loader, Rng.seed(4))) {
        if (from > 0) {
          trainer.restore(folder, from);
        }
        for (int i = from; i < until; i++) {
          trainer.step(0.01 / (1 + i));
        }
        assertEquals(until, trainer.steps());
        trainer.save(folder);
      }
      return values(set);
    }
  }

  @Test
  void trainingGoesOnAsIfItHadNotStopped() {
    KINDS.forEach(
        (name, kind) -> {
          for (boolean plus : new boolean[] {false, true}) {
            Map<String, float[]> whole = run(kind, plus, 0, 5, folder.resolve(name + "whole"));
            Path parts = folder.resolve(name + plus);
            run(kind, plus, 0, 3, parts);
            Map<String, float[]> again = run(kind, plus, 3, 5, parts);
            assertEquals(whole.keySet(), again.keySet());
            whole.forEach((key, value) -> assertArrayEquals(value, again.get(key), key));
          }
        });
  }

  /** At the ratio 1 the groups change nothing; at another one they do. */
  @Test
  void theRatioOfLoraPlusIsThatOfTheRates() {
    Map<String, float[]> plain = run(Lora.rank(2), false, 0, 3, folder.resolve("plain"));
    Map<String, float[]> plus = run(Lora.rank(2), true, 0, 3, folder.resolve("plus"));
    plain.forEach(
        (key, value) -> {
          if (key.contains("lora_B")) {
            assertFalse(Arrays.equals(value, plus.get(key)), key);
          }
        });
  }
}
