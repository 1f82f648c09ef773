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
 * Vector quantisation: for each vector x of the last axis, the k that makes {@code |x - c_k|²}
 * least, as I64; of several, the least. A distance of NaN is never the least; where all are NaN or
 * infinite, k is 0. Inputs: vectors [..., D] and the codebook [K, D], of one floating type.
 */
public record NearestCode() implements Op {
  @Override
  public String name() {
    return "nearest_code";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape x = in.get(0).shape();
    Shape codes = in.get(1).shape();
    if (x.rank() == 0) {
      throw new ShapeException("the vectors must have shape [..., D]");
    }
    if (codes.rank() != 2 || codes.dim(1) != x.dim(-1)) {
      throw new ShapeException("the codebook must have shape [K, D] with D = " + x.dim(-1));
    }
    if (codes.dim(0) == 0) {
      throw new ShapeException("the codebook must have at least one code");
    }
    return List.of(in.getFirst().with(x.without(-1)).with(DType.I64));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] codes = in[1].data();
    double[] y = out[0].data();
    int size = in[1].dim(0);
    int d = in[1].dim(1);
    for (int row = 0; row < y.length; row++) {
      double least = Double.POSITIVE_INFINITY;
      for (int k = 0; k < size; k++) {
        double distance = 0;
        for (int p = 0; p < d; p++) {
          double difference = x[row * d + p] - codes[k * d + p];
          distance += difference * difference;
        }
        if (distance < least) {
          least = distance;
          y[row] = k;
        }
      }
    }
  }
}
