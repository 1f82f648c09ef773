// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import java.util.Arrays;

/**
 * The two published forms of DiT. They differ in the names of parameters and in where the
 * embeddings of timestep and class live; {@link DitCheckpoints} turns one into the other.
 *
 * <table>
 * <caption>Names</caption>
 * <tr><th>ORIGINAL</th><th>DIFFUSERS</th></tr>
 * <tr><td>x_embedder.proj</td><td>pos_embed.proj</td></tr>
 * <tr><td>pos_embed</td><td>(computed)</td></tr>
 * <tr><td>t_embedder.mlp.0, .2</td><td>transformer_blocks.n.norm1.emb.timestep_embedder.linear_1,
 *     _2</td></tr>
 * <tr><td>y_embedder.embedding_table</td><td>transformer_blocks.n.norm1.emb.class_embedder.embedding_table</td></tr>
 * <tr><td>blocks.n.adaLN_modulation.1</td><td>transformer_blocks.n.norm1.linear</td></tr>
 * <tr><td>blocks.n.attn.qkv</td><td>transformer_blocks.n.attn1.to_q, to_k, to_v</td></tr>
 * <tr><td>blocks.n.attn.proj</td><td>transformer_blocks.n.attn1.to_out.0</td></tr>
 * <tr><td>blocks.n.mlp.fc1, fc2</td><td>transformer_blocks.n.ff.net.0.proj, net.2</td></tr>
 * <tr><td>final_layer.adaLN_modulation.1, linear</td><td>proj_out_1, proj_out_2</td></tr>
 * </table>
 */
public enum DitLayout {
  /**
   * DiTTransformer2DModel of diffusers: every block has its own copy of the embedders, which train
   * apart; the time features use a frequency shift of 1.
   */
  DIFFUSERS("diffusers", 1, 1e-5),
  /**
   * The authors' models.py: one embedder for all blocks, one product for queries, keys and values,
   * the position table among the parameters; a frequency shift of 0.
   */
  ORIGINAL("original", 0, 1e-6);

  private final String configName;
  private final double freqShift;
  private final double normEps;

  DitLayout(String configName, double freqShift, double normEps) {
    this.configName = configName;
    this.freqShift = freqShift;
    this.normEps = normEps;
  }

  /** The name in configurations. */
  public String configName() {
    return configName;
  }

  /** The frequency shift of its time features. */
  double freqShift() {
    return freqShift;
  }

  /** The epsilon of the normalisation before its MLPs. */
  double normEps() {
    return normEps;
  }

  /**
   * The layout of a configuration.
   *
   * @throws IllegalArgumentException if the name is unknown, listing those known
   */
  public static DitLayout parse(String name) {
    for (DitLayout l : values()) {
      if (l.configName.equals(name)) {
        return l;
      }
    }
    throw new IllegalArgumentException(
        "layout must be one of "
            + Arrays.stream(values()).map(DitLayout::configName).toList()
            + "; got '"
            + name
            + "'");
  }
}
