// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;

import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.dit.Conditioning;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.dit.DitLayout;
import io.sfumato.models.train.Batches;
import picocli.CommandLine.Option;

/** The size of the transformers that the examples train, and what suits them. */
final class DitOptions {
  static final double LEARNING_RATE = 2.5e-3;
  static final int WARM_UP = 100;
  private static final int HEAD_WIDTH = 32;

  @Option(names = "--patch", description = "Side of the patches.", defaultValue = "4")
  private int patch = 4;

  @Option(names = "--depth", description = "Transformer blocks.", defaultValue = "4")
  private int depth = 4;

  @Option(
      names = "--heads",
      description = "Attention heads of width " + HEAD_WIDTH + ".",
      defaultValue = "4")
  private int heads = 4;

  @Option(
      names = "--conditioning",
      description =
          "How timestep and class reach the blocks: in_context, cross_attention, adaln or"
              + " adaln_zero.",
      defaultValue = "adaln_zero")
  private String conditioning = "adaln_zero";

  @Option(
      names = "--positions",
      description = "Positions of the patches: sincos, learned or rotary.",
      defaultValue = "sincos")
  private String positions = "sincos";

  int patch() {
    require(patch > 0 && patch <= 64, "--patch must be 1 to 64; got " + patch);
    return patch;
  }

  /**
   * The model for a loader's pictures. Where diffusers has the kind of model, its numbers are those
   * that diffusers computes from the saved weights.
   *
   * @param variance whether it has as many channels again, for a learned variance
   * @throws IllegalArgumentException saying what is wrong
   */
  DitConfig config(Batches loader, ImageDataset images, boolean variance) {
    require(
        loader.height() == loader.width(),
        "the pictures must be square; got " + loader.height() + " x " + loader.width());
    return DitConfig.builder()
        .namesOf(DitLayout.ORIGINAL)
        .size(depth, heads, HEAD_WIDTH)
        .patchSize(patch())
        .sampleSize(loader.height())
        .imageChannels(images.channels())
        .outChannels(variance ? 2 * images.channels() : images.channels())
        .classes(images.classNames().size())
        .conditioning(Conditioning.parse(conditioning))
        .positions(positions)
        .build();
  }
}
