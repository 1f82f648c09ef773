// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The ways in which projects name the tensors of one adapter file. */
public enum Dialect {
  /** PEFT: {@code base_model.model.<layer>.lora_A.weight}. */
  PEFT("PEFT", "base_model.model.", '.'),
  /** diffusers: {@code unet.<layer>.lora.down.weight} or {@code unet.<layer>.lora_A.weight}. */
  DIFFUSERS("diffusers", "", '.'),
  /** kohya and LyCORIS: {@code lora_unet_<layer_with_underscores>.lora_down.weight}. */
  KOHYA("kohya", "", '_'),
  /** LyCORIS's wrapper: {@code lycoris_<layer_with_underscores>.…}. */
  LYCORIS("LyCORIS", "lycoris_", '_'),
  /** HCP-Diffusion: {@code lora:<layer>.___.layer.W_down}. */
  HCP("HCP-Diffusion", "lora:", '.'),
  /** microsoft/LoRA: {@code <layer>.lora_A}, of linear layers. */
  MICROSOFT("microsoft/LoRA", "", '.');

  private final String label;
  private final String prefix;
  private final char separator;

  Dialect(String label, String prefix, char separator) {
    this.label = label;
    this.prefix = prefix;
    this.separator = separator;
  }

  /** The project's name. */
  public String label() {
    return label;
  }

  /** What names start with in front of the layer, but for a component's prefix. */
  String prefix() {
    return prefix;
  }

  /** Whether layers are named with underscores, so that only the model tells what is meant. */
  boolean isFlat() {
    return separator == '_';
  }

  /** A tensor's name, taken apart: the layer as the file names it, and our name of the factor. */
  record Part(String layer, String factor, @Nullable Dialect dialect) {}

  /** What a key ends with, our name for it, and whose it is if it is one dialect's alone. */
  private record Ending(String text, String factor, @Nullable Dialect dialect) {}

  private static final List<Ending> ENDINGS =
      List.of(
          new Ending(".lora_A.weight", "lora_A.weight", null),
          new Ending(".lora_B.weight", "lora_B.weight", null),
          new Ending(".lora_B.bias", "lora_B.bias", null),
          new Ending(".lora_magnitude_vector.weight", "lora_magnitude_vector", null),
          new Ending(".lora_magnitude_vector", "lora_magnitude_vector", null),
          new Ending(".lora_embedding_A", "lora_embedding_A", null),
          new Ending(".lora_embedding_B", "lora_embedding_B", null),
          new Ending(".lora.down.weight", "lora_A.weight", DIFFUSERS),
          new Ending(".lora.up.weight", "lora_B.weight", DIFFUSERS),
          new Ending(".lora_linear_layer.down.weight", "lora_A.weight", DIFFUSERS),
          new Ending(".lora_linear_layer.up.weight", "lora_B.weight", DIFFUSERS),
          new Ending("_lora.down.weight", "lora_A.weight", DIFFUSERS),
          new Ending("_lora.up.weight", "lora_B.weight", DIFFUSERS),
          new Ending(".lora_down.weight", "lora_A.weight", null),
          new Ending(".lora_up.weight", "lora_B.weight", null),
          new Ending(".lora_mid.weight", "lora_mid.weight", null),
          new Ending(".dora_scale", "lora_magnitude_vector", null),
          new Ending(".___.layer.W_down", "lora_A.weight", HCP),
          new Ending(".___.layer.W_up", "lora_B.weight", HCP),
          new Ending(".___.layer.bias", "lora_B.bias", HCP),
          new Ending(".___.alpha", "alpha", HCP),
          new Ending(".lora_A", "lora_A.weight", MICROSOFT),
          new Ending(".lora_B", "lora_B.weight", MICROSOFT),
          new Ending(".alpha", "alpha", null),
          new Ending(".scalar", "scalar", null),
          new Ending(".hada_w1_a", "hada_w1_a", null),
          new Ending(".hada_w1_b", "hada_w1_b", null),
          new Ending(".hada_w2_a", "hada_w2_a", null),
          new Ending(".hada_w2_b", "hada_w2_b", null),
          new Ending(".hada_t1", "hada_t1", null),
          new Ending(".hada_t2", "hada_t2", null),
          new Ending(".lokr_w1", "lokr_w1", null),
          new Ending(".lokr_w1_a", "lokr_w1_a", null),
          new Ending(".lokr_w1_b", "lokr_w1_b", null),
          new Ending(".lokr_w2", "lokr_w2", null),
          new Ending(".lokr_w2_a", "lokr_w2_a", null),
          new Ending(".lokr_w2_b", "lokr_w2_b", null),
          new Ending(".lokr_t2", "lokr_t2", null),
          new Ending(".ia3_l", "ia3_l", null),
          new Ending(".on_input", "on_input", LYCORIS),
          new Ending(".a1.weight", "a1.weight", null),
          new Ending(".a2.weight", "a2.weight", null),
          new Ending(".b1.weight", "b1.weight", null),
          new Ending(".b2.weight", "b2.weight", null),
          new Ending(".bm.weight", "bm.weight", null),
          new Ending(".oft_blocks", "oft_blocks", null),
          new Ending(".rescale", "rescale", null),
          new Ending(".diff", "diff", null),
          new Ending(".diff_b", "diff_b", null),
          new Ending(".w_norm", "w_norm", null),
          new Ending(".b_norm", "b_norm", null),
          new Ending(".weight", "weight", LYCORIS));

  /** Takes a key apart; null if it ends like no tensor of an adapter. */
  static @Nullable Part split(String key) {
    Ending best = null;
    for (Ending ending : ENDINGS) {
      if (key.endsWith(ending.text)
          && (best == null || ending.text.length() > best.text.length())) {
        best = ending;
      }
    }
    if (best == null) {
      return null;
    }
    String layer = key.substring(0, key.length() - best.text.length());
    return new Part(layer, best.factor, best.dialect);
  }

  /** The dialect of a file, by its keys. */
  static Dialect of(Iterable<String> keys) {
    Dialect found = DIFFUSERS;
    for (String key : keys) {
      if (key.startsWith(PEFT.prefix)) {
        return PEFT;
      }
      if (key.startsWith(LYCORIS.prefix)) {
        return LYCORIS;
      }
      if (key.startsWith("lora_") && key.indexOf('.') > 0) {
        return KOHYA;
      }
      if (key.contains(".___.")) {
        return HCP;
      }
      if (key.endsWith(".lora_A") || key.endsWith(".lora_B")) {
        found = MICROSOFT;
      }
    }
    return found;
  }
}
