// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.function.Supplier;

/** A recording that writes nothing down: it runs the body again. */
final class Repetition implements Recording {
  private final Supplier<Tensor[]> body;
  private Tensor[] results = {};
  private boolean closed;

  Repetition(Supplier<Tensor[]> body) {
    this.body = body;
  }

  @Override
  public Tensor[] replay() {
    if (closed) {
      throw new IllegalStateException("the recording is closed");
    }
    release();
    try (Scope scope = Scope.open()) {
      Tensor[] made = body.get();
      for (Tensor t : made) {
        t.storage().retain();
      }
      results = made;
    }
    return results.clone();
  }

  private void release() {
    for (Tensor t : results) {
      t.storage().release();
    }
    results = new Tensor[0];
  }

  @Override
  public void close() {
    closed = true;
    release();
  }
}
