// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Linalg;
import io.sfumato.tensor.ops.Shaping;

/** Rotations from skew matrices, in batches [n, b, b]. */
final class Rotations {
  private Rotations() {}

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

  /** {@code I + 2Q + 2Q² + … + Qⁿ⁻¹}: the last term once, the others twice. */
  static Tensor neumann(Tensor q, int terms) {
    Tensor r = eye(q).add(q.mul(terms > 2 ? 2 : 1)); // as PEFT; one term is the identity
    if (terms < 2) {
      return r.sub(q);
    }
    Tensor power = q;
    for (int i = 2; i < terms; i++) {
      power = power.matmul(q);
      r = r.add(i < terms - 1 ? power.mul(2) : power);
    }
    return r;
  }

  static Tensor eye(Tensor like) {
    return Shaping.eye(like.dim(-1)).to(like.dtype()).to(like.device());
  }
}
