// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.VQModel;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.SafeTensors;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainAutoencoderTest {
  @TempDir Path folder;

  private Outcome train(String... more) {
    List<String> args =
        new ArrayList<>(
            List.of("--out", folder.toString(), "--size", "10", "--batch", "2", "--device", "cpu"));
    args.addAll(List.of("--samples-per-class", "1"));
    args.addAll(List.of(more));
    return Outcome.of(TrainAutoencoder::run, args);
  }

  @Test
  void aShortRunLeavesEverythingAndGoesOn() {
    Outcome outcome =
        train(
            "--steps",
            "3",
            "--discriminator-start",
            "1",
            "--stop-after",
            "2",
            "--preview-steps",
            "1");
    assertEquals(0, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("signal-to-noise ratio"), outcome.text());
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(folder.resolve("samples.safetensors"));
        AutoencoderKL vae = AutoencoderKL.open(folder.resolve("checkpoint/vae"))) {
      assertEquals("[10, 3, 10, 10] u8 cpu", samples.read("images").spec().toString());
      assertEquals(4, vae.config().factor());
    }
    assertTrue(Files.exists(folder.resolve("previews/step-000000002.png")));
    outcome = train("--steps", "3", "--discriminator-start", "1", "--resume");
    assertEquals(0, outcome.code(), outcome.text());
    assertEquals(3, LossCsv.read(folder.resolve("loss.csv")).size());
    outcome = train("--steps", "4", "--pixels", "mse", "--resume");
    assertEquals(2, outcome.code(), outcome.text());
    assertTrue(outcome.text().contains("another configuration"), outcome.text());
  }

  @Test
  void codesAreTrainedToo() {
    Outcome outcome = train("--steps", "2", "--kind", "vq", "--codes", "8");
    assertEquals(0, outcome.code(), outcome.text());
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
      assertEquals(2, outcome.code(), outcome.text());
      assertTrue(outcome.text().contains(wrong[0]), outcome.text());
    }
  }
}
