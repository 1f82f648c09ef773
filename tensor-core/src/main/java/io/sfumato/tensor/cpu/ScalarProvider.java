// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** The innermost loops in plain Java, for a run time without the Vector API. */
final class ScalarProvider implements SimdProvider {
  private final GemmTile gemmTile = new ScalarGemmTile();
  private final WinogradLoops winograd = new ScalarWinogradLoops();
  private final LeafLoops loops = new ScalarLoops();

  @Override
  public String name() {
    return "scalar";
  }

  @Override
  public GemmTile gemmTile() {
    return gemmTile;
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
