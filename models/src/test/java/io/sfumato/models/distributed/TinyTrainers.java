// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.gan.GanConfig;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.train.AdapterTrainer;
import io.sfumato.models.train.AutoencoderTrainer;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.BatchesShare;
import io.sfumato.models.train.CodePriorTrainer;
import io.sfumato.models.train.GanOptions;
import io.sfumato.models.train.GanTrainer;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.train.Trainee;
import io.sfumato.models.train.VaeTrainer;
import io.sfumato.models.train.VqVaeTrainer;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.models.vae.AutoencoderLoss;
import io.sfumato.models.vae.PatchDiscriminator;
import io.sfumato.models.vae.VQModel;
import io.sfumato.models.vae.VQModelConfig;
import io.sfumato.models.vae.Vae;
import io.sfumato.models.vae.VaeConfig;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.CodePriorConfig;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.models.vqvae.VqVaeConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;

/** Very small models of every kind that is trained, as one of a team trains them. */
final class TinyTrainers implements AutoCloseable {
  private static final List<Integer> LEVELS = List.of(4, 8);

  private final Team team;
  private final DType type;
  private final Batches batches;
  private final Deque<Runnable> owned = new ArrayDeque<>();

  TinyTrainers(Team team, DType type, int batch) {
    this.team = team;
    this.type = type;
    this.batches = new BatchesShare(new TinyRun.Pictures(batch, type), team.share());
  }

  private Weights weights(long seed) {
    return Weights.init(Rng.seed(seed), type, Device.CPU);
  }

  private <T> T own(T model, Consumer<T> close) {
    owned.push(() -> close.accept(model));
    return model;
  }

  /** A trainer by its name; {@code accumulate} micro-batches make a step. */
  Trainee trainer(String kind, int accumulate) {
    Rng rng = Rng.seed(4);
    return switch (kind) {
      case "vae" ->
          new VaeTrainer(
              new Vae(
                  weights(1),
                  VaeConfig.builder()
                      .conv(LEVELS, 16)
                      .image(3, 8, 8)
                      .gaussian("shared")
                      .latentDim(3)
                      .numClasses(TinyRun.CLASSES)
                      .build()),
              VaeTrainer.UPDATE.exchange(team).accumulate(accumulate),
              batches,
              rng);
      case "vqvae" ->
          new VqVaeTrainer(
              codes(), VqVaeTrainer.UPDATE.exchange(team).accumulate(accumulate), batches, rng);
      case "prior" ->
          new CodePriorTrainer(
              new CodePrior(
                  weights(2),
                  new CodePriorConfig(12, 2, 2, TinyRun.CLASSES, 16, 1, 2, "learned", 0.1)),
              own(codes(), VqVae::close),
              CodePriorTrainer.UPDATE.exchange(team).accumulate(accumulate),
              batches,
              rng);
      case "kl" ->
          new AutoencoderTrainer(
              new AutoencoderKL(
                  weights(1),
                  AutoencoderKLConfig.builder()
                      .sampleSize(8)
                      .imageChannels(3)
                      .levels(LEVELS)
                      .layersPerBlock(1)
                      .latentChannels(2)
                      .normNumGroups(2)
                      .build()),
              AutoencoderLoss.Options.kl().adversarial(GanLoss.HINGE, 0.5, 1),
              AutoencoderTrainer.KL_WEIGHT,
              null,
              new PatchDiscriminator(weights(3), 3, 4, 1),
              AutoencoderTrainer.UPDATE.exchange(team).accumulate(accumulate),
              batches,
              rng);
      case "vq" ->
          new AutoencoderTrainer(
              new VQModel(
                  weights(1),
                  VQModelConfig.builder()
                      .sampleSize(8)
                      .imageChannels(3)
                      .levels(LEVELS)
                      .layersPerBlock(1)
                      .latentChannels(2)
                      .normNumGroups(2)
                      .codebook(8, null)
                      .build()),
              AutoencoderLoss.Options.vq(),
              null,
              null,
              AutoencoderTrainer.UPDATE.exchange(team).accumulate(accumulate),
              batches,
              rng);
      case "gan" -> gan("batch", GanOptions.of(GanLoss.HINGE), accumulate, rng);
      case "r1" -> gan("none", GanOptions.of(GanLoss.NON_SATURATING).r1(1, 2), accumulate, rng);
      case "wgan" -> gan("none", GanOptions.of(GanLoss.WGAN_GP), accumulate, rng);
      case "adapter" -> {
        UNet2D model =
            new UNet2D(
                weights(1),
                UNet2DConfig.builder()
                    .sampleSize(8)
                    .levels(LEVELS, List.of(false, true))
                    .layersPerBlock(1)
                    .attentionHeadDim(4)
                    .normNumGroups(2)
                    .numClassEmbeds(TinyRun.CLASSES + 1)
                    .build());
        own(model, UNet2D::close);
        Denoiser denoiser =
            new Denoiser(
                TrainedModel.of(model).network(), new NoiseSchedule(SchedulerConfig.ddpm()));
        AdapterSet set =
            AdapterSet.attach(
                model, Targets.glob("**.to_*"), Lora.rank(2).dropout(0.1), Rng.seed(5));
        own(set, AdapterSet::close);
        yield new AdapterTrainer(
            set,
            denoiser,
            AdapterTrainer.UPDATE.exchange(team).accumulate(accumulate),
            batches,
            rng);
      }
      default -> throw new IllegalArgumentException(kind);
    };
  }

  private VqVae codes() {
    return new VqVae(weights(1), VqVaeConfig.of(3).widths(8, 4).codebook(12, 4));
  }

  private Trainee gan(String norm, GanOptions how, int accumulate, Rng rng) {
    GanConfig config =
        GanConfig.builder()
            .dcgan(List.of(8, 4), List.of(4, 8))
            .norms("batch", norm)
            .image(3, 8, 8)
            .latentDim(4)
            .spectralNorm(how.gradientPenalty() == 0)
            .numClasses(TinyRun.CLASSES)
            .build();
    return new GanTrainer(
        new Gan(weights(1), config),
        how,
        how.update().exchange(team).accumulate(accumulate),
        batches,
        rng);
  }

  @Override
  public void close() {
    owned.forEach(Runnable::run);
  }
}
