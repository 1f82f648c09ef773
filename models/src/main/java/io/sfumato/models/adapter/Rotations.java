// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Linalg;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import org.jspecify.annotations.Nullable;

/** Rotations from skew matrices, in batches [n, b, b]. */
final class Rotations {
  private Rotations() {}

  /** What one output of a layer sees: in, for a convolution in · kh · kw. */
  static int inputs(WeightLayer layer) {
    Shape w = layer.weight().value().shape();
    return (int) (w.numel() / w.dim(0));
  }

  /**
   * Skew matrices Q = U - Uᵀ.
   *
   * @param triangles [n, b (b - 1) / 2], the strict upper triangle U, row by row
   */
  static Tensor skew(Tensor triangles, int b) {
    int zero = triangles.dim(1); // an index of the zero put behind each row
    long[] places = new long[b * b];
    int next = 0;
    for (int i = 0; i < b; i++) {
      for (int j = 0; j < b; j++) {
        places[i * b + j] = j > i ? next++ : zero;
      }
    }
    Tensor padded = Shaping.pad(triangles, new int[][] {{0, 0}, {0, 1}}, 0);
    Tensor index = Tensor.of(places, places.length).to(triangles.device());
    Tensor upper = Shaping.indexSelect(padded, 1, index).reshape(-1, b, b);
    return upper.sub(upper.transpose(1, 2));
  }

  /** {@code (I - Q)(I + Q)⁻¹}. */
  static Tensor cayley(Tensor q) {
    Tensor eye = eye(q);
    return eye.sub(q).matmul(Linalg.inverse(eye.add(q)));
  }

  /**
   * LyCORIS's {@code (I + Q)(I - Q)⁻¹} with Q = B - Bᵀ, the other way round than {@link #cayley}.
   *
   * @param raw B, [n, b, b]
   * @param bound the most that ‖Q‖ of all blocks of all factors may be; longer ones are shortened
   * @param norm that ‖Q‖, a scalar; null for no bound
   * @param strength at another than 1, {@code I + strength (R - I)} takes R's place
   */
  static Tensor lycoris(Tensor raw, double bound, @Nullable Tensor norm, double strength) {
    Tensor q = raw.sub(raw.transpose(-1, -2));
    if (norm != null) {
      q = q.mul(Num.clamp(norm, 0, bound).div(norm));
    }
    Tensor eye = eye(q);
    Tensor r = eye.add(q).matmul(Linalg.inverse(eye.sub(q)));
    return strength == 1 ? r : r.sub(eye).mul(strength).add(eye);
  }

  /** ‖B - Bᵀ‖ over everything, plus LyCORIS's 1e-8; null if there is no bound to hold it to. */
  static @Nullable Tensor norm(Tensor raw, double bound) {
    return bound > 0
        ? Num.sqrt(Num.sum(Num.square(raw.sub(raw.transpose(-1, -2))))).add(1e-8)
        : null;
  }

  /**
   * {@code I + 2Q + 2Q² + … + Qⁿ⁻¹}, the last term once: PEFT's series, which has four terms for n
   * = 3 as for n = 4, and {@code I + 2Q} for n = 2.
   */
  static Tensor neumann(Tensor q, int terms) {
    if (terms < 2) {
      return q.mul(0).add(eye(q));
    }
    Tensor r = eye(q).add(q.mul(2));
    if (terms == 2) {
      return r;
    }
    Tensor power = q.matmul(q);
    r = r.add(power.mul(2));
    for (int i = 3; i < terms - 1; i++) {
      power = power.matmul(q);
      r = r.add(power.mul(2));
    }
    return r.add(power.matmul(q));
  }

  static Tensor eye(Tensor like) {
    return Shaping.eye(like.dim(-1)).to(like.dtype()).to(like.device());
  }
}
