// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Sums gradients over micro-batches; what it holds outlives scopes until {@link #reset} or {@link
 * #close}. 16-bit gradients are summed in f32.
 *
 * {@snippet :
 * try (var sum = new GradientAccumulator()) {
 *   for (Batch batch : microBatches) {
 *     Scope.run(() -> sum.add(Autograd.valueAndGrad(parameters, () -> loss(batch)).gradients()));
 *   }
 *   optimizer.step(sum.mean());
 * }
 * }
 */
public final class GradientAccumulator implements AutoCloseable {
  private final Map<Parameter, Tensor> sums = new LinkedHashMap<>();
  private int count;

  /** An empty sum. */
  public GradientAccumulator() {}

  /** Adds the gradients of one micro-batch. */
  public void add(Gradients gradients) {
    try (Scope scope = Scope.open()) {
      gradients
          .asMap()
          .forEach(
              (p, g) -> {
                Tensor wide = g.dtype().isHalf() ? Num.cast(g, DType.F32) : g;
                Tensor before = sums.get(p);
                Tensor sum = before == null ? wide : before.add(wide);
                sum.storage().retain();
                sums.put(p, sum);
                if (before != null) {
                  before.storage().release();
                }
              });
    }
    count++;
  }

  /** How many were added. */
  public int count() {
    return count;
  }

  /** The sum, valid until {@link #add}, {@link #reset} or {@link #close}. */
  public Gradients sum() {
    return Gradients.of(sums);
  }

  /**
   * The sum divided by the number added, owned by the current scope.
   *
   * @throws IllegalStateException if nothing was added
   */
  public Gradients mean() {
    if (count == 0) {
      throw new IllegalStateException("no gradients were added");
    }
    Gradients mean = sum();
    mean.scale(1.0 / count);
    return mean;
  }

  /** Starts again from nothing. */
  public void reset() {
    sums.values().forEach(t -> t.storage().release());
    sums.clear();
    count = 0;
  }

  /** Lets go of the sums. */
  @Override
  public void close() {
    reset();
  }
}
