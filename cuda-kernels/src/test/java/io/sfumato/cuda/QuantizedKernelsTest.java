// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.integers;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.DecodeBytes;
import io.sfumato.tensor.ops.Dequantize;
import io.sfumato.tensor.ops.EncodeBytes;
import io.sfumato.tensor.ops.Quantize;
import io.sfumato.tensor.ops.QuantizedConv2d;
import io.sfumato.tensor.ops.QuantizedLinear;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Coded weights over many blocks of threads, with tails, in all orders of threads. */
class QuantizedKernelsTest {
  private static final DType[] TYPES = {DType.F32, DType.BF16, DType.F16};

  private static List<CodedTensor> coded(int... shape) {
    Tensor weight = normal(DType.F32, 1, shape);
    return List.of(
        Quantize.fourBit(weight, CodeTables.nf4(), 64),
        Quantize.fourBit(weight, CodeTables.fp4(), 32, 256),
        Quantize.rowsInt8(weight));
  }

  private static Tensor[] operands(Tensor x, CodedTensor w, Tensor... more) {
    List<Tensor> in = new ArrayList<>(w.parts());
    in.addFirst(x);
    in.addAll(List.of(more));
    return in.toArray(Tensor[]::new);
  }

  @Test
  void valuesAreThoseOfTheCpuBitForBit() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int[] shape : new int[][] {{1, 1}, {3, 7}, {64, 32}, {65, 129}, {5, 3, 3, 3}}) {
        for (CodedTensor w : coded(shape)) {
          Tensor[] parts = w.parts().toArray(Tensor[]::new);
          for (DType dtype : TYPES) {
            check(0, new Dequantize(w.coding(), dtype), parts);
          }
          check(0, new Dequantize(w.coding(), DType.F64), parts);
        }
      }
    }
  }

  @Test
  void productsWithFewRowsReadCodes() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int[] s :
          new int[][] {
            {1, 8, 1}, {2, 40, 9}, {4, 264, 33}, {3, 520, 17}, {8, 264, 33}, {7, 40, 9}
          }) {
        for (CodedTensor w : coded(s[2], s[1])) {
          for (DType dtype : TYPES) {
            if (s[0] > 4 && dtype != DType.F32) {
              continue; // takes tensor cores: QuantizedProductsTest
            }
            Tensor x = normal(dtype, 2, s[0], s[1]);
            check(4e-6, new QuantizedLinear(w.coding(), false, false), operands(x, w));
            Tensor bias = normal(dtype, 3, s[2]);
            check(4e-6, new QuantizedLinear(w.coding(), false, true), operands(x, w, bias));
          }
        }
      }
    }
  }

  @Test
  void productsWithManyRowsAndAdjoints() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int[] s : new int[][] {{33, 70}, {40, 72}}) { // decoded to memory, and on the way
        for (CodedTensor w : coded(s)) {
          for (DType dtype : TYPES) {
            // Weights are decoded to the type of the input: 16-bit ones round once more.
            double tolerance = dtype == DType.F32 ? 4e-6 : dtype == DType.F16 ? 0x1p-11 : 0x1p-8;
            Tensor bias = normal(dtype, 4, s[0]);
            Tensor x = normal(dtype, 5, 3, 6, s[1]);
            check(tolerance, new QuantizedLinear(w.coding(), false, true), operands(x, w, bias));
            Tensor g = normal(dtype, 6, 2, s[0]);
            check(tolerance, new QuantizedLinear(w.coding(), true, false), operands(g, w));
          }
        }
      }
    }
  }

  @Test
  void convolutions() throws Throwable {
    ConvOptions options = ConvOptions.of().stride(2).padding(1).resolved(2);
    try (Scope scope = Scope.open()) {
      for (CodedTensor w : coded(9, 5, 3, 3)) {
        Tensor x = normal(DType.BF16, 7, 2, 5, 9, 8);
        Tensor bias = normal(DType.BF16, 8, 9);
        QuantizedConv2d op = new QuantizedConv2d(w.coding(), options, true);
        check(0x1p-8, op, operands(x, w, bias));
      }
    }
  }

  @Test
  void bytes() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int block : new int[] {32, 256, 2048}) {
        for (boolean signed : new boolean[] {true, false}) {
          float[] map = CodeTables.dynamic(signed);
          Tensor table = Tensor.of(map, 256);
          for (int n : new int[] {1, 255, 4097}) {
            Tensor x = normal(DType.F32, 9, n);
            check(0, new EncodeBytes(block), signed ? x : x.abs(), table);
            Tensor codes = integers(DType.U8, 10, 256, n);
            Tensor magnitudes = normal(DType.F32, 11, (n + block - 1) / block).abs();
            check(0, new DecodeBytes(block), codes, magnitudes, table);
          }
        }
      }
    }
  }
}
