// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import io.sfumato.tensor.DType;
import org.jspecify.annotations.Nullable;

/** PyTorch's names of floating types. */
final class TorchTypes {
  private TorchTypes() {}

  static @Nullable DType of(String name) {
    return switch (name) {
      case "float64" -> DType.F64;
      case "float32" -> DType.F32;
      case "bfloat16" -> DType.BF16;
      case "float16" -> DType.F16;
      default -> null;
    };
  }

  static String name(DType dtype) {
    return switch (dtype) {
      case F64 -> "float64";
      case F32 -> "float32";
      case BF16 -> "bfloat16";
      case F16 -> "float16";
      default -> throw new IllegalArgumentException(dtype.label() + " is not floating");
    };
  }
}
