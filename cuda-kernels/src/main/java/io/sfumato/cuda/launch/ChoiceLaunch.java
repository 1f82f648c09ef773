// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Cast;
import io.sfumato.tensor.ops.Compare;
import io.sfumato.tensor.ops.Logical;
import io.sfumato.tensor.ops.Where;
import org.jspecify.annotations.Nullable;

/** Comparisons, logic, choice and casts, of any type, in any layouts, with broadcasting. */
final class ChoiceLaunch {
  private static final String FAMILY = "choice";

  private ChoiceLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Compare.class, new Comparison())
        .add(Logical.class, new Logic())
        .add(Where.class, new Choice())
        .add(Cast.class, new Conversion());
  }

  /** What {@link Walk} asks for. */
  private interface Walked<O extends Op> extends Kernel<O> {
    @Override
    default @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }
  }

  /** {@link Compare}; truth values compare as bytes. */
  private static final class Comparison implements Walked<Compare> {
    private static final String[] NAMES = Types.names("compare_");

    @Override
    public void launch(Compare op, Tensor[] in, Tensor[] out) {
      DType dtype = in[0].dtype() == DType.BOOL ? DType.U8 : in[0].dtype();
      Walk.of(out[0], in)
          .pieces(
              walk ->
                  Gpu.of(out[0])
                      .kernel(FAMILY, NAMES[dtype.ordinal()])
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(1))
                      .pointer(walk.address(2))
                      .pointer(walk.address(0))
                      .i32(op.kind().ordinal())
                      .longs(walk.longs(Walk.vector(dtype, dtype)))
                      .run());
    }
  }

  /** {@link Logical}. */
  private static final class Logic implements Walked<Logical> {
    @Override
    public void launch(Logical op, Tensor[] in, Tensor[] out) {
      Walk.of(out[0], in[0], in[in.length - 1])
          .pieces(
              walk ->
                  Gpu.of(out[0])
                      .kernel(FAMILY, "logical")
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(1))
                      .pointer(walk.address(2))
                      .pointer(walk.address(0))
                      .i32(op.kind().ordinal())
                      .longs(walk.longs(Walk.vector(DType.BOOL, DType.BOOL)))
                      .run());
    }
  }

  /** {@link Where}; values move by their size. */
  private static final class Choice implements Walked<Where> {
    @Override
    public void launch(Where op, Tensor[] in, Tensor[] out) {
      DType dtype = out[0].dtype();
      String name =
          switch (dtype.bytes()) {
            case 1 -> "where_1";
            case 2 -> "where_2";
            case 4 -> "where_4";
            default -> "where_8";
          };
      Walk.of(out[0], in)
          .pieces(
              walk ->
                  Gpu.of(out[0])
                      .kernel(FAMILY, name)
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(1))
                      .pointer(walk.address(2))
                      .pointer(walk.address(3))
                      .pointer(walk.address(0))
                      .longs(walk.longs(Walk.vector(dtype, dtype)))
                      .run());
    }
  }

  /** {@link Cast}. */
  private static final class Conversion implements Walked<Cast> {
    @Override
    public void launch(Cast op, Tensor[] in, Tensor[] out) {
      cast(in[0], out[0]);
    }
  }

  /** {@code y = x}, rounded to the type of {@code y}; of one shape. */
  static void cast(Tensor x, Tensor y) {
    DType from = x.dtype();
    DType to = y.dtype();
    if (from.bytes() == to.bytes() && (from == to || to == DType.U8)) { // a truth value is 0 or 1
      CopyLaunch.copy(x, y);
      return;
    }
    String direct = direct(from, to);
    Walk.of(y, x)
        .pieces(
            walk -> {
              if (direct != null) {
                Gpu.of(y)
                    .kernel(FAMILY, direct)
                    .grid(walk.blocks())
                    .block(Walk.THREADS)
                    .pointer(walk.address(1))
                    .pointer(walk.address(0))
                    .longs(walk.longs(Walk.vector(from, to)))
                    .run();
              } else {
                Gpu.of(y)
                    .kernel(FAMILY, ANY[to.ordinal()])
                    .grid(walk.blocks())
                    .block(Walk.THREADS)
                    .pointer(walk.address(1))
                    .i32(from.ordinal())
                    .pointer(walk.address(0))
                    .longs(walk.longs(1))
                    .run();
              }
            });
  }

  private static final String[] ANY = Types.names("cast_any_");

  /** The kernel with vectors for a pair of types, or null. */
  private static @Nullable String direct(DType from, DType to) {
    return switch (from) {
      case F32 -> to == DType.BF16 ? "cast_f32_bf16" : to == DType.F16 ? "cast_f32_f16" : null;
      case BF16 -> to == DType.F32 ? "cast_bf16_f32" : to == DType.F16 ? "cast_bf16_f16" : null;
      case F16 -> to == DType.F32 ? "cast_f16_f32" : to == DType.BF16 ? "cast_f16_bf16" : null;
      case U8, BOOL -> to == DType.F32 ? "cast_u8_f32" : to == DType.BF16 ? "cast_u8_bf16" : null;
      default -> null;
    };
  }
}
