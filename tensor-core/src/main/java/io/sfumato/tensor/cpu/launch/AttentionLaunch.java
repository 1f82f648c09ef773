// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.AttentionKernel;
import io.sfumato.tensor.cpu.AttentionProblem;
import io.sfumato.tensor.cpu.AttentionProblem.Mask;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.AttentionBackward;
import org.jspecify.annotations.Nullable;

/** Attention by {@link AttentionKernel}; q, k, v are read where they lie if D is innermost. */
public final class AttentionLaunch {
  private AttentionLaunch() {}

  /** The attention. */
  public static final class Forward implements Kernel<Attention> {
    @Override
    public @Nullable String refuse(Attention op, Tensor[] in, Tensor[] out) {
      return refusal(in, out);
    }

    @Override
    public void launch(Attention op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        AttentionKernel.forward(
            problem(op, in, staging),
            matrix(in[0], staging),
            matrix(in[1], staging),
            matrix(in[2], staging),
            matrix(out[0], staging),
            out[1].address());
      }
    }
  }

  /** The gradients. */
  public static final class Backward implements Kernel<AttentionBackward> {
    @Override
    public @Nullable String refuse(AttentionBackward op, Tensor[] in, Tensor[] out) {
      return refusal(in, out);
    }

    @Override
    public void launch(AttentionBackward op, Tensor[] in, Tensor[] out) {
      int n = in.length;
      try (Staging staging = new Staging()) {
        AttentionKernel.backward(
            problem(op.forward(), in, staging),
            matrix(in[0], staging),
            matrix(in[1], staging),
            matrix(in[2], staging),
            matrix(in[n - 3], staging),
            staging.floats(in[n - 2]),
            matrix(in[n - 1], staging),
            matrix(out[0], staging),
            matrix(out[1], staging),
            matrix(out[2], staging));
      }
    }
  }

  private static @Nullable String refusal(Tensor[] in, Tensor[] out) {
    DType type = in[0].dtype();
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        if (t.numel() == 0) {
          return "needs elements";
        }
        if (t.dtype() != type && t.dtype() != DType.F32 && t.dtype() != DType.BOOL) {
          return "needs operands of one type";
        }
      }
    }
    if (type != DType.F32 && type != DType.BF16) {
      return "needs f32 or bf16";
    }
    if (in[2].dim(3) != in[0].dim(3)) {
      return "needs values as wide as keys";
    }
    return type == DType.BF16 ? AttentionKernel.refuseHalves(in[0].dim(3)) : null;
  }

  private static AttentionProblem problem(Attention op, Tensor[] in, Staging staging) {
    Shape q = in[0].shape();
    int keys = in[1].dim(2);
    Mask mask =
        op.mask() == Attention.Mask.NONE
            ? null
            : mask(wide(in[3], staging), q.with(3, keys), staging);
    return new AttentionProblem(
        q.dim(0), q.dim(1), q.dim(2), keys, q.dim(3), (float) op.scale(), op.causal(), mask);
  }

  private static Matrix matrix(Tensor t, Staging staging) {
    Layout layout = t.layout();
    if (layout.stride(3) == 1 || t.dim(3) == 1) {
      return new Matrix(
          t.address(), layout.stride(0), layout.stride(1), layout.stride(2), t.dtype());
    }
    return Matrix.contiguous(staging.rowMajor(t), t.dim(1), t.dim(2), t.dim(3), t.dtype());
  }

  /** A mask of f32 or BOOL. */
  private static Tensor wide(Tensor mask, Staging staging) {
    return mask.dtype().isHalf() ? staging.widened(mask) : mask;
  }

  /** The mask seen as [B, H, Lq, Lk]; copied if neighbouring keys are not neighbours in memory. */
  private static Mask mask(Tensor t, Shape scores, Staging staging) {
    long address = t.address();
    Layout layout = t.layout().expand(scores);
    if (layout.stride(3) != 1 && scores.dim(3) != 1) {
      Shape along = expandable(t.shape(), scores);
      Layout dense = Layout.contiguous(along);
      int bytes = t.dtype().bytes();
      address = staging.allocate(along.numel() * bytes);
      StridedCopy.copy(bytes, t.address(), t.layout().expand(along), address, dense);
      layout = dense.expand(scores);
    }
    return new Mask(
        address, t.dtype() == DType.BOOL, layout.stride(0), layout.stride(1), layout.stride(2));
  }

  /** The shape of the mask with all its keys; other axes stay broadcast. */
  private static Shape expandable(Shape mask, Shape scores) {
    return mask.rank() == 0 ? Shape.of(scores.dim(3)) : mask.with(-1, scores.dim(3));
  }
}
