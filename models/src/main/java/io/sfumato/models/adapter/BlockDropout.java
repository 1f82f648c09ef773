// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Dropout;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Multiplicative dropout, in training: a share of the blocks does not turn, the identity takes
 * their place. As in PEFT it is a share of the blocks rounded down, not a chance for each.
 */
final class BlockDropout {
  private final double p;

  BlockDropout(double p) {
    this.p = p;
  }

  /** Checks a share. */
  static void check(String name, double p) {
    if (!(p >= 0 && p < 1)) {
      throw new IllegalArgumentException(name + " must be in [0, 1); got " + p);
    }
  }

  /**
   * Rotations of which some are the identity.
   *
   * @param rotations [blocks, b, b]; a single one, shared by all blocks, stays
   * @param path the layer's, so that each draws its own
   */
  Tensor apply(Tensor rotations, String path) {
    Optional<Rng> rng = Dropout.current();
    int blocks = rotations.dim(0);
    int dropped = (int) (p * blocks);
    if (rng.isEmpty() || dropped == 0 || blocks == 1) {
      return rotations;
    }
    float[] draws = rng.get().fork(path).fork("blocks").uniform(blocks).toFloatArray();
    double[] mask = new double[blocks];
    IntStream.range(0, blocks)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> draws[i]))
        .limit(dropped)
        .forEach(i -> mask[i] = 1);
    Tensor stays = Tensor.of(mask, blocks, 1, 1).to(rotations.dtype()).to(rotations.device());
    double[] rest = Arrays.stream(mask).map(m -> 1 - m).toArray();
    Tensor turns = Tensor.of(rest, blocks, 1, 1).to(rotations.dtype()).to(rotations.device());
    return rotations.mul(turns).add(Rotations.eye(rotations).mul(stays));
  }

  /** Which of several factors drops blocks now. */
  int chosen(int factors, String path) {
    Optional<Rng> rng = Dropout.current();
    return rng.isEmpty()
        ? 0
        : Math.min(
            factors - 1, (int) (rng.get().fork(path).fork("factor").uniform(1).item() * factors));
  }
}
