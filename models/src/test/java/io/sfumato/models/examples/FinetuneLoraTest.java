// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The fine-tuning example from its command line, in few steps. */
class FinetuneLoraTest {
  @TempDir Path folder;

  private int run(String kind, String... more) {
    String[] args = {
      "--out",
      folder.resolve(kind).toString(),
      "--steps",
      "6",
      "--size",
      "8",
      "--batch",
      "4",
      "--samples-per-class",
      "1",
      "--sampling-steps",
      "2",
      "--kind",
      kind
    };
    String[] all = Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return FinetuneLora.run(all);
  }

  @Test
  void theModelIsAsBeforeWithoutTheAdapter() throws IOException {
    for (String kind : new String[] {"lora", "lokr"}) {
      assertEquals(0, run(kind, "--new-class", "3"));
      Path out = folder.resolve(kind);
      Path samples = Path.of("samples.safetensors");
      assertEquals(
          -1,
          Files.mismatch(
              out.resolve("before").resolve(samples), out.resolve("off").resolve(samples)));
      assertTrue(
          Files.mismatch(
                  out.resolve("before").resolve(samples), out.resolve("after").resolve(samples))
              >= 0);
      assertTrue(Files.exists(out.resolve("checkpoint/adapter_config.json")));
    }
  }

  /** The rate of B alone is another one, so the adapter becomes another one. */
  @Test
  void theRatioOfLoraPlusIsHeeded() throws IOException {
    assertEquals(0, run("lora", "--lora-plus-ratio", "1"));
    Path file = folder.resolve("lora/checkpoint/adapter_model.safetensors");
    byte[] alike = Files.readAllBytes(file);
    assertEquals(0, run("lora", "--lora-plus-ratio", "8"));
    assertFalse(Arrays.equals(alike, Files.readAllBytes(file)));
  }

  @Test
  void kindsByPatternAreAttachedAndKeptInOneFile() {
    String[] groups = {
      "--adapters", "match=**.to_q|**.to_k,rank=2",
      "--adapters", "match=**.to_out.0,kind=loha,rank=1,alpha=2",
      "--parameter-groups", "match=**.to_q.**,weight_decay=0"
    };
    assertEquals(0, run("lora", groups));
    Path file = folder.resolve("lora/checkpoint/adapter.safetensors");
    try (SafeTensors saved = SafeTensors.open(file)) {
      assertTrue(saved.entries().keySet().stream().anyMatch(n -> n.contains("to_q.lora_down")));
      assertTrue(saved.entries().keySet().stream().anyMatch(n -> n.contains("to_out_0.hada_w1_a")));
      assertTrue(saved.entries().keySet().stream().noneMatch(n -> n.contains("conv")));
    }
  }

  /** Each stage on held-out pictures of the classes that it learns. */
  @Test
  void bothStagesAreValidatedAndDrawn() throws IOException {
    String[] watched = {
      "--validation-steps", "1", "--validation-share", "0.1", "--preview-steps", "1"
    };
    assertEquals(0, run("lora", watched));
    for (String stage : new String[] {"base", "."}) {
      Path out = folder.resolve("lora").resolve(stage);
      assertTrue(Files.readString(out.resolve("metrics.jsonl")).contains("validation_loss"), stage);
      assertTrue(Files.exists(out.resolve("checkpoint-best/training/state.json")), stage);
      assertTrue(Files.exists(out.resolve("previews/step-000000001.png")), stage);
    }
    Outcome few =
        Outcome.of(
            FinetuneLora::run,
            "--validation-steps",
            "1",
            "--validation-share",
            "0.0001",
            "--size",
            "8",
            "--out",
            folder.resolve("few").toString());
    assertEquals(2, few.code(), few.text());
    assertTrue(few.text().contains("a larger --validation-share holds more out"), few.text());
  }

  @Test
  void wrongOptionsAreSaid() {
    assertEquals(2, run("lora", "--adapters", "match=nowhere"));
    assertEquals(2, run("lora", "--adapters", "match=**.to_q,kind=dora,rank=x"));
    assertEquals(2, run("lora", "--parameter-groups", "match=**.to_q,learning_rate=1e-3"));
    assertEquals(2, run("lora", "--lora-plus-ratio", "0.5"));
    assertEquals(2, run("loha", "--lora-plus-ratio", "4"));
    assertEquals(2, run("lora", "--new-class", "10"));
    assertEquals(2, run("dora"));
    assertEquals(2, run("lora", "--adapter-share", "1"));
  }
}
