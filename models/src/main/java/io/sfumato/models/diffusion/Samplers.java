// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * The table of samplers: a line per scheduler class of diffusers. A new sampler is a file that
 * implements {@link Sampler} and a line here.
 */
public enum Samplers {
  /** Ancestral sampling of the diffusion's posterior. */
  DDPM("DDPMScheduler", Ddpm.KEYS, Ddpm::check, Ddpm::new),
  /** Denoising diffusion implicit models. */
  DDIM("DDIMScheduler", Ddim.KEYS, Samplers::nothing, Ddim::new),
  /** Pseudo numerical methods: Runge-Kutta and linear multistep. */
  PNDM("PNDMScheduler", Pndm.KEYS, Samplers::nothing, Pndm::new),
  /** Euler steps in σ. */
  EULER("EulerDiscreteScheduler", Euler.KEYS, Euler::check, Euler::new),
  /** Euler steps with fresh noise. */
  EULER_ANCESTRAL(
      "EulerAncestralDiscreteScheduler",
      EulerAncestral.KEYS,
      Samplers::nothing,
      EulerAncestral::new),
  /** Heun's second-order steps in σ. */
  HEUN("HeunDiscreteScheduler", Heun.KEYS, Samplers::nothing, Heun::new),
  /** DPM-Solver and DPM-Solver++, multistep. */
  DPM_SOLVER("DPMSolverMultistepScheduler", DpmSolver.KEYS, DpmSolver::check, DpmSolver::new),
  /** The unified predictor-corrector. */
  UNIPC("UniPCMultistepScheduler", UniPc.KEYS, UniPc::check, UniPc::new),
  /** Latent consistency models. */
  LCM("LCMScheduler", Lcm.KEYS, Lcm::check, Lcm::new),
  /** Euler steps along a rectified flow. */
  FLOW_EULER("FlowMatchEulerDiscreteScheduler", FlowEuler.KEYS, FlowEuler::check, FlowEuler::new);

  /** Adds to a list what is wrong with a configuration whose types are right. */
  private interface Rule {
    void check(SchedulerConfig.Reading config, List<String> wrong);
  }

  private final String className;
  private final Keys keys;
  private final Rule rule;
  private final Function<SchedulerConfig, Sampler> maker;

  Samplers(String className, Keys keys, Rule rule, Function<SchedulerConfig, Sampler> maker) {
    this.className = className;
    this.keys = keys;
    this.rule = rule;
    this.maker = maker;
  }

  private static void nothing(SchedulerConfig.Reading config, List<String> wrong) {}

  /**
   * The line of a class.
   *
   * @throws IllegalArgumentException if there is none, listing the classes known
   */
  public static Samplers of(String className) {
    for (Samplers s : values()) {
      if (s.className.equals(className)) {
        return s;
      }
    }
    throw new IllegalArgumentException(
        "_class_name must be of "
            + Arrays.stream(values()).map(Samplers::className).toList()
            + "; got '"
            + className
            + "'");
  }

  /** The class's name in diffusers. */
  public String className() {
    return className;
  }

  Map<String, Keys.Key> keys() {
    return keys.all();
  }

  void check(SchedulerConfig.Reading config, List<String> wrong) {
    rule.check(config, wrong);
  }

  Sampler make(SchedulerConfig config) {
    return maker.apply(config);
  }
}
