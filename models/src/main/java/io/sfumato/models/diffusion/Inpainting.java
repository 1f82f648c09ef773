// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;

/**
 * A sampler that keeps a known region, for networks that do not see the mask: after each call the
 * region is replaced by the known image, noised to the level of the next call, and at the end by
 * the image itself (Lugmayr et al., 2022; diffusers' inpainting pipeline of U-Nets with four
 * channels).
 */
public final class Inpainting implements Sampler {
  private final Sampler sampler;
  private final Tensor image;
  private final Tensor mask;
  private final Tensor noise;

  /**
   * A sampler that fills in the masked part of an image. Its tensors must outlive it.
   *
   * @param sampler how it steps
   * @param image the known image [B, C, ...]
   * @param mask 1 where the image is to be painted, 0 where it is known, [B or 1, C or 1, ...]
   * @param noise standard normal [B, C, ...], the same at all levels
   */
  public Inpainting(Sampler sampler, Tensor image, Tensor mask, Tensor noise) {
    this.sampler = sampler;
    this.image = image;
    this.mask = mask;
    this.noise = noise;
  }

  @Override
  public SchedulerConfig config() {
    return sampler.config();
  }

  @Override
  public Plan plan(Steps steps) {
    return sampler.plan(steps);
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    Run run = sampler.start(plan, source);
    return new Run() {
      @Override
      public Tensor input(Tensor x, int i) {
        return run.input(x, i);
      }

      @Override
      public Stepped step(Denoiser.Output output, Tensor x, int i) {
        Stepped free = run.step(output, x, i);
        Tensor known = i + 1 < plan.calls() ? plan.noised(image, noise, i + 1) : image;
        Tensor next = known.mul(mask.neg().add(1)).add(free.next().mul(mask));
        return new Stepped(next, free.x0());
      }

      @Override
      public void close() {
        run.close();
      }
    };
  }
}
