// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/** The weights ρ of UniPC's differences: R ρ = b with R_jk = r_k^{j-1} (Zhao et al., 2023). */
final class UniPcWeights {
  private UniPcWeights() {}

  /**
   * The weights of the first {@code used} differences.
   *
   * @param r where the differences reach to, in steps
   * @param used how many: one less than r has for a predictor, all for a corrector
   * @param hh the step h, or -h for a solver in x₀
   * @param scale B(h)
   */
  static float[] of(float[] r, int used, float hh, float scale) {
    boolean predictor = used < r.length;
    if (used == 0) {
      return new float[0];
    }
    if (used == 1) {
      return new float[] {0.5f}; // order 2 of the predictor, order 1 of the corrector
    }
    double[][] rows = new double[used][used + 1];
    float phi = F32.expm1(hh) / hh - 1;
    float factorial = 1;
    for (int j = 0; j < used; j++) {
      for (int k = 0; k < used; k++) {
        rows[j][k] = (float) Math.pow(r[k], j);
      }
      rows[j][used] = phi * factorial / scale;
      factorial *= j + 2;
      phi = phi / hh - 1 / factorial;
    }
    float[] rho = solve(rows);
    for (float v : rho) {
      if (!Float.isFinite(v)) {
        throw new IllegalStateException(
            "a UniPC "
                + (predictor ? "predictor" : "corrector")
                + " has no finite weights, since two noise levels are equal: take fewer steps, or"
                + " another spacing");
      }
    }
    return rho;
  }

  /** Gaussian elimination with the largest pivot of each column. */
  private static float[] solve(double[][] rows) {
    int n = rows.length;
    for (int c = 0; c < n; c++) {
      int pivot = c;
      for (int j = c + 1; j < n; j++) {
        if (Math.abs(rows[j][c]) > Math.abs(rows[pivot][c])) {
          pivot = j;
        }
      }
      double[] swap = rows[c];
      rows[c] = rows[pivot];
      rows[pivot] = swap;
      for (int j = 0; j < n; j++) {
        if (j != c) {
          double factor = rows[j][c] / rows[c][c];
          for (int k = c; k <= n; k++) {
            rows[j][k] -= factor * rows[c][k];
          }
        }
      }
    }
    float[] x = new float[n];
    for (int j = 0; j < n; j++) {
      x[j] = (float) (rows[j][n] / rows[j][j]);
    }
    return x;
  }
}
