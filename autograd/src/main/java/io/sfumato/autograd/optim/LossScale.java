// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

/**
 * The factor by which a loss is multiplied before backward, so that small gradients do not vanish
 * in F16. It adapts itself by the rules of PyTorch's {@code torch.amp.GradScaler}: after a step
 * with a gradient that is not finite it is multiplied by {@code backoff}, and the step is left out;
 * after {@code interval} steps in a row without one it is multiplied by {@code growth}, unless that
 * would leave the range of F32.
 */
public final class LossScale {
  private double scale;
  private long good;
  private final Options options;

  /**
   * Options of {@link LossScale}.
   *
   * @param initial the first factor, positive
   * @param growth at least 1
   * @param backoff in (0, 1]
   * @param interval steps without overflow until the factor grows, positive
   */
  public record Options(double initial, double growth, double backoff, long interval) {
    /** PyTorch's: 65536, 2, 0.5, 2000. */
    public static final Options DEFAULT = new Options(65536, 2, 0.5, 2000);

    /** Checks the numbers together; the message lists everything wrong. */
    public Options {
      StringBuilder wrong = new StringBuilder();
      if (!(initial > 0 && Double.isFinite(initial))) {
        wrong.append("; initial must be positive, got ").append(initial);
      }
      if (!(growth >= 1 && Double.isFinite(growth))) {
        wrong.append("; growth must be 1 at least, got ").append(growth);
      }
      if (!(backoff > 0 && backoff <= 1)) {
        wrong.append("; backoff must be in (0, 1], got ").append(backoff);
      }
      if (interval < 1) {
        wrong.append("; interval must be positive, got ").append(interval);
      }
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException("loss scale" + wrong.replace(0, 1, ":"));
      }
    }
  }

  /** A factor at the start of training. */
  public LossScale(Options options) {
    this.options = options;
    this.scale = options.initial;
  }

  /** What the loss is multiplied by. */
  public double scale() {
    return scale;
  }

  /** Steps without overflow since the factor changed last. */
  public long goodSteps() {
    return good;
  }

  /**
   * Adapts the factor after a step.
   *
   * @param overflow whether a gradient was not finite
   */
  public void update(boolean overflow) {
    if (overflow) {
      scale = (float) (scale * options.backoff);
      good = 0;
      return;
    }
    good++;
    if (good == options.interval) {
      float grown = (float) (scale * options.growth);
      if (Float.isFinite(grown)) {
        scale = grown;
      }
      good = 0;
    }
  }

  /** Goes on from a saved state. */
  public void restore(double savedScale, long savedGoodSteps) {
    if (!(savedScale > 0) || savedGoodSteps < 0) {
      throw new IllegalArgumentException(
          "a loss scale of " + savedScale + " after " + savedGoodSteps + " steps cannot be");
    }
    scale = savedScale;
    good = savedGoodSteps;
  }
}
