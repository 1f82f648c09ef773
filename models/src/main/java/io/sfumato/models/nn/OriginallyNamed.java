// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import java.util.Map;

/** A model whose layers have other names in its authors' own checkpoints. */
public interface OriginallyNamed {
  /**
   * The layers' names there, with dots, by their paths here; empty if there are no such checkpoints
   * of its configuration.
   */
  Map<String, String> originalNames();

  /**
   * Whether kohya's tools name the layers so in adapter files: those for SDXL do, those for Stable
   * Diffusion 1 and 2 use diffusers' names.
   */
  boolean adaptersUseOriginalNames();
}
