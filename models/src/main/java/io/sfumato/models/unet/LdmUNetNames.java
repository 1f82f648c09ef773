// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.Weights;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The names of a U-Net's tensors in checkpoints of the original latent diffusion repositories
 * (single files of Stable Diffusion 1, 2 and XL) and in diffusers. Both number residual blocks in
 * the order they run; the original counts them, with the convolutions that halve, through all
 * levels. Values and shapes are the same.
 *
 * {@snippet :
 * LdmUNetNames names = LdmUNetNames.of(config);
 * var unet = new UNet2DCondition(
 *     Weights.open(file).rename(name -> names.toDiffusers(name).orElse(name)), config);
 * }
 */
public final class LdmUNetNames {
  /** What stands before the U-Net's names in a checkpoint of the whole model. */
  public static final String PREFIX = "model.diffusion_model.";

  private static final Map<String, String> RESNET =
      Map.of(
          "norm1", "in_layers.0",
          "conv1", "in_layers.2",
          "time_emb_proj", "emb_layers.1",
          "norm2", "out_layers.0",
          "conv2", "out_layers.3",
          "conv_shortcut", "skip_connection");

  private final Map<String, String> toLdm;
  private final Map<String, String> toDiffusers;

  private LdmUNetNames(Map<String, String> toLdm) {
    this.toLdm = Collections.unmodifiableMap(toLdm);
    Map<String, String> back = new HashMap<>();
    toLdm.forEach((name, original) -> back.put(original, name));
    toDiffusers = Collections.unmodifiableMap(back);
  }

  /**
   * The names of a configuration's model.
   *
   * @throws IllegalArgumentException if the original repositories have no name for one of its
   *     tensors, naming it
   */
  public static LdmUNetNames of(UNet2DConditionConfig config) {
    check(config);
    Map<String, String> modules = modules(config);
    Map<String, String> names = new LinkedHashMap<>();
    try (Scope scope = Scope.open();
        UNet2DCondition unet = new UNet2DCondition(Weights.meta(), config)) {
      for (String name : unet.stateDict().keySet()) {
        names.put(name, PREFIX + original(name, modules));
      }
    }
    return new LdmUNetNames(names);
  }

  /** Original names of layers by their paths here; empty if the original has no such model. */
  static Map<String, String> layersOf(UNet2DConditionConfig config) {
    LdmUNetNames names;
    try {
      names = of(config);
    } catch (IllegalArgumentException e) {
      return Map.of();
    }
    Map<String, String> layers = new LinkedHashMap<>();
    names.toLdm.forEach(
        (name, original) -> {
          if (name.endsWith(".weight")) {
            layers.put(
                name.substring(0, name.length() - ".weight".length()),
                original.substring(PREFIX.length(), original.length() - ".weight".length()));
          }
        });
    return Collections.unmodifiableMap(layers);
  }

  /** The original has levels with transformers and without, and one kind of middle. */
  private static void check(UNet2DConditionConfig config) {
    Set<String> known =
        Set.of("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D");
    Set<String> types = new TreeSet<>(config.downBlockTypes());
    types.addAll(config.upBlockTypes());
    types.removeAll(known);
    String mid = config.midBlockType();
    if (!"UNetMidBlock2DCrossAttn".equals(mid)) {
      types.add("mid_block_type " + mid);
    }
    if (!types.isEmpty()) {
      throw new IllegalArgumentException(
          "checkpoints of the original repositories have no names for " + types);
    }
  }

  /** The original name, with its prefix, of a tensor of diffusers; empty if the model lacks it. */
  public Optional<String> toLdm(String diffusers) {
    return Optional.ofNullable(toLdm.get(diffusers));
  }

  /** The name in diffusers of an original one with its prefix; empty if it is none of the model. */
  public Optional<String> toDiffusers(String original) {
    return Optional.ofNullable(toDiffusers.get(original));
  }

  /** All original names by those of diffusers, in the model's order. */
  public Map<String, String> all() {
    return toLdm;
  }

  private static String original(String name, Map<String, String> modules) {
    for (int dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
      String module = modules.get(name.substring(0, dot));
      if (module != null) {
        return module + rest(name.substring(0, dot), name.substring(dot + 1));
      }
    }
    throw new IllegalArgumentException(
        "tensor " + name + " has no name in checkpoints of the original repositories");
  }

  /** What follows a module's name; transformers have the same names inside. */
  private static String rest(String module, String rest) {
    if (!module.contains(".resnets.")) {
      return "." + rest;
    }
    int dot = rest.indexOf('.');
    String renamed = RESNET.get(rest.substring(0, dot));
    return "." + (renamed == null ? rest.substring(0, dot) : renamed) + rest.substring(dot);
  }

  /** Original names of modules by those of diffusers. */
  private static Map<String, String> modules(UNet2DConditionConfig config) {
    Map<String, String> m = new TreeMap<>();
    m.put("conv_in", "input_blocks.0.0");
    m.put("time_embedding.linear_1", "time_embed.0");
    m.put("time_embedding.linear_2", "time_embed.2");
    String label = config.conditioning().isTextTime() ? "add_embedding" : "class_embedding";
    m.put(label + ".linear_1", "label_emb.0.0");
    m.put(label + ".linear_2", "label_emb.0.2");
    if (config.conditioning().classEmbedType() == null
        && config.conditioning().numClassEmbeds() != null) {
      m.put("class_embedding", "label_emb");
    }
    int levels = config.blockOutChannels().size();
    int input = 1;
    int output = 0;
    for (int i = 0; i < levels; i++) {
      String block = "down_blocks." + i;
      for (int j = 0; j < config.layersPerBlock().at(i); j++, input++) {
        m.put(block + ".resnets." + j, "input_blocks." + input + ".0");
        m.put(block + ".attentions." + j, "input_blocks." + input + ".1");
      }
      if (i < levels - 1) {
        m.put(block + ".downsamplers.0.conv", "input_blocks." + input++ + ".0.op");
      }
    }
    for (int i = 0; i < levels; i++) {
      String block = "up_blocks." + i;
      for (int j = 0; j <= config.layersPerBlock().at(levels - 1 - i); j++, output++) {
        m.put(block + ".resnets." + j, "output_blocks." + output + ".0");
        m.put(block + ".attentions." + j, "output_blocks." + output + ".1");
      }
      int place = config.upBlockTypes().get(i).contains("Attn") ? 2 : 1;
      m.put(block + ".upsamplers.0.conv", "output_blocks." + (output - 1) + "." + place + ".conv");
    }
    m.put("mid_block.resnets.0", "middle_block.0");
    m.put("mid_block.attentions.0", "middle_block.1");
    m.put("mid_block.resnets.1", "middle_block.2");
    m.put("conv_norm_out", "out.0");
    m.put("conv_out", "out.2");
    return m;
  }
}
