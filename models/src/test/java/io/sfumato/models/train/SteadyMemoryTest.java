// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Two thousand whole training steps use no more memory than the first few. */
class SteadyMemoryTest {
  @Test
  void liveAndPeakStayConstant() {
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(64).resolution(8)));
    UNet2DConfig config =
        UNet2DConfig.builder()
            .levels(List.of(8, 8), List.of(false, true))
            .layersPerBlock(1)
            .normNumGroups(4)
            .dropout(0.1)
            .numClassEmbeds(11)
            .build();
    Rng rng = Rng.seed(0);
    CpuBackend cpu = CpuBackend.instance();
    BatchLoader loader = new BatchLoader(data, 1, 2, rng, Device.CPU);
    try (DiffusionTrainer trainer =
        new DiffusionTrainer(
            new UNet2D(Weights.init(rng), config), SchedulerConfig.ddpm(), loader, rng)) {
      for (int i = 0; i < 10; i++) {
        trainer.step(1e-3);
      }
      cpu.resetPeak();
      trainer.step(1e-3);
      MemoryStats early = cpu.memory();
      for (int i = 0; i < 2000; i++) {
        trainer.step(1e-3);
      }
      assertEquals(early, cpu.memory());
    }
  }
}
