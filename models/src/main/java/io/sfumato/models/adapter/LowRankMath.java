// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.tensor.Tensor;
import java.util.stream.IntStream;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.CommonOps_DDRM;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;
import org.ejml.interfaces.decomposition.QRDecomposition;
import org.ejml.interfaces.decomposition.SingularValueDecomposition_F64;

/** Best approximations of low rank, by singular value decomposition in f64. */
final class LowRankMath {
  private LowRankMath() {}

  /**
   * Factors with {@code B A ≈ M}, the singular values shared evenly between them.
   *
   * @param b [out, r]
   * @param a [r, in]
   * @param kept the part of ‖M‖² that is kept, 0 to 1
   */
  record Factors(Tensor b, Tensor a, double kept) {}

  /** The rank for given singular values, which descend. */
  @FunctionalInterface
  interface Choice {
    int rank(double[] singularValues);
  }

  /** The best factors of a matrix [out, in] at the rank that is chosen. */
  static Factors factorize(Tensor matrix, Choice choice) {
    int out = matrix.dim(0);
    int in = matrix.dim(1);
    DMatrixRMaj m = DMatrixRMaj.wrap(out, in, matrix.toDoubleArray());
    return factors(truncate(m, choice));
  }

  /** The best factors of a product B A, without forming it. */
  static Factors factorize(Tensor b, Tensor a, Choice choice) {
    int rank = a.dim(0);
    DMatrixRMaj left = DMatrixRMaj.wrap(b.dim(0), rank, b.toDoubleArray());
    DMatrixRMaj right = DMatrixRMaj.wrap(rank, a.dim(1), a.toDoubleArray());
    DMatrixRMaj rightT = CommonOps_DDRM.transpose(right, null);
    if (rank > left.numRows || rank > rightT.numRows) {
      DMatrixRMaj product = new DMatrixRMaj(left.numRows, right.numCols);
      CommonOps_DDRM.mult(left, right, product);
      return factors(truncate(product, choice));
    }
    QRDecomposition<DMatrixRMaj> qrLeft = qr(left);
    QRDecomposition<DMatrixRMaj> qrRight = qr(rightT);
    DMatrixRMaj core = new DMatrixRMaj(rank, rank); // R_B R_Aᵀ
    CommonOps_DDRM.multTransB(qrLeft.getR(null, true), qrRight.getR(null, true), core);
    Truncated small = truncate(core, choice);
    int r = small.a.numRows;
    DMatrixRMaj wholeB = new DMatrixRMaj(left.numRows, r);
    CommonOps_DDRM.mult(qrLeft.getQ(null, true), small.b, wholeB);
    DMatrixRMaj wholeA = new DMatrixRMaj(r, right.numCols);
    CommonOps_DDRM.multTransB(small.a, qrRight.getQ(null, true), wholeA);
    return factors(new Truncated(wholeB, wholeA, small.kept));
  }

  private static QRDecomposition<DMatrixRMaj> qr(DMatrixRMaj m) {
    QRDecomposition<DMatrixRMaj> qr = DecompositionFactory_DDRM.qr(m.numRows, m.numCols);
    if (!qr.decompose(m.copy())) {
      throw new IllegalArgumentException("a factor cannot be decomposed: is it finite?");
    }
    return qr;
  }

  /** As {@link Factors}, as EJML has them. */
  private record Truncated(DMatrixRMaj b, DMatrixRMaj a, double kept) {}

  private static Factors factors(Truncated t) {
    return new Factors(tensor(t.b), tensor(t.a), t.kept);
  }

  private static Truncated truncate(DMatrixRMaj m, Choice choice) {
    SingularValueDecomposition_F64<DMatrixRMaj> svd =
        DecompositionFactory_DDRM.svd(m.numRows, m.numCols, true, true, true);
    if (!svd.decompose(m.copy())) {
      throw new IllegalArgumentException("a change cannot be decomposed: is it finite?");
    }
    DMatrixRMaj u = svd.getU(null, false);
    DMatrixRMaj vt = svd.getV(null, true);
    double[] s = svd.getSingularValues();
    int[] order =
        IntStream.range(0, svd.numberOfSingularValues())
            .boxed()
            .sorted((i, j) -> Double.compare(s[j], s[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    double all = 0;
    for (double value : s) {
      all += value * value;
    }
    int r = choice.rank(IntStream.of(order).mapToDouble(i -> s[i]).toArray());
    double kept = 0;
    int have = Math.min(r, order.length);
    DMatrixRMaj b = new DMatrixRMaj(u.numRows, r);
    DMatrixRMaj a = new DMatrixRMaj(r, vt.numCols);
    for (int k = 0; k < have; k++) {
      double value = s[order[k]];
      kept += value * value;
      double root = Math.sqrt(value);
      for (int i = 0; i < u.numRows; i++) {
        b.set(i, k, u.get(i, order[k]) * root);
      }
      for (int j = 0; j < vt.numCols; j++) {
        a.set(k, j, vt.get(order[k], j) * root);
      }
    }
    return new Truncated(b, a, all == 0 ? 1 : kept / all);
  }

  private static Tensor tensor(DMatrixRMaj m) {
    return Tensor.of(m.getData().clone(), m.numRows, m.numCols);
  }
}
