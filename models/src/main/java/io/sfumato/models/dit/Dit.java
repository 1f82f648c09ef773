// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.TimeFeatures;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The diffusion transformer (Peebles and Xie, 2023): patches of a picture are tokens of a
 * transformer that timestep and class steer. Same configuration, names and numbers as diffusers'
 * DiTTransformer2DModel (models/transformers/dit_transformer_2d.py), or, in the other {@link
 * DitLayout}, as the authors' models.py.
 *
 * {@snippet :
 * var dit = Dit.open(folder);                          // config.json and weights of either layout
 * Tensor noise = dit.call(x, timesteps, labels);       // [B, C or 2C, H, W]
 *
 * var small = DitConfig.named("DiT-S/4").toBuilder().sampleSize(28).imageChannels(1).classes(10);
 * var fresh = new Dit(Weights.init(Rng.seed(0)), small.build());
 * }
 *
 * <p>Fresh parameters are the paper's in both layouts: Xavier's for linear layers and patches, zero
 * biases, N(0, 0.02²) for the embedders, zero for modulations and the last layer.
 */
public final class Dit extends Module {
  private static final Pattern NORM =
      Pattern.compile("\\.(norm[123]|norm_cross|norm_final)\\.(weight|bias)$");
  private static final Pattern ZERO =
      Pattern.compile(
          "\\.(adaLN_modulation\\.1|norm1\\.linear|proj_out_[12]|final_layer\\.linear)\\.");
  private static final Pattern EMBEDDER = Pattern.compile("\\.(t|y|timestep|class)_embedder\\.");

  private final DitConfig config;
  private final Conv2d patches;
  private final @Nullable Parameter positions;
  private final @Nullable Embedders shared;
  private final List<Embedders> own;
  private final List<DitBlock> blocks;
  private final @Nullable Linear modulation;
  private final @Nullable LayerNorm norm;
  private final Linear out;
  private final Linear[] modulations;
  private final Map<Grid, Parameter> tables = new HashMap<>();

  /** A model whose parameters come from {@code weights}. */
  public Dit(Weights weights, DitConfig config) {
    super(weights.initialised(Dit::paper));
    this.config = config;
    boolean original = config.layout() == DitLayout.ORIGINAL;
    int d = config.width();
    int p = config.patchSize();
    int side = config.sampleSize() / p;
    int outputs = p * p * config.outputs();

    ConvOptions everyPatch = ConvOptions.of().stride(p);
    patches =
        child(
            original ? "x_embedder.proj" : "pos_embed.proj",
            w -> new Conv2d(w, config.inChannels(), d, p, everyPatch));
    Shape table = Shape.of(1, side * side, d);
    positions =
        switch (config.positions()) {
          case "learned" -> parameter("pos_embed", table, Init.normal(0.02));
          case "sincos" -> original ? buffer("pos_embed", table, Dit.table(side, d)) : null;
          default -> null;
        };
    shared = original ? embedders() : null;
    blocks =
        children(
            original ? "blocks" : "transformer_blocks",
            config.numLayers(),
            (w, i) -> DitBlock.of(w, config));
    own = blocks.stream().flatMap(b -> b.embedders().stream()).toList();
    boolean modulates = config.conditioning().modulates();
    modulation =
        modulates
            ? child(
                original ? "final_layer.adaLN_modulation.1" : "proj_out_1",
                w -> new Linear(w, d, 2 * d))
            : null;
    norm =
        modulates
            ? null
            : child("final_layer.norm_final", w -> new LayerNorm(w, d, DitBlock.EPS, true));
    out = child(original ? "final_layer.linear" : "proj_out_2", w -> new Linear(w, d, outputs));
    modulations =
        Stream.concat(blocks.stream().flatMap(b -> b.modulation().stream()), last())
            .toArray(Linear[]::new);
  }

  private Stream<Linear> last() {
    return modulation == null ? Stream.of() : Stream.of(modulation);
  }

  private Embedders embedders() {
    int d = config.width();
    Integer classes = config.numEmbedsAdaNorm();
    return new Embedders(
        child("t_embedder.mlp.0", w -> new Linear(w, Embedders.FEATURES, d)),
        child("t_embedder.mlp.2", w -> new Linear(w, d, d)),
        classes == null
            ? null
            : child("y_embedder.embedding_table", w -> new Embedding(w, classes + 1, d)));
  }

  /** First values as in the paper's initialize_weights. */
  private static Init paper(String name, Init asked) {
    String path = "." + name;
    if (NORM.matcher(path).find() || path.endsWith(".pos_embed")) {
      return asked;
    }
    if (path.endsWith(".bias") || ZERO.matcher(path).find()) {
      return Init.zeros();
    }
    return EMBEDDER.matcher(path).find() ? Init.normal(0.02) : Init.xavierUniform();
  }

  private static Init table(int side, int width) {
    return (spec, rng) ->
        Tensor.of(
            Positions.sinCos(side, side, side, width),
            spec.dtype(),
            spec.device(),
            spec.shape().dims());
  }

  /**
   * Reads a model folder: {@code config.json} and weights in either layout. Weights of the other
   * layout than the configuration's are turned into it.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static Dit open(Path folder) {
    return open(folder, DitConfig.read(folder.resolve("config.json")));
  }

  /**
   * Reads weights in either layout, for example a checkpoint of the authors that has no
   * configuration.
   *
   * @param weights a safetensors file, or a folder that holds one
   * @param config the model; its layout need not be the file's
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static Dit open(Path weights, DitConfig config) {
    try (Weights source =
        Weights.from(DitCheckpoints.as(config.layout(), TensorSource.open(weights), config))) {
      Dit model = new Dit(source, config);
      try {
        source.requireAllUsed();
      } catch (WeightsException e) {
        model.close();
        throw e;
      }
      return model;
    }
  }

  /** Writes the model as a folder that {@link #open} reads, and diffusers if the layout is its. */
  public void save(Path folder) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    SafeTensors.save(folder.resolve("diffusion_pytorch_model.safetensors"), stateDict());
  }

  /**
   * Writes the model in a layout, whichever it has itself.
   *
   * @throws WeightsException if the layout cannot hold it; nothing is written then
   * @throws IllegalArgumentException likewise, for its configuration
   */
  public void save(Path folder, DitLayout layout) {
    DitConfig other = config.toBuilder().namesOf(layout).build();
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = DitCheckpoints.as(layout, stateDict(), config);
          ModelConfig.write(folder.resolve("config.json"), other.toMap());
          SafeTensors.save(folder.resolve("diffusion_pytorch_model.safetensors"), tensors);
        });
  }

  /** The configuration. */
  public DitConfig config() {
    return config;
  }

  /** {@link #call(Tensor, double[], Tensor)} of a model without classes. */
  public Tensor call(Tensor sample, double[] timesteps) {
    return call(sample, timesteps, null);
  }

  /**
   * Predicts from noisy pictures.
   *
   * @param sample [B, C, H, W]; H and W divisible by the patch size
   * @param timesteps one per sample, or one for all
   * @param classes I64 [B]; the number of classes stands for "no class". Null if the model has none
   * @return [B, out, H, W]; with a learned variance the prediction first, then the variance
   */
  public Tensor call(Tensor sample, double[] timesteps, @Nullable Tensor classes) {
    check(sample, timesteps, classes);
    return call(() -> forward(sample, timesteps, classes));
  }

  private Tensor forward(Tensor x, double[] t, @Nullable Tensor y) {
    int rows = x.dim(2) / config.patchSize();
    int columns = x.dim(3) / config.patchSize();
    Tensor h = patches.call(x).permute(0, 2, 3, 1).reshape(x.dim(0), rows * columns, -1);
    if (!config.positions().equals("rotary")) {
      h = h.add(positions(rows, columns, x.spec())); // [B, N, D]
    }
    Tensor time = Num.cast(features(t, x), x.dtype()); // [B, 256], or [1, 256] if t is one
    h =
        switch (config.conditioning()) {
          case IN_CONTEXT -> inContext(h, embeddings(time, y, x.dim(0)), rows, columns);
          case CROSS_ATTENTION -> cross(h, embeddings(time, y, x.dim(0)), rows, columns);
          case ADALN, ADALN_ZERO -> modulated(h, time, y, rows, columns);
        };
    return picture(out.call(h), rows, columns); // [B, out, H, W]
  }

  // ---- the four ways of conditioning, tokens [B, N, D] to [B, N, D]

  private Tensor inContext(Tensor tokens, Tensor embeddings, int rows, int columns) {
    int n = tokens.dim(1);
    Tensor h = Shaping.concat(1, tokens, embeddings); // [B, N + E, D]
    var c = new DitBlock.Condition(null, rotary(rows, columns, embeddings.dim(1), h.spec()));
    for (DitBlock block : blocks) {
      h = block.call(h, c);
    }
    return plainNorm(h.slice(1, 0, n));
  }

  private Tensor cross(Tensor tokens, Tensor embeddings, int rows, int columns) {
    var c = new DitBlock.Condition(embeddings, rotary(rows, columns, 0, tokens.spec()));
    Tensor h = tokens;
    for (DitBlock block : blocks) {
      h = block.call(h, c);
    }
    return plainNorm(h);
  }

  private Tensor plainNorm(Tensor h) {
    return norm == null ? h : norm.call(h);
  }

  private Tensor modulated(Tensor tokens, Tensor time, @Nullable Tensor y, int rows, int columns) {
    Rotary rotary = rotary(rows, columns, 0, tokens.spec());
    List<Tensor> m = modulations(time, y, tokens.dim(0)); // of each block, and of the last norm
    Tensor h = tokens;
    for (int i = 0; i < blocks.size(); i++) {
      h = blocks.get(i).call(h, new DitBlock.Condition(m.get(i), rotary));
    }
    List<Tensor> last = Shaping.chunk(m.getLast(), 2, 1); // shift, scale
    return NN.layerNormModulate(h, last.get(0), last.get(1), DitBlock.EPS);
  }

  // ---- embeddings

  /** Features of each timestep; one row if all are equal, as in sampling. */
  private Tensor features(double[] t, Tensor x) {
    boolean one = Arrays.stream(t).allMatch(v -> v == t[0]);
    double[] distinct = one && t.length > 1 ? new double[] {t[0]} : t;
    return TimeFeatures.sinusoidal(
        distinct, Embedders.FEATURES, true, config.freqShift(), x.device());
  }

  /** The embeddings of timestep and class as tokens: [B, 2, D], or [B, 1, D] without classes. */
  private Tensor embeddings(Tensor time, @Nullable Tensor y, int batch) {
    Embedders e = Objects.requireNonNull(shared); // these two ways have one layout
    Tensor t = e.time(e.time1().call(time)); // [B or 1, D]
    t = t.expand(batch, config.width());
    Tensor classes = e.classes(y); // [B, D]
    return classes == null ? t.unsqueeze(1) : Shaping.stack(1, t, classes);
  }

  /** The modulations of all blocks and of the last norm, [B, kD] each. */
  private List<Tensor> modulations(Tensor time, @Nullable Tensor y, int batch) {
    List<Embedders> all = shared == null ? own : List.of(shared);
    Linear[] layers = all.stream().map(Embedders::time1).toArray(Linear[]::new);
    List<Tensor> first = Linear.callAll(time, layers);
    List<Tensor> c = new ArrayList<>(); // one condition for all blocks, or one each
    for (int i = 0; i < all.size(); i++) {
      c.add(condition(all.get(i), first.get(i), y));
    }
    List<Tensor> results = new ArrayList<>();
    if (c.size() == 1) {
      results.addAll(Linear.callAll(c.getFirst(), modulations)); // one product where launches cost
    } else {
      for (int i = 0; i < modulations.length; i++) {
        results.add(modulations[i].call(c.get(i < c.size() ? i : 0))); // the last is as the first
      }
    }
    return results.stream().map(m -> m.expand(batch, m.dim(1))).toList();
  }

  /** SiLU of the summed embeddings: [B, D], or [1, D] if they are the same for the whole batch. */
  private static Tensor condition(Embedders e, Tensor first, @Nullable Tensor y) {
    Tensor t = e.time(first);
    Tensor classes = e.classes(y);
    return NN.silu(classes == null ? t : t.add(classes));
  }

  // ---- positions

  private Tensor positions(int rows, int columns, TensorSpec like) {
    int side = config.sampleSize() / config.patchSize();
    if (positions != null && rows == side && columns == side) {
      return positions.value();
    }
    if (config.positions().equals("learned")) {
      throw new ShapeException(
          "Dit: learned positions are for pictures of "
              + config.sampleSize()
              + " x "
              + config.sampleSize());
    }
    var key = new Grid(rows, columns, like.dtype(), like.device());
    synchronized (tables) {
      return tables.computeIfAbsent(key, this::table).value();
    }
  }

  private Parameter table(Grid g) {
    int side = config.sampleSize() / config.patchSize();
    double[] values = Positions.sinCos(g.rows, g.columns, side, config.width());
    Tensor table = Tensor.of(values, g.dtype, g.device, 1, g.rows * g.columns, config.width());
    return new Parameter("pos_embed", table);
  }

  /** What a table of positions depends on. */
  private record Grid(int rows, int columns, DType dtype, Device device) {}

  private @Nullable Rotary rotary(int rows, int columns, int extra, TensorSpec like) {
    return config.positions().equals("rotary")
        ? Rotary.of(rows, columns, extra, config.attentionHeadDim(), like)
        : null;
  }

  /** Tokens [B, N, p p C] to pictures [B, C, H, W]. */
  private Tensor picture(Tensor tokens, int rows, int columns) {
    int b = tokens.dim(0);
    int p = config.patchSize();
    int c = config.outputs();
    Tensor h = tokens.reshape(b, rows, columns, p, p, c).permute(0, 5, 1, 3, 2, 4);
    return h.reshape(b, c, rows * p, columns * p);
  }

  private void check(Tensor sample, double[] timesteps, @Nullable Tensor classes) {
    int p = config.patchSize();
    if (sample.rank() != 4 || sample.dim(1) != config.inChannels()) {
      throw new ShapeException(
          "Dit: sample must be [B, " + config.inChannels() + ", H, W]; got " + sample.spec());
    }
    if (sample.dim(2) % p != 0 || sample.dim(3) % p != 0) {
      throw new ShapeException(
          "Dit: height and width must be divisible by the patch size "
              + p
              + "; got "
              + sample.spec());
    }
    int batch = sample.dim(0);
    if (timesteps.length != 1 && timesteps.length != batch) {
      throw new ShapeException(
          "Dit: timesteps must be one, or one per sample; got "
              + timesteps.length
              + " for "
              + sample.spec());
    }
    boolean wantsClasses = config.numEmbedsAdaNorm() != null;
    if (wantsClasses != (classes != null)) {
      throw new IllegalArgumentException(
          "Dit: class labels must be given exactly when the model has classes; this one "
              + (wantsClasses ? "has" : "has none"));
    }
    if (classes != null && (classes.rank() != 1 || classes.dim(0) != batch)) {
      throw new ShapeException("Dit: classes must be [" + batch + "]; got " + classes.spec());
    }
  }

  @Override
  public void close() {
    synchronized (tables) {
      tables.values().forEach(Parameter::close);
      tables.clear();
    }
    super.close();
  }
}
