// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Pipeline folders: written, read, written again; and everything that can be wrong with them. */
class PipelineFolderTest {
  private static final Map<String, Supplier<LatentDiffusion>> KINDS =
      Map.of(
          "words", TinyPipelines::words,
          "clip", TinyPipelines::clip,
          "transformer", TinyPipelines::transformer);

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> savedIsReadAndSavedAgain() {
    return KINDS.entrySet().stream()
        .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> roundTrip(e.getKey(), e.getValue())));
  }

  private void roundTrip(String kind, Supplier<LatentDiffusion> make) throws IOException {
    Path first = temporary.resolve(kind + "-first");
    Path second = temporary.resolve(kind + "-second");
    String prompt = kind.equals("transformer") ? "dog" : "red star";
    GenerationRequest request = GenerationRequest.of(prompt).each(2).steps(3).guidance(2).seed(5);
    float[] drawn;
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = make.get()) {
      drawn = pipeline.generate(request).toFloatArray();
      pipeline.save(first);
    }
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = LatentDiffusion.open(first)) {
      Tensor again = pipeline.generate(request);
      assertArrayEquals(new int[] {2, 3, 16, 16}, again.shape().dims());
      assertArrayEquals(drawn, again.toFloatArray());
      pipeline.save(second);
    }
    assertSameFiles(first, second);
  }

  private static void assertSameFiles(Path first, Path second) throws IOException {
    Map<String, byte[]> expected = files(first);
    Map<String, byte[]> actual = files(second);
    assertEquals(expected.keySet(), actual.keySet());
    for (Map.Entry<String, byte[]> e : expected.entrySet()) {
      assertArrayEquals(e.getValue(), actual.get(e.getKey()), e.getKey());
    }
  }

  private static Map<String, byte[]> files(Path folder) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path p : all.filter(Files::isRegularFile).toList()) {
        files.put(folder.relativize(p).toString(), Files.readAllBytes(p));
      }
    }
    return files;
  }

  private Path saved(Supplier<LatentDiffusion> make) {
    Path folder = temporary.resolve("pipeline");
    try (LatentDiffusion pipeline = make.get()) {
      pipeline.save(folder);
    }
    return folder;
  }

  @Test
  void jsonOfOthersIsWrittenAsItWas() throws IOException {
    Path folder = saved(TinyPipelines::clip);
    String index =
        Files.readString(folder.resolve("model_index.json"))
            .replace(ModelConfig.DIFFUSERS_VERSION, "0.6.0")
            .replace("  \"requires_safety_checker\": false,", "  \"requires_safety_checker\":true,")
            .replaceFirst(
                "\"safety_checker\": \\[\n    null,\n    null\n  ]",
                "\"safety_checker\": [\"stable_diffusion\", \"StableDiffusionSafetyChecker\"]");
    assertTrue(index.contains("0.6.0") && index.contains("StableDiffusionSafetyChecker"), index);
    Files.writeString(folder.resolve("model_index.json"), index);
    Path vae = folder.resolve("vae/config.json");
    Files.writeString(
        vae,
        Files.readString(vae).replace("  \"act_fn\"", "  \"_name_or_path\": \"x\",\n  \"act_fn\""));
    Path copy = temporary.resolve("copy");
    try (LatentDiffusion pipeline = LatentDiffusion.open(folder)) {
      pipeline.save(copy);
    }
    assertSameFiles(folder, copy);
  }

  @Test
  void anotherSamplerIsWrittenWithTheRest() {
    Path folder = saved(TinyPipelines::words);
    Path copy = temporary.resolve("copy");
    try (LatentDiffusion pipeline = LatentDiffusion.open(folder)) {
      pipeline.with(pipeline.scheduler().as("EulerDiscreteScheduler")).save(copy);
    }
    try (LatentDiffusion pipeline = LatentDiffusion.open(copy)) {
      assertEquals("EulerDiscreteScheduler", pipeline.scheduler().className());
    }
  }

  @Test
  void readsShardsAndOldNames() {
    Path folder = saved(TinyPipelines::words);
    try (LatentDiffusion pipeline = LatentDiffusion.open(folder);
        Scope scope = Scope.open()) {
      GenerationRequest request = GenerationRequest.of("blue circle").steps(2);
      float[] expected = pipeline.generate(request).toFloatArray();
      Path unet = folder.resolve("unet");
      delete(unet.resolve("diffusion_pytorch_model.safetensors"));
      ((UNet2DCondition) pipeline.backbone().module()).save(unet, 10_000);
      rename(
          folder.resolve("vae/diffusion_pytorch_model.safetensors"),
          Map.of("to_q", "query", "to_k", "key", "to_v", "value", "to_out.0", "proj_attn"));
      try (LatentDiffusion sharded = LatentDiffusion.open(folder)) {
        assertArrayEquals(expected, sharded.generate(request).toFloatArray());
      }
    }
  }

  private static void rename(Path file, Map<String, String> parts) {
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = new HashMap<>();
          try (SafeTensors old = SafeTensors.open(file)) {
            for (String name : old.entries().keySet()) {
              String now = name;
              for (Map.Entry<String, String> e : parts.entrySet()) {
                now = now.replace(e.getKey(), e.getValue());
              }
              tensors.put(now, old.read(name));
            }
          }
          SafeTensors.save(file, tensors);
        });
  }

  private static void delete(Path file) {
    try {
      Files.delete(file);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** One error names every defect of a folder, and no model's memory was taken for it. */
  @Test
  void everythingWrongIsListedBeforeMemoryIsSpent() throws IOException {
    Path folder = saved(TinyPipelines::clip);
    Path index = folder.resolve("model_index.json");
    Files.writeString(
        index,
        Files.readString(index)
            .replaceFirst(
                "\\{",
                "{\n  \"prior\": [\"diffusers\", \"PriorTransformer\"],"
                    + "\n  \"movq\": [\"diffusers\", \"VQModel\"],"));
    // a missing shard
    Path unet = folder.resolve("unet");
    try (LatentDiffusion pipeline = TinyPipelines.clip()) {
      delete(unet.resolve("diffusion_pytorch_model.safetensors"));
      ((UNet2DCondition) pipeline.backbone().module()).save(unet, 10_000);
    }
    delete(unet.resolve("diffusion_pytorch_model-00002-of-" + shards(unet) + ".safetensors"));
    // another shape, a missing and a foreign tensor
    Path vae = folder.resolve("vae/diffusion_pytorch_model.safetensors");
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = new HashMap<>();
          try (SafeTensors old = SafeTensors.open(vae)) {
            old.entries().keySet().forEach(n -> tensors.put(n, old.read(n)));
          }
          tensors.put("quant_conv.bias", Tensor.zeros(9));
          tensors.remove("decoder.conv_in.bias");
          tensors.put("loss.weight", Tensor.zeros(2));
          SafeTensors.save(vae, tensors);
        });
    // a configuration with two wrong values
    Path text = folder.resolve("text_encoder/config.json");
    Files.writeString(
        text,
        Files.readString(text)
            .replace("\"quick_gelu\"", "\"swish2\"")
            .replace("\"num_attention_heads\": 3", "\"num_attention_heads\": 5"));
    delete(folder.resolve("tokenizer/merges.txt"));
    Files.writeString(
        folder.resolve("scheduler/scheduler_config.json"), "{\"_class_name\": \"Foo\"}");

    long live = CpuBackend.instance().memory().live();
    CpuBackend.instance().resetPeak();
    var e = assertThrows(IllegalArgumentException.class, () -> LatentDiffusion.open(folder));
    String message = e.getMessage();
    for (String part :
        List.of(
            "component prior (PriorTransformer) is not known",
            "component movq (VQModel) is not known",
            "diffusion_pytorch_model-00002-of-",
            "vae: 1 tensors are missing: decoder.conv_in.bias",
            "quant_conv.bias is [9] and must be [8]",
            "vae: 1 tensors are not the model's: loss.weight",
            "hidden_act must be one of",
            "must be divisible by num_attention_heads 5",
            "vocab.json and merges.txt, or tokenizer.json",
            "got 'Foo'")) {
      assertTrue(message.contains(part), part + " is not in: " + message);
    }
    long peak = CpuBackend.instance().memory().peak();
    assertTrue(peak - live < 1000, "bytes taken: " + (peak - live));
  }

  private static String shards(Path folder) throws IOException {
    try (Stream<Path> all = Files.list(folder)) {
      long count = all.filter(p -> p.toString().endsWith(".safetensors")).count();
      return String.format("%05d", count);
    }
  }

  @Test
  void partsThatDoNotFitAreNamed() throws IOException {
    Path folder = saved(TinyPipelines::words);
    Path other = temporary.resolve("clip");
    try (LatentDiffusion pipeline = TinyPipelines.clip()) {
      pipeline.save(other);
    }
    // the text encoder of another width
    Path words = folder.resolve("text_encoder");
    Files.writeString(
        words.resolve("config.json"),
        Files.readString(words.resolve("config.json")).replace("\"width\": 24", "\"width\": 20"));
    Scope.run(
        () ->
            SafeTensors.save(
                words.resolve("model.safetensors"),
                Map.of(
                    "token_embedding.weight", Tensor.zeros(5, 20),
                    "position_embedding.weight", Tensor.zeros(3, 20))));
    var e = assertThrows(IllegalArgumentException.class, () -> LatentDiffusion.open(folder));
    assertTrue(e.getMessage().contains("states of width 24"), e.getMessage());
    var none =
        assertThrows(
            IllegalArgumentException.class, () -> LatentDiffusion.open(temporary.resolve("none")));
    assertTrue(none.getMessage().contains("is no pipeline"), none.getMessage());
  }
}
