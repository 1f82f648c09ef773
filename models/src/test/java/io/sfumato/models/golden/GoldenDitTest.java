// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * DiT against diffusers, and in its authors' layout against their formulas in PyTorch: output,
 * every gradient, ten training steps, and the files it writes.
 */
class GoldenDitTest {
  private static final String CLASS = "DiTTransformer2DModel";

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> outputAndGradients() throws IOException {
    List<Path> folders = new ArrayList<>(Golden.modelsOf("models", CLASS));
    folders.addAll(original());
    return folders.stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compare(p)));
  }

  /** Written by dit_original.py beside them. */
  private static List<Path> original() throws IOException {
    try {
      Path folder = Path.of(GoldenDitTest.class.getResource("/dit").toURI());
      try (Stream<Path> all = Files.list(folder)) {
        List<Path> found = all.filter(Files::isDirectory).sorted().toList();
        assertEquals(2, found.size());
        return found;
      }
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void compare(Path folder) {
    try (Scope scope = Scope.open();
        Dit dit = Dit.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      Tensor x = io.read("in.x");
      double[] t = io.read("in.t").toDoubleArray();
      Tensor y = io.read("in.y");
      Tensor cotangent = io.read("g.sample");

      Golden.assertClose("sample", io.read("out.sample"), dit.call(x, t, y), 1e-5);

      Parameter input = new Parameter("x", x);
      List<Parameter> wanted = new ArrayList<>(dit.parameters());
      wanted.add(input);
      Autograd.Result result =
          Autograd.valueAndGrad(
              wanted, () -> Num.sum(dit.call(input.value(), t, y).mul(cotangent)));
      // The keys' biases have no gradient but rounding; nothing is judged by less than a
      // thousandth of the largest gradient of the model.
      double floor = 1e-3 * largest(io);
      for (Parameter p : wanted) {
        String key = p == input ? "gradin.x" : "grad." + p.name();
        Tensor gradient = result.gradients().get(p);
        assertNotNull(gradient, key);
        Golden.assertClose(
            key, io.read(key).toDoubleArray(), gradient.toDoubleArray(), 2e-4, floor);
      }
      long gradients = io.entries().keySet().stream().filter(k -> k.startsWith("grad.")).count();
      assertEquals(gradients, dit.parameters().size(), "gradients in the file");
      input.close();
    }
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

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheReferences() {
    return Golden.modelsOf("models", CLASS).stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compareFiles(p)));
  }

  private void compareFiles(Path folder) throws IOException {
    Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
    try (Dit dit = Dit.open(folder)) {
      dit.save(copy);
    }
    assertEquals(
        Files.readString(folder.resolve("config.json")),
        Files.readString(copy.resolve("config.json")));
    String weights = "diffusion_pytorch_model.safetensors";
    assertArrayEquals(
        Files.readAllBytes(folder.resolve(weights)), Files.readAllBytes(copy.resolve(weights)));
  }

  @TestFactory
  Stream<DynamicTest> tenTrainingSteps() {
    return Golden.modelsOf("training", CLASS).stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> train(p)));
  }

  private static void train(Path folder) {
    try (Scope scope = Scope.open();
        Dit dit = Dit.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"));
        AdamW optimizer =
            new AdamW(dit.parameters(), AdamW.options().learningRate(2e-3).weightDecay(0.01))) {
      Denoiser denoiser =
          new Denoiser((x, t, y) -> dit.call(x, t, y), new NoiseSchedule(SchedulerConfig.ddpm()));
      Tensor x0 = io.read("x0");
      Tensor eps = io.read("eps");
      Tensor times = io.read("t");
      Tensor classes = io.read("y");
      int steps = x0.dim(0);
      double[] losses = new double[steps];
      double[] norms = new double[steps];
      for (int i = 0; i < steps; i++) {
        int[] t =
            Arrays.stream(times.select(0, i).toLongArray()).mapToInt(Math::toIntExact).toArray();
        int step = i;
        Autograd.Result result =
            Autograd.valueAndGrad(
                dit.parameters(),
                () ->
                    denoiser.loss(
                        x0.select(0, step), eps.select(0, step), t, classes.select(0, step)));
        losses[i] = result.value().item();
        norms[i] = result.gradients().clipByNorm(1);
        optimizer.step(result.gradients());
      }
      Golden.assertClose("losses", io.read("losses").toDoubleArray(), losses, 1e-4);
      Golden.assertClose("gradient norms", io.read("grad_norms").toDoubleArray(), norms, 1e-3);
      for (Parameter p : dit.parameters()) {
        Golden.assertClose("final " + p.name(), io.read("final." + p.name()), p.value(), 2e-3);
      }
    }
  }
}
