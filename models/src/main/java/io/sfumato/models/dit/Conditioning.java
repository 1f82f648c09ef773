// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import java.util.Arrays;

/**
 * How timestep and class reach the blocks of a {@link Dit}: the four ways compared by Peebles and
 * Xie (2023), section 3.2.
 */
public enum Conditioning {
  /** Their embeddings are two more tokens beside the picture's, removed after the last block. */
  IN_CONTEXT("in_context"),
  /** Each block attends to the two embeddings after its self-attention. */
  CROSS_ATTENTION("cross_attention"),
  /** Each normalisation's shift and scale are regressed from the sum of the embeddings. */
  ADALN("adaln"),
  /** As ADALN, and each branch has a gate, zero at first: every block begins as the identity. */
  ADALN_ZERO("adaln_zero");

  private final String configName;

  Conditioning(String configName) {
    this.configName = configName;
  }

  /** The name in configurations. */
  public String configName() {
    return configName;
  }

  /**
   * The way of a configuration.
   *
   * @throws IllegalArgumentException if the name is unknown, listing those known
   */
  public static Conditioning parse(String name) {
    for (Conditioning c : values()) {
      if (c.configName.equals(name)) {
        return c;
      }
    }
    throw new IllegalArgumentException(
        "conditioning must be one of "
            + Arrays.stream(values()).map(Conditioning::configName).toList()
            + "; got '"
            + name
            + "'");
  }

  /** Whether normalisations are modulated. */
  boolean modulates() {
    return this == ADALN || this == ADALN_ZERO;
  }

  /** Vectors regressed per block: shift and scale twice, and two gates. */
  int vectors() {
    return switch (this) {
      case ADALN_ZERO -> 6;
      case ADALN -> 4;
      case IN_CONTEXT, CROSS_ATTENTION -> 0;
    };
  }
}
