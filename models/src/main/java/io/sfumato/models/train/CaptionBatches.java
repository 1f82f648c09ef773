// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.batch.Shown;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import java.util.List;

/**
 * Batches whose labels are numbers of captions in a {@link CaptionTable}. A picture without a
 * caption gets the name of its class.
 */
public final class CaptionBatches implements Batches {
  private final Batches pictures;
  private final List<String> classNames;
  private final CaptionTable captions;

  /**
   * Batches with captions for labels.
   *
   * @param pictures the batches; closed with this object
   * @param classNames of their labels
   * @param captions gets the captions as they are shown
   */
  public CaptionBatches(Batches pictures, List<String> classNames, CaptionTable captions) {
    this.pictures = pictures;
    this.classNames = List.copyOf(classNames);
    this.captions = captions;
  }

  @Override
  public Batch batch(long number) {
    Batch batch = pictures.batch(number);
    long[] labels = new long[batch.shown().size()];
    for (int b = 0; b < labels.length; b++) {
      Shown shown = batch.shown().get(b);
      labels[b] = captions.numberOf(shown.caption().orElse(classNames.get(shown.label())));
    }
    return new Batch(batch.images(), Tensor.of(labels, labels.length), batch.shown());
  }

  @Override
  public Batches whole() {
    return new CaptionBatches(pictures.whole(), classNames, captions);
  }

  @Override
  public String describe(long number) {
    return pictures.describe(number);
  }

  @Override
  public Device device() {
    return pictures.device();
  }

  @Override
  public int height() {
    return pictures.height();
  }

  @Override
  public int width() {
    return pictures.width();
  }

  @Override
  public void close() {
    pictures.close();
  }
}
