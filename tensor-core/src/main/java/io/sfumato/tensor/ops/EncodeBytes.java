// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.GradientFree;
import java.util.List;

/**
 * Codes values in bytes, block by block: with the largest magnitude m of a block, the code of x is
 * that of the value of an ascending table which is nearest to x/m in f32, of two the smaller one;
 * but what is negative does not become zero. Where m is 0 the code is that of 0; a NaN makes m NaN.
 * Inputs: x F32 of any shape and the table F32 [256]; outputs: codes U8 of the shape of x, and m
 * F32 [⌈n/block⌉]. The rule of bitsandbytes' 8-bit optimizers (Dettmers et al. 2022, <a
 * href="https://arxiv.org/abs/2110.02861">arXiv:2110.02861</a>).
 *
 * @param block elements of a block
 */
public record EncodeBytes(int block) implements GradientFree {
  /** Checks the block. */
  public EncodeBytes {
    Coding.checkBlock("block", block);
  }

  @Override
  public String name() {
    return "encode_bytes";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    if (x.dtype() != DType.F32 || in.get(1).dtype() != DType.F32) {
      throw new DTypeException("values and table must be f32");
    }
    Require.shape(in.get(1), Shape.of(256), "table", "[256]");
    int blocks = Math.toIntExact((x.shape().numel() + block - 1) / block);
    return List.of(x.with(DType.U8), x.with(Shape.of(blocks)));
  }

  @Override
  public boolean mayCast(int input) {
    return false;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    float[] table = new float[256];
    for (int i = 0; i < table.length; i++) {
      table[i] = (float) in[1].data()[i];
    }
    for (int b = 0; b < out[1].numel(); b++) {
      float most = 0;
      int last = Math.min(x.length, (b + 1) * block);
      for (int i = b * block; i < last; i++) {
        most = Math.max(most, Math.abs((float) x[i]));
      }
      out[1].data()[b] = most;
      for (int i = b * block; i < last; i++) {
        out[0].data()[i] = code(table, most == 0 ? 0 : (float) x[i] / most);
      }
    }
  }

  /** The code of a value between -1 and 1; 0 for NaN. */
  public static int code(float[] table, float x) {
    int low = 0;
    int high = table.length - 1;
    while (high - low > 1) { // table[low] <= x < table[high], but for ends
      int middle = (low + high) >>> 1;
      if (table[middle] <= x) {
        low = middle;
      } else {
        high = middle;
      }
    }
    int nearest = table[high] - x < x - table[low] ? high : low;
    return x < 0 && table[nearest] >= 0 && nearest > 0 ? nearest - 1 : nearest;
  }
}
