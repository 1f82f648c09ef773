// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Executor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Codes weights, once, on the host, and the moments of optimizers on their device; by bitsandbytes'
 * rules. An element x of a block with the largest magnitude m gets the code of the value that is
 * nearest to {@code x · (1/m)} in f32, of two the one with the smaller code. Where m is 0 the code
 * is that of 0.
 */
public final class Quantize {
  private Quantize() {}

  /**
   * Four bits in blocks, with plain scales.
   *
   * @param weight of any floating type and device; the result is on the same device
   * @param table the 16 values, see {@link CodeTables}
   * @param block elements of a block
   * @throws IllegalArgumentException if a value is not finite
   */
  public static CodedTensor fourBit(Tensor weight, float[] table, int block) {
    Coding coding = Coding.fourBit(weight.shape(), block);
    Blocks blocks = blocks(weight.toFloatArray(), table, block);
    return coded(coding, weight.device(), packed(blocks), scales(blocks), values(table));
  }

  /**
   * Four bits in blocks, with scales that are coded by the dynamic map: their mean is taken off
   * before.
   *
   * @param nestedBlock scales of a block, 256 in bitsandbytes
   */
  public static CodedTensor fourBit(Tensor weight, float[] table, int block, int nestedBlock) {
    Blocks blocks = blocks(weight.toFloatArray(), table, block);
    float[] scales = blocks.scales;
    double sum = 0;
    for (float scale : scales) {
      sum += scale;
    }
    float offset = scales.length == 0 ? 0 : (float) (sum / scales.length);
    float[] centred = new float[scales.length];
    for (int i = 0; i < scales.length; i++) {
      centred[i] = scales[i] - offset;
    }
    float[] map = CodeTables.dynamic(true);
    Blocks outer = blocks(centred, map, nestedBlock);
    Coding.Nested nested = new Coding.Nested(nestedBlock, offset);
    return coded(
        Coding.fourBit(weight.shape(), block, nested),
        weight.device(),
        packed(blocks),
        Tensor.of(outer.codes, outer.codes.length),
        values(table),
        scales(outer),
        values(map));
  }

  /**
   * Eight bits, a scale for each row: code = x · (127/m) rounded, ties to even, with the largest
   * magnitude m of the row.
   *
   * @param weight of any floating type and device, with at least one axis
   * @throws IllegalArgumentException if a value is not finite
   */
  public static CodedTensor rowsInt8(Tensor weight) {
    Coding coding = Coding.rowsInt8(weight.shape());
    float[] x = weight.toFloatArray();
    int length = coding.rowLength();
    byte[] codes = new byte[x.length];
    float[] largest = new float[weight.dim(0)];
    for (int row = 0; row < largest.length; row++) {
      float most = largest(x, row * length, length);
      largest[row] = most;
      for (int i = row * length; most > 0 && i < (row + 1) * length; i++) {
        codes[i] = (byte) Math.rint(Math.clamp((double) (x[i] * (127 / most)), -127.0, 127.0));
      }
    }
    return coded(
        coding,
        weight.device(),
        Tensor.of(codes, weight.shape().dims()),
        Tensor.of(largest, largest.length));
  }

  /**
   * Codes values that change, on their device: see {@link EncodeBytes}.
   *
   * @param x F32
   * @param table F32 [256], ascending, on the device of x: {@link CodeTables#dynamic}
   * @param block elements that share a magnitude
   * @return codes U8 of the shape of x, and magnitudes F32
   */
  public static Tensor[] encodeBytes(Tensor x, Tensor table, int block) {
    return Executor.current().execute(new EncodeBytes(block), x, table);
  }

  /** The values of {@link #encodeBytes}. */
  public static Tensor decodeBytes(Tensor codes, Tensor magnitudes, Tensor table, int block) {
    return Executor.run(new DecodeBytes(block), codes, magnitudes, table);
  }

  /** Codes and scales of blocks, one code in a byte, and the code of 0. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Blocks(byte[] codes, float[] scales, int zero) {}

  private static Blocks blocks(float[] x, float[] table, int block) {
    byte[] codes = new byte[x.length];
    float[] scales = new float[(x.length + block - 1) / block];
    for (int b = 0; b < scales.length; b++) { // all are finite before work is shared
      scales[b] = largest(x, b * block, Math.min(block, x.length - b * block));
    }
    Nearest nearest = new Nearest(table);
    Parallel.forRange(
        scales.length,
        64,
        (begin, end, worker) -> {
          for (int b = begin; b < end; b++) {
            float inverse = 1 / scales[b];
            int last = Math.min(x.length, (b + 1) * block);
            for (int i = b * block; i < last; i++) {
              float scaled = Float.isFinite(inverse) ? x[i] * inverse : tiny(x[i], scales[b]);
              codes[i] = (byte) nearest.code(Math.clamp(scaled, -1f, 1f));
            }
          }
        });
    return new Blocks(codes, scales, nearest.code(0));
  }

  /** x / m where 1/m is infinite, 0 where m is 0. */
  private static float tiny(float x, float most) {
    return most == 0 ? 0 : x / most;
  }

  private static float largest(float[] x, int from, int count) {
    float most = 0;
    for (int i = from; i < from + count; i++) {
      float magnitude = Math.abs(x[i]);
      if (!(magnitude <= Float.MAX_VALUE)) {
        throw new IllegalArgumentException(
            "a weight that is not finite cannot be coded; element " + i + " is " + x[i]);
      }
      most = Math.max(most, magnitude);
    }
    return most;
  }

  /** Finds the value of a table that is nearest in f32, of equally near ones the first. */
  private static final class Nearest {
    private final float[] table;
    private final boolean ascending;

    Nearest(float[] table) {
      this.table = table;
      boolean sorted = true;
      for (int i = 1; i < table.length; i++) {
        sorted &= table[i - 1] < table[i];
      }
      this.ascending = sorted;
    }

    int code(float x) {
      int from = 0;
      int to = table.length;
      if (ascending) { // the neighbours of x, and those as near to it after rounding
        int at = Arrays.binarySearch(table, x);
        int above = at < 0 ? -at - 1 : at;
        from = Math.max(0, above - 2);
        to = Math.min(table.length, above + 2);
      }
      int best = from;
      float least = Float.POSITIVE_INFINITY;
      for (int i = from; i < to; i++) {
        float distance = Math.abs(x - table[i]);
        if (distance < least) {
          least = distance;
          best = i;
        }
      }
      return best;
    }
  }

  /** Two codes in a byte, the first in the high half, a last one beside that of 0: [⌈n/2⌉, 1]. */
  private static Tensor packed(Blocks blocks) {
    byte[] codes = blocks.codes;
    byte[] bytes = new byte[(codes.length + 1) / 2];
    for (int i = 0; i < codes.length; i += 2) {
      int second = i + 1 < codes.length ? codes[i + 1] : blocks.zero;
      bytes[i / 2] = (byte) (codes[i] << 4 | second);
    }
    return Tensor.of(bytes, bytes.length, 1);
  }

  private static Tensor scales(Blocks blocks) {
    return values(blocks.scales);
  }

  private static Tensor values(float[] values) {
    return Tensor.of(values, values.length);
  }

  private static CodedTensor coded(Coding coding, Device device, Tensor... parts) {
    List<Tensor> placed = new ArrayList<>();
    for (Tensor part : parts) {
      placed.add(part.device().equals(device) ? part : part.to(device));
    }
    return new CodedTensor(coding, placed);
  }
}
