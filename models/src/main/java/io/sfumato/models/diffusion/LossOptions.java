// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Shape;

/**
 * How a denoiser is trained.
 *
 * @param weight the weight of a sample's error
 * @param offsetNoise the standard deviation of a constant that is added to each channel's noise, so
 *     that the model learns very bright and very dark samples; 0 for none, usually 0.1
 * @param inputPerturbation the standard deviation of noise that the input gets and the target does
 *     not (Ning et al., 2023); 0 for none, usually 0.1
 * @param path the way from data to noise, for flows
 */
public record LossOptions(
    LossWeight weight, double offsetNoise, double inputPerturbation, FlowPath path) {
  /** The mean squared error of the prediction. */
  public static final LossOptions PLAIN = new LossOptions(LossWeight.NONE, 0, 0, FlowPath.LINEAR);

  /** Checks the values together. */
  public LossOptions {
    if (!(offsetNoise >= 0 && inputPerturbation >= 0)) {
      throw new IllegalArgumentException(
          "offset noise and input perturbation must not be negative; got "
              + offsetNoise
              + " and "
              + inputPerturbation);
    }
  }

  /** These options with another weight. */
  public LossOptions weighted(LossWeight other) {
    return new LossOptions(other, offsetNoise, inputPerturbation, path);
  }

  /** These options with offset noise. */
  public LossOptions offsetNoise(double value) {
    return new LossOptions(weight, value, inputPerturbation, path);
  }

  /** These options with input perturbation. */
  public LossOptions inputPerturbation(double value) {
    return new LossOptions(weight, offsetNoise, value, path);
  }

  /** These options on another path. */
  public LossOptions path(FlowPath other) {
    return new LossOptions(weight, offsetNoise, inputPerturbation, other);
  }

  /** [B, C, 1, 1, …]. */
  Shape offsetShape(Shape of) {
    int[] dims = of.dims();
    for (int i = 2; i < dims.length; i++) {
      dims[i] = 1;
    }
    return Shape.of(dims);
  }
}
