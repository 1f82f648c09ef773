// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.DType;

/** Element types as kernels name them. */
public final class Types {
  private Types() {}

  /** The end of the name of a kernel for this type: {@code f32}, {@code bf16}, {@code bool}. */
  public static String suffix(DType dtype) {
    return switch (dtype) {
      case F64 -> "f64";
      case F32 -> "f32";
      case BF16 -> "bf16";
      case F16 -> "f16";
      case I64 -> "i64";
      case I32 -> "i32";
      case U8 -> "u8";
      case BOOL -> "bool";
    };
  }

  /** The names of the kernels of all types, by ordinal: {@code start} and the suffix. */
  static String[] names(String start) {
    DType[] types = DType.values();
    String[] names = new String[types.length];
    for (DType dtype : types) {
      names[dtype.ordinal()] = start + suffix(dtype);
    }
    return names;
  }
}
