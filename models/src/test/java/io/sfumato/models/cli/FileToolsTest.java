// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.Outcome;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Looking into files, converting them, and the one program that has all others. */
class FileToolsTest {
  @TempDir Path folder;

  private static Outcome run(String... args) {
    return Outcome.of(Sfumato::run, args);
  }

  private static Path resource(String name) throws Exception {
    return Path.of(FileToolsTest.class.getResource("/peft/" + name).toURI());
  }

  private Path saved(Map<String, Tensor> tensors) {
    Path file = folder.resolve("file.safetensors");
    SafeTensors.save(file, tensors, Map.of("format", "pt"));
    return file;
  }

  @Test
  void everyProgramExplainsItself() {
    List<String> programs =
        List.of(
            "train ddpm",
            "train dit",
            "train flow",
            "train latent",
            "train autoencoder",
            "train vae",
            "train vqvae",
            "train gan",
            "finetune",
            "sample",
            "img2img",
            "inpaint",
            "interpolate",
            "merge",
            "extract",
            "convert",
            "inspect",
            "completion");
    for (String program : programs) {
      String[] words = (program + " --help").split(" ");
      Outcome ran = run(words);
      assertEquals(0, ran.code(), ran.text());
      assertTrue(ran.text().startsWith("Usage: sfumato " + program + " "), ran.text());
    }
    Outcome nothing = run();
    assertEquals(2, nothing.code());
    assertTrue(nothing.text().contains("completion"), nothing.text());
    assertEquals(2, run("train", "nothing").code());
    Outcome completion = run("completion");
    assertEquals(0, completion.code());
    assertTrue(completion.text().contains("--keep-checkpoints"), completion.text());
  }

  @Test
  void anAdapterIsToldApart() throws Exception {
    Outcome lora = run("inspect", resource("lora").toString());
    assertEquals(0, lora.code(), lora.text());
    assertTrue(lora.text().contains("an adapter of PEFT, LORA, rank 3"), lora.text());
    assertTrue(lora.text().contains("PEFT: LoRA on 4 layers; ranks 3 (4)"), lora.text());
    Outcome loha = run("inspect", resource("loha").resolve("adapter_model.safetensors").toString());
    assertTrue(loha.text().contains("LoHa on "), loha.text());
  }

  @Test
  void everyTensorIsListedWithItsValues() {
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("a", Tensor.of(new float[] {1, -3, 8}, 3));
      tensors.put("b", Tensor.of(new float[] {Float.NaN, 2, Float.POSITIVE_INFINITY, 4}, 2, 2));
      Path file = saved(tensors);
      Outcome short_ = run("inspect", file.toString(), "--tensors");
      assertTrue(short_.text().contains("a F32 [3]"), short_.text());
      assertFalse(short_.text().contains("mean"), short_.text());
      Outcome ran = run("inspect", file.toString(), "--statistics");
      assertTrue(ran.text().contains("tensors 2, values 7, bytes 28; 2 of F32"), ran.text());
      assertTrue(ran.text().contains("a F32 [3]: -3.00000 … 8.00000, mean 2.00000"), ran.text());
      assertTrue(ran.text().contains("b F32 [2, 2]: 2.00000 … 4.00000, mean 3.00000, 2 NOT"));
      assertTrue(ran.text().contains("metadata format = pt"), ran.text());
    }
  }

  @Test
  void aRunAndItsDamageAreShown() throws Exception {
    Checkpoint.save(
        folder.resolve("out/checkpoint"),
        new Checkpoint.State(120, 3, Map.of(), List.of()),
        to -> SafeTensors.save(to.resolve("model.safetensors"), Map.of()));
    Outcome whole = run("inspect", folder.resolve("out").toString());
    assertEquals(0, whole.code(), whole.text());
    assertTrue(whole.text().contains("a checkpoint after 120 steps"), whole.text());
    assertTrue(whole.text().contains("whole: its files have their checksums"), whole.text());
    Files.delete(folder.resolve("out/checkpoint/training/manifest.json"));
    assertTrue(run("inspect", folder.resolve("out").toString()).text().contains("NOT whole"));
  }

  @Test
  void whatCannotBeReadIsOneLine() throws Exception {
    Path pickle = Files.writeString(folder.resolve("model.ckpt"), "anything");
    Outcome other = run("inspect", pickle.toString());
    assertEquals(2, other.code());
    assertTrue(other.text().contains("is no safetensors file"), other.text());
    Path cut = Files.writeString(folder.resolve("cut.safetensors"), "1234");
    Outcome short_ = run("inspect", cut.toString());
    assertEquals(2, short_.code());
    assertEquals(1, short_.text().strip().lines().count(), short_.text());
    assertEquals(2, run("inspect", folder.resolve("none").toString()).code());
  }

  @Test
  void typesAreConvertedAndNothingElse() {
    Path to = folder.resolve("half.safetensors");
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("w", Tensor.of(new float[] {1, 0.1f}, 2));
      tensors.put("n", Tensor.of(new long[] {1L << 40}, 1));
      Outcome ran = run("convert", saved(tensors).toString(), to.toString(), "--dtype", "f16");
      assertEquals(0, ran.code(), ran.text());
      try (SafeTensors half = SafeTensors.open(to)) {
        assertEquals(DType.F16, half.read("w").dtype());
        assertArrayEquals(new double[] {1, 0.0999755859375}, half.read("w").toDoubleArray());
        assertEquals(1L << 40, half.read("n").toLongArray()[0]);
        assertEquals(Map.of("format", "pt"), half.metadata());
      }
      tensors.put("w", Tensor.of(new float[] {1, 70000}, 2));
      Outcome over = run("convert", saved(tensors).toString(), to.toString(), "--dtype", "f16");
      assertEquals(2, over.code());
      assertTrue(over.text().contains("w has values that F16 cannot hold"), over.text());
      assertEquals(2, run("convert", to.toString(), to.toString()).code());
      assertEquals(2, run("convert", to.toString(), to + "x").code());
      Outcome wrong = run("convert", to.toString(), to + ".safetensors", "--dtype", "int4");
      assertEquals("--dtype must be f32, f16 or bf16; got int4", wrong.text().strip());
    }
  }

  @Test
  void aModelFolderIsShardedAndPutTogetherAgain() throws Exception {
    Path model = Files.createDirectories(folder.resolve("model"));
    try (Dit dit =
        new Dit(
            Weights.init(Rng.seed(1)),
            DitConfig.builder().size(2, 4, 128).sampleSize(8).imageChannels(2).build())) {
      dit.save(model);
    }
    Path shards = folder.resolve("shards");
    Path one = folder.resolve("one");
    Outcome ran = run("convert", model.toString(), shards.toString(), "--max-shard-megabytes", "1");
    assertEquals(0, ran.code(), ran.text());
    try (var files = Files.list(shards)) {
      assertTrue(files.count() > 3);
    }
    assertTrue(run("inspect", shards.toString()).text().contains("index.json: tensors "));
    assertEquals(0, run("convert", shards.toString(), one.toString()).code());
    try (TensorSource before = TensorSource.open(model);
        TensorSource after = TensorSource.open(one);
        Scope scope = Scope.open()) {
      assertEquals(before.entries().keySet(), after.entries().keySet());
      for (String name : before.entries().keySet()) {
        assertTrue(
            Arrays.equals(before.read(name).toFloatArray(), after.read(name).toFloatArray()), name);
      }
    }
    Dit.open(one).close();
  }
}
