// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * BOFT in LyCORIS's form: output rows are turned by m factors of block rotations, {@code R = (I +
 * Q)(I - Q)⁻¹} with Q = B - Bᵀ of {@code oft_blocks} [m, blocks, b, b]. In factor i rows are
 * exchanged within groups of 2 at a stride of 2ⁱ b / 2, turned ({@code y = R x}, not transposed,
 * unlike {@link DiagOft}) and put back. At strength μ, {@code I + μ (R - I)} takes R's place.
 *
 * @param factors the number m of factors
 * @param blocks blocks of each
 * @param blockSize their even width b; blocks · b = out
 * @param constraint the bound of ‖Q‖ of all blocks of all factors together, in files {@code alpha}
 *     times the number of outputs; 0 for none
 * @param rescale whether rows have a factor, too
 */
public record LycorisBoft(
    int factors, int blocks, int blockSize, double constraint, boolean rescale)
    implements AdapterKind {
  /** Checks the values. */
  public LycorisBoft {
    if (factors < 1 || blocks < 1 || blockSize < 2 || blockSize % 2 != 0 || !(constraint >= 0)) {
      throw new IllegalArgumentException(
          "factors and blocks must be positive, the block size even, the constraint not negative;"
              + " got "
              + factors
              + ", "
              + blocks
              + ", "
              + blockSize
              + " and "
              + constraint);
    }
  }

  /** Without constraint. */
  public LycorisBoft(int factors, int blocks, int blockSize, boolean rescale) {
    this(factors, blocks, blockSize, 0, rescale);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    if (!(layer instanceof Linear || layer instanceof Conv2d)) {
      return "BOFT is defined for Linear and Conv2d";
    }
    int out = layer.weight().value().dim(0);
    if (out != blocks * blockSize) {
      return blocks + " blocks of " + blockSize + " are not the " + out + " outputs";
    }
    int group = (1 << (factors - 1)) * (blockSize / 2) * 2;
    return out % group == 0
        ? null
        : out + " outputs cannot be exchanged by " + factors + " factors";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends WeightAdapter {
    private final LycorisBoft kind;
    private final Parameter oftBlocks;
    private final @Nullable Parameter rescale;

    Part(LycorisBoft kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.kind = kind;
      int b = kind.blockSize;
      oftBlocks = parameter("oft_blocks", Shape.of(kind.factors, kind.blocks, b, b), Init.zeros());
      int[] rows = new int[weightShape().rank()];
      Arrays.fill(rows, 1);
      rows[0] = weightShape().dim(0);
      rescale = kind.rescale ? parameter("rescale", Shape.of(rows), Init.ones()) : null;
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      int b = kind.blockSize;
      int half = b / 2;
      Tensor w = weight.reshape(weight.dim(0), -1);
      int in = w.dim(1);
      Tensor norm = Rotations.norm(oftBlocks.value(), kind.constraint);
      for (int i = 0; i < kind.factors; i++) {
        Tensor raw = oftBlocks.value().select(0, i);
        Tensor r = Rotations.lycoris(raw, kind.constraint, norm, strength);
        int stride = (1 << i) * half;
        // rows as (c, g, k): g of 2 and k of the stride change places
        Tensor grouped = w.reshape(-1, 2, stride, in).transpose(1, 2).reshape(kind.blocks, b, in);
        Tensor turned = r.to(weight.dtype()).matmul(grouped);
        w = turned.reshape(-1, stride, 2, in).transpose(1, 2).reshape(weight.dim(0), in);
      }
      Tensor result = w.reshape(weight.shape().dims());
      return rescale == null ? result : result.mul(rescale.value().to(weight.dtype()));
    }
  }
}
