// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The kernels of a device: for each op class, candidates in the order of preference. */
public final class KernelTable {
  private final Map<Class<? extends Op>, List<Kernel<?>>> kernels = new HashMap<>();

  /** An empty table. */
  public KernelTable() {}

  /** Adds a candidate after those already there. */
  public <O extends Op> KernelTable add(Class<O> op, Kernel<? super O> kernel) {
    kernels.computeIfAbsent(op, c -> new ArrayList<>()).add(kernel);
    return this;
  }

  /** The ops that have a kernel. */
  public Set<Class<? extends Op>> ops() {
    return Set.copyOf(kernels.keySet());
  }

  /** The first kernel that takes the case, or null. */
  @SuppressWarnings("unchecked") // add() pairs each class with a kernel of that class
  public @Nullable Kernel<Op> find(Op op, Tensor[] in, Tensor[] out) {
    for (Kernel<?> candidate : kernels.getOrDefault(op.getClass(), List.of())) {
      Kernel<Op> kernel = (Kernel<Op>) candidate;
      if (kernel.refuse(op, in, out) == null) {
        return kernel;
      }
    }
    return null;
  }

  /** Why no kernel takes the case: each candidate with its reason. */
  @SuppressWarnings("unchecked")
  public String explain(Op op, Tensor[] in, Tensor[] out) {
    StringBuilder text = new StringBuilder();
    for (Kernel<?> candidate : kernels.getOrDefault(op.getClass(), List.of())) {
      String reason = ((Kernel<Op>) candidate).refuse(op, in, out);
      if (reason != null) {
        text.append(text.isEmpty() ? "" : "; ");
        text.append(candidate.getClass().getSimpleName()).append(' ').append(reason);
      }
    }
    return text.isEmpty() ? "none is registered" : text.toString();
  }
}
