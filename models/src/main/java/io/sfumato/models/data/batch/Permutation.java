// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.tensor.Philox;
import io.sfumato.tensor.Rng;

/** The numbers 0 to n - 1 in an order of their own for each epoch; the last one is remembered. */
final class Permutation {
  private final int n;
  private final Rng rng;
  private long epoch = -1;
  private int[] order = new int[0];

  Permutation(int n, Rng rng) {
    this.n = n;
    this.rng = rng;
  }

  /** {@return the {@code i}-th number in an epoch} */
  int at(long wanted, int i) {
    if (wanted != epoch) {
      order = shuffled(rng.step(wanted));
      epoch = wanted;
    }
    return order[i];
  }

  private int[] shuffled(Rng draw) {
    int[] p = new int[n];
    for (int i = 0; i < n; i++) {
      p[i] = i;
    }
    for (int i = n - 1; i > 0; i--) { // Fisher-Yates
      int j = (int) Philox.integer(draw.key(), i, 0, i + 1L);
      int t = p[i];
      p[i] = p[j];
      p[j] = t;
    }
    return p;
  }
}
