// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.models.nn.Context;
import io.sfumato.models.unet.ControlNet;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNetConditions;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * ControlNet beside its U-Net against diffusers: every residual, the controlled output, every
 * gradient, and the files it writes.
 */
class GoldenControlNetTest {
  private static final String CLASS = "ControlNetModel";
  private static final double STRENGTH = 0.8;

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> residualsOutputAndGradients() {
    return Golden.modelsOf("models", CLASS).stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compare(p)));
  }

  private static void compare(Path folder) {
    try (Scope scope = Scope.open();
        ControlNet control = ControlNet.open(folder);
        UNet2DCondition unet = UNet2DCondition.open(folder.resolve("unet"));
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      double[] t = io.read("in.t").toDoubleArray();
      Map<String, Tensor> in =
          Map.of(
              "x", io.read("in.x"), "context", io.read("in.context"), "cond", io.read("in.cond"));
      ControlNet.Residuals residuals = residuals(control, t, in);
      for (int i = 0; i < residuals.down().size(); i++) {
        Golden.assertClose("down" + i, io.read("out.down" + i), residuals.down().get(i), 1e-5);
      }
      Golden.assertClose("mid", io.read("out.mid"), residuals.mid(), 1e-5);
      Golden.assertClose("sample", io.read("out.sample"), sample(unet, control, t, in), 1e-5);
      GoldenGradients.compare(
          io,
          control,
          List.of("x", "context", "cond"),
          "sample",
          values -> sample(unet, control, t, values));
    }
  }

  private static ControlNet.Residuals residuals(
      ControlNet control, double[] t, Map<String, Tensor> in) {
    return control
        .call(in.get("x"), t, Context.of(in.get("context")), in.get("cond"))
        .scaledBy(STRENGTH);
  }

  private static Tensor sample(
      UNet2DCondition unet, ControlNet control, double[] t, Map<String, Tensor> in) {
    ControlNet.Residuals r = residuals(control, t, in);
    UNetConditions conditions = UNetConditions.none().residuals(r.down(), r.mid());
    return unet.call(in.get("x"), t, Context.of(in.get("context")), conditions);
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheReferences() {
    return Golden.modelsOf("models", CLASS).stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compareFiles(p)));
  }

  private void compareFiles(Path folder) throws IOException {
    Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
    try (ControlNet control = ControlNet.open(folder)) {
      control.save(copy);
    }
    assertEquals(
        Files.readString(folder.resolve("config.json")),
        Files.readString(copy.resolve("config.json")));
    String weights = "diffusion_pytorch_model.safetensors";
    assertArrayEquals(
        Files.readAllBytes(folder.resolve(weights)), Files.readAllBytes(copy.resolve(weights)));
  }
}
