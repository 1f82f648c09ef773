// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.GradientCheckpointing;
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

/** The levels of U-Nets (diffusers models/unets/unet_2d_blocks.py), whatever their attention is. */
final class UNetBlocks {
  /** How a level changes the picture's size at its end. */
  enum Resampler {
    /** Not at all: the last level. */
    NONE,
    /** By a convolution. */
    CONV,
    /** By a residual block. */
    RESNET
  }

  /**
   * Makes the attention behind one residual block: {@link AttentionBlock}, {@link Transformer2D}.
   */
  @FunctionalInterface
  interface AttentionBuilder {
    Module build(Weights weights, int layer);
  }

  /**
   * What a level is made of.
   *
   * @param layers number of residual blocks
   * @param in channels that come in; on the way up those of the level's last skip
   * @param previous channels that come in on the way up; the same as {@code in} going down
   * @param out channels of the level
   * @param resnet options of the residual blocks
   * @param attention makes the attention behind each residual block, or null for none
   * @param resampler what stands at the end
   * @param downsamplePadding padding of a strided convolution
   */
  record Level(
      int layers,
      int in,
      int previous,
      int out,
      ResnetBlock2D.Options resnet,
      @Nullable AttentionBuilder attention,
      Resampler resampler,
      int downsamplePadding) {}

  private UNetBlocks() {}

  /** Residual blocks, each perhaps with attention. */
  private abstract static class Stack extends Module {
    final List<ResnetBlock2D> resnets = new ArrayList<>();
    final List<Module> attentions = new ArrayList<>();

    Stack(Weights weights) {
      super(weights);
    }

    /** Attention first, as in the reference; the order matters for shards alone. */
    final void buildAttentions(int count, @Nullable AttentionBuilder builder) {
      for (int i = 0; i < count && builder != null; i++) {
        int layer = i;
        attentions.add(child("attentions." + i, w -> builder.build(w, layer)));
      }
    }

    /** Layer i on h, and on a skip that is joined to it. */
    final Tensor layer(
        int i, Tensor h, @Nullable Tensor skip, TimeProjections time, @Nullable Context context) {
      List<Tensor> inputs = new ArrayList<>(List.of(h));
      if (skip != null) {
        inputs.add(skip);
      }
      int own = inputs.size();
      inputs.addAll(time.of(resnets.get(i)));
      if (context != null) {
        inputs.add(context.states());
      }
      // What follows h and skip is read through time and context; as inputs they stay alive.
      return GradientCheckpointing.region(
          xs -> {
            // The joined tensor is dropped as soon as the block has run.
            Tensor y =
                Scope.run(
                    () ->
                        resnets
                            .get(i)
                            .call(own == 1 ? xs[0] : Shaping.concat(1, xs[0], xs[1]), time));
            return i < attentions.size() ? attend(attentions.get(i), y, context) : y;
          },
          inputs.toArray(Tensor[]::new));
    }

    static Tensor attend(Module attention, Tensor x, @Nullable Context context) {
      return attention instanceof Transformer2D transformer
          ? transformer.call(x, context)
          : ((Layer) attention).call(x);
    }
  }

  /** One level on the way down: residual blocks, each perhaps with attention, then halving. */
  static final class DownBlock extends Stack {
    private @Nullable Layer downConv;
    private @Nullable ResnetBlock2D downResnet;

    DownBlock(Weights weights, Level level) {
      super(weights);
      int out = level.out;
      buildAttentions(level.layers, level.attention);
      for (int i = 0; i < level.layers; i++) {
        int from = i == 0 ? level.in : out;
        resnets.add(child("resnets." + i, w -> new ResnetBlock2D(w, from, out, level.resnet)));
      }
      switch (level.resampler) {
        case NONE -> {}
        case CONV ->
            downConv =
                child(
                    "downsamplers.0",
                    w -> new Resampling.Downsample2D(w, out, level.downsamplePadding));
        case RESNET ->
            downResnet =
                child(
                    "downsamplers.0",
                    w -> new ResnetBlock2D(w, out, out, level.resnet, Resample.DOWN));
      }
    }

    /** Runs the level; every result that the way up needs is pushed on {@code skips}. */
    Tensor call(Tensor x, TimeProjections time, @Nullable Context context, Deque<Tensor> skips) {
      return callInScope(() -> forward(x, time, context, skips));
    }

    private Tensor forward(
        Tensor x, TimeProjections time, @Nullable Context context, Deque<Tensor> skips) {
      Tensor h = x;
      for (int i = 0; i < resnets.size(); i++) {
        h = layer(i, h, null, time, context); // [B, out, H, W]
        skips.push(h);
      }
      if (downConv != null) {
        h = downConv.call(h); // [B, out, H/2, W/2]
        skips.push(h);
      } else if (downResnet != null) {
        h = downResnet.call(h, time);
        skips.push(h);
      }
      return h;
    }
  }

  /** The middle: residual blocks with attention between them. */
  static final class MidBlock extends Stack {
    /**
     * A middle.
     *
     * @param resnetCount 2, or 1 for a residual block alone
     */
    MidBlock(
        Weights weights,
        int channels,
        ResnetBlock2D.Options options,
        int resnetCount,
        @Nullable AttentionBuilder attention) {
      super(weights);
      buildAttentions(resnetCount - 1, attention);
      for (int i = 0; i < resnetCount; i++) {
        resnets.add(child("resnets." + i, w -> new ResnetBlock2D(w, channels, channels, options)));
      }
    }

    Tensor call(Tensor x, TimeProjections time, @Nullable Context context) {
      return call(
          () -> {
            Tensor h = x;
            for (int i = 0; i < resnets.size(); i++) {
              h = layer(i, h, null, time, context);
            }
            return h;
          });
    }
  }

  /** One level on the way up: each residual block takes one skip; then doubling. */
  static final class UpBlock extends Stack {
    private Resampling.@Nullable Upsample2D upConv;
    private @Nullable ResnetBlock2D upResnet;

    UpBlock(Weights weights, Level level) {
      super(weights);
      int out = level.out;
      buildAttentions(level.layers, level.attention);
      for (int i = 0; i < level.layers; i++) {
        int skip = i == level.layers - 1 ? level.in : out;
        int from = (i == 0 ? level.previous : out) + skip;
        resnets.add(child("resnets." + i, w -> new ResnetBlock2D(w, from, out, level.resnet)));
      }
      switch (level.resampler) {
        case NONE -> {}
        case CONV -> upConv = child("upsamplers.0", w -> new Resampling.Upsample2D(w, out));
        case RESNET ->
            upResnet =
                child(
                    "upsamplers.0", w -> new ResnetBlock2D(w, out, out, level.resnet, Resample.UP));
      }
    }

    Tensor call(Tensor x, TimeProjections time, @Nullable Context context, Deque<Tensor> skips) {
      return call(
          () -> {
            Tensor h = x;
            for (int i = 0; i < resnets.size(); i++) {
              h = layer(i, h, skips.pop(), time, context); // [B, out, H, W]
            }
            if (upConv != null) {
              Tensor next = skips.peek(); // a picture of odd size was halved to more than its half
              h = next == null ? upConv.call(h) : upConv.call(h, next.dim(2), next.dim(3));
            } else if (upResnet != null) {
              h = upResnet.call(h, time);
            }
            return h;
          });
    }
  }
}
