// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.batch.BatchPlan;
import io.sfumato.models.data.batch.Sample;
import io.sfumato.models.data.batch.Shown;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The batches of a {@link BatchLoader}, with the distributions of the pictures' latents in the
 * place of the pictures; these come from a {@link LatentCache}. Which pictures make up a batch,
 * which are mirrored, and their captions are the same. For a {@link FirstStage} that draws latents
 * from distributions.
 */
public final class LatentBatches implements Batches {
  private final BatchLoader loader;
  private final LatentCache cache;

  /**
   * Batches of distributions.
   *
   * @param loader the pictures; closed with this object
   * @param cache filled from the same loader; closed with this object
   */
  LatentBatches(BatchLoader loader, LatentCache cache) {
    this.loader = loader;
    this.cache = cache;
  }

  /**
   * {@return one batch, in the current scope; its images are [B, 2 L, h, w], means and logarithms
   * of variances}
   *
   * @param number which one, from 0 on
   */
  @Override
  public Batch batch(long number) {
    BatchPlan plan = loader.plan();
    List<Tensor> parts = new ArrayList<>();
    List<Shown> shown = new ArrayList<>();
    for (BatchPlan.Slot slot : loader.slots(number)) {
      int index = usable(slot.index());
      Shown one = loader.reader().shown(index, slot.position(), plan.size(number));
      parts.add(cache.read(index, one.mirrored()));
      shown.add(one);
    }
    Tensor moments = Shaping.concat(0, parts.toArray(Tensor[]::new)); // [B, h, w, 2 L]
    long[] labels = shown.stream().mapToLong(Shown::label).toArray();
    return new Batch(
        moments.to(device()).permute(0, 3, 1, 2), Tensor.of(labels, labels.length), shown);
  }

  private int usable(int wanted) {
    List<Sample.Failure> failures = new ArrayList<>();
    int index = wanted;
    for (Sample.Failure f = cache.failure(index); f != null; f = cache.failure(index)) {
      failures.add(f);
      index = loader.plan().next(index);
      if (index == wanted) {
        throw DatasetException.of(
            Path.of(loader.source().name(wanted)),
            "no picture that could be in its place can be used: " + failures.getFirst().problem());
      }
    }
    loader.bad().add(failures);
    return index;
  }

  @Override
  public Batches whole() {
    return new LatentBatches(loader.whole(), cache);
  }

  @Override
  public String describe(long number) {
    return loader.describe(number);
  }

  @Override
  public Device device() {
    return loader.device();
  }

  /** {@return the height of the pictures} */
  @Override
  public int height() {
    return loader.height();
  }

  /** {@return the width of the pictures} */
  @Override
  public int width() {
    return loader.width();
  }

  @Override
  public void close() {
    cache.close();
    loader.close();
  }
}
