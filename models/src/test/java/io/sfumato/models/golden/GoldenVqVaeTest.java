// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.models.nn.Module;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.CodePriorConfig;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.models.vqvae.VqVaeConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The VQ-VAE, three steps of its training and the Transformer over codes against PyTorch in
 * float64, names and all.
 */
class GoldenVqVaeTest {
  private static SafeTensors open(String name) throws Exception {
    return SafeTensors.open(
        Path.of(GoldenVqVaeTest.class.getResource("/golden/vqvae/" + name).toURI()));
  }

  private static List<Parameter> state(Module model) {
    List<Parameter> all = new ArrayList<>(model.parameters());
    all.addAll(model.buffers());
    return all;
  }

  /** Gives a model the values that PyTorch began with; every name must be on both sides. */
  private static void load(Module model, SafeTensors golden, DType dtype) {
    TreeSet<String> names = new TreeSet<>();
    for (Parameter p : state(model)) {
      names.add("model." + p.name());
      Updates.copy(p.value(), golden.read("model." + p.name()).to(dtype));
    }
    TreeSet<String> stored = new TreeSet<>(golden.entries().keySet());
    stored.removeIf(n -> !n.startsWith("model."));
    assertEquals(stored, names);
  }

  private static void compareGradients(
      SafeTensors golden, String prefix, Gradients gradients, List<Parameter> of, double relative) {
    for (Parameter p : of) {
      Golden.assertClose(
          prefix + p.name(),
          golden.read(prefix + p.name()).toDoubleArray(),
          gradients.get(p).toDoubleArray(),
          relative,
          1e-3);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"averages F64", "averages F32", "trained F64", "trained F32"})
  void threeStepsAreTheSame(String kind) throws Exception {
    DType dtype = DType.valueOf(kind.split(" ")[1]);
    boolean averages = kind.startsWith("averages");
    double close = dtype == DType.F64 ? 1e-9 : 1e-4;
    VqVaeConfig config = new VqVaeConfig(3, 8, 4, 2, 2, 6, 5, 0.25, averages ? 0.9 : null, 1e-3, 0);
    try (Scope scope = Scope.open();
        SafeTensors golden = open(averages ? "averages.safetensors" : "trained.safetensors");
        VqVae model = new VqVae(Weights.init(Rng.seed(1)).as(dtype), config)) {
      load(model, golden, dtype);
      for (int step = 0; step < 3; step++) {
        Tensor x = golden.read(step + ".x").to(dtype);
        var result =
            Autograd.valueAndGradWithExtra(
                model.parameters(),
                () -> {
                  VqVae.Output y = model.call(x);
                  Tensor loss = NN.mse(y.picture(), x).add(y.quantized().loss());
                  return new Tensor[] {loss, y.picture(), y.latents(), y.quantized().codes()};
                });
        Tensor codes = result.extra().get(2);
        assertArrayEquals(golden.read(step + ".codes").toLongArray(), codes.toLongArray());
        Golden.assertClose("picture", golden.read(step + ".y"), result.extra().getFirst(), close);
        assertEquals(golden.read(step + ".loss").item(), result.value().item(), close);
        assertEquals(
            golden.read(step + ".perplexity").item(),
            model.quantizer().perplexity(codes).item(),
            5 * close);
        compareGradients(
            golden, step + ".grad.", result.gradients(), model.parameters(), 2 * close);
        for (Parameter p : model.parameters()) {
          Updates.add(p.value(), result.gradients().get(p), -0.02);
        }
        model.quantizer().update(result.extra().get(1), codes, Rng.seed(step));
      }
      for (Parameter p : state(model)) {
        Golden.assertClose(p.name(), golden.read("after." + p.name()), p.value(), close);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"learned F64", "learned F32", "sinusoidal F64", "sinusoidal F32"})
  void theTransformerIsTheSame(String kind) throws Exception {
    DType dtype = DType.valueOf(kind.split(" ")[1]);
    String positions = kind.split(" ")[0];
    double close = dtype == DType.F64 ? 1e-9 : 1e-5;
    CodePriorConfig config = new CodePriorConfig(7, 2, 3, 3, 8, 2, 2, positions, 0);
    try (Scope scope = Scope.open();
        SafeTensors golden = open("prior_" + positions + ".safetensors");
        CodePrior model = new CodePrior(Weights.init(Rng.seed(1)).as(dtype), config)) {
      load(model, golden, dtype);
      Tensor codes = golden.read("codes");
      Tensor labels = golden.read("labels");
      Golden.assertClose("logits", golden.read("logits"), model.call(codes, labels), close);
      var result = Autograd.valueAndGrad(model.parameters(), () -> model.loss(codes, labels));
      assertEquals(golden.read("loss").item(), result.value().item(), close);
      compareGradients(golden, "grad.", result.gradients(), model.parameters(), 20 * close);
    }
  }
}
