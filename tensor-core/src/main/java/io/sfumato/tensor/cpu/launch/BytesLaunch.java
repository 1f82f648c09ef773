// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.DecodeBytes;
import io.sfumato.tensor.ops.EncodeBytes;

/** Values in bytes, block by block. */
final class BytesLaunch {
  private static final int GRAIN = 16; // blocks

  private BytesLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(EncodeBytes.class, new Encode()).add(DecodeBytes.class, new Decode());
  }

  private static float[] table(Staging staging, Tensor t) {
    long from = staging.rowMajor(t);
    float[] table = new float[256];
    for (int i = 0; i < table.length; i++) {
      table[i] = Memory.getFloat(from + 4L * i);
    }
    return table;
  }

  private static int blocks(long n, int block) {
    return Math.toIntExact((n + block - 1) / block);
  }

  /** {@link EncodeBytes}. */
  private static final class Encode implements Kernel<EncodeBytes> {
    @Override
    public void launch(EncodeBytes op, Tensor[] in, Tensor[] out) {
      long n = in[0].numel();
      int block = op.block();
      try (Staging staging = new Staging()) {
        long x = staging.rowMajor(in[0]);
        float[] table = table(staging, in[1]);
        long codes = out[0].address();
        long magnitudes = out[1].address();
        Parallel.forRange(
            blocks(n, block),
            GRAIN,
            (begin, end, worker) -> {
              for (long b = begin; b < end; b++) {
                long last = Math.min(n, (b + 1) * block);
                float most = 0;
                for (long i = b * block; i < last; i++) {
                  most = Math.max(most, Math.abs(Memory.getFloat(x + 4 * i)));
                }
                Memory.putFloat(magnitudes + 4 * b, most);
                for (long i = b * block; i < last; i++) {
                  float scaled = most == 0 ? 0 : Memory.getFloat(x + 4 * i) / most;
                  Memory.putByte(codes + i, (byte) EncodeBytes.code(table, scaled));
                }
              }
            });
      }
    }
  }

  /** {@link DecodeBytes}. */
  private static final class Decode implements Kernel<DecodeBytes> {
    @Override
    public void launch(DecodeBytes op, Tensor[] in, Tensor[] out) {
      long n = in[0].numel();
      int block = op.block();
      try (Staging staging = new Staging()) {
        long codes = staging.rowMajor(in[0]);
        long magnitudes = staging.rowMajor(in[1]);
        float[] table = table(staging, in[2]);
        long y = out[0].address();
        Parallel.forRange(
            blocks(n, block),
            GRAIN,
            (begin, end, worker) -> {
              for (long b = begin; b < end; b++) {
                float most = Memory.getFloat(magnitudes + 4 * b);
                long last = Math.min(n, (b + 1) * block);
                for (long i = b * block; i < last; i++) {
                  float value = table[Memory.getByte(codes + i) & 0xff];
                  Memory.putFloat(y + 4 * i, value * most);
                }
              }
            });
      }
    }
  }
}
