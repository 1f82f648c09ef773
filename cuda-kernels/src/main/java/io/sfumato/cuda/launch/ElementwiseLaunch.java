// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.AddInPlace;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.Binary;
import io.sfumato.tensor.ops.Clamp;
import io.sfumato.tensor.ops.Elu;
import io.sfumato.tensor.ops.LeakyRelu;
import io.sfumato.tensor.ops.PowScalar;
import io.sfumato.tensor.ops.Softplus;
import io.sfumato.tensor.ops.Unary;
import io.sfumato.tensor.ops.UnaryBackward;
import java.util.function.ToDoubleFunction;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/** Functions of elements at equal indices, in any layouts, with broadcasting. */
final class ElementwiseLaunch {
  // kinds of elementwise_ops.cuh after those of Unary
  private static final int AFFINE = Unary.Kind.values().length;
  private static final int CLAMP = AFFINE + 1;
  private static final int POW_SCALAR = AFFINE + 2;
  private static final int LEAKY_RELU = AFFINE + 3;
  private static final int ELU = AFFINE + 4;
  private static final int SOFTPLUS = AFFINE + 5;

  private ElementwiseLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Unary.class, new Function<>(op -> op.kind().ordinal(), op -> 0, op -> 0))
        .add(Affine.class, new Function<>(op -> AFFINE, Affine::scale, Affine::shift))
        .add(Clamp.class, new Function<>(op -> CLAMP, Clamp::min, Clamp::max))
        .add(PowScalar.class, new Function<>(op -> POW_SCALAR, PowScalar::exponent, op -> 0))
        .add(LeakyRelu.class, new Function<>(op -> LEAKY_RELU, LeakyRelu::slope, op -> 0))
        .add(Elu.class, new Function<>(op -> ELU, Elu::alpha, op -> 0))
        .add(Softplus.class, new Function<>(op -> SOFTPLUS, Softplus::beta, Softplus::threshold))
        .add(UnaryBackward.class, new Pairs<>("unary_backward_", op -> op.kind().ordinal()))
        .add(Binary.class, new Pairs<>("binary_", op -> op.kind().ordinal()))
        .add(AddInPlace.class, new Add());
  }

  /** The file of the kernels for a type. */
  private static String family(DType dtype) {
    return dtype == DType.F32 || dtype.isHalf() ? "elementwise" : "elementwise_wide";
  }

  /**
   * A function of one tensor.
   *
   * @param kind its number
   * @param p its first parameter
   * @param q its second
   */
  private record Function<O extends Op>(
      ToIntFunction<O> kind, ToDoubleFunction<O> p, ToDoubleFunction<O> q) implements Kernel<O> {
    private static final String[] NAMES = Types.names("unary_");

    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      DType dtype = out[0].dtype();
      Walk.of(out[0], in[0])
          .pieces(
              walk ->
                  Gpu.of(out[0])
                      .kernel(family(dtype), NAMES[dtype.ordinal()])
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(1))
                      .pointer(walk.address(0))
                      .i32(kind.applyAsInt(op))
                      .f64(p.applyAsDouble(op))
                      .f64(q.applyAsDouble(op))
                      .longs(walk.longs(Walk.vector(dtype, dtype)))
                      .run());
    }
  }

  /** A function of two tensors of one type. */
  private static final class Pairs<O extends Op> implements Kernel<O> {
    private final String[] names;
    private final ToIntFunction<O> kind;

    Pairs(String name, ToIntFunction<O> kind) {
      this.names = Types.names(name);
      this.kind = kind;
    }

    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      DType dtype = out[0].dtype();
      Walk.of(out[0], in)
          .pieces(
              walk ->
                  Gpu.of(out[0])
                      .kernel(family(dtype), names[dtype.ordinal()])
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(1))
                      .pointer(walk.address(2))
                      .pointer(walk.address(0))
                      .i32(kind.applyAsInt(op))
                      .longs(walk.longs(Walk.vector(dtype, dtype)))
                      .run());
    }
  }

  /** {@link AddInPlace}. */
  private static final class Add implements Kernel<AddInPlace> {
    @Override
    public @Nullable String refuse(AddInPlace op, Tensor[] in, Tensor[] out) {
      DType target = in[0].dtype();
      DType x = in[1].dtype();
      if (target != x && (target == DType.F64 || x != DType.F32)) {
        boolean widening = target == DType.F32 && x.isHalf();
        if (!widening) {
          return "needs a summand of the target's type, f32 beside 16 bits, or 16 bits beside f32";
        }
      }
      return Walk.refuse(in[0]);
    }

    @Override
    public void launch(AddInPlace op, Tensor[] in, Tensor[] out) {
      DType target = in[0].dtype();
      DType x = in[1].dtype();
      String name = "add_in_place_" + Types.suffix(target) + "_" + Types.suffix(x);
      Walk.of(in[0], in[0], in[1])
          .pieces(
              walk ->
                  Gpu.of(in[0])
                      .kernel(family(target), name)
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(0))
                      .pointer(walk.address(2))
                      .f64(op.scale())
                      .longs(walk.longs(Walk.vector(target, x)))
                      .run());
    }
  }
}
