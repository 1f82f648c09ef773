// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.HadamardLowRank;
import io.sfumato.tensor.ops.HadamardLowRankGradients;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The kernels of hadamard.cuh: tails of tiles, several steps of ranks, parts, strided factors. */
class HadamardKernelsTest {
  @ParameterizedTest
  @CsvSource({
    "F32, 70, 66, 130, 16, false",
    "F32, 5, 129, 33, 17, true",
    "BF16, 140, 72, 136, 16, false",
    "BF16, 3, 130, 67, 33, true",
    "F16, 129, 64, 64, 5, true",
    "F16, 1, 8, 8, 1, false"
  })
  void product(DType dtype, int m, int n, int k, int r, boolean byColumns) throws Throwable {
    try (Scope scope = Scope.open()) {
      check(2e-6, new HadamardLowRank(0.5), operands(dtype, m, n, k, r, byColumns));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "F32, 70, 66, 130, 16, false",
    "F32, 530, 65, 300, 17, true",
    "BF16, 140, 72, 136, 16, false",
    "BF16, 600, 130, 67, 33, true",
    "F16, 33, 64, 260, 2, true",
    "F16, 1, 8, 8, 1, false"
  })
  void gradients(DType dtype, int m, int n, int k, int r, boolean byColumns) throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor[] in = operands(dtype, m, n, k, r, byColumns);
      Op op = new HadamardLowRankGradients(0.5);
      check(4e-6, op, normal(dtype, 6, m, n), in[0], in[1], in[2], in[3], in[4]);
    }
  }

  private static Tensor[] operands(DType dtype, int m, int n, int k, int r, boolean byColumns) {
    return new Tensor[] {
      normal(dtype, 1, m, k),
      factor(dtype, 2, n, r, byColumns),
      factor(dtype, 3, r, k, byColumns),
      factor(dtype, 4, n, r, false),
      factor(dtype, 5, r, k, byColumns)
    };
  }

  private static Tensor factor(DType dtype, int seed, int rows, int columns, boolean byColumns) {
    return byColumns
        ? normal(dtype, seed, columns, rows).transpose(0, 1)
        : normal(dtype, seed, rows, columns);
  }
}
