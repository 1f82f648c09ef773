// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.StepResult;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A trainer on a CUDA device whose steps are a graph, beside one whose steps are not. */
final class CudaTrainerTest {
  private static final Device CUDA = new Device("cuda", 0);
  private static final int STEPS = 5;

  /**
   * Two batches of validation between steps use the weights as they are, so that copies of them are
   * kept.
   */
  @Test
  void stepsThatAreAGraphTrainAsOthers() {
    List<double[]> plain = train(false);
    List<double[]> graph = train(true);
    assertEquals(plain.size(), graph.size());
    for (int i = 0; i < plain.size(); i++) {
      assertArrayEquals(plain.get(i), graph.get(i), "number " + i);
    }
    assertTrue(plain.get(2 * STEPS - 1)[0] != plain.getFirst()[0]);
  }

  private static List<double[]> train(boolean graph) {
    List<double[]> found = new ArrayList<>();
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(16).resolution(8)));
    UNet2D unet =
        new UNet2D(
            Weights.init(Rng.seed(2)).on(CUDA),
            UNet2DConfig.builder()
                .levels(List.of(8, 16), List.of(false, false))
                .layersPerBlock(1)
                .normNumGroups(4)
                .numClassEmbeds(11)
                .build());
    try (BatchLoader loader = new BatchLoader(data, 2, 4, Rng.seed(1), CUDA);
        DiffusionTrainer trainer =
            new DiffusionTrainer(
                TrainedModel.of(unet),
                SchedulerConfig.ddpm(),
                LossOptions.PLAIN,
                DiffusionTrainer.UPDATE.ema(null).graph(graph),
                loader,
                Rng.seed(3),
                null)) {
      for (int i = 0; i < STEPS; i++) {
        StepResult step = trainer.step(1e-2 / (1 + i));
        found.add(new double[] {step.loss(), step.gradientNorm()});
        found.add(new double[] {trainer.validationLoss(loader, 2)});
      }
      for (Parameter p : unet.parameters()) {
        found.add(p.value().toDoubleArray());
      }
    }
    return found;
  }
}
