// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * Element types. Names are those of the safetensors format. Low-precision floating types are
 * storage types: arithmetic on them is done in f32 and rounded to nearest even when stored.
 */
public enum DType {
  /** IEEE 754 binary64. */
  F64(8, true, true),
  /** IEEE 754 binary32. */
  F32(4, true, true),
  /** bfloat16: the upper half of a binary32. */
  BF16(2, true, true),
  /** IEEE 754 binary16. */
  F16(2, true, true),
  /** Signed 64-bit integer. */
  I64(8, false, true),
  /** Signed 32-bit integer. */
  I32(4, false, true),
  /** Unsigned 8-bit integer. */
  U8(1, false, false),
  /** Truth value, one byte, 0 or 1. */
  BOOL(1, false, false);

  private final int bytes;
  private final boolean floating;
  private final boolean signed;

  DType(int bytes, boolean floating, boolean signed) {
    this.bytes = bytes;
    this.floating = floating;
    this.signed = signed;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** Whether this is F64, F32, BF16 or F16. */
  public boolean isFloating() {
    return floating;
  }

  /** Whether this is I64, I32 or U8. */
  public boolean isInteger() {
    return !floating && this != BOOL;
  }

  /** Whether negative values can be represented. */
  public boolean isSigned() {
    return signed;
  }

  /** Whether this is a 16-bit floating type. */
  public boolean isHalf() {
    return this == BF16 || this == F16;
  }

  /** The type sums are accumulated in and statistics are kept in: F64 for F64, else F32. */
  public DType accumulator() {
    return this == F64 ? F64 : F32;
  }

  /**
   * The common type of two operands, as PyTorch promotes tensors: floating beats integer beats
   * BOOL, wider beats narrower, and BF16 with F16 gives F32.
   */
  public static DType promote(DType a, DType b) {
    if (a == b) {
      return a;
    }
    if (a.floating != b.floating) {
      return a.floating ? a : b;
    }
    if (a.isHalf() && b.isHalf()) {
      return F32;
    }
    return a.ordinal() < b.ordinal() ? a : b;
  }

  /** Lower-case name as it is printed in messages, for example {@code bf16}. */
  public String label() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
