// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.adapter.AdapterFile;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Dialect;
import io.sfumato.models.nn.Context;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Adapter files of diffusers and LyCORIS on a U-Net: its output with each, merged and not. */
class GoldenAdapterFilesTest {
  /** A file and the recorded output with it. */
  private record Case(Path file, Path output) {}

  @TestFactory
  Stream<DynamicTest> everyFile() throws IOException {
    Path folder = Golden.folder().resolve("adapters/unet");
    List<Case> cases = new ArrayList<>();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path path : files.sorted().toList()) {
        String name = path.getFileName().toString();
        if (name.endsWith(".out.safetensors")) {
          String file = name.replace(".out.safetensors", ".safetensors");
          cases.add(new Case(folder.resolve(file), path));
        }
        Path diffusers = path.resolve("pytorch_lora_weights.safetensors");
        if (Files.exists(diffusers)) {
          cases.add(new Case(diffusers, path.resolve("out.safetensors")));
        }
      }
    }
    assertFalse(cases.isEmpty());
    return cases.stream()
        .map(c -> DynamicTest.dynamicTest(folder.relativize(c.file).toString(), () -> run(c)));
  }

  private static void run(Case c) {
    Path folder = Golden.folder().resolve("adapters/unet");
    try (UNet2DCondition unet = UNet2DCondition.open(folder.resolve("unet"));
        SafeTensors in = SafeTensors.open(folder.resolve("inputs.safetensors"));
        SafeTensors out = SafeTensors.open(c.output);
        Scope scope = Scope.open()) {
      Tensor x = in.read("in.x");
      Context context = Context.of(in.read("in.context"));
      double[] t = in.read("in.t").toDoubleArray();
      float[] plain = unet.call(x, t, context).toFloatArray();
      Golden.assertClose("base", in.read("out.base"), unet.call(x, t, context), 1e-5);
      AdapterFile.Loaded loaded = AdapterFile.open(unet, c.file);
      assertEquals(
          c.file.toString().contains("lycoris") ? Dialect.KOHYA : Dialect.DIFFUSERS,
          loaded.dialect());
      try (AdapterSet set = loaded.adapter()) {
        assertTrue(set.parameterCount() > 0);
        if (loaded.scaleRule().contains("no alpha")) {
          set.setStrength(trainedStrength(set, out.read("out.y"), () -> unet.call(x, t, context)));
        }
        Golden.assertClose("adapted", out.read("out.y"), unet.call(x, t, context), 1e-5);
        set.merge();
        Golden.assertClose("merged", out.read("out.y"), unet.call(x, t, context), 1e-5);
        set.unmerge();
      }
      assertArrayEquals(plain, unet.call(x, t, context).toFloatArray());
    }
  }

  /**
   * The one α / r, α a whole number, that explains an output: diffusers saves no α, so a file alone
   * cannot tell with which it was trained, and the recorded output was made while training.
   */
  private static double trainedStrength(AdapterSet set, Tensor output, Supplier<Tensor> model) {
    double[] wanted = output.toDoubleArray();
    int rank = set.stateDict().values().iterator().next().dim(0);
    List<Double> found = new ArrayList<>();
    for (int alpha = 1; alpha <= 16 * rank; alpha++) {
      set.setStrength((double) alpha / rank);
      double[] got = model.get().toDoubleArray();
      double error = 0;
      for (int i = 0; i < got.length; i++) {
        error = Math.max(error, Math.abs(got[i] - wanted[i]));
      }
      if (error < 1e-4) {
        found.add((double) alpha / rank);
      }
    }
    assertEquals(1, found.size(), () -> "strengths that explain the output: " + found);
    return found.getFirst();
  }
}
