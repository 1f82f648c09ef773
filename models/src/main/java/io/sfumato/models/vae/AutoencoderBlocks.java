// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.AttentionBlock;
import io.sfumato.models.unet.Resampling;
import io.sfumato.models.unet.ResnetBlock2D;
import io.sfumato.models.unet.ResnetBlockCondNorm2D;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The levels of {@link Encoder} and {@link Decoder} (diffusers models/unets/unet_2d_blocks.py).
 * Where the normalisations are spatial, each step also looks at the quantised latent zq.
 */
final class AutoencoderBlocks {
  /** Epsilon of all normalisations. */
  static final double EPS = 1e-6;

  private AutoencoderBlocks() {}

  /**
   * What the levels of one encoder or decoder have in common.
   *
   * @param groups groups of the normalisations
   * @param activation the activation of residual blocks
   * @param latentChannels channels of the latent that modulates the normalisations; 0 if none does
   */
  record Style(int groups, Activation activation, int latentChannels) {
    boolean isSpatial() {
      return latentChannels > 0;
    }
  }

  /** A part of a level. */
  private interface Step {
    Tensor call(Tensor x, @Nullable Tensor zq);
  }

  /** A level, from [B, in, H, W] to [B, out, H', W']: residual blocks, attention, resampling. */
  abstract static class Level extends Module {
    private final Style style;
    private final List<Step> attentions = new ArrayList<>();
    private final List<Step> resnets = new ArrayList<>();
    private @Nullable Layer resampling;

    Level(Weights weights, Style style) {
      super(weights);
      this.style = style;
    }

    /** Self-attention with one head; it follows the residual block of the same index. */
    final void addAttention(int channels) {
      String name = "attentions." + attentions.size();
      if (style.isSpatial()) {
        var block = child(name, w -> AttentionBlock.spatial(w, channels, style.latentChannels));
        attentions.add((x, zq) -> block.call(x, given(zq)));
      } else {
        var block =
            child(name, w -> new AttentionBlock(w, channels, channels, style.groups, EPS, 1));
        attentions.add((x, zq) -> block.call(x));
      }
    }

    final void addResnet(int in, int out) {
      String name = "resnets." + resnets.size();
      if (style.isSpatial()) {
        var block =
            child(
                name,
                w -> new ResnetBlockCondNorm2D(w, in, out, style.latentChannels, style.activation));
        resnets.add((x, zq) -> block.call(x, given(zq)));
      } else {
        var options =
            new ResnetBlock2D.Options(0, style.groups, EPS, style.activation, 0, false, 1);
        var block = child(name, w -> new ResnetBlock2D(w, in, out, options));
        resnets.add((x, zq) -> block.call(x));
      }
    }

    /** Blocks with the same number of results, each perhaps followed by attention. */
    final void addBlocks(int count, int in, int out, boolean attention) {
      for (int i = 0; attention && i < count; i++) {
        addAttention(out);
      }
      for (int i = 0; i < count; i++) {
        addResnet(i == 0 ? in : out, out);
      }
    }

    final void setResampling(String name, Function<Weights, Layer> build) {
      resampling = child(name, build);
    }

    private Tensor given(@Nullable Tensor zq) {
      return Objects.requireNonNull(zq, () -> path() + ": needs the quantised latent");
    }

    /** Runs the level; with {@code recompute}, backward runs it again instead of keeping all. */
    final Tensor call(Tensor x, @Nullable Tensor zq, boolean recompute) {
      if (!recompute) {
        return call(() -> forward(x, zq));
      }
      return zq == null
          ? Autograd.checkpoint(xs -> call(() -> forward(xs[0], null)), x)
          : Autograd.checkpoint(xs -> call(() -> forward(xs[0], xs[1])), x, zq);
    }

    private Tensor forward(Tensor x, @Nullable Tensor zq) {
      Tensor h = x;
      for (int i = 0; i < resnets.size(); i++) {
        h = resnets.get(i).call(h, zq);
        if (i < attentions.size()) {
          h = attentions.get(i).call(h, zq);
        }
      }
      return resampling == null ? h : resampling.call(h);
    }
  }

  /** A level of the encoder: residual blocks, each perhaps with attention, then halving. */
  static final class Down extends Level {
    Down(Weights weights, Style style, String type, int layers, int in, int out, boolean halve) {
      super(weights, style);
      addBlocks(layers, in, out, type.startsWith("Attn"));
      if (halve) {
        setResampling("downsamplers.0", w -> new Resampling.Downsample2D(w, out, 0));
      }
    }
  }

  /** The middle: two residual blocks, perhaps with attention between them. */
  static final class Mid extends Level {
    Mid(Weights weights, Style style, int channels, boolean attention) {
      super(weights, style);
      if (attention) {
        addAttention(channels);
      }
      addBlocks(2, channels, channels, false);
    }
  }

  /** A level of the decoder: residual blocks, each perhaps with attention, then doubling. */
  static final class Up extends Level {
    Up(Weights weights, Style style, String type, int layers, int in, int out, boolean twice) {
      super(weights, style);
      addBlocks(layers, in, out, type.startsWith("Attn"));
      if (twice) {
        setResampling("upsamplers.0", w -> new Resampling.Upsample2D(w, out));
      }
    }
  }
}
