// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.adapter.AdapterFile;
import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.AdapterWriter;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Merging and extracting adapters from the command line, on a small transformer. */
class AdapterToolsTest {
  @TempDir Path folder;
  private Path base;

  private static final String[] LAYERS = {"**.to_q", "**.to_v", "**.ff.**"};

  @BeforeEach
  void saveModel() throws IOException {
    base = Files.createDirectories(folder.resolve("base"));
    try (Dit dit = dit()) {
      dit.save(base);
    }
  }

  private static Dit dit() {
    return new Dit(
        Weights.init(Rng.seed(1)),
        DitConfig.builder().size(2, 2, 4).sampleSize(4).imageChannels(2).classes(3).build());
  }

  private static Tensor output(Dit dit) {
    Rng rng = Rng.seed(8);
    Tensor x = rng.fork("x").normal(2, 2, 4, 4);
    return dit.call(x, new double[] {10, 700}, Tensor.of(new long[] {0, 2}, 2));
  }

  private static void fill(List<Parameter> parameters, long seed, double scale) {
    try (Scope scope = Scope.open()) {
      for (Parameter p : parameters) {
        Tensor noise = Rng.seed(seed).fork(p.name()).normal(p.value().spec()).mul(scale);
        Updates.copy(p.value(), p.value().add(noise));
      }
    }
  }

  /** The saved model, none of whose weights are zero. */
  private Dit open() {
    Dit dit = Dit.open(base);
    fill(dit.parameters(), 5, 0.1);
    return dit;
  }

  private AdapterSet adapter(Dit dit, AdapterKind kind, long seed) {
    AdapterSet set = AdapterSet.attach(dit, Targets.glob(LAYERS), kind, Rng.seed(seed));
    fill(set.parameters(), seed, 0.2);
    return set;
  }

  private static void close(Tensor expected, Tensor actual, double tolerance) {
    double size = Num.max(Num.abs(expected)).item();
    assertEquals(0, Num.max(Num.abs(expected.sub(actual))).item() / size, tolerance);
  }

  private String path(String name) {
    return folder.resolve(name).toString();
  }

  /** One adapter of each dialect, the base with nothing of zero, and the output of all together. */
  private float[] prepare() {
    try (Dit dit = open();
        Scope scope = Scope.open();
        AdapterSet one = adapter(dit, Lora.rank(2).alpha(3), 11);
        AdapterSet two = adapter(dit, Lora.rank(2).alpha(1), 12);
        AdapterSet three = adapter(dit, Lora.rank(1).alpha(2), 13)) {
      dit.save(base);
      PeftFolder.save(one, folder.resolve("one"));
      AdapterWriter.saveDiffusers(
          two, AdapterFile.Component.TRANSFORMER, folder.resolve("two.safetensors"));
      AdapterWriter.saveKohya(
          three,
          AdapterFile.Component.TRANSFORMER,
          UnaryOperator.identity(),
          DType.F32,
          folder.resolve("three.safetensors"));
      one.setStrength(0.5);
      three.setStrength(-0.25);
      return output(dit).toFloatArray();
    }
  }

  private String[] three(String... more) {
    String[] args = {
      "--base",
      base.toString(),
      path("one") + "@0.5",
      path("two.safetensors"),
      path("three.safetensors") + "@-0.25"
    };
    String[] all = java.util.Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return all;
  }

  @Test
  void mergedCheckpointsDoWhatTheAdaptersDoTogether() {
    float[] together = prepare();
    assertEquals(0, MergeAdapters.run(three("--out", path("merged"))));
    try (Dit merged = Dit.open(folder.resolve("merged"));
        Scope scope = Scope.open()) {
      close(Tensor.of(together, together.length), output(merged).reshape(-1), 1e-5);
    }
    // All adapted layers at strength 0 give the base.
    assertEquals(
        0, MergeAdapters.run(three("--out", path("none"), "--layers", "transformer_blocks.**=0")));
    try (Dit none = Dit.open(folder.resolve("none"));
        Dit plain = Dit.open(base);
        Scope scope = Scope.open()) {
      assertArrayEquals(output(plain).toFloatArray(), output(none).toFloatArray());
    }
  }

  @Test
  void oneAdapterOfSeveralIsWrittenForEveryProgram() {
    float[] together = prepare();
    for (String method : List.of("cat", "svd")) {
      for (String format : List.of("peft", "diffusers", "kohya")) {
        String out = path(method + format);
        String[] more =
            method.equals("cat")
                ? three("--method", method, "--format", format, "--out", out)
                : three("--method", method, "--format", format, "--out", out, "--rank", "5");
        assertEquals(0, MergeAdapters.run(more));
        try (Dit dit = Dit.open(base);
            Scope scope = Scope.open();
            AdapterSet set = read(dit, Path.of(out), format)) {
          assertEquals(2 * 4, set.parts().size()); // q, v and two of ff in each block
          close(Tensor.of(together, together.length), output(dit).reshape(-1), 1e-4);
        }
      }
    }
    for (String method : List.of("ties", "dare")) {
      String[] more = three("--method", method, "--out", path(method), "--energy", "0.9");
      assertEquals(0, MergeAdapters.run(more));
      assertTrue(Files.exists(folder.resolve(method).resolve("adapter_config.json")));
    }
    assertEquals(
        2, MergeAdapters.run(three("--method", "linear", "--out", path("linear")))); // ranks
    assertEquals(2, MergeAdapters.run(three("--method", "svd", "--out", path("svd")))); // no rank
    assertEquals(2, MergeAdapters.run(three("--rank", "3", "--out", path("x")))); // no method
    assertEquals(2, MergeAdapters.run(three("--layers", "nowhere=2", "--out", path("x"))));
    assertEquals(2, MergeAdapters.run(three("--out", base.toString())));
    assertEquals(2, MergeAdapters.run("--base", base.toString(), path("absent")));
    assertEquals(2, MergeAdapters.run("--base", path("absent"), path("one")));
    assertFalse(Files.exists(folder.resolve("x")));
  }

  private AdapterSet read(Dit dit, Path out, String format) {
    return switch (format) {
      case "peft" -> PeftFolder.open(dit, out);
      case "diffusers" -> file(dit, out.resolve("pytorch_lora_weights.safetensors"));
      default -> file(dit, out.resolve("adapter.safetensors"));
    };
  }

  private static AdapterSet file(Dit dit, Path file) {
    return AdapterFile.open(dit, AdapterFile.Component.TRANSFORMER, file).adapter();
  }

  @Test
  void theDifferenceOfTwoCheckpointsIsExtracted() {
    prepare();
    assertEquals(0, MergeAdapters.run("--base", base.toString(), path("one"), "--out", path("t")));
    // "one" has rank 2: that rank, or all of the energy but rounding, gives the tuned model again.
    List<List<String>> choices =
        List.of(
            List.of("--rank", "2", "--dtype", "f32"),
            List.of("--energy", "0.999999", "--format", "kohya"));
    for (List<String> choice : choices) {
      Path out = folder.resolve("extracted" + choice.getFirst());
      java.util.ArrayList<String> args =
          new java.util.ArrayList<>(
              List.of("--base", base.toString(), "--tuned", path("t"), "--out", out.toString()));
      args.addAll(choice);
      assertEquals(0, ExtractLora.run(args.toArray(String[]::new)));
      try (Dit tuned = Dit.open(folder.resolve("t"));
          Dit dit = Dit.open(base);
          Scope scope = Scope.open();
          AdapterSet set = read(dit, out, choice.contains("kohya") ? "kohya" : "peft")) {
        assertTrue(set.kinds().values().stream().allMatch(k -> ((Lora) k).rank() == 2));
        close(output(tuned), output(dit), 1e-4);
      }
    }
    assertEquals(2, ExtractLora.run("--base", base.toString(), "--tuned", path("t")));
    assertEquals(2, ExtractLora.run("--base", base.toString(), "--rank", "2"));
    assertEquals(
        2, ExtractLora.run("--base", base.toString(), "--tuned", path("t"), "--energy", "1.5"));
    assertEquals(
        2,
        ExtractLora.run(
            "--base",
            base.toString(),
            "--tuned",
            base.toString(),
            "--rank",
            "2",
            "--out",
            path("same")));
  }

  @Test
  void whatALoraCannotHoldIsSaid() throws IOException {
    prepare();
    try (Dit tuned = Dit.open(base)) {
      for (Parameter p : tuned.parameters()) {
        if (p.name().contains("transformer_blocks.0.attn1.to_q")) {
          try (Scope scope = Scope.open()) {
            Updates.copy(p.value(), p.value().add(1));
          }
        }
      }
      tuned.save(Files.createDirectories(folder.resolve("t")));
    }
    PrintStream before = System.out;
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
    try {
      assertEquals(
          0,
          ExtractLora.run(
              "--base", base.toString(), "--tuned", path("t"), "--rank", "1", "--out", path("o")));
    } finally {
      System.setOut(before);
    }
    String text = said.toString(StandardCharsets.UTF_8);
    assertTrue(text.contains("LoRA of 1 layers, rank 1"), text);
    assertTrue(text.contains("holds 100.00 %"), text); // every element changed by one: rank 1
    assertTrue(
        text.contains("1 tensors differ that the LoRA does not hold")
            && text.contains("transformer_blocks.0.attn1.to_q.bias"),
        text);
  }

  @Test
  void anAdapterOfAnyKindIsBroughtToARank() {
    try (Dit dit = open();
        Scope scope = Scope.open()) {
      dit.save(base);
      try (AdapterSet loha = adapter(dit, Loha.rank(2), 21)) {
        PeftFolder.save(loha, folder.resolve("loha"));
        float[] expected = output(dit).toFloatArray();
        String[] args = {
          "--base", base.toString(), "--adapter", path("loha"), "--out", path("small"), "--rank"
        };
        String[] four = java.util.Arrays.copyOf(args, args.length + 1);
        four[args.length] = "4";
        assertEquals(0, ExtractLora.run(four)); // a product of two ranks 2 has rank 4
        loha.setOn(false);
        try (AdapterSet lora = PeftFolder.open(dit, folder.resolve("small"))) {
          close(Tensor.of(expected, expected.length), output(dit).reshape(-1), 1e-4);
          assertTrue(lora.kinds().values().stream().allMatch(k -> ((Lora) k).rank() == 4));
        }
      }
    }
  }

  @Test
  void halfPrecisionFilesAreWrittenAndReadAgain() {
    prepare();
    for (String format : List.of("peft", "diffusers", "kohya")) {
      for (String type : List.of("f16", "bf16")) {
        String out = path(format + type);
        assertEquals(
            0,
            MergeAdapters.run(
                three("--method", "cat", "--format", format, "--dtype", type, "--out", out)));
        try (Dit dit = Dit.open(base);
            Scope scope = Scope.open();
            AdapterSet exact = read(dit, exact(format), format)) {
          Path file =
              Path.of(out)
                  .resolve(
                      switch (format) {
                        case "peft" -> "adapter_model.safetensors";
                        case "diffusers" -> "pytorch_lora_weights.safetensors";
                        default -> "adapter.safetensors";
                      });
          try (SafeTensors written = SafeTensors.open(file)) {
            assertTrue(
                written.entries().values().stream().allMatch(e -> e.type().equalsIgnoreCase(type)),
                written.entries().toString());
          }
          Tensor wanted = output(dit);
          exact.setOn(false);
          try (AdapterSet rounded = read(dit, Path.of(out), format)) {
            assertEquals(DType.F32, rounded.parameters().getFirst().value().dtype());
            close(wanted, output(dit), type.equals("f16") ? 3e-3 : 3e-2);
          }
        }
      }
    }
  }

  private Path exact(String format) {
    Path out = folder.resolve("exact" + format);
    assertEquals(
        0,
        MergeAdapters.run(three("--method", "cat", "--format", format, "--out", out.toString())));
    return out;
  }
}
