// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.List;
import java.util.function.DoubleUnaryOperator;

/** β schedules in the reference's 32-bit arithmetic, for small differences of 1 - ᾱ matter. */
final class Betas {
  private static final double MOST = 0.999;

  private Betas() {}

  /** ᾱ of a configuration that has betas. */
  static float[] alphasCumprod(SchedulerConfig c) {
    float[] betas = betas(c);
    if (c.flag("rescale_betas_zero_snr")) {
      betas = zeroTerminal(betas);
    }
    return cumprod(betas);
  }

  private static float[] betas(SchedulerConfig c) {
    int n = c.trainTimesteps();
    List<?> trained = c.list("trained_betas");
    if (trained != null) {
      float[] b = new float[n];
      for (int i = 0; i < n; i++) {
        b[i] = ((Number) trained.get(i)).floatValue();
      }
      return b;
    }
    double first = c.number("beta_start");
    double last = c.number("beta_end");
    return switch (c.text("beta_schedule")) {
      case "linear" -> linspace(first, last, n);
      case "scaled_linear" -> {
        float[] b = linspace(Math.sqrt(first), Math.sqrt(last), n);
        for (int i = 0; i < n; i++) {
          b[i] *= b[i];
        }
        yield b;
      }
      case "sigmoid" -> {
        float[] b = linspace(-6, 6, n);
        for (int i = 0; i < n; i++) {
          float s = (float) (1 / (1 + Math.exp(-b[i])));
          b[i] = s * (float) (last - first) + (float) first;
        }
        yield b;
      }
      case "exp" -> ofAlphaBar(n, t -> Math.exp(t * -12));
      case "laplace" -> ofAlphaBar(n, Betas::laplace);
      default -> ofAlphaBar(n, Betas::cosine);
    };
  }

  /** ᾱ of the squared-cosine schedule (Nichol and Dhariwal, 2021). */
  private static double cosine(double t) {
    double c = Math.cos((t + 0.008) / 1.008 * Math.PI / 2);
    return c * c;
  }

  /** √ of a signal share whose log-SNR has a Laplace distribution (Hang et al., 2024). */
  private static double laplace(double t) {
    double lambda = -0.5 * Math.copySign(1, 0.5 - t) * Math.log(1 - 2 * Math.abs(0.5 - t) + 1e-6);
    double snr = Math.exp(lambda);
    return Math.sqrt(snr / (1 + snr));
  }

  private static float[] ofAlphaBar(int n, DoubleUnaryOperator bar) {
    float[] b = new float[n];
    for (int i = 0; i < n; i++) {
      double here = bar.applyAsDouble((double) i / n);
      double next = bar.applyAsDouble((i + 1.0) / n);
      b[i] = (float) Math.min(1 - next / here, MOST);
    }
    return b;
  }

  /** PyTorch's linspace of 32-bit floats: each half is counted from its own end, fused. */
  static float[] linspace(double start, double end, int n) {
    float first = (float) start;
    float last = (float) end;
    float[] x = new float[n];
    if (n == 1) {
      x[0] = first;
      return x;
    }
    float step = (last - first) / (n - 1);
    for (int i = 0; i < n; i++) {
      x[i] = i < n / 2 ? Math.fma(step, i, first) : Math.fma(-step, n - i - 1, last);
    }
    return x;
  }

  /** Π (1 - β), added up in 64 bits and rounded at each entry. */
  private static float[] cumprod(float[] betas) {
    float[] products = new float[betas.length];
    double product = 1;
    for (int i = 0; i < betas.length; i++) {
      product *= 1 - betas[i];
      products[i] = (float) product;
    }
    return products;
  }

  /** Shifts and scales √ᾱ so that the last is 0 and the first stays (Lin et al., 2023). */
  private static float[] zeroTerminal(float[] betas) {
    float[] root = cumprod(betas);
    int n = root.length;
    for (int i = 0; i < n; i++) {
      root[i] = F32.sqrt(root[i]);
    }
    float first = root[0];
    float last = root[n - 1];
    float scale = first / (first - last);
    float[] rescaled = new float[n];
    float before = 1;
    for (int i = 0; i < n; i++) {
      float r = (root[i] - last) * scale;
      float bar = r * r;
      rescaled[i] = 1 - (i == 0 ? bar : bar / before);
      before = bar;
    }
    return rescaled;
  }
}
