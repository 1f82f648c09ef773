// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.SimdProvider;
import jdk.incubator.vector.FloatVector;

/** The innermost loops over the Vector API, in the widest shape the processor prefers. */
public final class VectorProvider implements SimdProvider {
  private final GemmTile gemmTile = new VectorGemmTile();

  /** Found by name and made by {@link io.sfumato.tensor.cpu.Simd}. */
  public VectorProvider() {}

  @Override
  public String name() {
    return "vector, " + FloatVector.SPECIES_PREFERRED.vectorBitSize() + " bits";
  }

  @Override
  public GemmTile gemmTile() {
    return gemmTile;
  }
}
