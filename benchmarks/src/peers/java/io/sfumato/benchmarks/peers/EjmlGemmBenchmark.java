// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import io.sfumato.benchmarks.kernels.GemmBenchmark;
import io.sfumato.benchmarks.kernels.KernelBenchmark;
import io.sfumato.benchmarks.kernels.Shapes;
import io.sfumato.benchmarks.kernels.Work;
import io.sfumato.tensor.Tensor;
import org.ejml.concurrency.EjmlConcurrency;
import org.ejml.data.FMatrixRMaj;
import org.ejml.dense.row.CommonOps_MT_FDRM;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Matrix products of EJML, which allocates no result. */
public class EjmlGemmBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Gemm shape = Shapes.Gemm.SQUARE_1024;

  private FMatrixRMaj[] x = {};

  @Override
  public Work work(String method) {
    return GemmBenchmark.products(shape);
  }

  @Override
  protected Tensor[] operands() {
    EjmlConcurrency.setMaxThreads(threads);
    FMatrixRMaj a =
        shape.transposeA ? new FMatrixRMaj(shape.k, shape.m) : new FMatrixRMaj(shape.m, shape.k);
    FMatrixRMaj b =
        shape.transposeB ? new FMatrixRMaj(shape.n, shape.k) : new FMatrixRMaj(shape.k, shape.n);
    a.fill(0.5f);
    b.fill(0.25f);
    x = new FMatrixRMaj[] {a, b, new FMatrixRMaj(shape.m, shape.n)};
    return new Tensor[0];
  }

  /** The product. */
  @Benchmark
  public void multiply() {
    if (shape.transposeA && shape.transposeB) {
      CommonOps_MT_FDRM.multTransAB(x[0], x[1], x[2]);
    } else if (shape.transposeA) {
      CommonOps_MT_FDRM.multTransA(x[0], x[1], x[2]);
    } else if (shape.transposeB) {
      CommonOps_MT_FDRM.multTransB(x[0], x[1], x[2]);
    } else {
      CommonOps_MT_FDRM.mult(x[0], x[1], x[2]);
    }
  }
}
