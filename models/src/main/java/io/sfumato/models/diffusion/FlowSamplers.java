// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Samplers of flows on any {@link FlowPath}: the ordinary differential equation dx = v ds from s =
 * 1 to 0, and the stochastic one of the same marginals (Ma et al., 2024, SiT, section 2; its
 * transport/integrators.py). {@link FlowEuler} is the scheduler of diffusers, for the linear path.
 *
 * <p>Networks see t = 1000 s, as {@link Denoiser} trains them. One of SiT's own checkpoints, which
 * sees 1 - s and predicts the opposite, is {@code (x, t, y) -> sit.call(x, 1 - t / 1000, y).neg()}.
 */
public final class FlowSamplers {
  private static final double TIMES = 1000;

  /** Where a process whose diffusion is infinite at s = 1 begins. */
  private static final double MARGIN = 1e-3;

  private FlowSamplers() {}

  /** How a step is taken. */
  public enum Solver {
    /** One call of the network per step; errors fall with the step. */
    EULER(1),
    /** Two calls per step, the mean of both slopes; errors fall with its square. */
    HEUN(2);

    private final int calls;

    Solver(int calls) {
      this.calls = calls;
    }

    /** Calls of the network per step. */
    public int calls() {
      return calls;
    }
  }

  /** How much noise the stochastic process adds along its way: w(s), under SiT's names. */
  public enum Diffusion {
    /** 1. */
    CONSTANT,
    /** That of the score-based process of the path; infinite at s = 1. */
    SBDM,
    /** σ(s). */
    SIGMA,
    /** s. */
    LINEAR,
    /** (1 - cos(π s))² / 4, with the norm before the cosine. */
    DECREASING,
    /** sin²(π s). */
    INCREASING_DECREASING;

    /** w(s). */
    double at(FlowPath path, double s, double norm) {
      double cos = norm * Math.cos(Math.PI * (1 - s)) + 1;
      double sin = Math.sin(Math.PI * s);
      return switch (this) {
        case CONSTANT -> norm;
        case SBDM -> norm * path.scoreBased(s);
        case SIGMA -> norm * path.sigma(s);
        case LINEAR -> norm * s;
        case DECREASING -> 0.25 * cos * cos;
        case INCREASING_DECREASING -> norm * sin * sin;
      };
    }
  }

  /** The last step of the stochastic process, which adds no noise. */
  public enum LastStep {
    /** The drift alone, with its score. */
    MEAN,
    /** The expected clean sample. */
    TWEEDIE,
    /** The velocity alone. */
    EULER
  }

  /**
   * How {@link #sde} goes.
   *
   * @param path the flow's path
   * @param solver how a step is taken
   * @param diffusion w(s)
   * @param norm its factor
   * @param last how it ends
   * @param lastSize the length of the last step; the others share the rest
   */
  public record SdeOptions(
      FlowPath path,
      Solver solver,
      Diffusion diffusion,
      double norm,
      LastStep last,
      double lastSize) {
    /** Checks the values. */
    public SdeOptions {
      if (!(norm >= 0) || Double.isInfinite(norm) || !(lastSize > 0 && lastSize < 1)) {
        throw new IllegalArgumentException(
            "a stochastic flow needs a norm of 0 or more and a last step in (0, 1); got "
                + norm
                + " and "
                + lastSize);
      }
    }

    /** SiT's: Euler steps, diffusion σ, a last step of 0.04 by the mean. */
    public static SdeOptions of(FlowPath path) {
      return new SdeOptions(path, Solver.EULER, Diffusion.SIGMA, 1, LastStep.MEAN, 0.04);
    }

    /** Another solver. */
    public SdeOptions solver(Solver other) {
      return new SdeOptions(path, other, diffusion, norm, last, lastSize);
    }

    /** Another diffusion. */
    public SdeOptions diffusion(Diffusion other, double factor) {
      return new SdeOptions(path, solver, other, factor, last, lastSize);
    }

    /** Another end. */
    public SdeOptions last(LastStep other, double size) {
      return new SdeOptions(path, solver, diffusion, norm, other, size);
    }
  }

  /**
   * Follows the flow in {@code steps} equal steps.
   *
   * @param network predicts the velocity
   * @param noise the starting point, standard normal [B, C, ...]
   * @param condition labels or another conditioning; null if there is none
   * @param steps the number of steps; each calls the network as often as the solver says
   * @param solver how a step is taken
   * @param path the flow's path, for the estimates that the listener may ask for
   * @param listener told after each step; may stop the run
   * @return the samples, or where the listener stopped, in the current scope
   */
  public static Tensor ode(
      Network network,
      Tensor noise,
      @Nullable Tensor condition,
      int steps,
      Solver solver,
      FlowPath path,
      Listener listener) {
    requireSteps(steps, 1);
    double h = 1.0 / steps;
    Step step =
        (x, i) -> {
          double s = 1 - i * h;
          Tensor slope = velocity(network, x, s, condition);
          Tensor next = x.sub(slope.mul(h));
          if (solver == Solver.HEUN) {
            Tensor other = velocity(network, next, s - h, condition);
            next = x.sub(slope.add(other).mul(h / 2));
          }
          return new Stepped(next, x, slope, s);
        };
    return loop(noise, steps, step, path, listener);
  }

  /**
   * Follows the stochastic process with the flow's marginals, dx = (v - w score) ds + √(2 w) dW
   * backwards: {@code steps} - 1 equal steps with noise, and a last one without.
   *
   * @param network predicts the velocity
   * @param noise the starting point, standard normal [B, C, ...]
   * @param condition labels or another conditioning; null if there is none
   * @param steps the number of steps, 2 or more; SiT takes 250
   * @param options how it goes
   * @param source draws what noise the steps add
   * @param listener told after each step; may stop the run
   * @return the samples, or where the listener stopped, in the current scope
   */
  public static Tensor sde(
      Network network,
      Tensor noise,
      @Nullable Tensor condition,
      int steps,
      SdeOptions options,
      NoiseSource source,
      Listener listener) {
    requireSteps(steps, 2);
    FlowPath path = options.path;
    double first = options.diffusion == Diffusion.SBDM ? 1 - MARGIN : 1;
    double h = (first - options.lastSize) / (steps - 1);
    Step step =
        (x, i) -> {
          if (i == steps - 1) {
            double s = options.lastSize;
            Tensor v = velocity(network, x, s, condition);
            return new Stepped(last(options, x, v, s), x, v, s);
          }
          double s = first - i * h;
          double w = options.diffusion.at(path, s, options.norm);
          Tensor draw = source.next(x.spec()).mul(Math.sqrt(2 * w * h));
          if (options.solver == Solver.EULER) {
            Tensor v = velocity(network, x, s, condition);
            Tensor next = x.add(drift(path, x, v, s, w).mul(h)).add(draw);
            return new Stepped(next, x, v, s);
          }
          Tensor start = x.add(draw);
          Tensor v = velocity(network, start, s, condition);
          Tensor slope = drift(path, start, v, s, w);
          Tensor guess = start.add(slope.mul(h));
          double end = s - h;
          Tensor v2 = velocity(network, guess, end, condition);
          double w2 = options.diffusion.at(path, end, options.norm);
          Tensor other = drift(path, guess, v2, end, w2);
          return new Stepped(start.add(slope.add(other).mul(h / 2)), start, v, s);
        };
    return loop(noise, steps, step, path, listener);
  }

  /** -v + w score: where the process goes as s falls. */
  private static Tensor drift(FlowPath path, Tensor x, Tensor v, double s, double w) {
    return w == 0 ? v.neg() : path.score(x, v, s).mul(w).sub(v);
  }

  private static Tensor last(SdeOptions o, Tensor x, Tensor v, double s) {
    return switch (o.last) {
      case MEAN -> x.add(drift(o.path, x, v, s, o.diffusion.at(o.path, s, o.norm)).mul(s));
      case TWEEDIE -> o.path.x0(x, v, s);
      case EULER -> x.sub(v.mul(s));
    };
  }

  private static Tensor velocity(Network network, Tensor x, double s, @Nullable Tensor condition) {
    double[] t = new double[x.dim(0)];
    Arrays.fill(t, TIMES * s);
    return network.call(x, t, condition);
  }

  private static void requireSteps(int steps, int least) {
    if (steps < least) {
      throw new IllegalArgumentException(
          "sampling steps must be " + least + " or more; got " + steps);
    }
  }

  /** A step's result, and the point and velocity it came from. */
  private record Stepped(Tensor next, Tensor x, Tensor velocity, double s) {}

  /** One step of a sampler. */
  private interface Step {
    Stepped apply(Tensor x, int index);
  }

  private static Tensor loop(Tensor start, int steps, Step step, FlowPath path, Listener listener) {
    Scope outer = Scope.current();
    Tensor now = start;
    now.storage().retain();
    try {
      boolean goOn = true;
      for (int i = 0; i < steps && goOn; i++) {
        Tensor before = now;
        Scope scope = Scope.open();
        try {
          Stepped z = step.apply(before, i);
          z.next.storage().retain();
          now = z.next;
          goOn =
              listener.step(
                  new Listener.Progress(
                      i + 1, steps, TIMES * z.s, z.next, () -> path.x0(z.x, z.velocity, z.s)));
        } finally {
          scope.close();
          if (now != before) {
            before.storage().release();
          }
        }
      }
      now.storage().retain();
      outer.own(now.storage());
      return now;
    } finally {
      now.storage().release();
    }
  }
}
