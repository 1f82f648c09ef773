// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/** Compares every gradient of a golden file. */
final class GoldenGradients {
  private GoldenGradients() {}

  /**
   * Differentiates {@code sum(output · g)} by all parameters and by the input.
   *
   * @param io holds {@code in.NAME}, {@code g.OUTPUT}, {@code grad.*} and {@code gradin.NAME}
   * @param input the input's name
   * @param output the output's name
   * @param forward the model
   */
  static void compare(
      SafeTensors io, Module model, String input, String output, Function<Tensor, Tensor> forward) {
    compare(io, model, List.of(input), output, in -> forward.apply(in.get(input)));
  }

  /** The same by several inputs, which {@code forward} gets by name. */
  static void compare(
      SafeTensors io,
      Module model,
      List<String> inputs,
      String output,
      Function<Map<String, Tensor>, Tensor> forward) {
    Tensor cotangent = io.read("g." + output);
    Map<String, Parameter> variables = new LinkedHashMap<>();
    inputs.forEach(name -> variables.put(name, new Parameter(name, io.read("in." + name))));
    List<Parameter> wanted = new ArrayList<>(model.parameters());
    wanted.addAll(variables.values());
    Map<String, Tensor> values = new LinkedHashMap<>();
    variables.forEach((name, p) -> values.put(name, p.value()));
    Gradients gradients =
        Autograd.valueAndGrad(wanted, () -> Num.sum(forward.apply(values).mul(cotangent)))
            .gradients();
    // Some gradients are zero by symmetry (the keys' biases), and rounding alone in both; so
    // nothing is judged by less than a thousandth of the largest gradient of the model.
    double floor = 1e-3 * largest(io);
    Set<String> open = new HashSet<>(io.entries().keySet());
    open.removeIf(name -> !name.startsWith("grad"));
    assertTrue(!open.isEmpty(), "the file has no gradients");
    for (Parameter p : wanted) {
      String key = variables.get(p.name()) == p ? "gradin." + p.name() : "grad." + p.name();
      if (open.remove(key)) {
        Tensor gradient = gradients.get(p);
        assertNotNull(gradient, key);
        Golden.assertClose(
            key, io.read(key).toDoubleArray(), gradient.toDoubleArray(), 2e-4, floor);
      }
    }
    assertEquals(Set.of(), open, "gradients of nothing in the model");
    variables.values().forEach(Parameter::close);
  }

  private static double largest(SafeTensors io) {
    double largest = 0;
    for (String key : io.entries().keySet()) {
      if (key.startsWith("grad.")) {
        for (double v : io.read(key).toDoubleArray()) {
          largest = Math.max(largest, Math.abs(v));
        }
      }
    }
    return largest;
  }
}
