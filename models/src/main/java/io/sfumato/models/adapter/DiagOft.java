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
 * OFT in LyCORIS's form (diag-oft): blocks of output rows are rotated, {@code W'[k, m] = Σₙ R[k, n,
 * m] W[k, n]} with {@code R = (I + Q)(I - Q)⁻¹} and Q = B - Bᵀ of {@code oft_blocks} [blocks, b,
 * b]. A constraint c bounds ‖Q‖. {@code rescale} [out, 1, …] multiplies rows. Not to be mixed up
 * with PEFT's {@link Oft}, which turns inputs. At strength μ, {@code I + μ (R - I)} takes R's
 * place.
 *
 * @param blocks the number of blocks
 * @param blockSize the width b; blocks · b = out
 * @param constraint the bound of ‖Q‖ of all blocks together, in files {@code alpha} times the
 *     number of outputs; 0 for none
 * @param rescale whether rows have a factor, too
 */
public record DiagOft(int blocks, int blockSize, double constraint, boolean rescale)
    implements AdapterKind {
  /** Checks the values. */
  public DiagOft {
    if (blocks < 1 || blockSize < 1 || !(constraint >= 0)) {
      throw new IllegalArgumentException(
          "blocks and their size must be positive, the constraint not negative; got "
              + blocks
              + ", "
              + blockSize
              + " and "
              + constraint);
    }
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    if (!(layer instanceof Linear || layer instanceof Conv2d)) {
      return "diag-OFT is defined for Linear and Conv2d";
    }
    int out = layer.weight().value().dim(0);
    return out == blocks * blockSize
        ? null
        : blocks + " blocks of " + blockSize + " are not the " + out + " outputs";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends WeightAdapter {
    private final DiagOft kind;
    private final Parameter oftBlocks;
    private final @Nullable Parameter rescale;

    Part(DiagOft kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.kind = kind;
      int b = kind.blockSize;
      oftBlocks = parameter("oft_blocks", Shape.of(kind.blocks, b, b), Init.zeros());
      int[] rows = new int[weightShape().rank()];
      Arrays.fill(rows, 1);
      rows[0] = weightShape().dim(0);
      rescale = kind.rescale ? parameter("rescale", Shape.of(rows), Init.ones()) : null;
    }

    private Tensor rotations(double strength) {
      Tensor raw = oftBlocks.value();
      Tensor norm = Rotations.norm(raw, kind.constraint);
      return Rotations.lycoris(raw, kind.constraint, norm, strength);
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      int b = kind.blockSize;
      Tensor rows = weight.reshape(kind.blocks, b, -1); // [blocks, b, in …]
      Tensor turned = rotations(strength).transpose(1, 2).to(weight.dtype()).matmul(rows);
      Tensor result = turned.reshape(weight.shape().dims());
      return rescale == null ? result : result.mul(rescale.value().to(weight.dtype()));
    }
  }
}
