// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;
import java.util.stream.IntStream;

/** Inputs of fused backwards, consistent with a forward pass. */
final class Given {
  private Given() {}

  /** An input with the values it has under a seed written out. */
  static Input fixed(Input input, long seed) {
    Input values = Input.values(input.make(seed), input.shape().dims());
    return input.isFree() ? values : values.as(input.dtype(DType.F64));
  }

  /** These inputs, each under its own seed, with their values written out. */
  static List<Input> all(Input... inputs) {
    return IntStream.range(0, inputs.length).mapToObj(i -> fixed(inputs[i], 100 + i)).toList();
  }

  /** The outputs of an op, by its reference, as inputs. */
  static List<Input> outputs(Op op, List<Input> inputs) {
    List<TensorSpec> specs =
        inputs.stream()
            .map(x -> new TensorSpec(x.shape(), x.dtype(DType.F64), Device.CPU))
            .toList();
    Dense[] in =
        inputs.stream()
            .map(x -> new Dense(x.shape(), x.dtype(DType.F64), x.make(0)))
            .toArray(Dense[]::new);
    Dense[] out =
        op.infer(specs).stream().map(s -> Dense.zeros(s.shape(), s.dtype())).toArray(Dense[]::new);
    op.reference(in, out);
    return List.of(out).stream().map(y -> input(y.data(), y.shape())).toList();
  }

  private static Input input(double[] values, Shape shape) {
    return Input.values(values, shape.dims());
  }
}
