// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.TimeFeatures;
import io.sfumato.models.nn.TimestepEmbedding;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The unconditional or class-conditional U-Net of diffusers (UNet2DModel, models/unets/unet_2d.py):
 * same configuration, names and numbers.
 *
 * {@snippet :
 * var unet = UNet2D.open(folder);                      // config.json and weights
 * Tensor noise = unet.call(x, timesteps, labels);
 * }
 */
public final class UNet2D extends Module {
  /** Kinds of levels on the way down. */
  static final List<String> DOWN =
      List.of("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D");

  /** Kinds of levels on the way up. */
  static final List<String> UP = List.of("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D");

  private final UNet2DConfig config;
  private final Conv2d convIn;
  private final @Nullable Parameter fourier;
  private final @Nullable Embedding learned;
  private final TimestepEmbedding timeEmbedding;
  private final @Nullable Embedding classTable;
  private final @Nullable TimestepEmbedding classTimestep;
  private final List<UNetBlocks.DownBlock> down = new ArrayList<>();
  private final UNetBlocks.@Nullable MidBlock mid;
  private final List<UNetBlocks.UpBlock> up = new ArrayList<>();
  private final Linear[] timeProjections;
  private final GroupNorm convNormOut;
  private final Conv2d convOut;
  private final Activation activation;

  /** A model whose parameters come from {@code weights}. */
  public UNet2D(Weights weights, UNet2DConfig config) {
    super(weights);
    this.config = config;
    this.activation = Activation.parse(config.actFn());
    List<Integer> channels = config.blockOutChannels();
    int c0 = channels.getFirst();
    Integer wanted = config.timeEmbeddingDim();
    int time = wanted == null ? 4 * c0 : wanted;

    convIn = child("conv_in", w -> new Conv2d(w, config.inChannels(), c0, 3));
    boolean isFourier = config.timeEmbeddingType().equals("fourier");
    fourier = isFourier ? child("time_proj", w -> new FourierFrequencies(w, c0)).frequencies : null;
    Integer steps = config.numTrainTimesteps();
    learned =
        config.timeEmbeddingType().equals("learned") && steps != null
            ? child("time_proj", w -> new Embedding(w, steps, c0))
            : null;
    int features = isFourier ? 2 * c0 : c0;
    timeEmbedding = child("time_embedding", w -> new TimestepEmbedding(w, features, time));
    Integer classes = config.numClassEmbeds();
    String classType = config.classEmbedType();
    classTable =
        classType == null && classes != null
            ? child("class_embedding", w -> new Embedding(w, classes, time))
            : null;
    classTimestep =
        "timestep".equals(classType)
            ? child("class_embedding", w -> new TimestepEmbedding(w, features, time))
            : null;

    var options =
        new ResnetBlock2D.Options(
            time,
            config.normNumGroups(),
            config.normEps(),
            activation,
            config.dropout(),
            config.resnetTimeScaleShift().equals("scale_shift"),
            1);
    int levels = channels.size();
    for (int i = 0; i < levels; i++) {
      int in = channels.get(Math.max(0, i - 1));
      int out = channels.get(i);
      String type = config.downBlockTypes().get(i);
      UNetBlocks.Level level =
          level(type, config.layersPerBlock(), in, in, out, options, i == levels - 1);
      down.add(child("down_blocks." + i, w -> new UNetBlocks.DownBlock(w, level)));
    }
    for (int i = 0; i < levels; i++) {
      int previous = channels.get(levels - 1 - Math.max(0, i - 1));
      int out = channels.get(levels - 1 - i);
      int in = channels.get(levels - 1 - Math.min(i + 1, levels - 1));
      String type = config.upBlockTypes().get(i);
      UNetBlocks.Level level =
          level(type, config.layersPerBlock() + 1, in, previous, out, options, i == levels - 1);
      up.add(child("up_blocks." + i, w -> new UNetBlocks.UpBlock(w, level)));
    }
    mid =
        config.midBlockType() == null
            ? null
            : child("mid_block", w -> mid(w, options, channels.getLast()));
    timeProjections =
        modules().values().stream()
            .flatMap(m -> m instanceof ResnetBlock2D b ? b.timeProjection().stream() : Stream.of())
            .toArray(Linear[]::new);
    convNormOut =
        child("conv_norm_out", w -> new GroupNorm(w, config.normNumGroups(), c0, config.normEps()));
    convOut = child("conv_out", w -> new Conv2d(w, c0, config.outChannels(), 3));
  }

  private UNetBlocks.Level level(
      String type,
      int layers,
      int in,
      int previous,
      int out,
      ResnetBlock2D.Options options,
      boolean last) {
    boolean attention = type.startsWith("Attn");
    String resampling = type.contains("Up") ? config.upsampleType() : config.downsampleType();
    boolean byResnet = type.startsWith("Resnet") || (attention && resampling.equals("resnet"));
    UNetBlocks.Resampler resampler =
        last
            ? UNetBlocks.Resampler.NONE
            : byResnet ? UNetBlocks.Resampler.RESNET : UNetBlocks.Resampler.CONV;
    UNetBlocks.AttentionBuilder builder = (w, i) -> attention(w, out, config.normNumGroups(), 1);
    return new UNetBlocks.Level(
        layers,
        in,
        previous,
        out,
        options,
        attention ? builder : null,
        resampler,
        config.downsamplePadding());
  }

  private UNetBlocks.MidBlock mid(Weights weights, ResnetBlock2D.Options common, int channels) {
    double scale = config.midBlockScaleFactor();
    Integer given = config.attnNormNumGroups();
    Integer groups =
        given == null && !common.scaleShift() ? Integer.valueOf(common.groups()) : given;
    UNetBlocks.AttentionBuilder builder = (w, i) -> attention(w, channels, groups, scale);
    return new UNetBlocks.MidBlock(
        weights, channels, common.scaledBy(scale), 2, config.addAttention() ? builder : null);
  }

  private AttentionBlock attention(
      Weights w, int channels, @Nullable Integer groups, double outputScale) {
    Integer head = config.attentionHeadDim();
    return new AttentionBlock(
        w, channels, head == null ? channels : head, groups, config.normEps(), outputScale);
  }

  /**
   * Reads a model folder of diffusers: {@code config.json} and {@code
   * diffusion_pytorch_model.safetensors}, in one file or in shards, under present or old names.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static UNet2D open(Path folder) {
    UNet2DConfig config = UNet2DConfig.read(UNetFiles.config(folder));
    return UNetFiles.open(folder, w -> new UNet2D(w, config));
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
  public UNet2DConfig config() {
    return config;
  }

  /** {@link #call(Tensor, double[], Tensor)} without classes. */
  public Tensor call(Tensor sample, double[] timesteps) {
    return call(sample, timesteps, null);
  }

  /**
   * Predicts from noisy pictures.
   *
   * @param sample [B, in, H, W]; H and W divisible by 2 to the number of halvings
   * @param timesteps one per sample, or one for all
   * @param classes I64 [B] for a class table, F32 [B] timesteps or [B, 4 C0] embeddings for the
   *     other kinds of class conditioning; null if the model has none
   * @return [B, out, H, W]
   */
  public Tensor call(Tensor sample, double[] timesteps, @Nullable Tensor classes) {
    check(sample, timesteps, classes);
    double[] t = timesteps;
    if (t.length == 1 && sample.dim(0) != 1) {
      t = new double[sample.dim(0)];
      Arrays.fill(t, timesteps[0]);
    }
    double[] perSample = t;
    return call(() -> forward(sample, perSample, classes));
  }

  private Tensor forward(Tensor sample, double[] t, @Nullable Tensor classes) {
    Tensor x = config.centerInputSample() ? sample.mul(2).sub(1) : sample;
    Tensor emb = timeEmbedding.call(timeFeatures(t, sample)); // [B, time]
    if (classes != null) {
      emb = emb.add(classEmbedding(classes, sample));
    }
    TimeProjections time = TimeProjections.of(activation.apply(emb), timeProjections);
    Tensor h = convIn.call(x); // [B, C0, H, W]
    Deque<Tensor> skips = new ArrayDeque<>();
    skips.push(h);
    for (UNetBlocks.DownBlock block : down) {
      h = block.call(h, time, null, skips);
    }
    if (mid != null) {
      h = mid.call(h, time, null);
    }
    for (UNetBlocks.UpBlock block : up) {
      h = block.call(h, time, null, skips);
    }
    h = activation.afterNorm(convNormOut, h); // [B, C0, H, W]
    h = convOut.call(h); // [B, out, H, W]
    if (fourier != null) {
      Tensor scale = Tensor.of(t, h.dtype(), h.device(), t.length, 1, 1, 1);
      h = h.div(scale);
    }
    return h;
  }

  private Tensor timeFeatures(double[] t, Tensor sample) {
    int c0 = config.blockOutChannels().getFirst();
    if (fourier != null) {
      double[] logs = Arrays.stream(t).map(Math::log).toArray();
      Tensor angles =
          Tensor.of(logs, sample.dtype(), sample.device(), t.length, 1)
              .mul(fourier.value().reshape(1, c0))
              .mul(2 * Math.PI);
      return Shaping.concat(1, Num.sin(angles), Num.cos(angles)); // [B, 2 C0]
    }
    if (learned != null) {
      long[] index = Arrays.stream(t).mapToLong(v -> (long) v).toArray();
      return learned.call(Tensor.of(index, index.length).to(sample.device()));
    }
    return Num.cast(
        TimeFeatures.sinusoidal(t, c0, config.flipSinToCos(), config.freqShift(), sample.device()),
        sample.dtype());
  }

  private Tensor classEmbedding(Tensor classes, Tensor sample) {
    if (classTable != null) {
      return classTable.call(classes);
    }
    if (classTimestep != null) {
      return classTimestep.call(timeFeatures(classes.toDoubleArray(), sample));
    }
    return classes;
  }

  private void check(Tensor sample, double[] timesteps, @Nullable Tensor classes) {
    int halvings = down.size() - 1;
    int unit = 1 << halvings;
    if (sample.rank() != 4 || sample.dim(1) != config.inChannels()) {
      throw new ShapeException(
          "UNet2D: sample must be [B, " + config.inChannels() + ", H, W]; got " + sample.spec());
    }
    if (sample.dim(2) % unit != 0 || sample.dim(3) % unit != 0) {
      throw new ShapeException(
          "UNet2D: height and width must be divisible by "
              + unit
              + " ("
              + halvings
              + " halvings); got "
              + sample.spec());
    }
    if (timesteps.length != 1 && timesteps.length != sample.dim(0)) {
      throw new ShapeException(
          "UNet2D: timesteps must be one, or one per sample; got "
              + timesteps.length
              + " for "
              + sample.spec());
    }
    boolean wantsClasses = config.numClassEmbeds() != null || config.classEmbedType() != null;
    if (wantsClasses != (classes != null)) {
      throw new IllegalArgumentException(
          "UNet2D: class labels must be given exactly when the model is class-conditional; this one"
              + (wantsClasses ? " is" : " is not"));
    }
  }

  /** The frequencies of Gaussian Fourier features, saved though not trained by the reference. */
  private static final class FourierFrequencies extends Module {
    private final Parameter frequencies;

    FourierFrequencies(Weights weights, int count) {
      super(weights);
      frequencies = parameter("weight", Shape.of(count), Init.normal(16));
    }
  }
}
