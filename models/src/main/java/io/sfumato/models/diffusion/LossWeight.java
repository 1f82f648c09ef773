// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/**
 * How much an error counts, by the signal-to-noise ratio ᾱ/(1 - ᾱ) at which it was made. A weight
 * is that of the error of x₀; for another prediction it is converted, since the error of ε is √SNR
 * times that of x₀, that of v √(SNR + 1) times, and that of a flow 1/σ times.
 */
@FunctionalInterface
public interface LossWeight {
  /** The mean squared error of the prediction itself. */
  LossWeight NONE =
      snr -> {
        throw new IllegalStateException("the plain loss has no weight in SNR");
      };

  /** The weight of the squared error of x₀ at a signal-to-noise ratio above 0. */
  double ofX0(double snr);

  /**
   * min(SNR, γ): ε weighted by min(1, γ/SNR) (Hang et al., 2023).
   *
   * @param gamma γ, usually 5
   */
  static LossWeight minSnr(double gamma) {
    positive("gamma", gamma);
    return snr -> Math.min(snr, gamma);
  }

  /** γ SNR/(γ + SNR): min-SNR without its edge (Crowson et al., 2024). */
  static LossWeight softMinSnr(double gamma) {
    positive("gamma", gamma);
    return snr -> snr / (1 + snr / gamma);
  }

  /** ε weighted by γ³/(SNR² + γ³): the soft min-SNR of HCP-Diffusion. */
  static LossWeight softMinSnrCubed(double gamma) {
    positive("gamma", gamma);
    double cube = gamma * gamma * gamma;
    return snr -> snr * cube / (snr * snr + cube);
  }

  /**
   * ε weighted by 1/(k + SNR)^γ (P2, Choi et al., 2022).
   *
   * @param k usually 1
   * @param gamma usually 1 or 0.5
   */
  static LossWeight p2(double k, double gamma) {
    positive("k", k);
    return snr -> snr / Math.pow(k + snr, gamma);
  }

  /** SNR + 1: every error of v counts the same (Salimans and Ho, 2022). */
  static LossWeight snrPlusOne() {
    return snr -> snr + 1;
  }

  /** max(SNR, 1): the truncated SNR (Salimans and Ho, 2022). */
  static LossWeight truncatedSnr() {
    return snr -> Math.max(snr, 1);
  }

  /**
   * SNR + 1/σ_data²: the weight (σ² + σ_data²)/(σ σ_data)² of EDM (Karras et al., 2022).
   *
   * @param sigmaData the standard deviation of the data, usually 0.5
   */
  static LossWeight edm(double sigmaData) {
    positive("sigmaData", sigmaData);
    return snr -> snr + 1 / (sigmaData * sigmaData);
  }

  private static void positive(String name, double value) {
    if (!(value > 0)) {
      throw new IllegalArgumentException(name + " must be positive; got " + value);
    }
  }

  /** The weight of the squared error of what a network predicts. */
  static double ofOutput(LossWeight weight, double snr, Prediction prediction) {
    double r = Math.min(Math.max(snr, 1e-20), 1e20);
    double w = weight.ofX0(r);
    return switch (prediction) {
      case EPSILON -> w / r;
      case SAMPLE -> w;
      case V_PREDICTION -> w / (r + 1);
      case FLOW -> w / ((1 + Math.sqrt(r)) * (1 + Math.sqrt(r)));
    };
  }
}
