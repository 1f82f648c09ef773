// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.diffusion.Listener;
import io.sfumato.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a pipeline shall draw. Immutable; {@code GenerationRequest.of("red
 * circle").guidance(3).steps(30)}.
 *
 * @param prompts one per picture: texts, or names or numbers of classes; empty texts for no
 *     condition
 * @param negative what the pictures shall not show; needs guidance
 * @param height of the pictures in pixels; null for what the pipeline was made for
 * @param width likewise
 * @param guidance strength of classifier-free guidance; 1 is none
 * @param rescale how much of the deviation that guidance adds is taken back, 0 to 1
 * @param steps the sampler's steps
 * @param seed of everything random
 * @param listener sees each step, and may stop
 * @param image where to start from, [1 or B, C, H, W] in [-1, 1]; null for noise
 * @param strength how far the image is turned to noise, above 0 to 1; 1 without an image
 * @param mask where the image is painted anew, [1 or B, 1, H, W], 1 there and 0 elsewhere; null for
 *     everywhere
 */
public record GenerationRequest(
    List<String> prompts,
    String negative,
    @Nullable Integer height,
    @Nullable Integer width,
    double guidance,
    double rescale,
    int steps,
    long seed,
    Listener listener,
    @Nullable Tensor image,
    double strength,
    @Nullable Tensor mask) {
  /** Copies the list. */
  public GenerationRequest {
    prompts = List.copyOf(prompts);
  }

  /** One picture of a prompt, with 50 steps and no guidance. */
  public static GenerationRequest of(String prompt) {
    return of(List.of(prompt));
  }

  /** A picture for each prompt. */
  public static GenerationRequest of(List<String> prompts) {
    return new GenerationRequest(
        prompts, "", null, null, 1, 0, 50, 0, Listener.NONE, null, 1, null);
  }

  /** As many pictures of each prompt. */
  public GenerationRequest each(int count) {
    List<String> all =
        prompts.stream().flatMap(p -> Collections.nCopies(count, p).stream()).toList();
    return new GenerationRequest(
        all, negative, height, width, guidance, rescale, steps, seed, listener, image, strength,
        mask);
  }

  /** What the pictures shall not show. */
  public GenerationRequest negative(String text) {
    return new GenerationRequest(
        prompts, text, height, width, guidance, rescale, steps, seed, listener, image, strength,
        mask);
  }

  /** Height and width in pixels. */
  public GenerationRequest size(int newHeight, int newWidth) {
    return new GenerationRequest(
        prompts, negative, newHeight, newWidth, guidance, rescale, steps, seed, listener, image,
        strength, mask);
  }

  /** Strength of classifier-free guidance. */
  public GenerationRequest guidance(double scale) {
    return guidance(scale, rescale);
  }

  /** Strength of classifier-free guidance, and how much of its deviation is taken back. */
  public GenerationRequest guidance(double scale, double back) {
    return new GenerationRequest(
        prompts, negative, height, width, scale, back, steps, seed, listener, image, strength,
        mask);
  }

  /** The sampler's steps. */
  public GenerationRequest steps(int count) {
    return new GenerationRequest(
        prompts, negative, height, width, guidance, rescale, count, seed, listener, image, strength,
        mask);
  }

  /** The seed of everything random. */
  public GenerationRequest seed(long value) {
    return new GenerationRequest(
        prompts, negative, height, width, guidance, rescale, steps, value, listener, image,
        strength, mask);
  }

  /** Sees each step. */
  public GenerationRequest listener(Listener watcher) {
    return new GenerationRequest(
        prompts, negative, height, width, guidance, rescale, steps, seed, watcher, image, strength,
        mask);
  }

  /** From an image that is turned to noise in part. */
  public GenerationRequest image(Tensor start, double part) {
    return new GenerationRequest(
        prompts, negative, height, width, guidance, rescale, steps, seed, listener, start, part,
        mask);
  }

  /** Painting the image anew where the mask is 1 alone. */
  public GenerationRequest mask(Tensor where) {
    return new GenerationRequest(
        prompts, negative, height, width, guidance, rescale, steps, seed, listener, image, strength,
        where);
  }
}
