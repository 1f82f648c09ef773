// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.unet.LegacyNames;
import io.sfumato.tensor.io.TensorSource;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The names of autoencoders in checkpoints of the original latent diffusion code ({@code
 * ldm/modules/diffusionmodules/model.py}) and those of diffusers, both ways:
 *
 * <pre>
 * encoder.down.1.block.0.nin_shortcut.weight   encoder.down_blocks.1.resnets.0.conv_shortcut.weight
 * decoder.up.3.upsample.conv.bias              decoder.up_blocks.0.upsamplers.0.conv.bias
 * decoder.mid.attn_1.proj_out.weight           decoder.mid_block.attentions.0.to_out.0.weight
 * </pre>
 *
 * <p>The decoder's levels are counted from the other end. Attention weights are 1x1 convolutions
 * there: {@link #of} gives them as matrices.
 */
public final class LdmNames {
  /** Where the autoencoder is in the checkpoint of a latent diffusion model. */
  public static final String PREFIX = "first_stage_model.";

  private static final Pattern LEVEL =
      Pattern.compile(
          "(encoder\\.down|decoder\\.up)\\.(\\d+)\\.(block|attn|downsample|upsample)\\.(.*)");
  private static final Pattern BLOCKS =
      Pattern.compile(
          "(encoder\\.down|decoder\\.up)_blocks\\.(\\d+)\\."
              + "(resnets|attentions|downsamplers\\.0|upsamplers\\.0)\\.(.*)");
  private static final Pattern MIDDLE =
      Pattern.compile("(encoder|decoder)\\.mid\\.(block_1|attn_1|block_2)\\.(.*)");
  private static final Pattern MID_BLOCK =
      Pattern.compile(
          "(encoder|decoder)\\.mid_block\\.(resnets\\.0|attentions\\.0|resnets\\.1)\\.(.*)");

  private static final Map<String, String> PARTS =
      Map.of(
          "block", "resnets",
          "attn", "attentions",
          "downsample", "downsamplers.0",
          "upsample", "upsamplers.0");
  private static final Map<String, String> MIDDLES =
      Map.of("block_1", "resnets.0", "attn_1", "attentions.0", "block_2", "resnets.1");
  private static final Map<String, String> ATTENTION =
      Map.of("norm", "group_norm", "q", "to_q", "k", "to_k", "v", "to_v", "proj_out", "to_out.0");
  private static final Map<String, String> RESNET = Map.of("nin_shortcut", "conv_shortcut");
  private static final Map<String, String> ENDS = Map.of("norm_out", "conv_norm_out");

  private final int levels;

  /**
   * The names of a model.
   *
   * @param levels number of its levels, the length of {@code block_out_channels}
   */
  public LdmNames(int levels) {
    if (levels < 1) {
      throw new IllegalArgumentException("levels must be positive; got " + levels);
    }
    this.levels = levels;
  }

  /**
   * The names of the model in a checkpoint, whose levels are counted.
   *
   * @param names the checkpoint's names, with or without {@link #PREFIX}
   * @throws IllegalArgumentException if there is no encoder
   */
  public static LdmNames of(Iterable<String> names) {
    int levels = 0;
    for (String name : names) {
      Matcher m = LEVEL.matcher(withoutPrefix(name));
      if (m.matches() && m.group(1).equals("encoder.down")) {
        levels = Math.max(levels, Integer.parseInt(m.group(2)) + 1);
      }
    }
    if (levels == 0) {
      throw new IllegalArgumentException(
          "there is no autoencoder of latent diffusion among the names: none is encoder.down.*");
    }
    return new LdmNames(levels);
  }

  /**
   * The tensors of an original checkpoint of an autoencoder under diffusers' names, attention
   * weights as matrices. Names of anything else stay as they are; the prefix goes. Closing the
   * result closes the source.
   *
   * @throws IllegalArgumentException if there is no autoencoder in it
   */
  public static TensorSource of(TensorSource source) {
    LdmNames names = of(source.entries().keySet());
    return LegacyNames.of(
        source.rename(name -> names.toDiffusers(withoutPrefix(name)).orElse(name)));
  }

  /** The number of the model's levels. */
  public int levels() {
    return levels;
  }

  private static String withoutPrefix(String name) {
    return name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
  }

  /**
   * diffusers' name.
   *
   * @param name the original name, without prefix
   * @return empty if the name is none of an autoencoder
   */
  public Optional<String> toDiffusers(String name) {
    Matcher level = LEVEL.matcher(name);
    if (level.matches()) {
      String part = level.group(3);
      String rest = level.group(4);
      return Optional.of(
          level.group(1)
              + "_blocks."
              + index(level.group(1), level.group(2))
              + "."
              + PARTS.get(part)
              + "."
              + switch (part) {
                case "block" -> afterIndex(rest, RESNET);
                case "attn" -> afterIndex(rest, ATTENTION);
                default -> rest;
              });
    }
    Matcher middle = MIDDLE.matcher(name);
    if (middle.matches()) {
      boolean attention = middle.group(2).equals("attn_1");
      return Optional.of(
          middle.group(1)
              + ".mid_block."
              + MIDDLES.get(middle.group(2))
              + "."
              + first(middle.group(3), attention ? ATTENTION : RESNET));
    }
    return end(name, ENDS);
  }

  /**
   * The original name, without prefix.
   *
   * @param name diffusers' name
   * @return empty if the name is none of an autoencoder
   */
  public Optional<String> toOriginal(String name) {
    Matcher level = BLOCKS.matcher(name);
    if (level.matches()) {
      String part = level.group(3);
      String rest = level.group(4);
      return Optional.of(
          level.group(1)
              + "."
              + index(level.group(1), level.group(2))
              + "."
              + inverse(PARTS).get(part)
              + "."
              + switch (part) {
                case "resnets" -> afterIndex(rest, inverse(RESNET));
                case "attentions" -> afterIndex(rest, inverse(ATTENTION));
                default -> rest;
              });
    }
    Matcher middle = MID_BLOCK.matcher(name);
    if (middle.matches()) {
      boolean attention = middle.group(2).equals("attentions.0");
      return Optional.of(
          middle.group(1)
              + ".mid."
              + inverse(MIDDLES).get(middle.group(2))
              + "."
              + first(middle.group(3), inverse(attention ? ATTENTION : RESNET)));
    }
    return end(name, inverse(ENDS));
  }

  /** Names outside of levels and middles. */
  private static Optional<String> end(String name, Map<String, String> map) {
    for (String coder : List.of("encoder.", "decoder.")) {
      if (name.startsWith(coder)) {
        String rest = first(name.substring(coder.length()), map);
        return rest.matches("(conv_in|conv_out|conv_norm_out|norm_out)\\.(weight|bias)")
            ? Optional.of(coder + rest)
            : Optional.empty();
      }
    }
    return name.matches("(quant_conv|post_quant_conv|quantize\\.embedding)\\.(weight|bias)")
        ? Optional.of(name)
        : Optional.empty();
  }

  /** The decoder's levels are counted from the deepest here and from the widest there. */
  private String index(String side, String number) {
    int i = Integer.parseInt(number);
    return String.valueOf(side.startsWith("decoder") ? levels - 1 - i : i);
  }

  /** {@code 0.name.weight} with its name replaced. */
  private static String afterIndex(String rest, Map<String, String> map) {
    int dot = rest.indexOf('.');
    return dot < 0 ? rest : rest.substring(0, dot + 1) + first(rest.substring(dot + 1), map);
  }

  /** {@code name.weight} with its name replaced, if the map has it. */
  private static String first(String rest, Map<String, String> map) {
    int dot = rest.lastIndexOf('.');
    if (dot < 0) {
      return rest;
    }
    String name = rest.substring(0, dot);
    return map.getOrDefault(name, name) + rest.substring(dot);
  }

  private static Map<String, String> inverse(Map<String, String> map) {
    return map.entrySet().stream()
        .collect(Collectors.toMap(Map.Entry::getValue, Map.Entry::getKey));
  }
}
