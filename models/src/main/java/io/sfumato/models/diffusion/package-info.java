// SPDX-License-Identifier: Apache-2.0
/**
 * Noise schedules, denoisers with their losses, and samplers.
 *
 * <ul>
 *   <li>Sampling starts at {@link io.sfumato.models.diffusion.Sampler}; the table of all samplers
 *       is {@link io.sfumato.models.diffusion.Samplers}, and each has a file of its own.
 *   <li>Their configurations are {@link io.sfumato.models.diffusion.SchedulerConfig}s, checked
 *       against the keys that each sampler declares.
 *   <li>Training starts at {@link io.sfumato.models.diffusion.Denoiser#loss}; {@link
 *       io.sfumato.models.diffusion.LossOptions} say how.
 *   <li>{@link io.sfumato.models.diffusion.Guidance} and {@link
 *       io.sfumato.models.diffusion.Inpainting} wrap a network and a sampler.
 * </ul>
 */
@NullMarked
package io.sfumato.models.diffusion;

import org.jspecify.annotations.NullMarked;
