// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** How the operands of a {@link GemmBlock} are rearranged, for the loops that multiply them. */
interface GemmFormat {
  /** The formats there are. */
  enum Kind {
    /** Floats as they are, for {@link GemmTile}s. */
    TILES {
      @Override
      long bytes(int k, int columns) {
        return 4L * columns * k;
      }
    },
    /** Floats in three parts, for a {@link MatrixUnit}. */
    SPLIT {
      @Override
      long bytes(int k, int columns) {
        return SplitOperands.allBytes(k, columns);
      }
    },
    /** bfloat16 as it is, for a {@link HalfUnit}. */
    HALVES {
      @Override
      long bytes(int k, int columns) {
        return HalfOperands.allBytes(k, columns);
      }
    };

    /** Bytes of the panels of some columns that fill whole panels. */
    abstract long bytes(int k, int columns);
  }

  /** Which one this is. */
  Kind kind();

  /** Columns of a whole panel. */
  int width();

  /** Rows of a slab. */
  int height();

  /** Rows of a block, at most. */
  int maxRows();

  /** Elements of the sums that are formed at a time. */
  int kBlock(int k);

  /** Elements of the sums of a round, if they shall be that long whatever the columns are. */
  default int depth(int k) {
    return Gemm.kBlock(k);
  }

  /** Elements of B in a round, about. */
  default long roundElements() {
    return Gemm.MAX_PACKED;
  }

  /** Floats of the panels of a round, at most. */
  long maxPacked();

  /**
   * Whether each worker does all rows of some columns of one product: then panels need not go from
   * one core's cache to another's, and workers wait for each other only once; but all rearrange A.
   */
  boolean isApart(int m, int n, int threads);

  /** Rows {@code first} to {@code first + k} of a term's B with what they meet in A. */
  GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k);

  /** Bytes of all panels of a matrix [k, n]. */
  long panelBytes(int k, int n);

  /** Packs all panels of a matrix [k, n], on the calling thread. */
  void packAll(int k, int n, Matrix b, long to);

  /** The format of panels that were packed, or the fastest one. */
  static GemmFormat of(GemmTile tile, int m, int n, List<Term> terms) {
    return of(tile, tile.unit(), m, n, terms);
  }

  /** The same, with a unit or without. */
  static GemmFormat of(GemmTile tile, @Nullable MatrixUnit unit, int m, int n, List<Term> terms) {
    if (unit == null || terms.isEmpty()) {
      return new Tiles(tile);
    }
    boolean halves = true;
    boolean pays = false;
    for (Term t : terms) {
      if (t.panels() != 0) {
        return switch (t.kind()) {
          case TILES -> new Tiles(tile);
          case SPLIT -> new Split(tile, unit);
          case HALVES -> new Halves(tile, unit);
        };
      }
      halves &= t.a().type() == DType.BF16 && t.b().type() == DType.BF16;
      halves &= HalfOperands.pays(n, t.k());
      pays |= SplitOperands.pays(m, n, t.k());
    }
    return halves ? new Halves(tile, unit) : pays ? new Split(tile, unit) : new Tiles(tile);
  }

  /**
   * Floats as they are.
   *
   * @param tile the tiles that multiply them
   */
  record Tiles(GemmTile tile) implements GemmFormat {
    @Override
    public Kind kind() {
      return Kind.TILES;
    }

    @Override
    public int width() {
      return Panels.fullWidth(tile);
    }

    @Override
    public int height() {
      return tile.maxRows();
    }

    @Override
    public int maxRows() {
      return Gemm.MAX_ROW_BLOCK;
    }

    @Override
    public int kBlock(int k) {
      return Gemm.kBlock(k);
    }

    @Override
    public long maxPacked() {
      return Gemm.MAX_PACKED;
    }

    @Override
    public boolean isApart(int m, int n, int threads) {
      return false;
    }

    @Override
    public GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k) {
      return new PackedPart(tile, batch, m, n, term, first, k);
    }

    @Override
    public long panelBytes(int k, int n) {
      return 4 * Panels.floats(tile, k, n);
    }

    @Override
    public void packAll(int k, int n, Matrix b, long to) {
      Panels.packAll(tile, k, n, b, to);
    }
  }

  /** What both formats for a unit have. */
  abstract class OnUnit implements GemmFormat {
    private static final int APART_ROWS = 512;
    private static final int APART_COLUMNS = 128;

    final GemmTile tile;
    final MatrixUnit unit;

    OnUnit(GemmTile tile, MatrixUnit unit) {
      this.tile = tile;
      this.unit = unit;
    }

    @Override
    public final int width() {
      return MatrixUnit.SIDE;
    }

    @Override
    public final int height() {
      return MatrixUnit.SIDE;
    }

    @Override
    public final long maxPacked() {
      return 2 * Gemm.MAX_PACKED;
    }

    @Override
    public final long panelBytes(int k, int n) {
      return kind().bytes(k, n);
    }

    @Override
    public final boolean isApart(int m, int n, int threads) {
      // a panel that comes from another core costs as much as a slab that is split once more
      return m <= Math.max(n, APART_ROWS) && n >= APART_COLUMNS * threads;
    }
  }

  /** Floats in parts. */
  final class Split extends OnUnit {
    Split(GemmTile tile, MatrixUnit unit) {
      super(tile, unit);
    }

    @Override
    public Kind kind() {
      return Kind.SPLIT;
    }

    @Override
    public int maxRows() {
      return SplitOperands.ROW_BLOCK;
    }

    @Override
    public int kBlock(int k) {
      return SplitOperands.K_BLOCK;
    }

    @Override
    public GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k) {
      return new SplitPart(tile, unit, batch, n, term, first, k);
    }

    @Override
    public void packAll(int k, int n, Matrix b, long to) {
      SplitOperands.panels(tile, unit, k, n, 0, SplitOperands.count(n), b, to);
    }
  }

  /** bfloat16 as it is. Sums are formed whole, so that a result of 16 bits is written once. */
  final class Halves extends OnUnit {
    Halves(GemmTile tile, MatrixUnit unit) {
      super(tile, unit);
    }

    @Override
    public Kind kind() {
      return Kind.HALVES;
    }

    @Override
    public int maxRows() {
      return HalfOperands.ROW_BLOCK;
    }

    @Override
    public int kBlock(int k) {
      return HalfOperands.K_BLOCK;
    }

    @Override
    public int depth(int k) {
      return k;
    }

    @Override
    public long roundElements() {
      return 2 * maxPacked();
    }

    @Override
    public GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k) {
      return new HalfPart(tile, unit, batch, n, term, first, k);
    }

    @Override
    public void packAll(int k, int n, Matrix b, long to) {
      HalfOperands.panels(unit, k, n, 0, SplitOperands.count(n), b, to);
    }
  }
}
