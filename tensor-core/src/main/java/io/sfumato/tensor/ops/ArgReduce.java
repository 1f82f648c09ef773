// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;

/**
 * The index, along one axis, of the largest or smallest element as I64: the first of equal ones,
 * the first NaN if there is one.
 *
 * @param max largest if true, else smallest
 * @param axis the axis
 * @param keepDims whether the axis stays with size 1
 */
public record ArgReduce(boolean max, int axis, boolean keepDims) implements Op {
  @Override
  public String name() {
    return max ? "argmax" : "argmin";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    Shape shape = x.shape().reduce(new int[] {axis}, keepDims);
    if (shape.numel() > 0 && x.shape().numel() == 0) {
      throw new ShapeException("the reduced axis must not be empty");
    }
    return List.of(x.with(shape).with(DType.I64));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int a = in[0].shape().axis(axis);
    int n = in[0].dim(a);
    int inner = in[0].inner(a);
    for (int o = 0; o < y.length; o++) {
      int base = o / inner * n * inner + o % inner;
      int best = 0;
      for (int i = 1; i < n; i++) {
        if (beats(x[base + i * inner], x[base + best * inner])) {
          best = i;
        }
      }
      y[o] = best;
    }
  }

  private boolean beats(double challenger, double holder) {
    if (Double.isNaN(holder)) {
      return false;
    }
    return Double.isNaN(challenger) || (max ? challenger > holder : challenger < holder);
  }
}
