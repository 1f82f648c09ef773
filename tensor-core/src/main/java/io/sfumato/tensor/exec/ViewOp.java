// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;
import java.util.List;

/** An op with one input whose one output aliases it. */
public interface ViewOp extends ViewsOp {
  /**
   * The layout of the result.
   *
   * @param input the layout of the input
   * @throws io.sfumato.tensor.ShapeException if the view does not exist
   */
  Layout view(Layout input);

  @Override
  default List<Layout> views(Layout input) {
    return List.of(view(input));
  }
}
