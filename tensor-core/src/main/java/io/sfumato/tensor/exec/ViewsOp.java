// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.TensorSpec;
import java.util.List;

/** An op with one input whose outputs alias it: no kernel, no memory, only other layouts. */
public interface ViewsOp extends Op {
  /**
   * The layouts of the results.
   *
   * @param input the layout of the input
   * @throws io.sfumato.tensor.ShapeException if one of the views does not exist
   */
  List<Layout> views(Layout input);

  @Override
  default List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    return views(Layout.contiguous(x.shape())).stream().map(v -> x.with(v.shape())).toList();
  }

  @Override
  default void reference(Dense[] in, Dense[] out) {
    List<Layout> views = views(Layout.contiguous(in[0].shape()));
    double[] x = in[0].data();
    for (int i = 0; i < out.length; i++) {
      double[] y = out[i].data();
      int[] k = {0};
      StridedLoop.forEach(views.get(i), position -> y[k[0]++] = x[(int) position]);
    }
  }
}
