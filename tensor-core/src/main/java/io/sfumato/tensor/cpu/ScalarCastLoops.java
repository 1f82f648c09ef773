// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link CastLoops} in plain Java. */
final class ScalarCastLoops implements CastLoops {
  @Override
  public void floatToBfloat16(long from, long to, int n) {
    for (int i = 0; i < n; i++) {
      float x = getFloat(from + i * 4L);
      int bits = Float.floatToRawIntBits(x);
      int high = Float.isNaN(x) ? bits >>> 16 | 0x40 : bits + (bits >>> 16 & 1) + 0x7fff >>> 16;
      Memory.putShort(to + i * 2L, (short) high);
    }
  }

  @Override
  public void bfloat16ToFloat(long from, long to, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(to + i * 4L, Float.intBitsToFloat(Memory.getShort(from + i * 2L) << 16));
    }
  }

  @Override
  public void floatToFloat16(long from, long to, int n) {
    for (int i = 0; i < n; i++) {
      Memory.putShort(to + i * 2L, Float.floatToFloat16(getFloat(from + i * 4L)));
    }
  }

  @Override
  public void float16ToFloat(long from, long to, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(to + i * 4L, Float.float16ToFloat(Memory.getShort(from + i * 2L)));
    }
  }
}
