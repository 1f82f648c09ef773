// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.LeafLoops;
import io.sfumato.tensor.cpu.SimdProvider;
import io.sfumato.tensor.cpu.TileChoice;
import io.sfumato.tensor.cpu.WinogradLoops;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/** The innermost loops over the Vector API, in the widest shape the processor prefers. */
public final class VectorProvider implements SimdProvider {
  private static final int LONGEST = 512;

  private final TileChoice tiles;
  private final @Nullable GemmTile assembled;
  private final WinogradLoops winograd = new VectorWinogradLoops();
  private final LeafLoops loops;

  /**
   * Found by name and made by {@link io.sfumato.tensor.cpu.Simd}.
   *
   * @throws UnsupportedOperationException if vectors are longer than 512 bits: work spaces are made
   *     for that, the longest there are today but for some of RISC-V
   * @throws IllegalArgumentException if a system property has a value it cannot have
   */
  public VectorProvider() {
    int bits = FloatVector.SPECIES_PREFERRED.vectorBitSize();
    if (bits > LONGEST) {
      throw new UnsupportedOperationException(
          "vectors of at most " + LONGEST + " bits are served; this JVM prefers " + bits);
    }
    String registers = System.getProperty(VectorGemmTile.REGISTERS);
    VectorGemmTile vectors = VectorGemmTile.of(registers);
    tiles = new TileChoice(vectors, System.getProperty(TileChoice.PROPERTY));
    String code = System.getProperty(AssembledTile.PROPERTY);
    if (registers != null && "on".equals(code)) {
      throw new IllegalArgumentException(
          "system property "
              + VectorGemmTile.REGISTERS
              + " is about tiles that "
              + AssembledTile.PROPERTY
              + "=on replaces; set one of them");
    }
    assembled =
        AssembledTile.of(
            vectors, registers == null ? code : "off", System.getProperty(AmxUnit.PROPERTY));
    loops = new VectorLoops(assembled == null ? null : new AssembledPasses());
    if (obstacle() == null) {
      CompilerDirectives.send(separate(), System.getProperty(CompilerDirectives.PROPERTY));
    }
  }

  /** The classes whose loops are to be compiled apart from their callers. */
  static List<Class<?>> separate() {
    return List.of(
        BinaryVectors.class,
        ExpVectors.class,
        GradientVectors.class,
        LogVectors.class,
        PowVectors.class,
        RowGradientVectors.class,
        RowVectors.class,
        SiluVectors.class,
        SineVectors.class,
        SlabVectors.class,
        SoftmaxVectors.class,
        TanhVectors.class,
        TransposeVectors.class,
        UnaryVectors.class,
        VectorAttentionLoops.class,
        VectorCastLoops.class,
        VectorChannelLoops.class,
        VectorElementwiseLoops.class,
        VectorOptimizerLoops.class,
        VectorReduceLoops.class,
        VectorRowLoops.class,
        VectorWinogradLoops.class);
  }

  @Override
  public String name() {
    String unit = gemmTile().unit() == null ? "" : ", matrix unit";
    return "vector, " + FloatVector.SPECIES_PREFERRED.vectorBitSize() + " bits" + unit;
  }

  /**
   * AVX2, with its 256-bit integers, came with fused multiply-add, which the Vector API computes in
   * software where there is none, 1000 times slower.
   */
  @Override
  public @Nullable String obstacle() {
    int bits = FloatVector.SPECIES_PREFERRED.vectorBitSize();
    return VectorGemmTile.X86 && bits < 256
        ? "x86 vectors of at least 256 bits (AVX2) are needed; this JVM uses " + bits
        : null;
  }

  @Override
  public GemmTile gemmTile() {
    return assembled != null ? assembled : tiles.current();
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
