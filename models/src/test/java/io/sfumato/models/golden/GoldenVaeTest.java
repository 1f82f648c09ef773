// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.vae.Vae;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Vae against PyTorch (src/test/golden/make_vae.py): outputs, loss, every gradient, the bound. */
class GoldenVaeTest {
  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> cases() {
    return Golden.own("vae").map(f -> DynamicTest.dynamicTest(f.getFileName() + "", () -> run(f)));
  }

  private static void run(Path folder) {
    try (Scope scope = Scope.open();
        Vae vae = Vae.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      Tensor x = io.read("x");
      Tensor y = io.entries().containsKey("y") ? io.read("y") : null;
      Vae.Posterior q = vae.encode(x, y);
      Golden.assertClose("mean", io.read("mean"), q.mean(), 1e-5);
      Golden.assertClose("log_variance", io.read("log_variance"), q.logVariance(), 1e-5);
      Tensor z = q.sample(io.read("eps"));
      Golden.assertClose("decoded", io.read("decoded"), vae.decode(z, y), 1e-5);
      Golden.assertClose(
          "iwae", io.read("iwae"), vae.importanceWeightedBound(x, y, io.read("iwae_noise")), 1e-5);

      Vae.Loss parts = vae.loss(x, y, io.read("eps"));
      Golden.assertClose("reconstruction", io.read("reconstruction"), parts.reconstruction(), 1e-5);
      Golden.assertClose("kl", io.read("kl"), parts.kl(), 1e-5);
      Autograd.Result result =
          Autograd.valueAndGrad(vae.parameters(), () -> vae.loss(x, y, io.read("eps")).total());
      Golden.assertClose("loss", io.read("loss"), result.value(), 1e-5);
      Set<String> expected = new TreeSet<>(io.entries().keySet());
      expected.removeIf(name -> !name.startsWith("grad."));
      assertEquals(expected.size(), vae.parameters().size());
      for (Parameter p : vae.parameters()) {
        Tensor gradient = result.gradients().get(p);
        assertNotNull(gradient, p.name());
        Golden.assertClose("grad." + p.name(), io.read("grad." + p.name()), gradient, 2e-4);
      }
    }
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheSame() {
    return Golden.own("vae").map(f -> DynamicTest.dynamicTest(f.getFileName() + "", () -> same(f)));
  }

  private void same(Path folder) throws IOException {
    Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
    try (Vae vae = Vae.open(folder)) {
      vae.save(copy);
    }
    assertEquals(
        Files.readString(folder.resolve("config.json")),
        Files.readString(copy.resolve("config.json")));
    for (String file : List.of("model.safetensors")) {
      try (Scope scope = Scope.open();
          SafeTensors a = SafeTensors.open(folder.resolve(file));
          SafeTensors b = SafeTensors.open(copy.resolve(file))) {
        assertEquals(a.entries().keySet(), b.entries().keySet());
        for (String name : a.entries().keySet()) {
          Golden.assertClose(name, a.read(name), b.read(name), 0);
        }
      }
    }
  }
}
