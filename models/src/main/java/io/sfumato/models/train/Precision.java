// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.exec.Autocast;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.BinaryCrossEntropy;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormModulate;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.LogSoftmax;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.LowRank;
import io.sfumato.tensor.ops.MatMul;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.NearestCode;
import io.sfumato.tensor.ops.PowScalar;
import io.sfumato.tensor.ops.QuantizedConv2d;
import io.sfumato.tensor.ops.QuantizedLinear;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.RmsNorm;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.UpsampleConv2d;
import io.sfumato.tensor.ops.Variance;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;

/**
 * The types that a model computes with while it is trained. Weights, gradients and the optimiser
 * stay F32. In BF16 and F16 products run in 16 bits; norms, softmax, reductions and losses in F32;
 * all else in the type of its operands, as in PyTorch's autocast.
 */
public enum Precision {
  /** 32 bits for everything. */
  F32,
  /** Products in BF16, which has the range of F32. */
  BF16,
  /** Products in F16; the loss is scaled so that small gradients do not vanish. */
  F16;

  private static final Map<Class<? extends Op>, Autocast.Precision> TABLE = table();

  private static Map<Class<? extends Op>, Autocast.Precision> table() {
    Map<Class<? extends Op>, Autocast.Precision> table = new HashMap<>();
    for (Class<? extends Op> op :
        List.of(
            Linear.class,
            MatMul.class,
            LowRank.class,
            Attention.class,
            Conv2d.class,
            Conv3d.class,
            UpsampleConv2d.class,
            QuantizedLinear.class,
            QuantizedConv2d.class)) {
      table.put(op, Autocast.Precision.LOW);
    }
    for (Class<? extends Op> op :
        List.of(
            GroupNorm.class,
            LayerNorm.class,
            LayerNormModulate.class,
            GatedResidualNorm.class,
            RmsNorm.class,
            Softmax.class,
            LogSoftmax.class,
            LogSumExp.class,
            CumSum.class,
            PowScalar.class,
            Reduce.class,
            Variance.class,
            NearestCode.class,
            Mse.class,
            CrossEntropy.class,
            BinaryCrossEntropy.class)) {
      table.put(op, Autocast.Precision.FULL);
    }
    return Map.copyOf(table);
  }

  /** The name in configurations: {@code bf16}. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The precision of this name.
   *
   * @throws IllegalArgumentException with all names, if there is none
   */
  public static Precision parse(String label) {
    for (Precision p : values()) {
      if (p.label().equals(label)) {
        return p;
      }
    }
    throw new IllegalArgumentException("precision must be f32, bf16 or f16; got " + label);
  }

  /** Runs {@code body} in this precision. */
  public <R> R run(Supplier<R> body) {
    return switch (this) {
      case F32 -> body.get();
      case BF16 -> Autocast.with(DType.BF16, TABLE, body);
      case F16 -> Autocast.with(DType.F16, TABLE, body);
    };
  }
}
