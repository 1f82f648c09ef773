// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.LossCsv;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.VQModel;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.SafeTensors;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainAutoencoderTest {
  @TempDir Path folder;

  private record Outcome(int code, String text) {}

  private Outcome train(String... more) {
    List<String> args =
        new ArrayList<>(
            List.of("--out", folder.toString(), "--size", "10", "--batch", "2", "--device", "cpu"));
    args.addAll(List.of("--samples-per-class", "1"));
    args.addAll(List.of(more));
    PrintStream out = System.out;
    PrintStream err = System.err;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (PrintStream both = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
      System.setOut(both);
      System.setErr(both);
      int code = TrainAutoencoder.run(args.toArray(String[]::new));
      return new Outcome(code, bytes.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }

  @Test
  void aShortRunLeavesEverythingAndGoesOn() {
    Outcome outcome = train("--steps", "3", "--discriminator-start", "1", "--stop-after", "2");
    assertEquals(0, outcome.code, outcome.text);
    assertTrue(outcome.text.contains("signal-to-noise ratio"), outcome.text);
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(folder.resolve("samples.safetensors"));
        AutoencoderKL vae = AutoencoderKL.open(folder.resolve("checkpoint/vae"))) {
      assertEquals("[10, 3, 10, 10] u8 cpu", samples.read("images").spec().toString());
      assertEquals(4, vae.config().factor());
    }
    outcome = train("--steps", "3", "--discriminator-start", "1", "--resume");
    assertEquals(0, outcome.code, outcome.text);
    assertEquals(3, LossCsv.read(folder.resolve("loss.csv")).size());
    outcome = train("--steps", "4", "--pixels", "mse", "--resume");
    assertEquals(2, outcome.code, outcome.text);
    assertTrue(outcome.text.contains("another configuration"), outcome.text);
  }

  @Test
  void codesAreTrainedToo() {
    Outcome outcome = train("--steps", "2", "--kind", "vq", "--codes", "8");
    assertEquals(0, outcome.code, outcome.text);
    try (VQModel model = VQModel.open(folder.resolve("checkpoint/vae"))) {
      assertEquals(8, model.config().numVqEmbeddings());
    }
    assertTrue(Files.exists(folder.resolve("samples.png")));
  }

  @Test
  void wrongOptionsAreNamed() {
    for (String[] wrong :
        new String[][] {
          {"--kind", "ae"},
          {"--pixels", "l3"},
          {"--kl-weight", "-1"},
          {"--codes", "0"},
          {"--discriminator-start", "-1"}
        }) {
      Outcome outcome = train(wrong);
      assertEquals(2, outcome.code, outcome.text);
      assertTrue(outcome.text.contains(wrong[0]), outcome.text);
    }
  }
}
