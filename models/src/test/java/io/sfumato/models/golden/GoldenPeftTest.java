// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Adapters against PEFT: outputs, every gradient, merged weights, and the way back. */
class GoldenPeftTest {
  @TestFactory
  Stream<DynamicTest> everyKind() throws IOException {
    try (Stream<Path> folders = Files.list(Golden.folder().resolve("adapters/peft"))) {
      List<DynamicTest> tests =
          folders
              .filter(Files::isDirectory)
              .sorted()
              .map(p -> DynamicTest.dynamicTest(p.getFileName().toString(), () -> compare(p)))
              .toList();
      assertFalse(tests.isEmpty());
      return tests.stream();
    }
  }

  private static void compare(Path folder) {
    try (Weights weights = Weights.open(folder.resolve("base.safetensors"));
        PeftBase base = new PeftBase(weights);
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"));
        Scope scope = Scope.open()) {
      Tensor x = io.read("in.x");
      Tensor ids = io.read("in.ids");
      float[] plain = base.call(x, ids).toFloatArray();
      Golden.assertClose("base", io.read("out.base"), base.call(x, ids), 1e-5);
      try (AdapterSet set = PeftFolder.open(base, folder)) {
        Golden.assertClose("adapted", io.read("out.y"), base.call(x, ids), 1e-5);
        assertArrayEquals(plain, set.without(() -> base.call(x, ids)).toFloatArray());
        gradients(base, set, io, x, ids, scale(folder));
        merging(base, set, io, x, ids);
      }
      assertArrayEquals(plain, base.call(x, ids).toFloatArray());
    }
  }

  /** α / r. */
  private static double scale(Path folder) {
    JsonNode config = ModelConfig.read(folder.resolve("adapter_config.json"));
    return config.path("alpha").asDouble() / config.path("r").asDouble(1);
  }

  private static void gradients(
      PeftBase base, AdapterSet set, SafeTensors io, Tensor x, Tensor ids, double scale) {
    Tensor cotangent = io.read("g.y");
    List<Parameter> wanted = new ArrayList<>(set.parameters());
    wanted.addAll(base.parameters());
    Gradients gradients =
        Autograd.valueAndGrad(wanted, () -> Num.sum(base.call(x, ids).mul(cotangent))).gradients();
    Map<String, String> keys = new LinkedHashMap<>(); // our name -> the file's key
    for (String key : io.entries().keySet()) {
      if (key.startsWith("grad.")) {
        String name = key.substring(5).replaceFirst("^base_model\\.(model\\.)?", "");
        keys.put(
            name.replaceFirst("lora_magnitude_vector\\.default\\.weight$", "lora_magnitude_vector")
                .replaceFirst("\\.default(?=\\.|$)", ""),
            key);
      }
    }
    Map<String, Parameter> weights = new LinkedHashMap<>();
    base.parameters().forEach(p -> weights.put(p.name(), p));
    Set<String> seen = new HashSet<>();
    for (Parameter p : set.parameters()) {
      String key = keys.get(p.name());
      if (key == null) {
        continue;
      }
      seen.add(p.name());
      String layer = p.name().replaceFirst("\\.[^.]*$", "");
      if (p.name().matches(".*\\.hada_w[12]_a")
          && set.stateDict().containsKey(layer + ".hada_t1")) {
        Tensor slope = gradients.get(weights.get(layer + ".weight")); // dL/dW = dL/dΔW
        coredLoha(
            set.stateDict(), layer, p.name(), slope.mul(scale), gradients.get(p), io.read(key));
      } else {
        Golden.assertClose(key, io.read(key), gradients.get(p), 2e-4);
      }
    }
    assertEquals(keys.keySet(), seen);
  }

  /**
   * PEFT 0.21 (as LyCORIS) has a slip in the backward of LoHa with cores: the gradient of one left
   * factor is made with the other one's core and right factor. Ours is the derivative; PEFT's is
   * what the slip gives, so nothing else is different.
   */
  private static void coredLoha(
      Map<String, Tensor> dict,
      String layer,
      String name,
      Tensor slope,
      Tensor ours,
      Tensor theirs) {
    String own = layer + ".hada_%s" + (name.endsWith("1_a") ? "1" : "2");
    String other = layer + ".hada_%s" + (name.endsWith("1_a") ? "2" : "1");
    Tensor product = // the other one, [out, in, kh, kw]
        Num.einsum(
            "ijkl,jc,io->ockl",
            dict.get(other.formatted("t")),
            dict.get(other.formatted("w") + "_b"),
            dict.get(other.formatted("w") + "_a"));
    Tensor outer = slope.mul(product);
    Golden.assertClose(name, left(dict, own, outer), ours, 2e-4);
    Golden.assertClose(name + " with the slip", theirs, left(dict, other, outer), 2e-4);
  }

  private static Tensor left(Map<String, Tensor> dict, String factors, Tensor outer) {
    return Num.einsum(
        "ijkl,jc,ockl->io",
        dict.get(factors.formatted("t")),
        dict.get(factors.formatted("w") + "_b"),
        outer);
  }

  private static void merging(PeftBase base, AdapterSet set, SafeTensors io, Tensor x, Tensor ids) {
    Map<String, float[]> before = new LinkedHashMap<>();
    base.stateDict().forEach((name, value) -> before.put(name, value.toFloatArray()));
    set.merge();
    assertTrue(set.isMerged());
    base.stateDict()
        .forEach(
            (name, value) -> {
              String key = "merged." + name;
              if (io.entries().containsKey(key)) {
                Golden.assertClose(key, io.read(key), value, 1e-5);
              }
            });
    Golden.assertClose("merged", io.read("out.merged"), base.call(x, ids), 1e-5);
    set.unmerge();
    base.stateDict()
        .forEach((name, value) -> assertArrayEquals(before.get(name), value.toFloatArray(), name));
    Golden.assertClose("unmerged", io.read("out.y"), base.call(x, ids), 1e-5);
  }
}
