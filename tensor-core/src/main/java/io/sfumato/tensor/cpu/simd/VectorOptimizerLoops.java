// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.copyRest;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.OptimizerLoops;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** {@link OptimizerLoops} over the Vector API. */
final class VectorOptimizerLoops implements OptimizerLoops {
  private static final long SLOT = 64;

  private final @Nullable AssembledPasses assembled;

  /**
   * @param assembled loops by machine code, or null
   */
  VectorOptimizerLoops(@Nullable AssembledPasses assembled) {
    this.assembled = assembled;
  }

  @Override
  public void adam(long p, long g, long m, long v, int n, AdamStep step) {
    if (assembled != null) {
      assembled.adam(p, g, m, v, n, step);
      return;
    }
    int whole = whole(n);
    adamVectors(p, g, m, v, whole, step);
    int rest = n - whole;
    if (rest > 0) {
      long pad = Lanes.pads();
      long at = whole * 4L;
      copyRest(p + at, pad, rest);
      copyRest(g + at, pad + SLOT, rest);
      copyRest(m + at, pad + 2 * SLOT, rest);
      copyRest(v + at, pad + 3 * SLOT, rest);
      adamVectors(pad, pad + SLOT, pad + 2 * SLOT, pad + 3 * SLOT, N, step);
      copyRest(pad, p + at, rest);
      copyRest(pad + 2 * SLOT, m + at, rest);
      copyRest(pad + 3 * SLOT, v + at, rest);
    }
  }

  private static void adamVectors(long p, long g, long m, long v, int n, AdamStep s) {
    FloatVector beta1 = all((float) s.beta1());
    FloatVector rest1 = all((float) (1 - s.beta1()));
    FloatVector beta2 = all((float) s.beta2());
    FloatVector rest2 = all((float) (1 - s.beta2()));
    FloatVector l2 = all((float) s.l2());
    FloatVector gradientScale = all((float) s.gradientScale());
    FloatVector epsilon = all((float) s.epsilon());
    FloatVector root = all((float) s.root());
    float keep = (float) s.keep();
    float rate = (float) s.rate();
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector parameter = load(p, at);
      FloatVector gradient = load(g, at).mul(gradientScale);
      gradient = parameter.fma(l2, gradient);
      FloatVector first = load(m, at).fma(beta1, gradient.mul(rest1));
      FloatVector second = load(v, at).fma(beta2, gradient.mul(gradient).mul(rest2));
      store(first, m, at);
      store(second, v, at);
      FloatVector update = first.mul(rate).div(second.sqrt().fma(root, epsilon));
      store(parameter.mul(keep).sub(update), p, at);
    }
  }

  @Override
  public void adamAverage(
      long p, long g, long m, long v, long average, int n, AdamStep step, float rate) {
    if (assembled != null) {
      assembled.adamAverage(p, g, m, v, average, n, step, rate);
      return;
    }
    int whole = whole(n);
    adamAverageVectors(p, g, m, v, average, whole, step, rate);
    int rest = n - whole;
    if (rest > 0) {
      long at = whole * 4L;
      adam(p + at, g + at, m + at, v + at, rest, step);
      averageRest(average + at, p + at, rest, rate);
    }
  }

  // Once more, rather than a branch in the loop that most steps take.
  private static void adamAverageVectors(
      long p, long g, long m, long v, long average, int n, AdamStep s, float averageRate) {
    FloatVector beta1 = all((float) s.beta1());
    FloatVector rest1 = all((float) (1 - s.beta1()));
    FloatVector beta2 = all((float) s.beta2());
    FloatVector rest2 = all((float) (1 - s.beta2()));
    FloatVector l2 = all((float) s.l2());
    FloatVector gradientScale = all((float) s.gradientScale());
    FloatVector epsilon = all((float) s.epsilon());
    FloatVector root = all((float) s.root());
    float keep = (float) s.keep();
    float rate = (float) s.rate();
    FloatVector averageStep = all(averageRate);
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector parameter = load(p, at);
      FloatVector gradient = load(g, at).mul(gradientScale);
      gradient = parameter.fma(l2, gradient);
      FloatVector first = load(m, at).fma(beta1, gradient.mul(rest1));
      FloatVector second = load(v, at).fma(beta2, gradient.mul(gradient).mul(rest2));
      store(first, m, at);
      store(second, v, at);
      FloatVector update = first.mul(rate).div(second.sqrt().fma(root, epsilon));
      parameter = parameter.mul(keep).sub(update);
      store(parameter, p, at);
      FloatVector a = load(average, at);
      store(parameter.sub(a).fma(averageStep, a), average, at);
    }
  }

  @Override
  public void sgd(long p, long g, int n, SgdStep s) {
    int whole = whole(n);
    FloatVector keep = all((float) (1 - s.learningRate() * s.weightDecay()));
    float rate = (float) (s.learningRate() * s.gradientScale());
    for (int i = 0; i < whole; i += N) {
      store(load(p, i * 4L).mul(keep).sub(load(g, i * 4L).mul(rate)), p, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(p, at, m).mul(keep).sub(load(g, at, m).mul(rate)), p, at, m);
    }
  }

  @Override
  public void sgdMomentum(long p, long g, long v, int n, SgdStep step) {
    int whole = whole(n);
    momentumVectors(p, g, v, whole, step);
    int rest = n - whole;
    if (rest > 0) {
      long pad = Lanes.pads();
      long at = whole * 4L;
      copyRest(p + at, pad, rest);
      copyRest(g + at, pad + SLOT, rest);
      copyRest(v + at, pad + 2 * SLOT, rest);
      momentumVectors(pad, pad + SLOT, pad + 2 * SLOT, N, step);
      copyRest(pad, p + at, rest);
      copyRest(pad + 2 * SLOT, v + at, rest);
    }
  }

  private static void momentumVectors(long p, long g, long v, int n, SgdStep s) {
    FloatVector momentum = all((float) s.momentum());
    FloatVector enter = all((float) (1 - s.dampening()));
    FloatVector decay = all((float) s.weightDecay());
    FloatVector gradientScale = all((float) s.gradientScale());
    FloatVector fromGradient = all(s.nesterov() ? 1f : 0f);
    FloatVector fromVelocity = all(s.nesterov() ? (float) s.momentum() : 1f);
    float rate = (float) s.learningRate();
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector parameter = load(p, at);
      FloatVector gradient = parameter.fma(decay, load(g, at).mul(gradientScale));
      FloatVector velocity = load(v, at).fma(momentum, gradient.mul(enter));
      store(velocity, v, at);
      FloatVector update = gradient.fma(fromGradient, velocity.mul(fromVelocity));
      store(parameter.sub(update.mul(rate)), p, at);
    }
  }

  @Override
  public void ema(long average, long p, int n, float decay) {
    int whole = whole(n);
    float rate = 1 - decay;
    FloatVector step = all(rate);
    for (int i = 0; i < whole; i += N) {
      FloatVector a = load(average, i * 4L);
      store(load(p, i * 4L).sub(a).fma(step, a), average, i * 4L);
    }
    if (whole < n) {
      averageRest(average + whole * 4L, p + whole * 4L, n - whole, rate);
    }
  }

  private static void averageRest(long average, long p, int rest, float rate) {
    VectorMask<Float> m = first(rest);
    FloatVector a = load(average, m);
    store(load(p, m).sub(a).fma(all(rate), a), average, m);
  }
}
