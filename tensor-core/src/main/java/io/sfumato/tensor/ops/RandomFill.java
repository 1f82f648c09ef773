// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Philox;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;
import java.util.Locale;

/**
 * Random numbers from Philox4x32-10: element {@code i} depends on the key and {@code i} alone.
 *
 * @param kind the distribution
 * @param key the key
 * @param spec what to make; floating
 */
public record RandomFill(Kind kind, long key, TensorSpec spec) implements Op {
  /** The distributions. */
  public enum Kind {
    /** Mean 0, variance 1. */
    NORMAL,
    /** Uniform on [0, 1). */
    UNIFORM
  }

  @Override
  public String name() {
    return "random_" + kind.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (!spec.dtype().isFloating()) {
      throw new DTypeException("random numbers must be floating; got " + spec);
    }
    return List.of(spec);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = kind == Kind.NORMAL ? Philox.normal(key, i) : Philox.uniform(key, i);
    }
  }
}
