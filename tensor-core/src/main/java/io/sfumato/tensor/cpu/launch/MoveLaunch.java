// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CastLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Cast;
import io.sfumato.tensor.ops.Contiguous;
import io.sfumato.tensor.ops.CopyAll;
import io.sfumato.tensor.ops.CopyInto;
import io.sfumato.tensor.ops.Full;

/** Copies, casts and fills, of any type and in any layouts. */
public final class MoveLaunch {
  private MoveLaunch() {}

  /** {@link Contiguous}. */
  public static Kernel<Contiguous> contiguous() {
    return (op, in, out) -> copy(in[0], out[0]);
  }

  /** {@link Cast}. */
  public static Kernel<Cast> cast() {
    return (op, in, out) -> copy(in[0], out[0]);
  }

  /** {@link CopyInto}. */
  public static Kernel<CopyInto> copyInto() {
    return (op, in, out) -> copy(in[1], in[0]);
  }

  /** {@link CopyAll}. */
  public static Kernel<CopyAll> copyAll() {
    return (op, in, out) -> {
      for (int k = 0; k < op.count(); k++) {
        copy(in[op.count() + k], in[k]);
      }
    };
  }

  /** {@link Full}. */
  public static Kernel<Full> full() {
    return (op, in, out) -> {
      DType dtype = op.spec().dtype();
      long to = out[0].address();
      long n = out[0].numel();
      if (Double.doubleToRawLongBits(op.value()) == 0) {
        Memory.zero(to, n * dtype.bytes());
        return;
      }
      Sweep.over(out[0].shape(), out[0])
          .forEach(
              (at, count) -> {
                if (dtype == DType.F32) {
                  Simd.provider().loops().elementwise().fill((float) op.value(), at[0], count);
                } else {
                  for (int i = 0; i < count; i++) {
                    Elements.put(dtype, at[0] + (long) i * dtype.bytes(), op.value());
                  }
                }
              });
    };
  }

  /** {@code to = from}, rounded to the type of {@code to}; of one shape. */
  public static void copy(Tensor from, Tensor to) {
    DType a = from.dtype();
    DType b = to.dtype();
    if (a == b) {
      StridedCopy.copy(a.bytes(), from.address(), from.layout(), to.address(), to.layout());
      return;
    }
    Sweep sweep = Sweep.over(to.shape(), to, from);
    long stepTo = sweep.step(0);
    long step = sweep.step(1);
    boolean dense = stepTo == b.bytes() && step == a.bytes();
    CastLoops loops = Simd.provider().loops().casts();
    sweep.forEach(
        (at, n) -> {
          if (dense && a == DType.F32 && b.isHalf()) {
            loops.narrow(b, at[1], at[0], n);
          } else if (dense && a.isHalf() && b == DType.F32) {
            loops.widen(a, at[1], at[0], n);
          } else {
            for (int i = 0; i < n; i++) {
              Elements.put(b, at[0] + i * stepTo, Elements.get(a, at[1] + i * step));
            }
          }
        });
  }
}
