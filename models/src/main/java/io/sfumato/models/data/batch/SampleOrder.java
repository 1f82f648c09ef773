// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Pictures;
import io.sfumato.tensor.Rng;
import java.util.ArrayList;
import java.util.List;

/**
 * Every picture of a set once in an epoch, or as often as its {@link Pictures.Part} is repeated, in
 * an order of its own for each epoch. An incomplete batch at the end of an epoch is filled from the
 * next one.
 *
 * <p>A part with a fraction of repeats goes through its pictures in an order that is shuffled anew
 * each time it has shown them all, and each epoch takes the next ones. So proportions are exact in
 * every epoch, and no picture is shown a second time before all others of its part were.
 */
public final class SampleOrder implements BatchPlan {
  private final List<Pictures.Part> parts;
  private final List<Permutation> own = new ArrayList<>();
  private final Permutation whole;
  private final int epochSize;
  private final int batch;
  private final Pictures.Size size;

  /**
   * An order.
   *
   * @param parts the parts of the set
   * @param batch pictures per batch
   * @param size the size of every batch
   * @param rng the source of the shuffling
   * @throws IllegalArgumentException if an epoch would be too long
   */
  public SampleOrder(List<Pictures.Part> parts, int batch, Pictures.Size size, Rng rng) {
    this.parts = List.copyOf(parts);
    this.batch = batch;
    this.size = size;
    long sum = parts.stream().mapToLong(Pictures.Part::showings).sum();
    if (sum > 1 << 30) {
      throw new IllegalArgumentException("an epoch of " + sum + " showings is too long");
    }
    this.epochSize = (int) sum;
    this.whole = new Permutation(epochSize, rng);
    for (int k = 0; k < parts.size(); k++) {
      Pictures.Part part = parts.get(k);
      int inAnEpoch = part.showings() / part.count() + 2; // whole ones, and parts of two others
      own.add(new Permutation(part.count(), inAnEpoch, rng.fork("part " + k)));
    }
  }

  /** {@return how many orders of parts were made} */
  int made() {
    return own.stream().mapToInt(Permutation::made).sum();
  }

  /** {@return how many showings an epoch has} */
  public int epochSize() {
    return epochSize;
  }

  @Override
  public synchronized List<Slot> slots(long number) {
    List<Slot> slots = new ArrayList<>(batch);
    for (int b = 0; b < batch; b++) {
      long position = Math.addExact(Math.multiplyExact(number, batch), b);
      slots.add(new Slot(index(position), position));
    }
    return slots;
  }

  private int index(long position) {
    long epoch = position / epochSize;
    int entry = whole.at(epoch, (int) (position % epochSize));
    for (int k = 0; ; k++) {
      Pictures.Part part = parts.get(k);
      int showings = part.showings();
      if (entry < showings) {
        if (showings % part.count() == 0) { // all equally often: the order of the epoch is enough
          return part.first() + entry % part.count();
        }
        long shown = epoch * showings + entry;
        return part.first() + own.get(k).at(shown / part.count(), (int) (shown % part.count()));
      }
      entry -= showings;
    }
  }

  @Override
  public Pictures.Size size(long number) {
    return size;
  }

  @Override
  public int next(int index) {
    for (Pictures.Part part : parts) {
      if (index >= part.first() && index < part.first() + part.count()) {
        return part.first() + (index - part.first() + 1) % part.count();
      }
    }
    throw new IndexOutOfBoundsException("picture " + index + " is of no part");
  }

  @Override
  public Pictures.Size sizeOf(int index) {
    return size;
  }
}
