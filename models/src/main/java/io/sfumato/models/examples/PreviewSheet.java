// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.train.Trainee;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * What a training example draws on its way, with the averaged weights, always from the same noise
 * and the same pictures: samples, a row per class; pictures above what the model makes of them.
 *
 * @param bench the example's
 * @param trainee has the model
 * @param sampler draws samples; null for none
 * @param perClass how many samples of a class, at most
 * @param again the model's reconstruction of pictures [n, C, H, W] in [-1, 1]; null for none
 */
record PreviewSheet(
    Workbench bench,
    Trainee trainee,
    Workbench.@Nullable Sampler sampler,
    int perClass,
    @Nullable Reconstruction again)
    implements TrainingRun.Preview {
  /** Samples, about: there is one of each class at least, up to so many classes. */
  private static final int SAMPLES = 40;

  private static final int PICTURES = 8;

  /** Names of the rows of a picture with reconstructions. */
  static final List<String> PAIR = List.of("picture", "again");

  /** What a model makes of pictures. */
  @FunctionalInterface
  interface Reconstruction {
    /** Pictures as the batch has them, [n, C, H, W] in [-1, 1]. */
    Tensor of(Batches.Batch pictures);

    /** That of a model which needs the pictures alone. */
    static Reconstruction of(UnaryOperator<Tensor> model) {
      return batch -> model.apply(batch.images());
    }
  }

  /** Says what will not be drawn. */
  void announce() {
    if (sampler != null && bench.classes() > SAMPLES) {
      say("previews show the first %d of %d classes", SAMPLES, bench.classes());
    }
  }

  @Override
  public void draw(Path png) {
    try (Scope scope = Scope.open()) {
      List<String> rows = new ArrayList<>();
      Tensor pictures = trainee.average(() -> draw(rows));
      ImageDataset images = bench.images();
      SampleSheet.picture(
          png, SampleSheet.toPixels(pictures, images.height(), images.width()), rows);
    } catch (Workbench.StopSampling e) {
      say("interrupted while drawing %s, which is left out", png.getFileName());
    }
  }

  private Tensor draw(List<String> rows) {
    List<Tensor> parts = new ArrayList<>();
    int columns = PICTURES;
    if (sampler != null) {
      int classes = Math.min(SAMPLES, bench.classes());
      int each = Math.clamp(SAMPLES / classes, 1, perClass);
      long[] labels = new long[classes * each];
      Arrays.setAll(labels, i -> i / each);
      parts.add(sampler.draw(labels, bench.rng("previews"), done -> bench.leaveIfInterrupted()));
      rows.addAll(bench.images().classNames().subList(0, classes));
      columns = each;
    }
    if (again != null) {
      Batches.Batch some = bench.data().pictures(columns);
      parts.add(some.images());
      parts.add(again.of(some));
      rows.addAll(PAIR);
    }
    return parts.size() == 1 ? parts.getFirst() : Shaping.concat(0, parts.toArray(Tensor[]::new));
  }
}
