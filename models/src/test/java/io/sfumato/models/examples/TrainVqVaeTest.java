// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example from its command line: what it leaves, how it goes on, what it refuses. */
class TrainVqVaeTest {
  @TempDir Path folder;

  private Outcome train(String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "--out",
                folder.toString(),
                "--size",
                "8",
                "--batch",
                "4",
                "--samples-per-class",
                "1"));
    args.addAll(List.of(more));
    return Outcome.of(TrainVqVae::run, args);
  }

  @Test
  void aShortRunLeavesEverythingAndGoesOn() throws IOException {
    Outcome outcome = train("--steps", "9", "--preview-steps", "3");
    assertEquals(0, outcome.code(), outcome.text());
    for (String picture :
        List.of(
            "samples.png",
            "reconstructions.png",
            "loss.png",
            "autoencoder/loss.png",
            "previews/step-000000006.png",
            "autoencoder/previews/step-000000003.png")) {
      assertTrue(ImageIO.read(folder.resolve(picture).toFile()).getWidth() > 50, picture);
    }
    assertEquals(3, LossCsv.read(folder.resolve("autoencoder/loss.csv")).size());
    assertEquals(6, LossCsv.read(folder.resolve("loss.csv")).size());
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(folder.resolve("samples.safetensors"))) {
      assertEquals("[10, 3, 8, 8] u8 cpu", samples.read("images").spec().toString());
      assertEquals("[10] i64 cpu", samples.read("labels").spec().toString());
    }
    VqVae.open(folder.resolve("autoencoder/checkpoint/vqvae")).close();
    CodePrior.open(folder.resolve("checkpoint/prior")).close();
    byte[] samples = Files.readAllBytes(folder.resolve("samples.safetensors"));

    Outcome again = train("--steps", "9", "--resume");
    assertEquals(0, again.code(), again.text());
    assertTrue(again.text().contains("going on from step 3"), again.text());
    assertTrue(again.text().contains("going on from step 6"), again.text());
    assertArrayEquals(samples, Files.readAllBytes(folder.resolve("samples.safetensors")));

    Files.move(folder.resolve("checkpoint"), folder.resolve("elsewhere")); // stage two never began
    Outcome second = train("--steps", "9", "--resume");
    assertEquals(0, second.code(), second.text());
    assertTrue(second.text().contains("going on from step 3"), second.text());
    assertTrue(!second.text().contains("going on from step 6"), second.text());
    assertEquals(6, LossCsv.read(folder.resolve("loss.csv")).size());
    assertArrayEquals(samples, Files.readAllBytes(folder.resolve("samples.safetensors")));

    Outcome longer = train("--steps", "12", "--resume"); // other codes than the prior has learnt
    assertEquals(2, longer.code(), longer.text());
    assertTrue(longer.text().contains("codes at step 3"), longer.text());
  }

  @Test
  void whatIsWrongIsOneLine() {
    Outcome none = train("--resume");
    assertEquals(2, none.code(), none.text());
    assertTrue(none.text().contains("there is no checkpoint"), none.text());
    Outcome wrong = train("--top-p", "0", "--temperature", "-1");
    assertEquals(2, wrong.code(), wrong.text());
    assertTrue(
        wrong.text().contains("top-p") && wrong.text().contains("temperature"), wrong.text());
  }
}
