// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.ResnetBlock2D.Resample;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The levels of {@link UNet2D} (diffusers models/unets/unet_2d_blocks.py). */
final class UNet2DBlocks {
  /** Kinds of levels on the way down. */
  static final List<String> DOWN =
      List.of("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D");

  /** Kinds of levels on the way up. */
  static final List<String> UP = List.of("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D");

  private UNet2DBlocks() {}

  /** One level on the way down: residual blocks, each perhaps with attention, then halving. */
  static final class DownBlock extends Module {
    private final List<ResnetBlock2D> resnets = new ArrayList<>();
    private final List<AttentionBlock> attentions = new ArrayList<>();
    private @Nullable Layer downConv;
    private @Nullable ResnetBlock2D downResnet;

    DownBlock(
        Weights weights,
        UNet2DConfig config,
        ResnetBlock2D.Options options,
        int in,
        int out,
        String type,
        boolean downsample) {
      super(weights);
      boolean attention = type.startsWith("Attn");
      for (int i = 0; i < config.layersPerBlock(); i++) {
        int from = i == 0 ? in : out;
        if (attention) {
          attentions.add(child("attentions." + i, w -> attention(w, config, out)));
        }
        resnets.add(child("resnets." + i, w -> new ResnetBlock2D(w, from, out, options)));
      }
      boolean byResnet =
          type.startsWith("Resnet") || (attention && config.downsampleType().equals("resnet"));
      if (downsample && byResnet) {
        downResnet =
            child("downsamplers.0", w -> new ResnetBlock2D(w, out, out, options, Resample.DOWN));
      } else if (downsample) {
        downConv =
            child(
                "downsamplers.0",
                w -> new Resampling.Downsample2D(w, out, config.downsamplePadding()));
      }
    }

    /** Runs the level; every result that the way up needs is pushed on {@code skips}. */
    Tensor call(Tensor x, TimeProjections time, Deque<Tensor> skips) {
      return callInScope(() -> forward(x, time, skips));
    }

    private Tensor forward(Tensor x, TimeProjections time, Deque<Tensor> skips) {
      Tensor h = x;
      for (int i = 0; i < resnets.size(); i++) {
        h = resnets.get(i).call(h, time);
        if (!attentions.isEmpty()) {
          h = attentions.get(i).call(h);
        }
        skips.push(h);
      }
      if (downConv != null) {
        h = downConv.call(h);
        skips.push(h);
      } else if (downResnet != null) {
        h = downResnet.call(h, time);
        skips.push(h);
      }
      return h;
    }
  }

  /** The middle: two residual blocks around attention. */
  static final class MidBlock extends Module {
    private final ResnetBlock2D first;
    private final @Nullable AttentionBlock attention;
    private final ResnetBlock2D second;

    MidBlock(Weights weights, UNet2DConfig config, ResnetBlock2D.Options common, int channels) {
      super(weights);
      var options =
          new ResnetBlock2D.Options(
              common.timeChannels(),
              common.groups(),
              common.eps(),
              common.activation(),
              common.dropout(),
              common.scaleShift(),
              config.midBlockScaleFactor());
      Integer groups = config.attnNormNumGroups();
      if (groups == null && !common.scaleShift()) {
        groups = common.groups();
      }
      Integer attnGroups = groups;
      Integer head = config.attentionHeadDim();
      attention =
          !config.addAttention()
              ? null
              : child(
                  "attentions.0",
                  w ->
                      new AttentionBlock(
                          w,
                          channels,
                          head == null ? channels : head,
                          attnGroups,
                          common.eps(),
                          config.midBlockScaleFactor()));
      first = child("resnets.0", w -> new ResnetBlock2D(w, channels, channels, options));
      second = child("resnets.1", w -> new ResnetBlock2D(w, channels, channels, options));
    }

    Tensor call(Tensor x, TimeProjections time) {
      return call(
          () -> {
            Tensor h = first.call(x, time);
            if (attention != null) {
              h = attention.call(h);
            }
            return second.call(h, time);
          });
    }
  }

  /** One level on the way up: each residual block takes one skip; then doubling. */
  static final class UpBlock extends Module {
    private final List<ResnetBlock2D> resnets = new ArrayList<>();
    private final List<AttentionBlock> attentions = new ArrayList<>();
    private @Nullable Layer upConv;
    private @Nullable ResnetBlock2D upResnet;

    UpBlock(
        Weights weights,
        UNet2DConfig config,
        ResnetBlock2D.Options options,
        int in,
        int previous,
        int out,
        String type,
        boolean upsample) {
      super(weights);
      boolean attention = type.startsWith("Attn");
      int layers = config.layersPerBlock() + 1;
      for (int i = 0; i < layers; i++) {
        int skip = i == layers - 1 ? in : out;
        int from = (i == 0 ? previous : out) + skip;
        if (attention) {
          attentions.add(child("attentions." + i, w -> attention(w, config, out)));
        }
        resnets.add(child("resnets." + i, w -> new ResnetBlock2D(w, from, out, options)));
      }
      boolean byResnet =
          type.startsWith("Resnet") || (attention && config.upsampleType().equals("resnet"));
      if (upsample && byResnet) {
        upResnet = child("upsamplers.0", w -> new ResnetBlock2D(w, out, out, options, Resample.UP));
      } else if (upsample) {
        upConv = child("upsamplers.0", w -> new Resampling.Upsample2D(w, out));
      }
    }

    Tensor call(Tensor x, TimeProjections time, Deque<Tensor> skips) {
      return call(
          () -> {
            Tensor h = x;
            for (int i = 0; i < resnets.size(); i++) {
              int layer = i;
              Tensor below = h;
              Tensor skip = skips.pop();
              // The joined tensor is dropped as soon as the block has run.
              h =
                  Scope.run(
                      () ->
                          resnets
                              .get(layer)
                              .call(Shaping.concat(1, below, skip), time)); // [B, C, H, W]
              if (!attentions.isEmpty()) {
                h = attentions.get(i).call(h);
              }
            }
            if (upConv != null) {
              h = upConv.call(h);
            } else if (upResnet != null) {
              h = upResnet.call(h, time);
            }
            return h;
          });
    }
  }

  private static AttentionBlock attention(Weights w, UNet2DConfig config, int channels) {
    Integer head = config.attentionHeadDim();
    return new AttentionBlock(
        w, channels, head == null ? channels : head, config.normNumGroups(), config.normEps(), 1);
  }
}
