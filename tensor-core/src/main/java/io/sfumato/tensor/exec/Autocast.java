// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Mixed precision by a table: products run in a 16-bit type, ops that need range or precision in
 * f32, everything else in the type of its operands, which are brought to the widest among them by
 * the facades. Parameters stay as they are; casts are ordinary ops that a recorder sees, so
 * gradients arrive in the parameters' types.
 *
 * @param inner what runs the ops
 * @param low BF16 or F16
 * @param table what to do with an op class; ops not listed keep their operands' types
 */
public record Autocast(Executor inner, DType low, Map<Class<? extends Op>, Precision> table)
    implements Decorator {
  /** What the operands of an op are cast to. */
  public enum Precision {
    /** The 16-bit type. */
    LOW,
    /** F32. */
    FULL
  }

  /** Checks the type and copies the table. */
  public Autocast {
    if (!low.isHalf()) {
      throw new IllegalArgumentException("autocast needs bf16 or f16; got " + low.label());
    }
    table = Map.copyOf(table);
  }

  /** Runs {@code body} with operands cast by {@code table}. */
  public static <R> R with(DType low, Map<Class<? extends Op>, Precision> table, Supplier<R> body) {
    return Executor.with(new Autocast(Executor.current(), low, table), body);
  }

  @Override
  public Autocast over(Executor other) {
    return new Autocast(other, low, table);
  }

  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    Precision precision = table.get(op.getClass());
    if (precision == null || op instanceof InPlaceOp) {
      return inner.execute(op, inputs);
    }
    DType target = precision == Precision.LOW ? low : DType.F32;
    Tensor[] cast = inputs.clone();
    return Executor.with(
        inner,
        () -> {
          for (int i = 0; i < cast.length; i++) {
            // F64 is asked for explicitly and stays
            DType type = cast[i].dtype();
            if (type.isFloating() && type != DType.F64 && op.mayCast(i)) {
              cast[i] = Num.cast(cast[i], target);
            }
          }
          return inner.execute(op, cast);
        });
  }
}
