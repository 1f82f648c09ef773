// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.OneOrEach;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The keys of a {@link UNet2DConditionConfig} about attention.
 *
 * @param attentionHeadDim in spite of its name the number of heads per level, as in diffusers; for
 *     AttnDownBlock2D and AttnUpBlock2D alone the width of a head
 * @param crossAttentionDim width of the context
 * @param layersPerBlock transformer blocks per level, or per layer of each level
 *     (transformer_layers_per_block)
 * @param reverseLayersPerBlock the same on the way up, deepest first, or null for the mirrored list
 *     (reverse_transformer_layers_per_block)
 * @param useLinearProjection whether projections around transformers are linear layers
 * @param onlyCrossAttention whether the first attention of a transformer looks at the context too
 * @param midBlockOnlyCrossAttention the same for a middle that is not supported; kept for files
 * @param upcastAttention whether scores are kept in f32, as they always are here; kept for files
 */
public record UNetTransformers(
    OneOrEach<Integer> attentionHeadDim,
    OneOrEach<Integer> crossAttentionDim,
    OneOrEach<OneOrEach<Integer>> layersPerBlock,
    @Nullable OneOrEach<OneOrEach<Integer>> reverseLayersPerBlock,
    boolean useLinearProjection,
    OneOrEach<Boolean> onlyCrossAttention,
    @Nullable Boolean midBlockOnlyCrossAttention,
    boolean upcastAttention) {
  static UNetTransformers read(ModelConfig.Reader r) {
    String reverse = "reverse_transformer_layers_per_block";
    String mid = "mid_block_only_cross_attention";
    OneOrEach<OneOrEach<Integer>> one = OneOrEach.one(OneOrEach.one(1));
    return new UNetTransformers(
        r.integerOrEach("attention_head_dim", OneOrEach.one(8)),
        r.integerOrEach("cross_attention_dim", OneOrEach.one(1280)),
        r.integerOrEachOfEach("transformer_layers_per_block", one),
        r.has(reverse) ? r.integerOrEachOfEach(reverse, one) : null,
        r.bool("use_linear_projection", false),
        r.boolOrEach("only_cross_attention", OneOrEach.one(false)),
        r.has(mid) ? Boolean.valueOf(r.bool(mid, false)) : null,
        r.bool("upcast_attention", false));
  }

  void check(
      UNet2DConditionConfig.Problems wrong,
      List<String> down,
      @Nullable String mid,
      List<String> up,
      List<Integer> channels,
      OneOrEach<Integer> layers) {
    int levels = channels.size();
    boolean heads =
        wrong.perLevel("attention_head_dim", attentionHeadDim, levels)
            && attentionHeadDim.values().stream().allMatch(h -> h > 0);
    wrong.unless(
        attentionHeadDim.values().stream().allMatch(h -> h > 0),
        "attention_head_dim must be positive; got " + attentionHeadDim.toJson());
    wrong.perLevel("cross_attention_dim", crossAttentionDim, levels);
    wrong.unless(
        crossAttentionDim.values().stream().allMatch(d -> d > 0),
        "cross_attention_dim must be positive; got " + crossAttentionDim.toJson());
    wrong.perLevel("only_cross_attention", onlyCrossAttention, levels);
    wrong.unless(
        !Boolean.TRUE.equals(midBlockOnlyCrossAttention),
        "mid_block_only_cross_attention must not be true: it is for UNetMidBlock2DSimpleCrossAttn,"
            + " which is not supported");
    boolean nested = layersPerBlock.values().stream().anyMatch(l -> !l.single());
    wrong.unless(
        !nested || reverseLayersPerBlock != null,
        "reverse_transformer_layers_per_block must be given if transformer_layers_per_block has"
            + " lists");
    if (wrong.perLevel("transformer_layers_per_block", layersPerBlock, levels)) {
      for (int i = 0; i < levels; i++) {
        blocks(wrong, "transformer_layers_per_block", layersPerBlock.at(i), layers.at(i));
      }
    }
    if (reverseLayersPerBlock != null
        && wrong.perLevel("reverse_transformer_layers_per_block", reverseLayersPerBlock, levels)) {
      for (int i = 0; i < levels; i++) {
        int n = layers.at(levels - 1 - i) + 1;
        blocks(wrong, "reverse_transformer_layers_per_block", reverseLayersPerBlock.at(i), n);
      }
    }
    if (heads) {
      IntStream.range(0, levels)
          .forEach(
              i -> {
                divides(wrong, down.get(i), attentionHeadDim.at(i), channels.get(i));
                boolean cross = up.get(i).startsWith("Cross");
                int head = attentionHeadDim.at(cross ? levels - 1 - i : i);
                divides(wrong, up.get(i), head, channels.get(levels - 1 - i));
              });
      if (mid != null) {
        divides(wrong, mid, attentionHeadDim.last(), channels.getLast());
      }
    }
  }

  private static void blocks(
      UNet2DConditionConfig.Problems wrong, String key, OneOrEach<Integer> blocks, int layers) {
    wrong.unless(
        blocks.fits(layers) && blocks.values().stream().allMatch(n -> n > 0),
        key
            + " must be positive, one or one per layer of a level ("
            + layers
            + " of them); got "
            + blocks.toJson());
  }

  private static void divides(
      UNet2DConditionConfig.Problems wrong, String type, int head, int channels) {
    wrong.unless(
        !type.contains("Attn") || channels % head == 0,
        "block_out_channels "
            + channels
            + " must be divisible by attention_head_dim "
            + head
            + " of "
            + type);
  }

  /** Transformer blocks in a layer of a level on the way up, deepest first. */
  int upBlocks(int level, int layer, int levels) {
    return reverseLayersPerBlock == null
        ? layersPerBlock.at(levels - 1 - level).at(layer)
        : reverseLayersPerBlock.at(level).at(layer);
  }

  void write(Map<String, @Nullable Object> m) {
    m.put("attention_head_dim", attentionHeadDim.toJson());
    m.put("cross_attention_dim", crossAttentionDim.toJson());
    m.put("mid_block_only_cross_attention", midBlockOnlyCrossAttention);
    m.put("only_cross_attention", onlyCrossAttention.toJson());
    m.put(
        "reverse_transformer_layers_per_block",
        reverseLayersPerBlock == null ? null : reverseLayersPerBlock.toJson());
    m.put("transformer_layers_per_block", layersPerBlock.toJson());
    m.put("upcast_attention", upcastAttention);
    m.put("use_linear_projection", useLinearProjection);
  }
}
