// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;

/**
 * The times and noise levels of a sampler's run. At call i of the network the sample is aᵢ x₀ + sᵢ
 * ε.
 */
public final class Plan {
  private final double[] times;
  private final float[] sigmas;
  private final float[] signal;
  private final float[] noise;
  private final int begin;
  private final double initialSigma;
  private final int count;

  private Plan(
      double[] times,
      float[] sigmas,
      float[] signal,
      float[] noise,
      int begin,
      double initialSigma,
      int count) {
    this.times = times;
    this.sigmas = sigmas;
    this.signal = signal;
    this.noise = noise;
    this.begin = begin;
    this.initialSigma = initialSigma;
    this.count = count;
  }

  /** A plan in timesteps of the noise schedule. */
  static Plan ofTimes(int[] t, NoiseSchedule schedule, Steps steps) {
    double[] times = new double[t.length];
    float[] signal = new float[t.length];
    float[] noise = new float[t.length];
    for (int i = 0; i < t.length; i++) {
      times[i] = t[i];
      float bar = schedule.bar(Math.max(t[i], 0));
      signal[i] = F32.sqrt(bar);
      noise[i] = F32.sqrt(1 - bar);
    }
    return new Plan(times, new float[0], signal, noise, steps.first(), 1, steps.count());
  }

  /** A plan in which σ is the noise level beside x₀ itself: x = x₀ + σ ε. */
  static Plan exploding(
      double[] times, float[] sigmas, double initialSigma, int begin, Steps steps) {
    float[] ones = new float[sigmas.length];
    java.util.Arrays.fill(ones, 1);
    return new Plan(times, sigmas, ones, sigmas, begin, initialSigma, steps.count());
  }

  /** A plan in which α and σ belong to noise levels as a solver reads them. */
  static Plan preserving(double[] times, float[] sigmas, Levels levels, int begin, Steps steps) {
    float[] signal = new float[sigmas.length];
    float[] noise = new float[sigmas.length];
    for (int i = 0; i < sigmas.length; i++) {
      signal[i] = levels.alpha(sigmas[i]);
      noise[i] = levels.sigma(sigmas[i]);
    }
    return new Plan(times, sigmas, signal, noise, begin, 1, steps.count());
  }

  /** The number of calls of the network on the whole way, those before {@link #begin} included. */
  public int calls() {
    return times.length;
  }

  /** The first call that is made: 0, unless the way is shortened. */
  public int begin() {
    return begin;
  }

  /** The network's time at call i. */
  public double time(int i) {
    return times[i];
  }

  /** The network's times, one per call. */
  public double[] times() {
    return times.clone();
  }

  /** The noise level at call i, or after the last one. */
  float sigma(int i) {
    return sigmas[i];
  }

  /** The noise levels, the final one included; empty for a sampler that counts in timesteps. */
  public double[] sigmas() {
    double[] copy = new double[sigmas.length];
    for (int i = 0; i < copy.length; i++) {
      copy[i] = sigmas[i];
    }
    return copy;
  }

  int sigmaCount() {
    return sigmas.length;
  }

  /** The number of steps that was asked for. */
  int count() {
    return count;
  }

  /** The standard deviation that pure noise has at the start. */
  public double initialSigma() {
    return initialSigma;
  }

  /** The starting point of pure noise. */
  public Tensor start(Tensor standardNormal) {
    if (begin != 0) {
      throw new IllegalArgumentException(
          "a shortened way starts from an image: start(image, noise)");
    }
    return initialSigma == 1 ? standardNormal : standardNormal.mul(initialSigma);
  }

  /** The starting point of an image: noised to the level of the first call that is made. */
  public Tensor start(Tensor image, Tensor standardNormal) {
    return noised(image, standardNormal, begin);
  }

  /** An image noised to the level of call {@code i}. */
  public Tensor noised(Tensor image, Tensor standardNormal, int i) {
    return image.mul(signal[i]).add(standardNormal.mul(noise[i]));
  }
}
