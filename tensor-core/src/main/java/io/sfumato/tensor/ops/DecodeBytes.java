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
 * The values of {@link EncodeBytes}, {@code table[code] · m} in f32. Inputs: codes U8 of any shape,
 * the largest magnitudes m F32 [⌈n/block⌉] and the table F32 [256]; output F32 of the codes' shape.
 *
 * @param block elements of a block
 */
public record DecodeBytes(int block) implements GradientFree {
  /** Checks the block. */
  public DecodeBytes {
    Coding.checkBlock("block", block);
  }

  @Override
  public String name() {
    return "decode_bytes";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec codes = in.get(0);
    if (codes.dtype() != DType.U8) {
      throw new DTypeException("codes must be u8");
    }
    if (in.get(1).dtype() != DType.F32 || in.get(2).dtype() != DType.F32) {
      throw new DTypeException("magnitudes and table must be f32");
    }
    int blocks = Math.toIntExact((codes.shape().numel() + block - 1) / block);
    Require.shape(in.get(1), Shape.of(blocks), "magnitudes", "[blocks]");
    Require.shape(in.get(2), Shape.of(256), "table", "[256]");
    return List.of(codes.with(DType.F32));
  }

  @Override
  public boolean mayCast(int input) {
    return false;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] codes = in[0].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = (float) in[2].data()[(int) codes[i]] * (float) in[1].data()[i / block];
    }
  }
}
