// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.unet.SpatialNorm;
import java.util.ArrayList;
import java.util.List;

/** What the configurations of {@link AutoencoderKL} and {@link VQModel} must fulfil in common. */
final class AutoencoderRules {
  /** Kinds of levels of the encoder. */
  static final List<String> DOWN = List.of("DownEncoderBlock2D", "AttnDownEncoderBlock2D");

  /** Kinds of levels of the decoder. */
  static final List<String> UP = List.of("UpDecoderBlock2D", "AttnUpDecoderBlock2D");

  private final String className;
  private final List<String> wrong = new ArrayList<>();

  AutoencoderRules(String className) {
    this.className = className;
  }

  /** Notes {@code message} unless {@code ok}. */
  void check(boolean ok, String message) {
    if (!ok && !wrong.contains(message)) {
      wrong.add(message);
    }
  }

  void oneOf(String key, List<String> values, List<String> known) {
    for (String v : values) {
      check(known.contains(v), key + " must be of " + known + "; got " + v);
    }
  }

  void positive(String key, int value) {
    check(value > 0, key + " must be positive; got " + value);
  }

  void levels(
      List<String> down, List<String> up, List<Integer> channels, int groups, boolean spatial) {
    oneOf("down_block_types", down, DOWN);
    oneOf("up_block_types", up, UP);
    check(!channels.isEmpty(), "block_out_channels must not be empty");
    check(
        channels.size() <= 16,
        "block_out_channels must have at most 16 levels; got " + channels.size());
    check(
        down.size() == channels.size() && up.size() == channels.size(),
        "down_block_types and up_block_types must have one entry per level of block_out_channels;"
            + " got "
            + down.size()
            + ", "
            + up.size()
            + " and "
            + channels.size());
    positive("norm_num_groups", groups);
    for (int c : channels) {
      check(
          c > 0 && (groups < 1 || c % groups == 0),
          "block_out_channels " + c + " must be divisible by norm_num_groups " + groups);
      check(
          !spatial || c % SpatialNorm.GROUPS == 0,
          "block_out_channels "
              + c
              + " must be divisible by "
              + SpatialNorm.GROUPS
              + ", the groups of norm_type spatial");
    }
  }

  void activation(String actFn) {
    try {
      Activation.parse(actFn);
    } catch (IllegalArgumentException e) {
      wrong.add(String.valueOf(e.getMessage()));
    }
  }

  void scalingFactor(double value) {
    check(
        Double.isFinite(value) && value > 0,
        "scaling_factor must be positive and finite; got " + value);
  }

  /** Throws everything that was noted. */
  void done() {
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(className + " config: " + String.join("; ", wrong));
    }
  }
}
