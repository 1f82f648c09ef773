// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Activations. */
public class ActivationBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Activation shape = Shapes.Activation.DIT_XL_256;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "gelu", "geluTanh", "silu" -> Work.moving(2.0 * shape.rows * shape.width);
      case "geglu" -> Work.moving(3.0 * shape.rows * shape.width);
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {random(shape.rows, shape.width), random(shape.rows, 2 * shape.width)};
  }

  /** With the error function. */
  @Benchmark
  public void gelu() {
    run(() -> NN.gelu(t[0]));
  }

  /** With the hyperbolic tangent. */
  @Benchmark
  public void geluTanh() {
    run(() -> NN.geluTanh(t[0]));
  }

  /** x by its sigmoid. */
  @Benchmark
  public void silu() {
    run(() -> NN.silu(t[0]));
  }

  /** The first half of each row by the GELU of the second. */
  @Benchmark
  public void geglu() {
    run(() -> NN.gatedUnit(GatedUnit.Kind.GELU, t[1]));
  }
}
