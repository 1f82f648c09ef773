// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;

import io.sfumato.benchmarks.kernels.GemmBenchmark;
import io.sfumato.benchmarks.kernels.KernelBenchmark;
import io.sfumato.benchmarks.kernels.Shapes;
import io.sfumato.benchmarks.kernels.Work;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Matrix products of OpenBLAS, which allocates no result. */
public class OpenBlasGemmBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Gemm shape = Shapes.Gemm.SQUARE_1024;

  private FloatPointer[] x = {};

  @Override
  public Work work(String method) {
    return GemmBenchmark.products(shape);
  }

  @Override
  protected Tensor[] operands() {
    OpenBlas.setThreads(threads);
    x =
        new FloatPointer[] {
          filled((long) shape.m * shape.k),
          filled((long) shape.k * shape.n),
          filled((long) shape.m * shape.n)
        };
    return new Tensor[0];
  }

  private static FloatPointer filled(long n) {
    float[] values = new float[Math.toIntExact(n)];
    Arrays.fill(values, 0.5f);
    return new FloatPointer(values);
  }

  @Override
  protected void release() {
    for (FloatPointer p : x) {
      p.close();
    }
  }

  /** The product. */
  @Benchmark
  public void multiply() {
    cblas_sgemm(
        CblasRowMajor,
        shape.transposeA ? CblasTrans : CblasNoTrans,
        shape.transposeB ? CblasTrans : CblasNoTrans,
        shape.m,
        shape.n,
        shape.k,
        1,
        x[0],
        shape.transposeA ? shape.m : shape.k,
        x[1],
        shape.transposeB ? shape.k : shape.n,
        0,
        x[2],
        shape.n);
  }
}
