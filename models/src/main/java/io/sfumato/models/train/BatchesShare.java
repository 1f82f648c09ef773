// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.Device;

/**
 * One share of each batch, for one of several processes that train together: batch i of all shares
 * together is batch i of the whole. Each process makes the whole batch and takes its part; a {@link
 * BatchLoader} that is given the share reads its part only.
 */
public final class BatchesShare implements Batches {
  private final Batches whole;
  private final BatchShare share;

  /**
   * Shares of batches.
   *
   * @param whole the batches of all processes together, the same in each; closed with this object
   * @param share which part; batches whose size it does not divide are refused
   */
  public BatchesShare(Batches whole, BatchShare share) {
    this.whole = whole;
    this.share = share;
  }

  @Override
  public Batch batch(long number) {
    Batch batch = whole.batch(number);
    return new Batch(
        share.cut(batch.images()), share.cut(batch.labels()), share.cut(batch.shown()));
  }

  @Override
  public Batches whole() {
    return whole;
  }

  @Override
  public String describe(long number) {
    return "share " + share.index() + " of " + share.count() + " of " + whole.describe(number);
  }

  @Override
  public Device device() {
    return whole.device();
  }

  @Override
  public int height() {
    return whole.height();
  }

  @Override
  public int width() {
    return whole.width();
  }

  @Override
  public void close() {
    whole.close();
  }
}
