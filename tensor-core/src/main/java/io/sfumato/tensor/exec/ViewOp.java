// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.TensorSpec;
import java.util.List;

/** An op with one input whose one output aliases it: no kernel, no memory, only another layout. */
public interface ViewOp extends Op {
  /**
   * The layout of the result.
   *
   * @param input the layout of the input
   * @throws io.sfumato.tensor.ShapeException if the view does not exist
   */
  Layout view(Layout input);

  @Override
  default List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    return List.of(x.with(view(Layout.contiguous(x.shape())).shape()));
  }

  @Override
  default void reference(Dense[] in, Dense[] out) {
    Layout view = view(Layout.contiguous(in[0].shape()));
    double[] x = in[0].data();
    double[] y = out[0].data();
    int[] k = {0};
    StridedLoop.forEach(view, position -> y[k[0]++] = x[(int) position]);
  }
}
