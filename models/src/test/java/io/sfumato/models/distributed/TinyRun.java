// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.BatchesShare;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.UpdateOptions;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Weights;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Training of a very small U-Net on noise, with dropout, labels that are dropped, and averages. */
final class TinyRun {
  static final int CLASSES = 3;

  private TinyRun() {}

  /** Batches of made-up pictures; sample i is the same in batches of any size. */
  record Pictures(int size, DType type) implements Batches {
    @Override
    public Batch batch(long number) {
      long[] labels = new long[size];
      Arrays.setAll(labels, i -> (number * size + i) % CLASSES);
      Tensor all =
          new BatchShare((int) number, 64) // 64 batches at most
              .normal(Rng.seed(9), new TensorSpec(Shape.of(size, 3, 8, 8), DType.F32, Device.CPU));
      return new Batch(all.to(type).mul(0.5), Tensor.of(labels, size), List.of());
    }

    @Override
    public Device device() {
      return Device.CPU;
    }

    @Override
    public int height() {
      return 8;
    }

    @Override
    public int width() {
      return 8;
    }
  }

  /**
   * A trainer as one of a team's.
   *
   * @param batch pictures in a step of all ranks together
   */
  static DiffusionTrainer trainer(Team team, DType type, int batch) {
    UNet2DConfig config =
        UNet2DConfig.builder()
            .sampleSize(8)
            .levels(List.of(4, 8), List.of(false, true))
            .layersPerBlock(1)
            .attentionHeadDim(4)
            .normNumGroups(2)
            .dropout(0.1)
            .numClassEmbeds(CLASSES + 1)
            .build();
    TrainedModel model =
        TrainedModel.of(new UNet2D(Weights.init(Rng.seed(1), type, Device.CPU), config));
    Batches pictures = new Pictures(batch, type);
    // @start region="trainer"
    UpdateOptions how = DiffusionTrainer.UPDATE.exchange(team);
    Batches own = new BatchesShare(pictures, team.share());
    Rng rng = Rng.seed(2); // the same on all ranks
    DiffusionTrainer trainer =
        new DiffusionTrainer(model, SchedulerConfig.ddpm(), LossOptions.PLAIN, how, own, rng, null);
    // @end
    return trainer;
  }

  /** The losses of some steps, in which every rank takes part. */
  static double[] losses(
      Collectives ranks, ParallelOptions options, DType type, int batch, int steps) {
    Team team = new Team(ranks, options);
    try (DiffusionTrainer trainer = trainer(team, type, batch)) {
      team.begin(Map.of("batch", "" + batch));
      double[] losses = new double[steps];
      for (int s = 0; s < steps; s++) {
        losses[s] = team.run(() -> trainer.step(1e-2).loss());
      }
      return losses;
    }
  }

  /** A run with its files, as a program of one's own would make it. */
  static void train(Collectives joined, DType type, int batch, TrainingRun run) {
    Map<String, String> settings = Map.of("batch", "" + batch);
    // @start region="team"
    try (Team team = new Team(joined, ParallelOptions.usual()); // joined: Ranks.join()
        DiffusionTrainer trainer = trainer(team, type, batch)) { // as above
      team.begin(settings);
      if (team.leads()) {
        run.train(team.leading(trainer), LearningRate.cosine(1e-2, 0), settings, List.of());
        team.end();
      } else {
        team.follow(trainer);
      }
    }
    // @end
  }
}
