// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.models.adapter.AdapterFile;
import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.AdapterWriter;
import io.sfumato.models.adapter.DiagOft;
import io.sfumato.models.adapter.LycorisBoft;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Files in LyCORIS's form, and the weights and outputs that its formulas give in PyTorch ({@code
 * models/src/test/golden/make_lycoris.py}).
 */
class GoldenLycorisTest {
  private static final List<String> CASES =
      List.of(
          "glora",
          "glora_f16",
          "glora_bf16",
          "glora_core",
          "dora",
          "dora_core",
          "dora_inputs",
          "dora_inputs_core",
          "diag_oft",
          "diag_oft_constrained",
          "boft",
          "boft_constrained",
          "ia3_out",
          "ia3_in",
          "full");

  @TempDir Path folder;

  @TestFactory
  Stream<DynamicTest> everyFile() {
    return CASES.stream().map(name -> DynamicTest.dynamicTest(name, () -> run(name)));
  }

  private static Path resource(String name) {
    try {
      return Path.of(GoldenLycorisTest.class.getResource("/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private void run(String name) {
    Path file = resource("lycoris").resolve(name + ".safetensors");
    try (Weights weights = Weights.open(resource("peft").resolve("base.safetensors"));
        PeftBase base = new PeftBase(weights);
        SafeTensors in = SafeTensors.open(resource("peft").resolve("inputs.safetensors"));
        SafeTensors out = SafeTensors.open(resource("lycoris").resolve(name + ".out.safetensors"));
        Scope scope = Scope.open()) {
      Tensor x = in.read("x");
      Tensor ids = in.read("ids");
      float[] plain = base.call(x, ids).toFloatArray();
      Tensor expected = out.read("y");
      try (AdapterSet set = AdapterFile.open(base, file).adapter()) {
        assertEquals(out.entries().size() - 1, set.parts().size());
        assertEquals(DType.F32, set.parameters().getFirst().value().dtype());
        Golden.assertClose("output", expected, base.call(x, ids), 1e-5);
        set.merge();
        set.parts()
            .forEach(
                (path, part) ->
                    Golden.assertClose(path, out.read(path), weight(part.layer()), 1e-5));
        set.unmerge();
        writeAgain(name, base, set, x, ids);
      }
      assertArrayEquals(plain, base.call(x, ids).toFloatArray());
    }
  }

  private static Tensor weight(WeightLayer layer) {
    return layer.weight().value();
  }

  /** What was read is written as it was, but for the type. */
  private void writeAgain(String name, PeftBase base, AdapterSet set, Tensor x, Tensor ids) {
    Path again = folder.resolve(name + ".safetensors");
    AdapterWriter.saveKohya(
        set, AdapterFile.Component.UNET, UnaryOperator.identity(), DType.F32, again);
    Tensor expected = base.call(x, ids);
    try (SafeTensors before = SafeTensors.open(resource("lycoris").resolve(name + ".safetensors"));
        SafeTensors written = SafeTensors.open(again)) {
      before
          .entries()
          .forEach(
              (key, entry) -> {
                String ours = key.replaceFirst("^lycoris_", "lora_unet_");
                assertEquals(entry.dims(), written.entries().get(ours).dims(), key);
              });
      assertEquals(before.entries().size(), written.entries().size());
    }
    set.setOn(false);
    try (AdapterSet reread = AdapterFile.open(base, again).adapter()) {
      Golden.assertClose("written and read again", expected, base.call(x, ids), 1e-5);
      set.kinds().forEach((path, kind) -> alike(kind, reread.kinds().get(path)));
    }
  }

  /** The same kind; a constraint went through a quotient in f32. */
  private static void alike(AdapterKind kind, AdapterKind again) {
    if (kind instanceof DiagOft oft) {
      assertEquals(oft.constraint(), ((DiagOft) again).constraint(), 1e-6);
    } else if (kind instanceof LycorisBoft boft) {
      assertEquals(boft.constraint(), ((LycorisBoft) again).constraint(), 1e-6);
    } else {
      assertEquals(kind, again);
    }
  }
}
