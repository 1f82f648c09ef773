// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;

/**
 * Rotary positions in two dimensions (Su et al., 2021; Heo et al., 2024, the axial form): the
 * values of a head are pairs (a, b), which lie D/4 apart, turned by the angle of the token's row or
 * column: (a cos - b sin, a sin + b cos). The product of a query and a key then depends on the
 * difference of their positions alone.
 *
 * @param cos [N, 2, D/4]
 * @param sin [N, 2, D/4]
 */
record Rotary(Tensor cos, Tensor sin) {
  /**
   * The rotation of a grid of patches, in the current scope.
   *
   * @param rows patches from top to bottom
   * @param columns patches from left to right
   * @param extra tokens behind the patches, which are not turned
   * @param headWidth D, divisible by 4
   * @param like gives type and device
   */
  static Rotary of(int rows, int columns, int extra, int headWidth, TensorSpec like) {
    double[] angles = Positions.rotaryAngles(rows, columns, extra, headWidth);
    int[] shape = {rows * columns + extra, 2, headWidth / 4};
    return new Rotary(
        Tensor.of(
            Arrays.stream(angles).map(Math::cos).toArray(), like.dtype(), like.device(), shape),
        Tensor.of(
            Arrays.stream(angles).map(Math::sin).toArray(), like.dtype(), like.device(), shape));
  }

  /** Turns queries or keys: [B, H, N, D] to the same shape. */
  Tensor turn(Tensor x) {
    int n = x.dim(2);
    int d = x.dim(3);
    Tensor pairs = x.reshape(x.dim(0), x.dim(1), n, 2, 2, d / 4); // axis, member of the pair
    Tensor a = pairs.select(4, 0); // [B, H, N, 2, D/4]
    Tensor b = pairs.select(4, 1);
    Tensor turnedA = Num.sub(a.mul(cos), b.mul(sin));
    Tensor turnedB = Num.add(a.mul(sin), b.mul(cos));
    return Shaping.stack(4, turnedA, turnedB).reshape(x.dim(0), x.dim(1), n, d);
  }
}
