// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.LeafLoops;
import io.sfumato.tensor.cpu.SimdProvider;
import io.sfumato.tensor.cpu.TileChoice;
import io.sfumato.tensor.cpu.WinogradLoops;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** The innermost loops over the Vector API, in the widest shape the processor prefers. */
public final class VectorProvider implements SimdProvider {
  private final TileChoice tiles =
      new TileChoice(new VectorGemmTile(), System.getProperty(TileChoice.PROPERTY));
  private final WinogradLoops winograd = new VectorWinogradLoops();
  private final LeafLoops loops = new VectorLoops();

  /**
   * Found by name and made by {@link io.sfumato.tensor.cpu.Simd}.
   *
   * @throws UnsupportedOperationException if the processor, or the JVM's use of it, lacks fused
   *     multiply-add: the Vector API then computes it in software, 1000 times slower
   */
  public VectorProvider() {
    String arch = System.getProperty("os.arch", "");
    boolean x86 = arch.equals("amd64") || arch.equals("x86_64");
    int bits = IntVector.SPECIES_PREFERRED.vectorBitSize();
    if (x86 && bits < 256) { // AVX2, with its 256-bit integers, came with fused multiply-add
      throw new UnsupportedOperationException(
          "x86 vectors of at least 256 bits (AVX2) are needed; this JVM uses " + bits);
    }
    CompilerDirectives.send(separate(loops, winograd));
  }

  /** The loops to be compiled apart from their callers. */
  static List<Object> separate(LeafLoops loops, WinogradLoops winograd) {
    return List.of(
        loops.elementwise(),
        loops.reduce(),
        loops.casts(),
        loops.rows(),
        loops.channels(),
        loops.attention(),
        loops.optimizer(),
        winograd);
  }

  @Override
  public String name() {
    return "vector, " + FloatVector.SPECIES_PREFERRED.vectorBitSize() + " bits";
  }

  @Override
  public GemmTile gemmTile() {
    return tiles.current();
  }

  @Override
  public WinogradLoops winograd() {
    return winograd;
  }

  @Override
  public LeafLoops loops() {
    return loops;
  }
}
