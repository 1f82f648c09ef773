// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import org.jspecify.annotations.Nullable;

/**
 * The innermost loops of the CPU backend, in one implementation: with the Vector API or in plain
 * Java. {@link Simd#provider()} chooses.
 */
public interface SimdProvider {
  /** The name of this implementation with its vector width, for messages. */
  String name();

  /** The tiles of matrix products and convolutions. */
  GemmTile gemmTile();

  /** The transforms of Winograd convolutions. */
  WinogradLoops winograd();

  /** The loops of all other f32 kernels. */
  LeafLoops loops();

  /**
   * Why these loops are slow on this machine, or null: they are then used only if the user asks for
   * them, see {@link Simd}.
   */
  default @Nullable String obstacle() {
    return null;
  }
}
