// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The residual block of diffusers (ResnetBlock2D in models/resnet.py), with time conditioning. */
public final class ResnetBlock2D extends Module {
  /** What happens to the picture's size inside the block. */
  public enum Resample {
    /** Nothing. */
    NONE,
    /** Halved by 2x2 averages. */
    DOWN,
    /** Doubled by repetition. */
    UP
  }

  /**
   * What the blocks of one model have in common.
   *
   * @param timeChannels width of the time embedding; 0 for none (autoencoders)
   * @param groups groups of both normalisations
   * @param eps their epsilon
   * @param activation the activation
   * @param dropout probability of dropout before the second convolution
   * @param scaleShift whether time scales and shifts the second normalisation instead of being
   *     added
   * @param outputScale divisor of the residual sum
   */
  public record Options(
      int timeChannels,
      int groups,
      double eps,
      Activation activation,
      double dropout,
      boolean scaleShift,
      double outputScale) {
    /** The same with another divisor of the residual sum. */
    Options scaledBy(double scale) {
      return new Options(timeChannels, groups, eps, activation, dropout, scaleShift, scale);
    }
  }

  private final Options options;
  private final Resample resample;
  private final GroupNorm norm1;
  private final Conv2d conv1;
  private final @Nullable Linear timeEmbProj;
  private final GroupNorm norm2;
  private final Dropout dropout;
  private final Conv2d conv2;
  private final @Nullable Conv2d convShortcut;

  /** A block from {@code in} to {@code out} channels. */
  public ResnetBlock2D(Weights weights, int in, int out, Options options) {
    this(weights, in, out, options, Resample.NONE);
  }

  /** A block that also resamples. */
  public ResnetBlock2D(Weights weights, int in, int out, Options options, Resample resample) {
    super(weights);
    this.options = options;
    this.resample = resample;
    norm1 = child("norm1", w -> new GroupNorm(w, options.groups, in, options.eps));
    conv1 = child("conv1", w -> new Conv2d(w, in, out, 3));
    timeEmbProj =
        options.timeChannels == 0
            ? null
            : child(
                "time_emb_proj",
                w -> new Linear(w, options.timeChannels, options.scaleShift ? 2 * out : out));
    norm2 = child("norm2", w -> new GroupNorm(w, options.groups, out, options.eps));
    dropout = child("dropout", w -> new Dropout(w, options.dropout));
    conv2 = child("conv2", w -> new Conv2d(w, out, out, 3));
    convShortcut =
        in == out ? null : child("conv_shortcut", w -> new Conv2d(w, in, out, 1, ConvOptions.of()));
  }

  /**
   * Runs the block.
   *
   * @param x [B, in, H, W]
   * @param temb the time embedding after the activation [B, timeChannels]; null if the block has
   *     none
   * @return [B, out, H', W']
   */
  public Tensor call(Tensor x, @Nullable Tensor temb) {
    return call(x, temb == null ? null : TimeProjections.of(temb));
  }

  /** Runs a block without time embedding: [B, in, H, W] to [B, out, H', W']. */
  public Tensor call(Tensor x) {
    return call(x, (TimeProjections) null);
  }

  /** The same with an embedding that may have been projected. */
  Tensor call(Tensor x, @Nullable TimeProjections time) {
    return call(() -> forward(x, time));
  }

  /** The layer that projects the time embedding, if there is one. */
  Optional<Linear> timeProjection() {
    return Optional.ofNullable(timeEmbProj);
  }

  private Tensor forward(Tensor x, @Nullable TimeProjections time) {
    Tensor h = options.activation.afterNorm(norm1, x); // [B, in, H, W]
    h = conv1.call(resample(h)); // [B, out, H', W']
    Tensor shift = timeShift(time); // [B, out or 2 out, 1, 1]
    if (shift == null) {
      h = options.activation.afterNorm(norm2, h);
    } else if (options.scaleShift) {
      int out = h.dim(1);
      Tensor scale = shift.slice(1, 0, out).add(1);
      h = norm2.call(h).mul(scale).add(shift.slice(1, out, 2 * out));
      h = options.activation.apply(h);
    } else {
      h = options.activation.afterNorm(norm2, h.add(shift));
    }
    h = conv2.call(dropout.call(h));
    Tensor residual = resample(x);
    if (convShortcut != null) {
      residual = convShortcut.call(residual);
    }
    Tensor sum = residual.add(h);
    return options.outputScale == 1 ? sum : sum.div(options.outputScale);
  }

  private @Nullable Tensor timeShift(@Nullable TimeProjections time) {
    if ((timeEmbProj == null) != (time == null)) {
      throw new IllegalArgumentException(
          path()
              + ": a time embedding must be given exactly when the block projects one; this one"
              + (time == null ? " does" : " does not"));
    }
    if (timeEmbProj == null || time == null) {
      return null;
    }
    return time.by(timeEmbProj).unsqueeze(-1).unsqueeze(-1);
  }

  private Tensor resample(Tensor x) {
    return switch (resample) {
      case NONE -> x;
      case DOWN -> NN.avgPool2d(x, 2, 2);
      case UP -> NN.upsampleNearest(x, 2);
    };
  }
}
