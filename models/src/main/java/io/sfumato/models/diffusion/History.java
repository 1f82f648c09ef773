// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.Iterator;

/** The newest few tensors of a run, kept alive beyond the scopes of the steps that made them. */
final class History implements AutoCloseable {
  private final int most;
  private final ArrayDeque<Tensor> newestFirst = new ArrayDeque<>();

  /** A history of at most {@code most} tensors. */
  History(int most) {
    this.most = most;
  }

  /** Adds the newest and lets go of what is too old. */
  void push(Tensor tensor) {
    tensor.storage().retain();
    newestFirst.addFirst(tensor);
    while (newestFirst.size() > most) {
      newestFirst.removeLast().storage().release();
    }
  }

  int size() {
    return newestFirst.size();
  }

  /** The newest for 0, the one before it for 1, and so on. */
  Tensor get(int age) {
    Iterator<Tensor> tensors = newestFirst.iterator();
    for (int i = 0; i < age; i++) {
      tensors.next();
    }
    return tensors.next();
  }

  void clear() {
    newestFirst.forEach(t -> t.storage().release());
    newestFirst.clear();
  }

  @Override
  public void close() {
    clear();
  }
}
