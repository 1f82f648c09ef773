// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.LossWeight;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.models.vae.Vae;
import io.sfumato.models.vae.VaeConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongUnaryOperator;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/**
 * Steps whose forward and backward are recorded, beside those that are not. On the CPU a recording
 * runs its body again, on the same tensors each time; so what is a step's own has to reach it.
 */
class RecordedStepTest {
  private static final int STEPS = 5;

  private boolean spoil;

  /** Batches of which some can be smaller. */
  private static Batches batches(LongUnaryOperator size) {
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(32).resolution(8)));
    BatchLoader loader = new BatchLoader(data, 4, 4, Rng.seed(1), Device.CPU);
    return new Batches() {
      @Override
      public Batch batch(long number) {
        Batch all = loader.batch(number);
        int n = (int) size.applyAsLong(number);
        return new Batch(
            all.images().slice(0, 0, n), all.labels().slice(0, 0, n), all.shown().subList(0, n));
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
    };
  }

  private static TrainedModel unet() {
    return TrainedModel.of(
        new UNet2D(
            Weights.init(Rng.seed(2)),
            UNet2DConfig.builder()
                .levels(List.of(8, 16), List.of(false, true))
                .layersPerBlock(1)
                .normNumGroups(4)
                .attentionHeadDim(8)
                .numClassEmbeds(11)
                .build()));
  }

  private static TrainedModel dit() {
    return TrainedModel.of(
        new Dit(
            Weights.init(Rng.seed(2)),
            DitConfig.builder()
                .sampleSize(8)
                .patchSize(2)
                .imageChannels(3)
                .size(2, 2, 16)
                .classes(10)
                .build()));
  }

  private static DiffusionTrainer trainer(
      TrainedModel model, LossOptions loss, boolean graph, LongUnaryOperator size) {
    return new DiffusionTrainer(
        model,
        SchedulerConfig.ddpm(),
        loss,
        DiffusionTrainer.UPDATE.graph(graph),
        batches(size),
        Rng.seed(3),
        null);
  }

  /** Losses and norms of some steps, and the parameters after them. */
  private static List<double[]> train(TrainedModel model, LossOptions loss, boolean graph) {
    List<double[]> found = new ArrayList<>();
    try (DiffusionTrainer trainer = trainer(model, loss, graph, n -> 4)) {
      for (int i = 0; i < STEPS; i++) {
        StepResult step = trainer.step(1e-2 / (1 + i));
        found.add(new double[] {step.loss(), step.gradientNorm(), step.pictures()});
      }
      for (Parameter p : model.model().parameters()) {
        found.add(p.value().toDoubleArray());
      }
    }
    return found;
  }

  private static void assertAlike(Supplier<TrainedModel> model, LossOptions loss) {
    List<double[]> plain = train(model.get(), loss, false);
    List<double[]> recorded = train(model.get(), loss, true);
    assertEquals(plain.size(), recorded.size());
    for (int i = 0; i < plain.size(); i++) {
      assertArrayEquals(plain.get(i), recorded.get(i), "number " + i);
    }
    assertTrue(Arrays.stream(plain.getFirst()).allMatch(v -> v > 0));
  }

  @Test
  void recordedStepsTrainAsOthersBitForBit() {
    assertAlike(RecordedStepTest::unet, LossOptions.PLAIN);
    assertAlike(RecordedStepTest::dit, LossOptions.PLAIN.weighted(LossWeight.minSnr(5)));
  }

  @Test
  void whatCannotBeRecordedIsSaid() {
    try (DiffusionTrainer trainer = trainer(unet(), LossOptions.PLAIN, true, n -> n == 3 ? 2 : 4)) {
      for (int i = 0; i < 3; i++) {
        trainer.step(1e-3);
      }
      String message =
          assertThrows(IllegalArgumentException.class, () -> trainer.step(1e-3)).getMessage();
      assertTrue(message.contains("batch 3 has ["), message);
      assertEquals(3, trainer.steps());
    }
    VaeConfig config = VaeConfig.builder().mlp(8).bernoulli().image(3, 8, 8).latentDim(2).build();
    Vae vae = new Vae(Weights.init(Rng.seed(2), DType.F32, Device.CPU), config);
    try (VaeTrainer trainer =
        new VaeTrainer(vae, VaeTrainer.UPDATE.graph(true), batches(n -> 4), Rng.seed(3))) {
      assertThrows(IllegalArgumentException.class, () -> trainer.step(1e-3));
    }
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> UpdateOptions.adamW().graph(true).precision(Precision.F16).accumulate(2))
            .getMessage();
    assertTrue(message.contains("the loss scale of f16 changes"), message);
  }

  /** A batch of NaN changes nothing, recorded or not. */
  @Test
  void aBatchThatIsNotFiniteChangesNothing() {
    Batches good = batches(n -> 4);
    Batches some =
        good.map(
            batch -> {
              double[] values = batch.images().toDoubleArray();
              values[7] = spoil ? Double.NaN : values[7];
              return new Batches.Batch(
                  Tensor.of(values, DType.F32, Device.CPU, 4, 3, 8, 8),
                  batch.labels(),
                  batch.shown());
            });
    TrainedModel model = unet();
    try (DiffusionTrainer trainer =
        new DiffusionTrainer(
            model,
            SchedulerConfig.ddpm(),
            LossOptions.PLAIN,
            DiffusionTrainer.UPDATE.graph(true),
            some,
            Rng.seed(3),
            null)) {
      for (int i = 0; i < 3; i++) {
        trainer.step(1e-2);
      }
      List<double[]> before = values(model);
      spoil = true;
      assertThrows(NonFiniteException.class, () -> trainer.step(1e-2));
      List<double[]> after = values(model);
      for (int i = 0; i < before.size(); i++) {
        assertArrayEquals(before.get(i), after.get(i));
      }
      spoil = false;
      trainer.skip();
      assertTrue(Double.isFinite(trainer.step(1e-2).loss()));
    }
  }

  private static List<double[]> values(TrainedModel model) {
    return model.model().parameters().stream().map(p -> p.value().toDoubleArray()).toList();
  }
}
