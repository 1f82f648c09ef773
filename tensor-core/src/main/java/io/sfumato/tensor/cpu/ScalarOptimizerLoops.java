// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link OptimizerLoops} in plain Java. */
final class ScalarOptimizerLoops implements OptimizerLoops {
  @Override
  public void adam(long p, long g, long m, long v, int n, AdamStep s) {
    double l2 = s.l2();
    double keep = s.keep();
    double rate = s.rate();
    double root = s.root();
    for (int i = 0; i < n; i++) {
      long at = i * 4L;
      double parameter = getFloat(p + at);
      double gradient = getFloat(g + at) * s.gradientScale() + l2 * parameter;
      double first = s.beta1() * getFloat(m + at) + (1 - s.beta1()) * gradient;
      double second = s.beta2() * getFloat(v + at) + (1 - s.beta2()) * gradient * gradient;
      putFloat(m + at, (float) first);
      putFloat(v + at, (float) second);
      double update = rate * first / (Math.sqrt(second) * root + s.epsilon());
      putFloat(p + at, (float) (parameter * keep - update));
    }
  }

  @Override
  public void adamAverage(
      long p, long g, long m, long v, long average, int n, AdamStep step, float rate) {
    adam(p, g, m, v, n, step);
    average(average, p, n, rate);
  }

  @Override
  public void sgd(long p, long g, int n, SgdStep s) {
    for (int i = 0; i < n; i++) {
      double parameter = getFloat(p + i * 4L);
      double gradient = getFloat(g + i * 4L) * s.gradientScale() + s.weightDecay() * parameter;
      putFloat(p + i * 4L, (float) (parameter - s.learningRate() * gradient));
    }
  }

  @Override
  public void sgdMomentum(long p, long g, long v, int n, SgdStep s) {
    for (int i = 0; i < n; i++) {
      long at = i * 4L;
      double parameter = getFloat(p + at);
      double gradient = getFloat(g + at) * s.gradientScale() + s.weightDecay() * parameter;
      double velocity = s.momentum() * getFloat(v + at) + (1 - s.dampening()) * gradient;
      putFloat(v + at, (float) velocity);
      double update = s.nesterov() ? gradient + s.momentum() * velocity : velocity;
      putFloat(p + at, (float) (parameter - s.learningRate() * update));
    }
  }

  @Override
  public void ema(long average, long p, int n, float decay) {
    average(average, p, n, 1 - decay);
  }

  private static void average(long average, long p, int n, float rate) {
    for (int i = 0; i < n; i++) {
      float a = getFloat(average + i * 4L);
      putFloat(average + i * 4L, Math.fma(rate, getFloat(p + i * 4L) - a, a));
    }
  }
}
