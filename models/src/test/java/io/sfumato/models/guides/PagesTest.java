// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.guides;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.PagedAdamW;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.adapter.PrefixTuning;
import io.sfumato.models.adapter.PromptTuning;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.adapter.TextualInversion;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.diffusion.Network;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.diffusion.Steps;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.pipeline.Conditioner;
import io.sfumato.models.pipeline.GenerationRequest;
import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.models.pipeline.TinyPipelines;
import io.sfumato.models.quant.Quantization;
import io.sfumato.models.quant.QuantizationConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the Java of the pages in {@code docs} that are about models. */
final class PagesTest {
  @TempDir Path folder;

  @Test
  void adapters() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.clip()) {
      Module unet = pipeline.backbone().module();
      Tensor states = pipeline.conditioner().condition(List.of("star"));
      var denoiser =
          new Denoiser(pipeline.backbone().network(), new NoiseSchedule(pipeline.scheduler()));
      Tensor images = Rng.seed(1).normal(1, 4, 8, 8);
      Rng draw = Rng.seed(2);
      var request = GenerationRequest.of("star").steps(2).size(16, 16);
      float[] before = pipeline.generate(request).toFloatArray();
      // @start region="adapters"
      AdapterSet lora =
          AdapterSet.attach(unet, Targets.glob("**.to_q", "**.to_v"), Lora.rank(8), Rng.seed(0));
      var result = // of the adapter alone: the model gets no gradient
          Autograd.valueAndGrad(lora.parameters(), () -> denoiser.loss(images, states, draw));
      lora.setStrength(0.7); // 1 as trained; setStrengths for layer by layer
      Tensor off = lora.without(() -> pipeline.generate(request)); // off for a while
      lora.merge(); // into the weights; unmerge() gives the old ones back bit for bit
      lora.unmerge();
      PeftFolder.save(lora, folder); // for PEFT; AdapterWriter for diffusers and kohya
      // @end
      assertArrayEquals(before, off.toFloatArray());
      assertEquals(lora.parameters().size(), result.gradients().asMap().size());
      lora.close();
    }
    assertTrue(Files.exists(folder.resolve("adapter_model.safetensors")));
  }

  @Test
  void wordsPromptsAndPrefixes() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.clip()) {
      Module unet = pipeline.backbone().module();
      var clip = (Conditioner.Clip) pipeline.conditioner();
      CLIPTokenizer tokenizer = clip.tokenizer();
      CLIPTextModel encoder = clip.model();
      Rng rng = Rng.seed(0);
      List<String> texts = List.of("a star");
      Path file = folder.resolve("learned_embeds.safetensors");
      // @start region="words"
      // textual inversion: a new word of CLIP's text encoder
      try (var toy = TextualInversion.create(tokenizer, encoder, "<my-toy>", 2, "star", rng)) {
        var conditioner = new Conditioner.Clip(toy.tokenizer(), encoder); // it knows the word
        var result = Autograd.valueAndGrad(toy.parameters(), () -> loss(conditioner));
        toy.save(file); // as diffusers' learned_embeds.safetensors
      }
      try (var prompt = PromptTuning.attach(encoder, 8, rng)) { // 8 vectors before the tokens'
        Tensor states = encoder.call(tokenizer.withLength(69).encode(texts)); // 77 in all
      }
      var layers = Targets.glob("down_blocks.**.attn2");
      try (var prefix = PrefixTuning.attach(unet, layers, PrefixTuning.tokens(8), rng)) {
        prefix.save(null, folder); // as PEFT reads it
      }
      // @end
    }
    assertTrue(Files.exists(folder.resolve("learned_embeds.safetensors")));
    assertTrue(Files.exists(folder.resolve("adapter_config.json")));
  }

  private static Tensor loss(Conditioner conditioner) {
    return Num.mean(Num.square(conditioner.condition(List.of("a <my-toy>"))));
  }

  @Test
  void quantizedWeights() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.clip()) {
      Module unet = pipeline.backbone().module();
      // @start region="quantize"
      var bits = QuantizationConfig.nf4().doubleQuantization(true);
      Quantization.quantize(unet, Quantization.linearLayers(unet), bits);
      var targets = Targets.glob("**.to_q", "**.to_v");
      var lora = AdapterSet.attach(unet, targets, Lora.rank(8), Rng.seed(0));
      var optimizer = new PagedAdamW(lora.parameters(), AdamW.options());
      // @end
      assertFalse(Quantization.weights(unet).isEmpty());
      optimizer.close();
      lora.close();
    }
  }

  @Test
  void quantizedFiles() {
    var config =
        DitConfig.builder().size(1, 2, 8).patchSize(2).sampleSize(8).imageChannels(4).classes(3);
    try (Dit dit = new Dit(TinyPipelines.weights(1), config.build())) {
      ModelConfig.write(folder.resolve("config.json"), config.build().toMap());
      Quantization.quantize(dit, Quantization.linearLayers(dit), QuantizationConfig.int8());
      Quantization.save(folder.resolve("diffusion_pytorch_model.safetensors"), dit);
    }
    // @start region="load"
    DitConfig read = DitConfig.read(folder.resolve("config.json"));
    Dit model = Quantization.load(folder, weights -> new Dit(weights, read));
    Quantization.save(folder.resolve("diffusion_pytorch_model.safetensors"), model);
    // @end
    assertFalse(Quantization.weights(model).isEmpty());
    model.close();
  }

  @Test
  void samplers() {
    Path file = folder.resolve("scheduler_config.json");
    ModelConfig.write(file, SchedulerConfig.ddpm().as("DPMSolverMultistepScheduler").toMap());
    Network network = (x, t, y) -> NN.silu(x);
    Rng rng = Rng.seed(0);
    try (Scope scope = Scope.open()) {
      Tensor noise = rng.normal(2, 3, 4, 4);
      Tensor labels = Tensor.of(new long[] {1, 2}, 2);
      // @start region="sampler"
      Sampler sampler = Sampler.read(file); // scheduler/scheduler_config.json
      var denoiser = new Denoiser(network, new NoiseSchedule(sampler.config())).given(labels);
      Steps steps = Steps.of(30);
      Tensor start = sampler.plan(steps).start(noise);
      Tensor samples = sampler.sample(denoiser, start, steps, NoiseSource.of(rng), Listener.NONE);
      // @end
      assertEquals(noise.shape(), samples.shape());
    }
  }
}
