// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;

/** What all parts of a product have: some of the rows of B, as panels, and where these lie. */
abstract class TermPart implements GemmBlock.Part {
  final GemmTile tile;
  final int n;
  final int k;
  final Matrix a;
  final Matrix b;
  final int panels;
  final boolean packed; // by the caller, over the whole depth of the term
  final int depth; // rows of a packed panel
  final int skipped; // rows of a packed panel before this part
  private final int batch;
  private long panelsAt;

  TermPart(GemmTile tile, int batch, int n, int panels, Term term, int first, int k) {
    this.tile = tile;
    this.batch = batch;
    this.n = n;
    this.panels = panels;
    this.k = k;
    a = term.a().at(0, first, 0);
    b = term.b().at(first, 0, 0);
    packed = term.panels() != 0;
    depth = packed ? term.k() : k;
    skipped = packed ? first : 0;
    panelsAt = term.panels();
  }

  /** Whether panels are to be packed. */
  abstract boolean packs();

  /** Floats of the panels of one product. */
  abstract long productFloats();

  @Override
  public final long floats() {
    return packs() ? productFloats() * (isShared() ? 1 : batch) : 0;
  }

  @Override
  public final void place(long at) {
    if (packs()) {
      panelsAt = at;
    }
  }

  @Override
  public final int count() {
    return panels * (isShared() ? 1 : batch);
  }

  private boolean isShared() {
    return b.batchStride() == 0;
  }

  /** Address of the panels of a product of the batch. */
  final long panelsOf(int product) {
    return panelsAt + (isShared() ? 0 : 4 * product * productFloats());
  }
}
