// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.guides;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdapterFile;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.AdapterWriter;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ImageFolder;
import io.sfumato.models.data.ImageGrid;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.nn.Module;
import io.sfumato.models.pipeline.GenerationRequest;
import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.io.ByteArrayOutputStream;
import java.nio.file.Path;

/** The program of the guide "Fine-tune with LoRA". */
final class FineTuneWithLora {
  private FineTuneWithLora() {}

  /** The folder of the model, that of the new pictures, the one to write to, the steps. */
  public static void main(String[] args) {
    Path folder = Path.of(args[0]);
    Path pictures = Path.of(args[1]);
    Path out = Path.of(args[2]);
    int steps = Integer.parseInt(args[3]);

    // @start region="attach"
    Rng rng = Rng.seed(0);
    LatentDiffusion model = LatentDiffusion.open(folder);
    Module unet = model.backbone().module();
    AdapterSet lora =
        AdapterSet.attach(
            unet,
            Targets.glob("**.to_q", "**.to_k", "**.to_v", "**.to_out.0", "**.conv1", "**.conv2"),
            Lora.rank(4).alpha(4),
            rng.fork("adapter"));
    System.out.printf(
        "LoRA in %d layers: %,d parameters, %.1f %% of the model's%n",
        lora.parts().size(),
        lora.parameterCount(),
        100.0 * lora.parameterCount() / unet.parameterCount());
    // @end

    // @start region="train"
    ImageDataset images = ImageFolder.open(pictures, 16); // one class: blue circles
    BatchLoader loader = new BatchLoader(images, 16, 2, rng.fork("batches"), Device.CPU);
    Denoiser denoiser =
        new Denoiser(model.backbone().network(), new NoiseSchedule(model.scheduler()));
    try (AdamW optimizer =
        new AdamW(lora.parameters(), AdamW.options().learningRate(5e-3).weightDecay(0))) {
      double sum = 0;
      for (int step = 0; step < steps; step++) {
        Rng draw = rng.fork("training").step(step);
        try (Scope scope = Scope.open()) {
          var batch = loader.batch(step);
          Tensor circle = Tensor.of(new long[16], 16); // the label of the model's class 0
          var result =
              Autograd.valueAndGrad(
                  lora.parameters(), () -> denoiser.loss(batch.images(), circle, draw));
          result.gradients().clipByNorm(1);
          optimizer.step(result.gradients());
          sum += result.value().item();
        }
        if ((step + 1) % 10 == 0) {
          System.out.printf("step %d: loss %.3f%n", step + 1, sum / 10);
          sum = 0;
        }
      }
    }
    // @end

    // @start region="use"
    try (Scope scope = Scope.open()) {
      var request = GenerationRequest.of("circle").each(4).steps(10).seed(1);
      Tensor with = model.generate(request);
      lora.setStrength(0.5);
      Tensor half = model.generate(request);
      lora.setStrength(1);
      Tensor without = lora.without(() -> model.generate(request));
      write(out.resolve("strengths.png"), without, half, with);
      System.out.printf(
          "blue: %.2f without, %.2f at half strength, %.2f with%n",
          blue(without), blue(half), blue(with));
    }
    // @end

    // @start region="save"
    PeftFolder.save(lora, out.resolve("peft"));
    AdapterWriter.saveKohya(
        lora,
        AdapterFile.Component.UNET,
        AdapterWriter.kohyaNames(unet),
        DType.F32,
        out.resolve("kohya.safetensors"));
    // @end

    // @start region="merge"
    try (Scope scope = Scope.open()) {
      var request = GenerationRequest.of("circle").steps(10).seed(1);
      Tensor attached = model.generate(request);
      lora.merge();
      Tensor merged = model.generate(request);
      System.out.printf(
          "merged differs by less than 0.001: %b%n", difference(attached, merged) < 1e-3);
      model.save(out.resolve("merged")); // a model of its own, which needs no adapter
      lora.unmerge(); // the weights of before, bit for bit
    }
    lora.close();
    model.close();
    // @end

    load(folder, out);
  }

  // @start region="load"
  static void load(Path folder, Path out) {
    try (Scope scope = Scope.open();
        LatentDiffusion model = LatentDiffusion.open(folder)) {
      var request = GenerationRequest.of("circle").steps(10).seed(1);
      Module unet = model.backbone().module();
      Tensor first;
      try (AdapterSet lora = PeftFolder.open(unet, out.resolve("peft"))) {
        first = model.generate(request);
      }
      var file = AdapterFile.open(unet, out.resolve("kohya.safetensors"));
      try (AdapterSet lora = file.adapter()) {
        Tensor second = model.generate(request);
        System.out.printf(
            "from PEFT's folder and from a file of %s: less than 0.001 apart: %b%n",
            file.dialect(), difference(first, second) < 1e-3);
      }
    }
  }

  // @end

  // @start region="helpers"
  /** How much more blue than red there is in pictures, on average. */
  static double blue(Tensor pictures) {
    return Num.mean(pictures.slice(1, 2, 3).sub(pictures.slice(1, 0, 1))).item();
  }

  /** The largest difference of two pictures' values. */
  static double difference(Tensor one, Tensor two) {
    return Num.max(Num.abs(one.sub(two))).item();
  }

  /** Writes pictures, a row for each tensor of them. */
  static void write(Path file, Tensor... rows) {
    int side = rows[0].dim(2);
    var pixels = new ByteArrayOutputStream();
    for (Tensor row : rows) {
      pixels.writeBytes(SampleSheet.toPixels(row, side, side).toByteArray());
    }
    var grid = ImageGrid.options().columns(rows[0].dim(0)).scale(4);
    ImageGrid.write(file, pixels.toByteArray(), 3, side, side, grid);
  }
  // @end
}
