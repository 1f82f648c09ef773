// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** AdamW. */
public class AdamWBenchmark extends KernelBenchmark {
  /** The parameters. */
  @Param public Shapes.AdamW shape = Shapes.AdamW.SD15_LORA_R8;

  private final List<Parameter> parameters = new ArrayList<>();
  private @Nullable AdamW optimizer;
  private @Nullable Gradients gradients;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "step" -> Work.moving(7.0 * shape.sum());
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    Map<Parameter, Tensor> map = new LinkedHashMap<>();
    for (long n : shape.elements()) {
      Parameter p = new Parameter("p" + parameters.size(), random(Math.toIntExact(n)));
      parameters.add(p);
      map.put(p, random(Math.toIntExact(n)));
    }
    optimizer = new AdamW(parameters, AdamW.options().learningRate(1e-4));
    gradients = Gradients.of(map);
    return new Tensor[0];
  }

  @Override
  protected void release() {
    if (optimizer != null) {
      optimizer.close();
    }
    parameters.forEach(Parameter::close);
  }

  /** One step on all parameters. */
  @Benchmark
  public void step() {
    AdamW a = optimizer;
    Gradients g = gradients;
    if (a != null && g != null) {
      a.step(g);
    }
  }
}
