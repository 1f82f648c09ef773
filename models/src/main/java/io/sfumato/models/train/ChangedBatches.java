// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.Device;
import java.util.function.UnaryOperator;

/** The batches of another source, each changed; closed with it. See {@link Batches#map}. */
record ChangedBatches(Batches source, UnaryOperator<Batches.Batch> change) implements Batches {
  @Override
  public Batch batch(long number) {
    return change.apply(source.batch(number));
  }

  @Override
  public String describe(long number) {
    return source.describe(number);
  }

  @Override
  public Batches whole() {
    Batches whole = source.whole();
    return whole == source ? this : whole.map(change);
  }

  @Override
  public Device device() {
    return source.device();
  }

  @Override
  public int height() {
    return source.height();
  }

  @Override
  public int width() {
    return source.width();
  }

  @Override
  public void close() {
    source.close();
  }
}
