// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.GradientCheckpointing;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNetConditions;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** UNet2DCondition against diffusers: output, every gradient, and the files it writes. */
class GoldenUNet2DConditionTest {
  private static final String CLASS = "UNet2DConditionModel";

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> outputAndGradients() {
    return Golden.modelsOf("models", CLASS).stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compare(p)));
  }

  private static void compare(Path folder) {
    try (Scope scope = Scope.open();
        UNet2DCondition unet = UNet2DCondition.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      double[] t = input(io, "t", "timestep").toDoubleArray();
      Tensor x = io.read("in.x");
      Tensor states = input(io, "context", "encoder_hidden_states");
      Tensor mask = input(io, "mask", "encoder_attention_mask");
      Context context = states == null ? null : Context.of(states, mask);
      UNetConditions conditions = conditions(io);
      Tensor expected = io.read("out.sample");
      Golden.assertClose("sample", expected, unet.call(x, t, context, conditions), 1e-5);
      if (context != null) {
        Context prepared = unet.prepare(context);
        Golden.assertClose("prepared", expected, unet.call(x, t, prepared, conditions), 1e-5);
      }
      List<String> inputs = new ArrayList<>(List.of("x"));
      if (io.entries().containsKey("gradin.context")) {
        inputs.add("context");
      }
      for (boolean checkpointed : new boolean[] {false, true}) {
        GoldenGradients.compare(
            io,
            unet,
            inputs,
            "sample",
            in -> {
              Tensor read = in.getOrDefault("context", states);
              Context c = read == null ? null : Context.of(read, mask);
              return checkpointed
                  ? GradientCheckpointing.active(() -> unet.call(in.get("x"), t, c, conditions))
                  : unet.call(in.get("x"), t, c, conditions);
            });
      }
    }
  }

  private static UNetConditions conditions(SafeTensors io) {
    UNetConditions conditions =
        UNetConditions.none()
            .classes(input(io, "class_labels", "y", "labels"))
            .guidance(input(io, "timestep_cond", "guidance"));
    Tensor text = input(io, "text_embeds");
    Tensor ids = input(io, "time_ids");
    return text == null || ids == null ? conditions : conditions.text(text, ids);
  }

  private static @Nullable Tensor input(SafeTensors io, String... names) {
    for (String name : names) {
      if (io.entries().containsKey("in." + name)) {
        return io.read("in." + name);
      }
    }
    return null;
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheReferences() {
    return Golden.modelsOf("models", CLASS).stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compareFiles(p)));
  }

  private void compareFiles(Path folder) throws IOException {
    Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
    try (UNet2DCondition unet = UNet2DCondition.open(folder)) {
      unet.save(copy);
    }
    assertEquals(
        Files.readString(folder.resolve("config.json")),
        Files.readString(copy.resolve("config.json")));
    String weights = "diffusion_pytorch_model.safetensors";
    assertArrayEquals(
        Files.readAllBytes(folder.resolve(weights)), Files.readAllBytes(copy.resolve(weights)));
  }
}
