// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.ConvTranspose2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import java.nio.file.Path;
import java.util.List;

/**
 * An autoencoder of pictures with a vector quantiser in its middle (van den Oord et al. 2017,
 * "Neural discrete representation learning"), with the layers of Sonnet's example. A picture of H x
 * W becomes a map of H/f x W/f codes, f = 2^halvings.
 *
 * {@snippet :
 * var vqvae = VqVae.open(folder);             // config.json and weights
 * Tensor codes = vqvae.encode(pictures);      // [N, h, w], I64
 * Tensor again = vqvae.decode(codes);         // [N, C, H, W]
 * }
 */
public final class VqVae extends Module {
  private static final ConvOptions HALF = ConvOptions.of().stride(2).padding(1);
  private static final String WEIGHTS = "model.safetensors";

  private final VqVaeConfig config;
  private final Encoder encoder;
  private final VectorQuantizer quantizer;
  private final Decoder decoder;

  /**
   * What a forward in training gives.
   *
   * @param picture the reconstruction [N, C, H, W]
   * @param latents the encoder's vectors [N, h, w, D], before they were quantised
   * @param quantized codes and the quantiser's part of the loss
   */
  public record Output(Tensor picture, Tensor latents, VectorQuantizer.Quantized quantized) {}

  /** A model whose parameters come from {@code weights}. */
  public VqVae(Weights weights, VqVaeConfig config) {
    super(weights);
    this.config = config;
    encoder = child("encoder", w -> new Encoder(w, config));
    quantizer = child("quantizer", w -> new VectorQuantizer(w, config));
    decoder = child("decoder", w -> new Decoder(w, config));
  }

  private static final class Encoder extends Layer {
    private final List<Conv2d> down;
    private final Conv2d conv;
    private final ResidualStack residual;
    private final Conv2d out;

    Encoder(Weights weights, VqVaeConfig c) {
      super(weights);
      int last = c.halvings() - 1;
      int half = c.hidden() / 2;
      down =
          children(
              "down",
              c.halvings(),
              (w, i) ->
                  new Conv2d(
                      w, i == 0 ? c.channels() : half, i == last ? c.hidden() : half, 4, HALF));
      conv = child("conv", w -> new Conv2d(w, c.hidden(), c.hidden(), 3));
      residual =
          child(
              "residual",
              w -> new ResidualStack(w, c.hidden(), c.residualHidden(), c.residualLayers()));
      out = child("out", w -> new Conv2d(w, c.hidden(), c.codeWidth(), 1));
    }

    @Override
    protected Tensor forward(Tensor x) {
      Tensor h = x; // [N, C, H, W]
      for (Conv2d layer : down) {
        h = NN.relu(layer.call(h)); // [N, hidden or half of it, H/2, W/2], …
      }
      h = residual.call(conv.call(h)); // [N, hidden, h, w]
      return out.call(h).permute(0, 2, 3, 1); // [N, h, w, D]
    }
  }

  private static final class Decoder extends Layer {
    private final Conv2d conv;
    private final ResidualStack residual;
    private final List<ConvTranspose2d> up;

    Decoder(Weights weights, VqVaeConfig c) {
      super(weights);
      int last = c.halvings() - 1;
      int half = c.hidden() / 2;
      conv = child("conv", w -> new Conv2d(w, c.codeWidth(), c.hidden(), 3));
      residual =
          child(
              "residual",
              w -> new ResidualStack(w, c.hidden(), c.residualHidden(), c.residualLayers()));
      up =
          children(
              "up",
              c.halvings(),
              (w, i) ->
                  new ConvTranspose2d(
                      w,
                      i == 0 ? c.hidden() : half,
                      i == last ? c.channels() : half,
                      4,
                      HALF,
                      true));
    }

    @Override
    protected Tensor forward(Tensor z) {
      Tensor h = conv.call(z.permute(0, 3, 1, 2)); // [N, hidden, h, w]
      h = residual.call(h);
      for (int i = 0; i < up.size(); i++) {
        h = up.get(i).call(i == 0 ? h : NN.relu(h)); // [N, …, 2h, 2w], …
      }
      return h; // [N, C, H, W]
    }
  }

  /**
   * Reads a model that {@link #save} wrote.
   *
   * @throws WeightsException if weights are missing or too many
   */
  public static VqVae open(Path folder) {
    VqVaeConfig config = VqVaeConfig.read(folder.resolve("config.json"));
    try (Weights weights = Weights.open(folder.resolve(WEIGHTS))) {
      VqVae model = new VqVae(weights, config);
      try {
        weights.requireAllUsed();
      } catch (WeightsException e) {
        model.close();
        throw e;
      }
      return model;
    }
  }

  /** Writes {@code config.json} and {@code model.safetensors}, the codebook's averages included. */
  public void save(Path folder) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    SafeTensors.save(folder.resolve(WEIGHTS), stateDict());
  }

  /** The configuration. */
  public VqVaeConfig config() {
    return config;
  }

  /** The codebook. */
  public VectorQuantizer quantizer() {
    return quantizer;
  }

  /**
   * Pictures to codes.
   *
   * @param x [N, C, H, W]
   * @return [N, h, w], I64
   */
  public Tensor encode(Tensor x) {
    return call(() -> quantizer.encode(latents(x)));
  }

  /**
   * Codes to pictures.
   *
   * @param codes [N, h, w], I64
   * @return [N, C, H, W]
   */
  public Tensor decode(Tensor codes) {
    return call(() -> decoder.call(quantizer.decode(codes)));
  }

  /**
   * Pictures through codes and back, with what training needs.
   *
   * @param x [N, C, H, W]
   */
  public Output call(Tensor x) {
    Tensor z = latents(x); // [N, h, w, D]
    VectorQuantizer.Quantized q = quantizer.call(z);
    return new Output(decoder.call(q.quantized()), z, q);
  }

  private Tensor latents(Tensor x) {
    int f = config.factor();
    if (x.rank() != 4
        || x.dim(1) != config.channels()
        || x.dim(2) % f != 0
        || x.dim(3) % f != 0
        || x.dim(2) == 0
        || x.dim(3) == 0) {
      throw new ShapeException(
          "VqVae: pictures must be [N, "
              + config.channels()
              + ", H, W] with H and W multiples of "
              + f
              + "; got "
              + x.shape());
    }
    return encoder.call(x);
  }
}
