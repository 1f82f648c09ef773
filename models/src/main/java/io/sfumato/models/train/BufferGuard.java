// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.List;

/**
 * Gives buffers (running statistics) their old values back when a step that moved them comes to
 * nothing, so that one batch of NaN does not stay in them.
 */
final class BufferGuard implements AutoCloseable {
  private final List<Parameter> buffers;
  private final List<Parameter> old = new ArrayList<>();
  private boolean keep;

  BufferGuard(List<Parameter> buffers) {
    this.buffers = buffers;
    try (Scope scope = Scope.open()) {
      for (Parameter b : buffers) {
        Tensor copy = Tensor.empty(b.value().spec());
        Updates.copy(copy, b.value());
        old.add(new Parameter(b.name(), copy));
      }
    }
  }

  /** The step is done; the new values stay. */
  void keepNew() {
    keep = true;
  }

  @Override
  public void close() {
    for (int i = 0; i < old.size(); i++) {
      if (!keep) {
        Updates.copy(buffers.get(i).value(), old.get(i).value());
      }
      old.get(i).close();
    }
    old.clear();
  }
}
