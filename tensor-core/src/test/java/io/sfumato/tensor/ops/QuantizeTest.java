// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Init;
import org.junit.jupiter.api.Test;

/** Rules of coding that need no judge. */
class QuantizeTest {
  private static Tensor normal(int... shape) {
    return Init.normal(1)
        .create(new TensorSpec(Shape.of(shape), DType.F32, Device.CPU), Rng.seed(3));
  }

  @Test
  void valuesOfTheTableComeBackUnchanged() {
    Scope.run(
        () -> {
          for (float[] table : new float[][] {CodeTables.nf4(), CodeTables.fp4()}) {
            float[] values = new float[32];
            for (int i = 0; i < 32; i++) {
              values[i] = 4 * table[i % 16] + 0f; // exact products, and -0 is coded as 0
            }
            CodedTensor coded = Quantize.fourBit(Tensor.of(values, 32), table, 32);
            assertArrayEquals(values, coded.dequantize(DType.F32).toFloatArray());
          }
        });
  }

  @Test
  void theFirstElementIsInTheHighHalf() {
    Scope.run(
        () -> {
          Tensor weight = Tensor.of(new float[] {-1, 1, 0}, 3);
          CodedTensor coded = Quantize.fourBit(weight, CodeTables.nf4(), 64);
          assertArrayEquals(
              new byte[] {0x0f, 0x77}, coded.parts().getFirst().toByteArray(), "7 is 0");
        });
  }

  @Test
  void errorsAreAtMostHalfAStepOfTheTable() {
    Scope.run(
        () -> {
          Tensor weight = normal(50, 70);
          float[] w = weight.toFloatArray();
          float[] nf4 =
              Quantize.fourBit(weight, CodeTables.nf4(), 64).dequantize(DType.F32).toFloatArray();
          float[] rows = Quantize.rowsInt8(weight).dequantize(DType.F32).toFloatArray();
          for (int i = 0; i < w.length; i++) {
            float most = 0;
            for (int j = i / 64 * 64; j < Math.min(w.length, i / 64 * 64 + 64); j++) {
              most = Math.max(most, Math.abs(w[j]));
            }
            assertTrue(Math.abs(w[i] - nf4[i]) <= 0.1521f * most, "widest gap is 0.304 at -0.85");
            float row = 0;
            for (int j = i / 70 * 70; j < i / 70 * 70 + 70; j++) {
              row = Math.max(row, Math.abs(w[j]));
            }
            assertTrue(Math.abs(w[i] - rows[i]) <= row / 127 * 0.50001f);
          }
        });
  }

  @Test
  void zerosAndTinyValuesAreCoded() {
    Scope.run(
        () -> {
          float tiny = Float.MIN_VALUE;
          Tensor weight = Tensor.of(new float[] {0, 0, 0, tiny, -tiny, 0}, 2, 3);
          for (CodedTensor coded :
              new CodedTensor[] {
                Quantize.fourBit(weight, CodeTables.nf4(), 32),
                Quantize.fourBit(weight, CodeTables.fp4(), 32, 32)
              }) {
            float[] values = coded.dequantize(DType.F32).toFloatArray();
            assertArrayEquals(new float[] {0, 0, 0, tiny, -tiny, 0}, values);
          }
          Tensor zero = Tensor.zeros(2, 3);
          assertArrayEquals(
              new float[6], Quantize.rowsInt8(zero).dequantize(DType.F32).toFloatArray());
          assertArrayEquals(
              new float[6],
              Quantize.fourBit(zero, CodeTables.nf4(), 32).dequantize(DType.F32).toFloatArray());
        });
  }

  @Test
  void whatIsNotFiniteIsRefused() {
    Scope.run(
        () -> {
          Tensor weight = Tensor.of(new float[] {1, Float.NaN}, 2);
          String message =
              assertThrows(
                      IllegalArgumentException.class,
                      () -> Quantize.fourBit(weight, CodeTables.nf4(), 64))
                  .getMessage();
          assertTrue(message.contains("element 1 is NaN"), message);
          assertThrows(IllegalArgumentException.class, () -> Quantize.rowsInt8(weight));
        });
  }

  @Test
  void blocksArePowersOfTwoFrom32To4096() {
    for (int block : new int[] {0, 16, 48, 8192, -64}) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> Coding.fourBit(Shape.of(4), block))
              .getMessage();
      assertTrue(message.contains("power of two from 32 to 4096; got " + block), message);
    }
    assertEquals(4096, Coding.fourBit(Shape.of(4), 4096).block());
  }

  @Test
  void layersGiveTheBitsOfTheDecodedWeight() {
    Scope.run(
        () -> {
          Tensor weight = normal(70, 130);
          Tensor bias = normal(70);
          Tensor x = normal(33, 130);
          for (CodedTensor coded :
              new CodedTensor[] {
                Quantize.fourBit(weight, CodeTables.nf4(), 64, 256), Quantize.rowsInt8(weight)
              }) {
            Tensor plain = NN.linear(x, coded.dequantize(DType.F32), bias);
            assertArrayEquals(plain.toFloatArray(), coded.linear(x, bias).toFloatArray());
          }
        });
  }

  @Test
  void inputsOf16BitsAreRoundedOnce() {
    Scope.run(
        () -> {
          Tensor weight = normal(70, 130);
          for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
            Tensor x = normal(9, 130).to(dtype);
            Tensor bias = normal(70).to(dtype);
            CodedTensor coded = Quantize.fourBit(weight, CodeTables.nf4(), 64);
            Tensor y = coded.linear(x, bias);
            assertEquals(dtype, y.dtype());
            Tensor wide = coded.linear(x.to(DType.F32), bias.to(DType.F32));
            assertArrayEquals(wide.to(dtype).toFloatArray(), y.toFloatArray());
            Tensor picture = normal(2, 13, 5, 5).to(dtype);
            CodedTensor filters = Quantize.rowsInt8(weight.reshape(70, 13, 10, 1));
            ConvOptions options = ConvOptions.of().padding(5);
            assertArrayEquals(
                filters.conv2d(picture.to(DType.F32), null, options).to(dtype).toFloatArray(),
                filters.conv2d(picture, null, options).toFloatArray());
          }
        });
  }
}
