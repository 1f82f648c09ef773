// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.tensor.Rng;
import java.util.LinkedHashMap;
import java.util.Map;

/** The numbers 0 to n - 1 in an order of their own for each epoch; the last ones are remembered. */
final class Permutation {
  private final int n;
  private final int remembered;
  private final Rng rng;
  private final Map<Long, int[]> orders = new LinkedHashMap<>(4, 0.75f, true);
  private int made;

  /**
   * Orders.
   *
   * @param remembered the last so many epochs that were asked for
   */
  Permutation(int n, int remembered, Rng rng) {
    this.n = n;
    this.remembered = remembered;
    this.rng = rng;
  }

  Permutation(int n, Rng rng) {
    this(n, 1, rng);
  }

  /** {@return the {@code i}-th number in an epoch} */
  int at(long epoch, int i) {
    int[] order = orders.get(epoch);
    if (order == null) {
      if (orders.size() == remembered) {
        orders.remove(orders.keySet().iterator().next()); // asked for longest ago
      }
      order = rng.step(epoch).shuffled(n);
      orders.put(epoch, order);
      made++;
    }
    return order[i];
  }

  /** {@return how many orders were made} */
  int made() {
    return made;
  }
}
