// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** CLIPTextModel against transformers: outputs, every gradient, and the files it writes. */
class GoldenCLIPTextTest {
  @TempDir Path temporary;

  private static List<Path> models() throws IOException {
    try (Stream<Path> all = Files.list(Golden.folder().resolve("models"))) {
      List<Path> found =
          all.filter(p -> Files.exists(p.resolve("config.json")))
              .filter(
                  p ->
                      ModelConfig.read(p.resolve("config.json"))
                          .path("model_type")
                          .asText()
                          .equals("clip_text_model"))
              .sorted()
              .toList();
      assertTrue(!found.isEmpty(), "no CLIP text model in " + Golden.folder());
      return found;
    }
  }

  @TestFactory
  Stream<DynamicTest> outputsAndGradients() throws IOException {
    return models().stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compare(p)));
  }

  private static void compare(Path folder) {
    try (Scope scope = Scope.open();
        CLIPTextModel model = CLIPTextModel.open(folder);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      Tensor ids = io.read("in.ids");
      boolean projects = model.config().projection();
      String result = projects ? "text_embeds" : "pooler_output";
      CLIPTextModel.Output out = model.encode(ids);
      Tensor last = io.read("out.last_hidden_state");
      Golden.assertClose("last_hidden_state", last, out.lastHiddenState(), 1e-5);
      Golden.assertClose("call", last, model.call(ids), 1e-5);
      Golden.assertClose("skip 0", last, model.call(ids, 0), 1e-5);
      int states = out.hiddenStates().size();
      assertEquals(model.config().numHiddenLayers() + 1, states);
      Golden.assertClose(
          "hidden_states[-2]",
          io.read("out.hidden_minus_2"),
          out.hiddenStates().get(states - 2),
          1e-5);
      Golden.assertClose(
          result, io.read("out." + result), projects ? out.textEmbeds() : out.pooled(), 1e-5);

      Tensor cotangent = io.read("g." + result);
      Autograd.Result gradients =
          Autograd.valueAndGrad(
              model.parameters(),
              () -> {
                CLIPTextModel.Output o = model.encode(ids);
                return Num.sum((projects ? o.textEmbeds() : o.pooled()).mul(cotangent));
              });
      double floor = 0;
      for (String key : io.entries().keySet()) {
        if (key.startsWith("grad.")) {
          for (double v : io.read(key).toDoubleArray()) {
            floor = Math.max(floor, 1e-3 * Math.abs(v)); // keys' biases: rounding alone
          }
        }
      }
      for (Parameter p : model.parameters()) {
        String full = "grad." + p.name();
        boolean bare = !io.entries().containsKey(full); // transformers 5, without projection
        String key = bare ? full.replace("text_model.", "") : full;
        Tensor gradient = gradients.gradients().get(p);
        assertNotNull(gradient, key);
        Golden.assertClose(
            key, io.read(key).toDoubleArray(), gradient.toDoubleArray(), 2e-4, floor);
      }
    }
  }

  @TestFactory
  Stream<DynamicTest> savedFolderIsTheReferences() throws IOException {
    return models().stream()
        .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compareFiles(p)));
  }

  private void compareFiles(Path folder) throws IOException {
    Path copy = Files.createDirectories(temporary.resolve(folder.getFileName().toString()));
    try (CLIPTextModel model = CLIPTextModel.open(folder)) {
      model.save(copy);
    }
    assertEquals(
        Files.readString(folder.resolve("config.json")).strip(),
        Files.readString(copy.resolve("config.json")).strip());
    assertArrayEquals(
        Files.readAllBytes(folder.resolve("model.safetensors")),
        Files.readAllBytes(copy.resolve("model.safetensors")));
  }
}
