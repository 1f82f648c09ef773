// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The variational autoencoder of latent diffusion (Rombach et al. 2022; diffusers
 * models/autoencoders/autoencoder_kl.py): same configuration, names and numbers.
 *
 * {@snippet :
 * var vae = AutoencoderKL.open(folder);                          // config.json and weights
 * Tensor latents = vae.scale(vae.encode(pictures).sample(rng));  // for diffusion
 * Tensor again = vae.decode(vae.unscale(latents));
 * }
 */
public final class AutoencoderKL extends Module {
  private final AutoencoderKLConfig config;
  private final Encoder encoder;
  private final Decoder decoder;
  private final @Nullable Conv2d quantConv;
  private final @Nullable Conv2d postQuantConv;
  private volatile boolean slicing;
  private volatile @Nullable Tiling tiling;

  /** A model whose parameters come from {@code weights}. */
  public AutoencoderKL(Weights weights, AutoencoderKLConfig config) {
    super(weights);
    this.config = config;
    Activation activation = Activation.parse(config.actFn());
    int latent = config.latentChannels();
    encoder =
        child(
            "encoder",
            w ->
                new Encoder(
                    w,
                    new Encoder.Plan(
                        config.inChannels(),
                        2 * latent,
                        config.downBlockTypes(),
                        config.blockOutChannels(),
                        config.layersPerBlock(),
                        config.normNumGroups(),
                        activation,
                        config.midBlockAddAttention())));
    decoder =
        child(
            "decoder",
            w ->
                new Decoder(
                    w,
                    new Decoder.Plan(
                        latent,
                        config.outChannels(),
                        config.upBlockTypes(),
                        config.blockOutChannels(),
                        config.layersPerBlock() + 1,
                        config.normNumGroups(),
                        activation,
                        config.midBlockAddAttention(),
                        false)));
    quantConv =
        config.useQuantConv()
            ? child("quant_conv", w -> new Conv2d(w, 2 * latent, 2 * latent, 1, ConvOptions.of()))
            : null;
    postQuantConv =
        config.usePostQuantConv()
            ? child("post_quant_conv", w -> new Conv2d(w, latent, latent, 1, ConvOptions.of()))
            : null;
  }

  /**
   * Reads a model folder of diffusers: {@code config.json} and {@code
   * diffusion_pytorch_model.safetensors} or its shards, also with the attention names of old
   * checkpoints. If the configuration says {@code force_upcast}, weights stored as F16 are read as
   * F32, since these models overflow in F16.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static AutoencoderKL open(Path folder) {
    AutoencoderKLConfig config = AutoencoderKLConfig.read(folder.resolve("config.json"));
    return AutoencoderFiles.open(
        folder, config.forceUpcast(), weights -> new AutoencoderKL(weights, config));
  }

  /** Writes the model as a folder that diffusers reads. */
  public void save(Path folder) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    SafeTensors.save(folder.resolve("diffusion_pytorch_model.safetensors"), stateDict());
  }

  /**
   * Writes the model as a folder that diffusers reads, its weights in files of at most {@code
   * maxShardBytes} of values; see {@link ShardedTensors#save}.
   */
  public void save(Path folder, long maxShardBytes) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    ShardedTensors.save(folder, "diffusion_pytorch_model", stateDict(), maxShardBytes);
  }

  /** The configuration. */
  public AutoencoderKLConfig config() {
    return config;
  }

  /** The encoder, without {@code quant_conv}. */
  public Encoder encoder() {
    return encoder;
  }

  /** The decoder, without {@code post_quant_conv}. */
  public Decoder decoder() {
    return decoder;
  }

  /** Whether batches are encoded and decoded sample by sample, which takes less memory. */
  public void setSlicing(boolean on) {
    slicing = on;
  }

  /**
   * Sets how pictures larger than a tile are cut, or null for not at all.
   *
   * @throws IllegalArgumentException if the tiles are not those of a model with as many halvings
   */
  public void setTiling(@Nullable Tiling tiles) {
    if (tiles != null && tiles.factor() != config.factor()) {
      throw new IllegalArgumentException(
          "tiles have "
              + tiles.factor()
              + " pixels per pixel of the latent; the model has "
              + config.factor());
    }
    tiling = tiles;
  }

  /** Whether backward computes levels again instead of keeping their insides: less memory. */
  public void setGradientCheckpointing(boolean on) {
    encoder.setGradientCheckpointing(on);
    decoder.setGradientCheckpointing(on);
  }

  /**
   * The distribution of the latent of pictures.
   *
   * @param x [B, in, H, W], values in [-1, 1]; each side at least the factor f between picture and
   *     latent
   * @return mean and variance [B, L, ⌊H / f⌋, ⌊W / f⌋]
   */
  public DiagonalGaussianDistribution encode(Tensor x) {
    return new DiagonalGaussianDistribution(moments(x));
  }

  /** The parameters of {@link #encode}'s distribution: [B, 2 L, h, w]. */
  public Tensor moments(Tensor x) {
    return call(() -> perSample(x, this::encodeTiled));
  }

  private Tensor encodeTiled(Tensor x) {
    Tiling tiles = tiling;
    return tiles != null && x.rank() == 4 && tiles.splitsSample(x)
        ? tiles.encode(x, this::encodeWhole)
        : encodeWhole(x);
  }

  private Tensor encodeWhole(Tensor x) {
    Tensor h = encoder.call(x); // [B, 2 L, h, w]
    return quantConv == null ? h : quantConv.call(h);
  }

  /**
   * Pictures of latents.
   *
   * @param z [B, L, h, w], as {@link #encode} gives them, not scaled for diffusion
   * @return [B, out, f h, f w], values about [-1, 1]
   */
  public Tensor decode(Tensor z) {
    Decoder.requireLatents(z, config.latentChannels());
    return call(() -> perSample(z, this::decodeTiled));
  }

  /**
   * What the decoder's last layer gets, for losses that balance gradients by it; neither sliced nor
   * tiled.
   *
   * @param z [B, L, h, w]
   * @return [B, C0, f h, f w]
   */
  public Tensor features(Tensor z) {
    Decoder.requireLatents(z, config.latentChannels());
    return call(() -> decoder.features(postQuantConv == null ? z : postQuantConv.call(z), null));
  }

  private Tensor decodeTiled(Tensor z) {
    Tiling tiles = tiling;
    return tiles != null && tiles.splitsLatent(z)
        ? tiles.decode(z, this::decodeWhole)
        : decodeWhole(z);
  }

  private Tensor decodeWhole(Tensor z) {
    Tensor h = postQuantConv == null ? z : postQuantConv.call(z); // [B, L, h, w]
    return decoder.call(h, null); // [B, out, f h, f w]
  }

  private Tensor perSample(Tensor x, UnaryOperator<Tensor> f) {
    return slicing ? Slices.map(x, f) : f.apply(x);
  }

  /** The reconstruction from the most probable latent: [B, in, H, W] to [B, out, f h, f w]. */
  public Tensor call(Tensor x) {
    return call(() -> decode(encode(x).mode()));
  }

  /** The reconstruction from a latent that is drawn: [B, in, H, W] to [B, out, f h, f w]. */
  public Tensor call(Tensor x, Rng rng) {
    return call(() -> decode(encode(x).sample(rng)));
  }

  /**
   * Latents as diffusion models see them: {@code (z - shift) · scaling_factor}, or, if the
   * configuration has statistics, {@code (z - mean) · scaling_factor / std} per channel.
   */
  public Tensor scale(Tensor z) {
    return call(
        () -> {
          Tensor centred = z;
          if (config.latentsMean() != null && config.latentsStd() != null) {
            centred = z.sub(perChannel(config.latentsMean(), z));
            centred = centred.div(perChannel(config.latentsStd(), z));
          } else if (config.shiftFactor() != null) {
            centred = z.sub(config.shiftFactor());
          }
          return centred.mul(config.scalingFactor());
        });
  }

  /** The inverse of {@link #scale}: what {@link #decode} takes. */
  public Tensor unscale(Tensor latents) {
    return call(
        () -> {
          Tensor z = latents.div(config.scalingFactor());
          if (config.latentsMean() != null && config.latentsStd() != null) {
            z = z.mul(perChannel(config.latentsStd(), z));
            return z.add(perChannel(config.latentsMean(), z));
          }
          return config.shiftFactor() == null ? z : z.add(config.shiftFactor());
        });
  }

  private static Tensor perChannel(List<Double> values, Tensor like) {
    double[] array = values.stream().mapToDouble(v -> v).toArray();
    return Tensor.of(array, like.dtype(), like.device(), 1, array.length, 1, 1);
  }
}
