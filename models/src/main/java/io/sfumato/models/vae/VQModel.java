// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import java.nio.file.Path;

/**
 * The autoencoder with a codebook (van den Oord et al. 2017; Esser et al. 2021, "Taming
 * Transformers"; diffusers models/autoencoders/vq_model.py): same configuration, names and numbers.
 *
 * {@snippet :
 * var model = VQModel.open(folder);                 // config.json and weights
 * Tensor latents = model.encode(pictures);          // not quantised yet
 * VQModel.Decoded decoded = model.decode(latents);  // quantises, gives pictures and the loss
 * }
 */
public final class VQModel extends Module {
  /**
   * A decoded latent.
   *
   * @param sample the pictures [B, out, f h, f w]
   * @param loss the codebook's loss, a scalar; see {@link VectorQuantizer.Quantized}
   * @param indices of the codes, I64 [B, h, w]
   */
  public record Decoded(Tensor sample, Tensor loss, Tensor indices) {}

  private final VQModelConfig config;
  private final Encoder encoder;
  private final Conv2d quantConv;
  private final VectorQuantizer quantizer;
  private final Conv2d postQuantConv;
  private final Decoder decoder;

  /** A model whose parameters come from {@code weights}. */
  public VQModel(Weights weights, VQModelConfig config) {
    super(weights);
    this.config = config;
    Activation activation = Activation.parse(config.actFn());
    int latent = config.latentChannels();
    int width = config.codeWidth();
    encoder =
        child(
            "encoder",
            w ->
                new Encoder(
                    w,
                    new Encoder.Plan(
                        config.inChannels(),
                        latent,
                        config.downBlockTypes(),
                        config.blockOutChannels(),
                        config.layersPerBlock(),
                        config.normNumGroups(),
                        activation,
                        config.midBlockAddAttention())));
    quantConv = child("quant_conv", w -> new Conv2d(w, latent, width, 1, ConvOptions.of()));
    quantizer = child("quantize", w -> new VectorQuantizer(w, config.numVqEmbeddings(), width));
    postQuantConv =
        child("post_quant_conv", w -> new Conv2d(w, width, latent, 1, ConvOptions.of()));
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
                        config.isSpatial())));
  }

  /**
   * Reads a model folder of diffusers: {@code config.json} and {@code
   * diffusion_pytorch_model.safetensors} or its shards, also with the attention names of old
   * checkpoints. If the configuration says {@code force_upcast}, weights stored as F16 are read as
   * F32.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static VQModel open(Path folder) {
    VQModelConfig config = VQModelConfig.read(folder.resolve("config.json"));
    return AutoencoderFiles.open(
        folder, config.forceUpcast(), weights -> new VQModel(weights, config));
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
  public VQModelConfig config() {
    return config;
  }

  /** The codebook. */
  public VectorQuantizer quantizer() {
    return quantizer;
  }

  /** The decoder, without {@code post_quant_conv}. */
  public Decoder decoder() {
    return decoder;
  }

  /** Whether backward computes levels again instead of keeping their insides: less memory. */
  public void setGradientCheckpointing(boolean on) {
    encoder.setGradientCheckpointing(on);
    decoder.setGradientCheckpointing(on);
  }

  /**
   * The latent of pictures, before it is quantised.
   *
   * @param x [B, in, H, W], values in [-1, 1]; each side at least the factor f between picture and
   *     latent
   * @return [B, d, ⌊H / f⌋, ⌊W / f⌋] with the width d of a code
   */
  public Tensor encode(Tensor x) {
    return call(() -> quantConv.call(encoder.call(x)));
  }

  /** Quantises a latent [B, d, h, w] and decodes it. */
  public Decoded decode(Tensor latents) {
    Tensor[] r =
        callAll(
            () -> {
              VectorQuantizer.Quantized q = quantizer.quantize(latents);
              return new Tensor[] {decodeQuantized(q.quantized()), q.loss(), q.indices()};
            });
    return new Decoded(r[0], r[1], r[2]);
  }

  /**
   * Decodes without quantising (diffusers' {@code force_not_quantize}).
   *
   * @param h if the configuration says {@code lookup_from_codebook}, indices of codes, I64 [B, h,
   *     w]; else the latent [B, d, h, w], which is taken as it is
   * @return [B, out, f h, f w]
   */
  public Tensor decodeDirectly(Tensor h) {
    if (config.lookupFromCodebook()) {
      return decodeIndices(h);
    }
    Decoder.requireLatents(h, config.codeWidth());
    return call(() -> decodeQuantized(h));
  }

  /** Decodes indices of codes: I64 [B, h, w] to [B, out, f h, f w]. */
  public Tensor decodeIndices(Tensor indices) {
    return call(() -> decodeQuantized(quantizer.lookUp(indices)));
  }

  /**
   * What the decoder's last layer gets, for losses that balance gradients by it.
   *
   * @param quantized codes [B, d, h, w]
   * @return [B, C0, f h, f w]
   */
  public Tensor features(Tensor quantized) {
    Decoder.requireLatents(quantized, config.codeWidth());
    return call(
        () ->
            decoder.features(postQuantConv.call(quantized), config.isSpatial() ? quantized : null));
  }

  private Tensor decodeQuantized(Tensor quantized) {
    Tensor h = postQuantConv.call(quantized); // [B, latent, h, w]
    return decoder.call(h, config.isSpatial() ? quantized : null); // [B, out, f h, f w]
  }

  /** The reconstruction of pictures [B, in, H, W] from their codes, with the codebook's loss. */
  public Decoded call(Tensor x) {
    Tensor[] r =
        callAll(
            () -> {
              Decoded decoded = decode(encode(x));
              return new Tensor[] {decoded.sample, decoded.loss, decoded.indices};
            });
    return new Decoded(r[0], r[1], r[2]);
  }
}
