// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.OriginallyNamed;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The U-Net of Stable Diffusion 1, 2 and XL and of latent consistency models (diffusers
 * models/unets/unet_2d_condition.py, UNet2DConditionModel): same configuration, names and numbers.
 *
 * {@snippet :
 * var unet = UNet2DCondition.open(folder);                // config.json and weights
 * Context context = unet.prepare(Context.of(textStates)); // once for all steps
 * Tensor noise = unet.call(latents, new double[] {t}, context);
 * }
 */
public final class UNet2DCondition extends ConditionalEncoder implements OriginallyNamed {
  private final List<UNetBlocks.UpBlock> up = new ArrayList<>();
  private final Linear[] timeProjections;
  private final GroupNorm convNormOut;
  private final Conv2d convOut;

  /** A model whose parameters come from {@code weights}. */
  public UNet2DCondition(Weights weights, UNet2DConditionConfig config) {
    super(weights, config);
    int c0 = config.blockOutChannels().getFirst();
    buildDown();
    buildUp();
    buildMid();
    timeProjections = timeProjections();
    convNormOut =
        child("conv_norm_out", w -> new GroupNorm(w, config.normNumGroups(), c0, config.normEps()));
    convOut =
        child("conv_out", w -> new Conv2d(w, c0, config.outChannels(), config.convOutKernel()));
  }

  private void buildUp() {
    List<Integer> channels = config.blockOutChannels();
    int levels = channels.size();
    UNetTransformers t = config.transformers();
    for (int i = 0; i < levels; i++) {
      int level = i;
      int mirrored = levels - 1 - i;
      int in = channels.get(Math.max(0, mirrored - 1));
      int previous = channels.get(Math.min(levels - 1, mirrored + 1));
      int out = channels.get(mirrored);
      String type = config.upBlockTypes().get(i);
      // diffusers mirrors the numbers of heads, but not the widths of heads
      int head = t.attentionHeadDim().at(type.startsWith("Attn") ? i : mirrored);
      UNetBlocks.AttentionBuilder attention =
          attention(
              type,
              out,
              head,
              layer -> t.upBlocks(level, layer, levels),
              t.crossAttentionDim().at(mirrored),
              t.onlyCrossAttention().at(mirrored));
      var spec =
          new UNetBlocks.Level(
              config.layersPerBlock().at(mirrored) + 1,
              in,
              previous,
              out,
              options,
              attention,
              resampler(type, i == levels - 1),
              config.downsamplePadding());
      up.add(child("up_blocks." + i, w -> new UNetBlocks.UpBlock(w, spec)));
    }
  }

  /**
   * Reads a model folder of diffusers: {@code config.json} and {@code
   * diffusion_pytorch_model.safetensors}, in one file or in shards, under present or old names.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static UNet2DCondition open(Path folder) {
    UNet2DConditionConfig config = UNet2DConditionConfig.read(UNetFiles.config(folder));
    return UNetFiles.open(folder, w -> new UNet2DCondition(w, config));
  }

  /** Writes the model as a folder that diffusers reads. */
  public void save(Path folder) {
    UNetFiles.save(folder, config.toMap(), this);
  }

  /**
   * Writes the model as a folder that diffusers reads, its weights in files of at most {@code
   * maxShardBytes} of values; see {@link ShardedTensors#save}.
   */
  public void save(Path folder, long maxShardBytes) {
    UNetFiles.save(folder, config.toMap(), this, maxShardBytes);
  }

  /** The configuration. */
  public UNet2DConditionConfig config() {
    return config;
  }

  @Override
  public Map<String, String> originalNames() {
    return LdmUNetNames.layersOf(config);
  }

  @Override
  public boolean adaptersUseOriginalNames() {
    return config.conditioning().isTextTime();
  }

  /** {@link #call(Tensor, double[], Context, UNetConditions)} without further conditions. */
  public Tensor call(Tensor sample, double[] timesteps, @Nullable Context context) {
    return call(sample, timesteps, context, UNetConditions.none());
  }

  /**
   * Predicts from noisy latent pictures.
   *
   * @param sample [B, in, H, W] of any size. Halves of odd sizes are rounded up, and the way up
   *     returns to what the way down had, as in diffusers
   * @param timesteps one per sample, or one for all
   * @param context what cross-attention looks at; may be null if the model has none
   * @param conditions what else the model takes
   * @return [B, out, H, W]
   * @throws ShapeException if something does not fit, or a level of ResnetUpsampleBlock2D or
   *     AttnUpBlock2D would have to return to an odd size
   */
  public Tensor call(
      Tensor sample, double[] timesteps, @Nullable Context context, UNetConditions conditions) {
    check(sample, timesteps, context, conditions);
    checkSize(sample);
    double[] t = perSample(timesteps, sample.dim(0));
    return call(() -> forward(sample, t, context, conditions));
  }

  private Tensor forward(
      Tensor sample, double[] t, @Nullable Context given, UNetConditions conditions) {
    Context context = given == null ? null : projected(given);
    TimeProjections time = embed(t, sample, conditions, timeProjections);
    Deque<Tensor> skips = new ArrayDeque<>();
    Tensor h = encode(sample, null, time, context, skips); // [B, C, H/2ⁿ, W/2ⁿ]
    h = middle(h, time, context);
    h = withResiduals(h, conditions, skips);
    for (UNetBlocks.UpBlock block : up) {
      h = block.call(h, time, context, skips);
    }
    h = activation.afterNorm(convNormOut, h); // [B, C0, H, W]
    return convOut.call(h); // [B, out, H, W]
  }

  /** Adds what a control network gives; the stack holds the last result of the way down on top. */
  private Tensor withResiduals(Tensor h, UNetConditions conditions, Deque<Tensor> skips) {
    List<Tensor> residuals = conditions.downResiduals();
    if (!residuals.isEmpty()) {
      if (residuals.size() != skips.size()) {
        throw new IllegalArgumentException(
            "UNet2DCondition: there must be one residual for each of the "
                + skips.size()
                + " results of the way down; got "
                + residuals.size());
      }
      List<Tensor> plain = new ArrayList<>(skips);
      skips.clear();
      for (int i = 0; i < residuals.size(); i++) {
        skips.push(plain.get(plain.size() - 1 - i).add(residuals.get(i)));
      }
    }
    Tensor mid = conditions.midResidual();
    return mid == null ? h : h.add(mid);
  }

  /** Levels that double by a factor cannot return to odd sizes. */
  private void checkSize(Tensor sample) {
    int levels = up.size();
    for (int i = 0; i < levels - 1; i++) {
      String type = config.upBlockTypes().get(i);
      int unit = 1 << (levels - 1);
      if (!type.equals("UpBlock2D")
          && !type.equals("CrossAttnUpBlock2D")
          && (sample.dim(2) % unit != 0 || sample.dim(3) % unit != 0)) {
        throw new ShapeException(
            "UNet2DCondition: height and width must be divisible by "
                + unit
                + " ("
                + (levels - 1)
                + " halvings), for "
                + type
                + " cannot return to another size; got "
                + sample.spec());
      }
    }
  }
}
