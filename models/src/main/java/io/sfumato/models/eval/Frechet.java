// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import io.sfumato.tensor.Tensor;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.CommonOps_DDRM;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;
import org.ejml.interfaces.decomposition.EigenDecomposition_F64;
import org.ejml.interfaces.decomposition.SingularValueDecomposition_F64;

/**
 * The Fréchet distance between two normal distributions (Dowson and Landau, 1982), with the mean
 * and covariance of two sets of features: the FID of Heusel et al., 2017, if the features are those
 * of its Inception network.
 *
 * <pre>d² = |m₁ - m₂|² + tr(C₁) + tr(C₂) - 2 tr((C₁ C₂)^½)</pre>
 *
 * <p>C = L Lᵀ with L = V Λ^½ from the symmetric eigendecomposition, and tr((C₁ C₂)^½) is the sum of
 * the singular values of L₁ᵀ L₂. So no square root is taken of a product that is neither symmetric
 * nor, for fewer vectors than features, of full rank; eigenvalues within rounding of zero, D · 2⁻⁵²
 * of the largest, count as zero.
 */
public final class Frechet {
  private Frechet() {}

  /**
   * The distance d² between two sets of vectors.
   *
   * @param a [N, D]
   * @param b [M, D]
   */
  public static double distance(Tensor a, Tensor b) {
    return distance(FeatureStatistics.of(a), FeatureStatistics.of(b));
  }

  /**
   * The distance d², 0 for equal statistics up to rounding.
   *
   * @throws IllegalArgumentException if the features differ in number
   */
  public static double distance(FeatureStatistics a, FeatureStatistics b) {
    int d = a.width();
    if (d != b.width()) {
      throw new IllegalArgumentException(
          "sets of features must be of one width; got " + d + " and " + b.width());
    }
    double distance = 0;
    for (int i = 0; i < d; i++) {
      double difference = a.mean(i) - b.mean(i);
      distance += difference * difference;
      distance += a.covariance(i, i) + b.covariance(i, i);
    }
    DMatrixRMaj product = new DMatrixRMaj(d, d);
    CommonOps_DDRM.multTransA(factor(a), factor(b), product);
    SingularValueDecomposition_F64<DMatrixRMaj> svd =
        DecompositionFactory_DDRM.svd(d, d, false, false, true);
    if (!svd.decompose(product)) {
      throw new IllegalStateException("the singular value decomposition did not converge");
    }
    double trace = 0;
    for (double s : svd.getSingularValues()) {
      trace += s;
    }
    return Math.max(0, distance - 2 * trace);
  }

  /** L with L Lᵀ = C. */
  private static DMatrixRMaj factor(FeatureStatistics statistics) {
    int d = statistics.width();
    DMatrixRMaj c = new DMatrixRMaj(d, d);
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < d; j++) {
        c.set(i, j, statistics.covariance(i, j));
      }
    }
    EigenDecomposition_F64<DMatrixRMaj> eigen = DecompositionFactory_DDRM.eig(d, true, true);
    if (!eigen.decompose(c)) {
      throw new IllegalStateException("the eigendecomposition of a covariance did not converge");
    }
    double largest = 0;
    for (int k = 0; k < d; k++) {
      largest = Math.max(largest, eigen.getEigenvalue(k).getReal());
    }
    double rounding = d * Math.ulp(1.0) * largest;
    DMatrixRMaj l = new DMatrixRMaj(d, d);
    for (int k = 0; k < d; k++) {
      double value = eigen.getEigenvalue(k).getReal();
      double root = value > rounding ? Math.sqrt(value) : 0;
      DMatrixRMaj v = eigen.getEigenVector(k);
      for (int i = 0; i < d; i++) {
        l.set(i, k, root * v.get(i));
      }
    }
    return l;
  }
}
