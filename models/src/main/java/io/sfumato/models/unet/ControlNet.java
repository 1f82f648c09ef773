// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A network beside a U-Net that lets a picture control it (Zhang et al. 2023, "Adding conditional
 * control to text-to-image diffusion models"; diffusers models/controlnets/controlnet.py): a copy
 * of the way down and the middle, each result through a convolution that starts as zero.
 *
 * {@snippet :
 * ControlNet.Residuals r = control.call(latents, t, controlContext, edges).scaledBy(0.8);
 * Tensor noise = unet.call(latents, t, context, UNetConditions.none().residuals(r.down(), r.mid()));
 * }
 */
public final class ControlNet extends ConditionalEncoder {
  private final ControlNetConfig control;
  private final Hint hintEmbedding;
  private final List<Conv2d> zeroDown = new ArrayList<>();
  private final Conv2d zeroMid;
  private final Linear[] timeProjections;

  /**
   * What is added to a U-Net.
   *
   * @param down to the results of its way down, in the order they are computed
   * @param mid to the result of its middle
   * @param pooled whether they are averages over the picture
   */
  public record Residuals(List<Tensor> down, Tensor mid, boolean pooled) {
    /** Keeps a copy of the list. */
    public Residuals {
      down = List.copyOf(down);
    }

    /** Times the strength of the control, diffusers' conditioning_scale. */
    public Residuals scaledBy(double strength) {
      double[] scales = new double[down.size() + 1];
      Arrays.fill(scales, strength);
      return scaledBy(scales);
    }

    /**
     * For guessing what a picture shows without a text, diffusers' guess_mode: less of the first
     * results, by factors from 0.1 to 1 in equal ratios, times the strength; averages by the
     * strength alone.
     */
    public Residuals forGuessing(double strength) {
      if (pooled) {
        return scaledBy(strength);
      }
      double[] scales = new double[down.size() + 1];
      for (int i = 0; i < scales.length; i++) {
        scales[i] = strength * Math.pow(10, (double) i / (scales.length - 1) - 1);
      }
      return scaledBy(scales);
    }

    private Residuals scaledBy(double[] scales) {
      List<Tensor> scaled = new ArrayList<>();
      for (int i = 0; i < down.size(); i++) {
        scaled.add(down.get(i).mul(scales[i]));
      }
      return new Residuals(scaled, mid.mul(scales[down.size()]), pooled);
    }

    /** The sum of two controls. */
    public Residuals plus(Residuals other) {
      List<Tensor> sum = new ArrayList<>();
      Iterator<Tensor> others = other.down.iterator();
      down.forEach(r -> sum.add(r.add(others.next())));
      return new Residuals(sum, mid.add(other.mid), pooled && other.pooled);
    }
  }

  /** A network whose parameters come from {@code weights}. */
  public ControlNet(Weights weights, ControlNetConfig config) {
    super(weights, config.unet());
    this.control = config;
    List<Integer> channels = config.unet().blockOutChannels();
    hintEmbedding =
        child("controlnet_cond_embedding", w -> new Hint(w, config, channels.getFirst()));
    buildDown();
    zero(channels.getFirst());
    for (int i = 0; i < channels.size(); i++) {
      int last = i == channels.size() - 1 ? 0 : 1;
      for (int j = 0; j < config.unet().layersPerBlock().at(i) + last; j++) {
        zero(channels.get(i));
      }
    }
    zeroMid = child("controlnet_mid_block", w -> zero(w, channels.getLast()));
    buildMid();
    timeProjections = timeProjections();
  }

  private void zero(int channels) {
    zeroDown.add(child("controlnet_down_blocks." + zeroDown.size(), w -> zero(w, channels)));
  }

  private static Conv2d zero(Weights w, int channels) {
    return new Conv2d(w, channels, channels, 1, ConvOptions.of(), Init.zeros());
  }

  /**
   * Reads a model folder of diffusers: {@code config.json} and {@code
   * diffusion_pytorch_model.safetensors}.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static ControlNet open(Path folder) {
    ControlNetConfig config = ControlNetConfig.read(UNetFiles.config(folder));
    return UNetFiles.open(folder, w -> new ControlNet(w, config));
  }

  /** Writes the model as a folder that diffusers reads. */
  public void save(Path folder) {
    UNetFiles.save(folder, control.toMap(), this);
  }

  /** The configuration. */
  public ControlNetConfig config() {
    return control;
  }

  /**
   * Copies the embeddings, the way down and the middle of a U-Net into this network, as training
   * begins (diffusers' from_unet).
   *
   * @throws IllegalArgumentException if the U-Net lacks one of them, or has it in another shape;
   *     then nothing was changed
   */
  public void copyFrom(UNet2DCondition source) {
    Map<String, Tensor> theirs = source.stateDict();
    List<Parameter> copied =
        parameters().stream().filter(p -> !p.name().startsWith("controlnet_")).toList();
    for (Parameter p : copied) {
      Tensor value = theirs.get(p.name());
      if (value == null || !value.shape().equals(p.value().shape())) {
        throw new IllegalArgumentException(
            "ControlNet: the U-Net must have "
                + p.name()
                + " "
                + p.value().shape()
                + "; it has "
                + (value == null ? "none" : value.spec()));
      }
    }
    copied.forEach(p -> Scope.run(() -> copy(p.value(), theirs.get(p.name()))));
  }

  private static void copy(Tensor target, @Nullable Tensor value) {
    if (value != null) {
      Updates.copy(target, Num.cast(value, target.dtype()).to(target.device()));
    }
  }

  /** {@link #call(Tensor, double[], Context, Tensor, UNetConditions)} without conditions. */
  public Residuals call(Tensor sample, double[] timesteps, @Nullable Context context, Tensor hint) {
    return call(sample, timesteps, context, hint, UNetConditions.none());
  }

  /**
   * What is added to the U-Net.
   *
   * @param sample [B, in, H, W]
   * @param timesteps one per sample, or one for all
   * @param context what cross-attention looks at; may be null if the network has none
   * @param hint the picture that controls [B, conditioning channels, 2ⁿ H, 2ⁿ W], 8 H and 8 W for
   *     Stable Diffusion
   * @param conditions what else the network takes
   * @throws ShapeException if something does not fit
   */
  public Residuals call(
      Tensor sample,
      double[] timesteps,
      @Nullable Context context,
      Tensor hint,
      UNetConditions conditions) {
    check(sample, timesteps, context, conditions);
    checkHint(sample, hint);
    double[] t = perSample(timesteps, sample.dim(0));
    Tensor[] results = callAll(() -> forward(sample, t, context, hint, conditions));
    int last = results.length - 1;
    return new Residuals(
        List.of(results).subList(0, last), results[last], control.globalPoolConditions());
  }

  private Tensor[] forward(
      Tensor sample, double[] t, @Nullable Context given, Tensor hint, UNetConditions conditions) {
    Context context = given == null ? null : projected(given);
    TimeProjections time = embed(t, sample, conditions, timeProjections);
    boolean reversed = control.conditioningChannelOrder().equals("bgr");
    Tensor embedded = hintEmbedding.call(reversed ? Shaping.flip(hint, 1) : hint); // [B, C0, H, W]
    Deque<Tensor> skips = new ArrayDeque<>();
    Tensor h = encode(sample, embedded, time, context, skips);
    h = middle(h, time, context); // [B, C, H/2ⁿ, W/2ⁿ]
    Tensor[] results = new Tensor[zeroDown.size() + 1];
    for (int i = 0; i < zeroDown.size(); i++) {
      results[i] = pooled(zeroDown.get(i).call(skips.removeLast()));
    }
    results[zeroDown.size()] = pooled(zeroMid.call(h));
    return results;
  }

  private Tensor pooled(Tensor x) {
    return control.globalPoolConditions() ? NN.adaptiveAvgPool2d(x, 1, 1) : x;
  }

  private void checkHint(Tensor sample, Tensor hint) {
    int factor = 1 << (control.conditioningEmbeddingOutChannels().size() - 1);
    List<Integer> expected =
        List.of(
            sample.dim(0),
            control.conditioningChannels(),
            factor * sample.dim(2),
            factor * sample.dim(3));
    List<Integer> actual = Arrays.stream(hint.shape().dims()).boxed().toList();
    if (!expected.equals(actual)) {
      throw new ShapeException(
          "ControlNet: hint must be "
              + expected
              + ", "
              + factor
              + " times the sample's size; got "
              + hint.spec());
    }
  }

  /** Embeds the picture that controls. */
  private static final class Hint extends Layer {
    private final Conv2d convIn;
    private final List<Conv2d> blocks = new ArrayList<>();
    private final Conv2d convOut;

    Hint(Weights weights, ControlNetConfig config, int out) {
      super(weights);
      List<Integer> channels = config.conditioningEmbeddingOutChannels();
      convIn =
          child(
              "conv_in", w -> new Conv2d(w, config.conditioningChannels(), channels.getFirst(), 3));
      ConvOptions halving = ConvOptions.of().stride(2).padding(1);
      for (int i = 0; i < channels.size() - 1; i++) {
        int from = channels.get(i);
        int to = channels.get(i + 1);
        blocks.add(child("blocks." + blocks.size(), w -> new Conv2d(w, from, from, 3)));
        blocks.add(child("blocks." + blocks.size(), w -> new Conv2d(w, from, to, 3, halving)));
      }
      ConvOptions same = ConvOptions.of().padding(1);
      convOut =
          child("conv_out", w -> new Conv2d(w, channels.getLast(), out, 3, same, Init.zeros()));
    }

    @Override
    protected Tensor forward(Tensor hint) {
      Tensor h = NN.silu(convIn.call(hint)); // [B, 16, 8 H, 8 W]
      for (Conv2d block : blocks) {
        h = NN.silu(block.call(h));
      }
      return convOut.call(h); // [B, C0, H, W]
    }
  }
}
