// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Backward of a product: {@code dx_i = g Π_{j≠i} x_j}, without division, so exact at zeros. Inputs:
 * x, g (x with the reduced axes of size 1).
 *
 * @param axes the reduced axes; none for all
 */
public record ProdBackward(List<Integer> axes) implements Composite {
  @Override
  public String name() {
    return "prod_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    return List.of(in.getFirst());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] g = in[1].data();
    double[] dx = out[0].data();
    double[] product = new double[g.length]; // of the non-zero ones
    int[] zeros = new int[g.length];
    java.util.Arrays.fill(product, 1);
    Reductions.forEach(
        in[0],
        axes,
        (i, o) -> {
          if (x[i] == 0) {
            zeros[o]++;
          } else {
            product[o] *= x[i];
          }
        });
    Reductions.forEach(
        in[0],
        axes,
        (i, o) -> {
          boolean lastZero = x[i] == 0 && zeros[o] == 1;
          dx[i] = zeros[o] == 0 ? g[o] * product[o] / x[i] : lastZero ? g[o] * product[o] : 0;
        });
  }

  /** Each element's co-factor as the product of a copy of the whole in which it is 1. */
  @Override
  public Tensor[] compose(Tensor[] in) {
    Shape shape = in[0].shape();
    int[] reduced = shape.axes(Reductions.array(axes));
    int n = Math.toIntExact(Reductions.count(shape, axes));
    int[] order = // kept axes, then reduced ones
        IntStream.concat(
                IntStream.range(0, shape.rank())
                    .filter(a -> IntStream.of(reduced).noneMatch(r -> r == a)),
                IntStream.of(reduced))
            .toArray();
    int outer = n == 0 ? 0 : Math.toIntExact(shape.numel() / n);
    Tensor moved = Shaping.permute(in[0], order);
    Tensor x = Shaping.reshape(moved, Shape.of(outer, 1, n));
    double[] diagonal = new double[n * n];
    for (int i = 0; i < n; i++) {
      diagonal[i * (n + 1)] = 1;
    }
    Tensor eye = Tensor.of(diagonal, DType.BOOL, x.device(), n, n);
    Tensor one = Shaping.full(in[0].spec().with(Shape.SCALAR), 1);
    Tensor others = Num.prod(Num.where(eye, one, x), false, 2); // [outer, n]
    int[] inverse = new int[order.length];
    for (int i = 0; i < order.length; i++) {
      inverse[order[i]] = i;
    }
    Tensor cofactors = Shaping.permute(Shaping.reshape(others, moved.shape()), inverse);
    return new Tensor[] {cofactors.mul(in[1])};
  }
}
