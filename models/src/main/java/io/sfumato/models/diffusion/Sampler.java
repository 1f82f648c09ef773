// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;
import java.util.function.Supplier;

/**
 * From noise to samples: a function of a denoiser, a starting point, steps, a source of noise and a
 * listener. Each sampler reproduces the trajectory of the scheduler of diffusers whose
 * configuration made it.
 *
 * <pre>{@code
 * Sampler sampler = Sampler.read(Path.of("scheduler/scheduler_config.json"));
 * Steps steps = Steps.of(30);
 * Tensor start = sampler.plan(steps).start(noise);
 * Tensor samples = sampler.sample(denoiser.given(labels), start, steps, source, Listener.NONE);
 * }</pre>
 */
public interface Sampler {
  /** The sampler of a configuration. */
  static Sampler of(SchedulerConfig config) {
    return Samplers.of(config.className()).make(config);
  }

  /** The sampler of a {@code scheduler_config.json}. */
  static Sampler read(Path file) {
    return of(SchedulerConfig.read(file));
  }

  /** The configuration. */
  SchedulerConfig config();

  /**
   * The times and noise levels of a run.
   *
   * @throws IllegalArgumentException if the sampler cannot take such steps
   */
  Plan plan(Steps steps);

  /**
   * Begins a run; {@link #sample} does all that is needed, and closes it.
   *
   * @param plan what {@link #plan} returned
   * @param source draws what noise the steps add
   */
  Run start(Plan plan, NoiseSource source);

  /**
   * Samples.
   *
   * @param denoiser the network and what it predicts, with its condition
   * @param x the starting point [B, C, ...]: {@link Plan#start(Tensor)} of standard normal noise,
   *     or {@link Plan#start(Tensor, Tensor)} of an image
   * @param steps how many steps, and from where
   * @param source draws what noise the steps add
   * @param listener told after each call of the network; may stop the run
   * @return the samples, or where the listener stopped, in the current scope
   */
  default Tensor sample(
      Denoiser denoiser, Tensor x, Steps steps, NoiseSource source, Listener listener) {
    if (denoiser.prediction() != config().prediction()) {
      throw new IllegalArgumentException(
          config().className()
              + " is configured for "
              + config().prediction().configName()
              + ", but the network predicts "
              + denoiser.prediction().configName());
    }
    Plan plan = plan(steps);
    Scope outer = Scope.current();
    Tensor now = x;
    now.storage().retain();
    try (Run run = start(plan, source)) {
      for (int i = plan.begin(); i < plan.calls(); i++) {
        Tensor before = now;
        boolean advanced = false;
        boolean goOn;
        Scope scope = Scope.open();
        try {
          double time = plan.time(i);
          Denoiser.Output output = denoiser.predict(run.input(before, i), time);
          Run.Stepped after = run.step(output, before, i);
          after.next().storage().retain();
          now = after.next();
          advanced = true;
          goOn =
              listener.step(
                  new Listener.Progress(
                      i + 1 - plan.begin(),
                      plan.calls() - plan.begin(),
                      time,
                      after.next(),
                      after.x0()));
        } finally {
          scope.close();
          if (advanced) {
            before.storage().release();
          }
        }
        if (!goOn) {
          break;
        }
      }
      now.storage().retain();
      outer.own(now.storage());
      return now;
    } finally {
      now.storage().release();
    }
  }

  /** One run of a sampler: what it keeps from call to call. */
  interface Run extends AutoCloseable {
    /**
     * A step's result.
     *
     * @param next the sample after it
     * @param x0 computes the estimate of the clean sample
     */
    record Stepped(Tensor next, Supplier<Tensor> x0) {}

    /** What the network is given for the sample of call {@code i}. */
    default Tensor input(Tensor x, int i) {
      return x;
    }

    /** Goes on from call {@code i}, given what the network said. */
    Stepped step(Denoiser.Output output, Tensor x, int i);

    @Override
    default void close() {}
  }
}
