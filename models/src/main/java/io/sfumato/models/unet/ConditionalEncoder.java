// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.TimeFeatures;
import io.sfumato.models.nn.TimestepEmbedding;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What {@link UNet2DCondition} and {@link ControlNet} have in common: the embeddings, the way down
 * and the middle.
 */
abstract class ConditionalEncoder extends Module {
  final UNet2DConditionConfig config;
  final Activation activation;
  final ResnetBlock2D.Options options;
  private final Conv2d convIn;
  private final @Nullable Parameter fourier;
  private final TimestepEmbedding timeEmbedding;
  private final @Nullable Linear contextProjection;
  private final @Nullable Embedding classTable;
  private final @Nullable TimestepEmbedding classEmbedding;
  private final @Nullable Linear classLinear;
  private final @Nullable TimestepEmbedding addEmbedding;
  private final List<UNetBlocks.DownBlock> down = new ArrayList<>();
  private UNetBlocks.@Nullable MidBlock mid;

  /** Builds the first convolution and the embeddings; subclasses build the rest in their order. */
  ConditionalEncoder(Weights weights, UNet2DConditionConfig config) {
    super(weights);
    this.config = config;
    activation = Activation.parse(config.actFn());
    int c0 = config.blockOutChannels().getFirst();
    UNetTime time = config.time();
    UNetConditioning more = config.conditioning();
    int width = time.width(c0);
    int features = time.features(c0);
    String post = time.postAct();
    convIn = child("conv_in", w -> new Conv2d(w, config.inChannels(), c0, config.convInKernel()));
    fourier =
        time.isFourier() ? child("time_proj", w -> new Frequencies(w, width / 2)).values : null;
    timeEmbedding =
        child(
            "time_embedding",
            w ->
                new TimestepEmbedding(
                    w,
                    features,
                    width,
                    activation,
                    post == null ? null : Activation.parse(post),
                    time.condProjDim()));
    Integer hidden = more.encoderHidDim();
    int contextWidth = config.transformers().crossAttentionDim().at(0);
    contextProjection =
        hidden == null ? null : child("encoder_hid_proj", w -> new Linear(w, hidden, contextWidth));
    String classes = more.classEmbedType();
    Integer table = more.numClassEmbeds();
    Integer given = more.projectionClassEmbeddingsInputDim();
    int projected = given == null ? 0 : given;
    classTable =
        classes == null && table != null
            ? child("class_embedding", w -> new Embedding(w, table, width))
            : null;
    classEmbedding =
        "timestep".equals(classes)
            ? child(
                "class_embedding",
                w -> new TimestepEmbedding(w, features, width, activation, null, null))
            : "projection".equals(classes)
                ? child("class_embedding", w -> new TimestepEmbedding(w, projected, width))
                : null;
    classLinear =
        "simple_projection".equals(classes)
            ? child("class_embedding", w -> new Linear(w, projected, width))
            : null;
    addEmbedding =
        more.isTextTime()
            ? child("add_embedding", w -> new TimestepEmbedding(w, projected, width))
            : null;
    options =
        new ResnetBlock2D.Options(
            more.classEmbeddingsConcat() ? 2 * width : width,
            config.normNumGroups(),
            config.normEps(),
            activation,
            config.dropout(),
            config.resnetTimeScaleShift().equals("scale_shift"),
            1);
  }

  final void buildDown() {
    List<Integer> channels = config.blockOutChannels();
    int levels = channels.size();
    UNetTransformers t = config.transformers();
    for (int i = 0; i < levels; i++) {
      int level = i;
      int in = channels.get(Math.max(0, i - 1));
      int out = channels.get(i);
      String type = config.downBlockTypes().get(i);
      boolean last = i == levels - 1;
      UNetBlocks.AttentionBuilder attention =
          attention(
              type,
              out,
              t.attentionHeadDim().at(i),
              layer -> t.layersPerBlock().at(level).at(layer),
              t.crossAttentionDim().at(i),
              t.onlyCrossAttention().at(i));
      var spec =
          new UNetBlocks.Level(
              config.layersPerBlock().at(i),
              in,
              in,
              out,
              options,
              attention,
              resampler(type, last),
              config.downsamplePadding());
      down.add(child("down_blocks." + i, w -> new UNetBlocks.DownBlock(w, spec)));
    }
  }

  final void buildMid() {
    String type = config.midBlockType();
    if (type == null) {
      return;
    }
    int channels = config.blockOutChannels().getLast();
    int lastLevel = config.blockOutChannels().size() - 1;
    UNetTransformers t = config.transformers();
    UNetBlocks.AttentionBuilder attention =
        attention(
            type,
            channels,
            t.attentionHeadDim().at(lastLevel),
            layer -> t.layersPerBlock().at(lastLevel).at(0),
            t.crossAttentionDim().at(lastLevel),
            false);
    ResnetBlock2D.Options scaled = options.scaledBy(config.midBlockScaleFactor());
    mid =
        child(
            "mid_block",
            w ->
                new UNetBlocks.MidBlock(w, channels, scaled, attention == null ? 1 : 2, attention));
  }

  /** Number of transformer blocks behind a residual block. */
  @FunctionalInterface
  interface BlockCount {
    int of(int layer);
  }

  /** The attention of a kind of level, or null if it has none. */
  final UNetBlocks.@Nullable AttentionBuilder attention(
      String type,
      int channels,
      int head,
      BlockCount blocks,
      int contextWidth,
      boolean onlyCrossAttention) {
    if (type.startsWith("Attn")) {
      return (w, layer) ->
          new AttentionBlock(w, channels, head, config.normNumGroups(), config.normEps(), 1);
    }
    if (!type.contains("CrossAttn")) {
      return null;
    }
    return (w, layer) ->
        new Transformer2D(
            w,
            new Transformer2D.Options(
                channels,
                head,
                blocks.of(layer),
                contextWidth,
                config.normNumGroups(),
                config.transformers().useLinearProjection(),
                onlyCrossAttention));
  }

  static UNetBlocks.Resampler resampler(String type, boolean last) {
    return last
        ? UNetBlocks.Resampler.NONE
        : type.startsWith("Resnet") ? UNetBlocks.Resampler.RESNET : UNetBlocks.Resampler.CONV;
  }

  /** The layers that project the time embedding in all residual blocks. */
  final Linear[] timeProjections() {
    return modules().values().stream()
        .flatMap(m -> m instanceof ResnetBlock2D b ? b.timeProjection().stream() : Stream.of())
        .toArray(Linear[]::new);
  }

  /**
   * The context with its projection, and the keys and values of all cross-attentions, computed once
   * for many calls. They belong to the current scope, and hold as long as weights and adapters stay
   * as they are.
   */
  public final Context prepare(Context context) {
    return projected(context).prepare(this);
  }

  /** The context as the blocks take it. */
  final Context projected(Context context) {
    if (context.isPreparedFor(this) || contextProjection == null) {
      return context;
    }
    return context.withStates(contextProjection.call(context.states()));
  }

  /** The embedding of timesteps and conditions, and what the residual blocks make of it. */
  final TimeProjections embed(
      double[] t, Tensor sample, UNetConditions conditions, Linear[] projections) {
    Tensor emb =
        timeEmbedding.call(features(Tensor.of(t, t.length), sample), conditions.guidance());
    Tensor classes = conditions.classes();
    if (classes != null) {
      Tensor embedded = classEmbedding(classes, sample); // [B, time]
      boolean joined = config.conditioning().classEmbeddingsConcat();
      emb = joined ? Shaping.concat(1, emb, embedded) : emb.add(embedded);
    }
    if (addEmbedding != null) {
      emb = emb.add(addEmbedding.call(textTime(conditions, sample)));
    }
    String last = config.time().actFn();
    emb = last == null ? emb : Activation.parse(last).apply(emb);
    return TimeProjections.of(activation.apply(emb), projections);
  }

  /** Features of timesteps F64 or F32 [B], in the type and on the device of the sample. */
  private Tensor features(Tensor t, Tensor sample) {
    int c0 = config.blockOutChannels().getFirst();
    UNetTime time = config.time();
    Tensor f;
    if (fourier != null) {
      Tensor angles =
          Num.cast(t, DType.F32)
              .to(sample.device())
              .reshape(t.dim(0), 1)
              .mul(Num.cast(fourier.value(), DType.F32).reshape(1, -1))
              .mul(2 * Math.PI);
      Tensor sin = Num.sin(angles);
      Tensor cos = Num.cos(angles);
      f = time.flipSinToCos() ? Shaping.concat(1, cos, sin) : Shaping.concat(1, sin, cos);
    } else {
      f = positional(t, c0, sample);
    }
    return Num.cast(f, sample.dtype());
  }

  private Tensor positional(Tensor t, int width, Tensor sample) {
    UNetTime time = config.time();
    return TimeFeatures.sinusoidal(
        t.toDoubleArray(), width, time.flipSinToCos(), time.freqShift(), sample.device());
  }

  private Tensor classEmbedding(Tensor classes, Tensor sample) {
    if (classTable != null) {
      return classTable.call(classes);
    }
    if (classLinear != null) {
      return classLinear.call(classes);
    }
    if (classEmbedding != null) {
      boolean steps = "timestep".equals(config.conditioning().classEmbedType());
      return classEmbedding.call(steps ? features(classes, sample) : classes);
    }
    return classes; // identity
  }

  /** Pooled text and the features of each size: [B, projection_class_embeddings_input_dim]. */
  private Tensor textTime(UNetConditions conditions, Tensor sample) {
    Tensor text = conditions.textEmbeds();
    Tensor ids = conditions.timeIds();
    Integer width = config.conditioning().additionTimeEmbedDim();
    if (text == null || ids == null || width == null) {
      throw new IllegalStateException(path() + ": text_time without its inputs");
    }
    int b = sample.dim(0);
    Tensor times = positional(ids.reshape(b * ids.dim(1)), width, sample).reshape(b, -1);
    return Shaping.concat(1, text, Num.cast(times, text.dtype()));
  }

  /** The first convolution and the way down; what the way up takes is pushed on {@code skips}. */
  final Tensor encode(
      Tensor sample,
      @Nullable Tensor hint,
      TimeProjections time,
      @Nullable Context context,
      Deque<Tensor> skips) {
    Tensor x = config.centerInputSample() ? sample.mul(2).sub(1) : sample;
    Tensor h = convIn.call(x); // [B, C0, H, W]
    h = hint == null ? h : h.add(hint);
    skips.push(h);
    for (UNetBlocks.DownBlock block : down) {
      h = block.call(h, time, context, skips);
    }
    return h;
  }

  final Tensor middle(Tensor x, TimeProjections time, @Nullable Context context) {
    return mid == null ? x : mid.call(x, time, context);
  }

  /** One timestep for each sample. */
  static double[] perSample(double[] timesteps, int batch) {
    if (timesteps.length == batch) {
      return timesteps;
    }
    double[] t = new double[batch];
    Arrays.fill(t, timesteps[0]);
    return t;
  }

  /** Checks what comes in, before anything is computed. */
  final void check(
      Tensor sample, double[] timesteps, @Nullable Context context, UNetConditions conditions) {
    String name = getClass().getSimpleName();
    if (sample.rank() != 4 || sample.dim(1) != config.inChannels()) {
      throw new ShapeException(
          name + ": sample must be [B, " + config.inChannels() + ", H, W]; got " + sample.spec());
    }
    int b = sample.dim(0);
    if (timesteps.length != 1 && timesteps.length != b) {
      throw new ShapeException(
          name
              + ": timesteps must be one, or one per sample; got "
              + timesteps.length
              + " for "
              + sample.spec());
    }
    if (context != null && context.states().dim(0) != b) {
      throw new ShapeException(
          name
              + ": the context must have one row of states per sample; got "
              + context.states().spec()
              + " for "
              + sample.spec());
    }
    UNetConditioning more = config.conditioning();
    given(name, "classes", more.hasClasses(), conditions.classes(), b, "class-conditional");
    boolean text = more.isTextTime();
    given(name, "text_embeds", text, conditions.textEmbeds(), b, "one of text_time");
    given(name, "time_ids", text, conditions.timeIds(), b, "one of text_time");
  }

  private static void given(
      String name, String what, boolean wanted, @Nullable Tensor value, int batch, String kind) {
    if (wanted != (value != null)) {
      throw new IllegalArgumentException(
          name
              + ": "
              + what
              + " must be given exactly when the model is "
              + kind
              + "; this one is"
              + (wanted ? "" : " not"));
    }
    if (value != null && (value.rank() < 1 || value.dim(0) != batch)) {
      throw new ShapeException(
          name
              + ": "
              + what
              + " must have one row per sample ("
              + batch
              + "); got "
              + value.spec());
    }
  }

  /** The frequencies of Gaussian Fourier features, saved though not trained by the reference. */
  private static final class Frequencies extends Module {
    private final Parameter values;

    Frequencies(Weights weights, int count) {
      super(weights);
      values = parameter("weight", Shape.of(count), Init.normal(1));
    }
  }
}
