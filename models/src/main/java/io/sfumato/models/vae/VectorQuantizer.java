// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;

/**
 * The codebook of {@link VQModel}: every vector of a latent is replaced by the nearest of a table
 * of codes (van den Oord et al. 2017, "Neural Discrete Representation Learning"; diffusers
 * models/autoencoders/vae.py, VectorQuantizer). Gradients pass straight through from codes to
 * latents. Initialised U(-1/n, 1/n) for n codes.
 */
public final class VectorQuantizer extends Module {
  /**
   * A latent and its codes.
   *
   * @param quantized the codes [B, d, h, w], with the gradient of the latent
   * @param loss {@code mean((sg[z_q] - z)²) + 0.25 mean((z_q - sg[z])²)}, a scalar; sg stops
   *     gradients. As in the reference the weight is on the term that moves the codes, not on the
   *     commitment term, where the paper has it
   * @param indices of the codes, I64 [B, h, w]
   */
  public record Quantized(Tensor quantized, Tensor loss, Tensor indices) {}

  private static final double BETA = 0.25;

  private final Embedding embedding;
  private final int width;

  /** A table of {@code count} codes of {@code width}. */
  public VectorQuantizer(Weights weights, int count, int width) {
    super(weights);
    this.width = width;
    embedding = child("embedding", w -> new Embedding(w, count, width, Init.uniform(1.0 / count)));
  }

  /** The codes [n, d]. */
  public Tensor codes() {
    return embedding.weight().value();
  }

  /**
   * Replaces vectors by codes.
   *
   * @param z [B, d, h, w]
   */
  public Quantized quantize(Tensor z) {
    Decoder.requireLatents(z, width);
    Tensor[] r = callAll(() -> forward(z));
    return new Quantized(r[0], r[1], r[2]);
  }

  private Tensor[] forward(Tensor z) {
    Tensor vectors = z.permute(0, 2, 3, 1); // [B, h, w, d]
    Tensor indices = NN.nearestCode(vectors, codes()); // [B, h, w]
    Tensor codes = embedding.call(indices); // [B, h, w, d]
    Tensor commitment = NN.mse(vectors, Autograd.detach(codes));
    Tensor attraction = NN.mse(codes, Autograd.detach(vectors));
    Tensor loss = commitment.add(attraction.mul(BETA));
    Tensor through = vectors.add(Autograd.detach(codes.sub(vectors))); // z + sg[z_q - z]
    return new Tensor[] {through.permute(0, 3, 1, 2), loss, indices};
  }

  /**
   * The codes of indices (diffusers' get_codebook_entry).
   *
   * @param indices I64 [B, h, w]
   * @return [B, d, h, w]
   */
  public Tensor lookUp(Tensor indices) {
    if (indices.rank() != 3) {
      throw new ShapeException("indices of codes must be [B, h, w]; got " + indices.spec());
    }
    if (indices.dtype() != DType.I64) {
      throw new DTypeException("indices of codes must be I64; got " + indices.spec());
    }
    return call(() -> embedding.call(indices).permute(0, 3, 1, 2));
  }
}
