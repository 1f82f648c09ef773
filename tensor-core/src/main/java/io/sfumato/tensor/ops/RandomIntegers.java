// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Philox;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;

/**
 * Random whole numbers, uniform in [low, high), from Philox4x32-10: element {@code i} depends on
 * the key and {@code i} alone.
 *
 * @param low the smallest
 * @param high one above the largest
 * @param key the key
 * @param spec what to make, I64
 */
public record RandomIntegers(long low, long high, long key, TensorSpec spec) implements Op {
  @Override
  public String name() {
    return "random_integers";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (spec.dtype() != DType.I64) {
      throw new DTypeException("random integers must be i64; asked for " + spec);
    }
    if (low >= high) {
      throw new ShapeException("low must be below high; got " + low + " and " + high);
    }
    return List.of(spec);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = Philox.integer(key, i, low, high);
    }
  }
}
