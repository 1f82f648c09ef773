// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * {@code ΔW = s B A} of factors that are made anew for each call, on linear layers and on
 * convolutions of one group, in {@link Lora}'s shapes.
 *
 * @param a [r, in] or [r, in, kh, kw]
 * @param b [out, r] or [out, r, 1, 1]
 * @param scale the factor s
 */
record LowRank(Tensor a, Tensor b, double scale) {
  static @Nullable String refuses(WeightLayer layer) {
    return switch (layer) {
      case Linear l -> null;
      case Conv2d c when c.options().groups() == 1 -> null;
      default -> "the kind is defined for Linear and for Conv2d of one group";
    };
  }

  /** The shape of A at a rank. */
  static Shape shapeOfA(WeightLayer layer, int rank) {
    int[] dims = layer.weight().value().shape().dims();
    dims[0] = rank;
    return Shape.of(dims);
  }

  /** The shape of B at a rank. */
  static Shape shapeOfB(WeightLayer layer, int rank) {
    Shape w = layer.weight().value().shape();
    return w.rank() == 4 ? Shape.of(w.dim(0), rank, 1, 1) : Shape.of(w.dim(0), rank);
  }

  /** What ΔW makes of an input. */
  Tensor change(WeightLayer layer, Tensor x) {
    if (layer instanceof Conv2d conv) {
      Tensor h = NN.conv2d(x, a, null, conv.options()); // [B, r, H', W']
      return NN.conv2d(h, b, null, ConvOptions.of()).mul(scale);
    }
    return NN.linear(NN.linear(x, a, null), b, null).mul(scale);
  }

  /** What the layer, perhaps with other adapters, and ΔW make of an input. */
  Tensor apply(WeightLayer layer, Tensor x, UnaryOperator<Tensor> base) {
    if (layer instanceof Linear && layer.isBase(base)) {
      Tensor bias = layer.bias().map(Parameter::value).orElse(null);
      return NN.lowRank(x, layer.weight().value(), bias, a, b, scale);
    }
    return base.apply(x).add(change(layer, x));
  }

  /** ΔW in the shape of the weight. */
  Tensor delta(WeightLayer layer) {
    Tensor up = b.reshape(b.dim(0), -1);
    Tensor down = a.reshape(a.dim(0), -1);
    return up.matmul(down).mul(scale).reshape(layer.weight().value().shape().dims());
  }
}
