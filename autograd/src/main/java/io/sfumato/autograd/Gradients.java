// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Gradients by parameter. The tensors belong to the scope that was current when they were made;
 * those that {@link #clipByNorm}, {@link #scale} and {@link #accumulate} make belong to the scope
 * current at those calls. To gather gradients over several steps use {@link GradientAccumulator}.
 *
 * <p>A parameter on which the loss does not depend has no gradient, as in PyTorch: {@link #get}
 * gives null, {@link #asMap} leaves it out, {@link #unused} lists it, optimizers skip it.
 */
public final class Gradients {
  private final Map<Parameter, Tensor> tensors = new LinkedHashMap<>();
  private final List<Parameter> unused = new ArrayList<>();

  Gradients(List<Parameter> parameters, @Nullable Tensor[] found) {
    for (int i = 0; i < found.length; i++) {
      Tensor g = found[i];
      if (g == null) {
        unused.add(parameters.get(i));
      } else {
        tensors.put(parameters.get(i), g);
      }
    }
  }

  /**
   * Gradients from elsewhere.
   *
   * @throws ShapeException if one has another shape than its parameter
   */
  public static Gradients of(Map<Parameter, Tensor> tensors) {
    Gradients g = new Gradients(List.of(), new Tensor[0]);
    tensors.forEach(
        (p, t) -> {
          if (!t.shape().equals(p.value().shape())) {
            throw new ShapeException(
                "the gradient of " + p + " must have its shape; got " + t.spec());
          }
          g.tensors.put(p, t);
        });
    return g;
  }

  /** The gradient of {@code parameter}; null if the loss does not depend on it. */
  public @Nullable Tensor get(Parameter parameter) {
    return tensors.get(parameter);
  }

  /** All gradients, in the order of the parameters; a view. */
  public Map<Parameter, Tensor> asMap() {
    return Collections.unmodifiableMap(tensors);
  }

  /** The parameters on which the loss does not depend. */
  public List<Parameter> unused() {
    return Collections.unmodifiableList(unused);
  }

  /** The Euclidean norm of all gradients together; squares are summed in f64. */
  public double norm() {
    if (tensors.isEmpty()) {
      return 0;
    }
    try (Scope scope = Scope.open()) {
      return Math.sqrt(Updates.squaredNorm(List.copyOf(tensors.values())).item());
    }
  }

  /**
   * Scales all gradients by {@code max / (norm + 1e-6)} if that is below 1, as PyTorch's {@code
   * clip_grad_norm_}. If the norm is not finite nothing is changed; look at what is returned, or
   * let the optimizer decide.
   *
   * @param max the largest norm to let through; positive
   * @return the norm before
   */
  public double clipByNorm(double max) {
    if (!(max > 0)) {
      throw new IllegalArgumentException("clipByNorm: max must be positive; got " + max);
    }
    double norm = norm();
    double factor = max / (norm + 1e-6);
    if (Double.isFinite(norm) && factor < 1) {
      scale(factor);
    }
    return norm;
  }

  /** Multiplies all gradients by {@code factor}. */
  public void scale(double factor) {
    tensors.replaceAll((p, g) -> g.mul(factor));
  }

  /** Adds {@code other}, parameter by parameter. */
  public void accumulate(Gradients other) {
    other.tensors.forEach((p, g) -> tensors.merge(p, g, Tensor::add));
    unused.removeIf(tensors::containsKey);
    for (Parameter p : other.unused) {
      if (!tensors.containsKey(p) && !unused.contains(p)) {
        unused.add(p);
      }
    }
  }

  /** Whether every element of every gradient is finite. */
  public boolean isFinite() {
    return Double.isFinite(norm());
  }
}
