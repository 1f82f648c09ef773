// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Three layers and a parameter that is never used, with samples by number. */
final class TinyModel implements AutoCloseable {
  static final int WIDTH = 7;

  final List<Parameter> parameters = new ArrayList<>();
  private final DType type;

  TinyModel(DType type, long seed) {
    this.type = type;
    try (Scope scope = Scope.open()) {
      for (int i = 0; i < 3; i++) {
        parameters.add(parameter("layer" + i + ".weight", seed + i, WIDTH, WIDTH + i % 2));
        parameters.add(parameter("layer" + i + ".bias", seed - i, WIDTH + i % 2));
      }
      parameters.add(parameter("unused", 5, 3));
    }
  }

  private Parameter parameter(String name, long seed, int... shape) {
    return new Parameter(name, Rng.seed(seed).normal(spec(shape)).mul(0.5));
  }

  private TensorSpec spec(int... shape) {
    return new TensorSpec(Shape.of(shape), type, Device.CPU);
  }

  /** The mean loss of samples {@code first} to {@code first + count - 1}. */
  Tensor loss(long first, int count) {
    Tensor[] rows = new Tensor[count];
    Arrays.setAll(rows, i -> Rng.seed(77).step(first + i).normal(spec(1, WIDTH)));
    Tensor x = Shaping.concat(0, rows);
    Tensor h = x;
    for (int i = 0; i < 3; i++) {
      Tensor w = parameters.get(2 * i).value();
      h = NN.silu(h.slice(1, 0, WIDTH).matmul(w).add(parameters.get(2 * i + 1).value()));
    }
    return NN.mse(h.slice(1, 0, WIDTH), x);
  }

  /** All values, one behind the other. */
  double[] values() {
    return parameters.stream()
        .flatMapToDouble(p -> Arrays.stream(p.value().toDoubleArray()))
        .toArray();
  }

  @Override
  public void close() {
    parameters.forEach(Parameter::close);
  }
}
