// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * How a large picture is cut into square tiles that overlap, so that the memory of one tile
 * suffices, and how their results are joined: where two tiles overlap, the weights go linearly from
 * the one to the other (diffusers AutoencoderKL.tiled_encode and tiled_decode). Results differ from
 * those without tiles, since normalisation and attention see one tile only.
 *
 * @param sampleSize side of a tile of the picture
 * @param latentSize side of the same tile of the latent
 * @param overlap the part of a tile that it shares with the next, in [0, 1)
 */
public record Tiling(int sampleSize, int latentSize, double overlap) {
  /** The reference's overlap. */
  public static final double OVERLAP = 0.25;

  /**
   * Checks that tiles of picture and latent lie at the same places.
   *
   * @throws IllegalArgumentException if they do not, with what came
   */
  public Tiling {
    boolean valid = latentSize > 0 && sampleSize >= latentSize && overlap >= 0 && overlap < 1;
    int factor = valid ? sampleSize / latentSize : 1;
    int step = (int) (latentSize * (1 - overlap));
    valid =
        valid
            && step > 0
            && sampleSize == factor * latentSize
            && (int) (sampleSize * (1 - overlap)) == factor * step
            && latentSize - (int) (latentSize * overlap) == step
            && sampleSize - (int) (sampleSize * overlap) == factor * step;
    if (!valid) {
      throw new IllegalArgumentException(
          "tiles: the side of a tile of the picture must be a multiple of its side in the latent,"
              + " and the overlap must be a whole number of pixels of the latent; got sides "
              + sampleSize
              + " and "
              + latentSize
              + " and overlap "
              + overlap
              + "; with overlap 0.25, 4, 8, 12, ... pixels of the latent do");
    }
  }

  /**
   * The reference's tiles for a model: of the size it was made for, overlapping by a quarter.
   *
   * @throws IllegalArgumentException if its {@code sample_size} does not divide so
   */
  public static Tiling of(AutoencoderKLConfig config) {
    return new Tiling(config.sampleSize(), config.sampleSize() / config.factor(), OVERLAP);
  }

  /** The factor between the sides of picture and latent. */
  public int factor() {
    return sampleSize / latentSize;
  }

  /** Whether a picture [.., H, W] is larger than a tile. */
  boolean splitsSample(Tensor x) {
    return x.dim(-1) > sampleSize || x.dim(-2) > sampleSize;
  }

  /** Whether a latent [.., h, w] is larger than a tile. */
  boolean splitsLatent(Tensor z) {
    return z.dim(-1) > latentSize || z.dim(-2) > latentSize;
  }

  /** Encodes tile by tile: [B, C, H, W] to [B, L, ⌊H / f⌋, ⌊W / f⌋]. */
  Tensor encode(Tensor x, UnaryOperator<Tensor> encoder) {
    for (int axis : new int[] {2, 3}) {
      int rest = x.dim(axis) % (factor() * step());
      if (rest > 0 && rest < factor()) {
        throw new ShapeException(
            "the tiles of a picture of "
                + x.dim(2)
                + " by "
                + x.dim(3)
                + " would end with one of "
                + rest
                + " pixels, less than the "
                + factor()
                + " of one pixel of the latent; crop the picture to multiples of "
                + factor());
      }
    }
    return map(x, encoder, sampleSize, factor() * step(), (int) (latentSize * overlap), step());
  }

  /** Decodes tile by tile: [B, L, h, w] to [B, C, f h, f w]. */
  Tensor decode(Tensor z, UnaryOperator<Tensor> decoder) {
    int blend = (int) (sampleSize * overlap);
    return map(z, decoder, latentSize, step(), blend, factor() * step());
  }

  /** From tile to tile, in pixels of the latent. */
  private int step() {
    return (int) (latentSize * (1 - overlap));
  }

  private static Tensor map(
      Tensor x, UnaryOperator<Tensor> f, int size, int step, int blend, int limit) {
    List<List<Tensor>> rows = new ArrayList<>();
    for (int i = 0; i < x.dim(2); i += step) {
      List<Tensor> row = new ArrayList<>();
      for (int j = 0; j < x.dim(3); j += step) {
        Tensor tile = cut(cut(x, 2, i, size), 3, j, size);
        row.add(Scope.run(() -> f.apply(tile)));
      }
      rows.add(row);
    }
    List<Tensor> joined = new ArrayList<>();
    for (int i = 0; i < rows.size(); i++) {
      List<Tensor> row = rows.get(i);
      List<Tensor> kept = new ArrayList<>();
      for (int j = 0; j < row.size(); j++) {
        Tensor tile = row.get(j);
        if (i > 0) {
          tile = blend(rows.get(i - 1).get(j), tile, blend, 2);
        }
        if (j > 0) {
          tile = blend(row.get(j - 1), tile, blend, 3);
        }
        row.set(j, tile); // the next tiles blend with what this one has become
        kept.add(cut(cut(tile, 2, 0, limit), 3, 0, limit));
      }
      joined.add(Shaping.concat(3, kept));
    }
    return Shaping.concat(2, joined);
  }

  /** At most {@code size} pixels of an axis. */
  private static Tensor cut(Tensor x, int axis, int start, int size) {
    return x.slice(axis, start, Math.min(start + size, x.dim(axis)));
  }

  /**
   * {@code b} with its first pixels mixed with the last ones of {@code a}: pixel k of {@code blend}
   * is {@code (1 - k / blend) a + (k / blend) b}.
   */
  private static Tensor blend(Tensor a, Tensor b, int extent, int axis) {
    int n = Math.min(extent, Math.min(a.dim(axis), b.dim(axis)));
    if (n == 0) {
      return b;
    }
    double[] rising = new double[n];
    double[] falling = new double[n];
    for (int k = 0; k < n; k++) {
      rising[k] = (double) k / n;
      falling[k] = 1 - rising[k];
    }
    int[] shape = {1, 1, 1, 1};
    shape[axis] = n;
    return Scope.run(
        () -> {
          Tensor old =
              a.slice(axis, a.dim(axis) - n, a.dim(axis))
                  .mul(Tensor.of(falling, a.dtype(), a.device(), shape));
          Tensor young = b.slice(axis, 0, n).mul(Tensor.of(rising, b.dtype(), b.device(), shape));
          Tensor mixed = old.add(young);
          int length = b.dim(axis);
          return n == length ? mixed : Shaping.concat(axis, mixed, b.slice(axis, n, length));
        });
  }
}
