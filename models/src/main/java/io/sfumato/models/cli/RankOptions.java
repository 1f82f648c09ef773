// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.require;

import io.sfumato.models.adapter.LoraTools;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options of programs that bring a change of weights to a rank. */
final class RankOptions {
  @Option(names = "--rank", description = "The rank of the new LoRA; with --energy the largest.")
  private @Nullable Integer rank;

  @Option(
      names = "--energy",
      description =
          "The share of the change's squared norm that each layer keeps, more than 0 to 1; then"
              + " each layer gets the least rank that does.")
  private @Nullable Double energy;

  /** Whether one of them is given. */
  boolean isGiven() {
    return rank != null || energy != null;
  }

  /** What they say; one of them is needed. */
  LoraTools.Rank choice() {
    require(isGiven(), "--rank or --energy is needed");
    require(rank == null || rank > 0, "--rank must be positive; got " + rank);
    require(
        energy == null || (energy > 0 && energy <= 1),
        "--energy must be more than 0 and at most 1; got " + energy);
    return new LoraTools.Rank(rank == null ? Integer.MAX_VALUE : rank, energy);
  }
}
