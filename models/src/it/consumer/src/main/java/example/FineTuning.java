// SPDX-License-Identifier: Apache-2.0
package example;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import java.nio.file.Path;

/** The fine-tuning that the README shows. */
final class FineTuning {
  private FineTuning() {}

  static void run(int steps, Path folder) {
    var rng = Rng.seed(1);
    var data = new ShapesWorld(ShapesWorld.options().resolution(16).plain(true));
    var batches = new BatchLoader(data, 16, 2, rng.fork("batches"), Device.CPU);
    // @start region="lora"
    var targets = Targets.glob("**.to_q", "**.to_k", "**.to_v");
    try (var unet = UNet2D.open(folder.resolve("model"));
        var lora = AdapterSet.attach(unet, targets, Lora.rank(8), rng);
        var optimizer = new AdamW(lora.parameters(), AdamW.options().learningRate(1e-3))) {
      var denoiser = new Denoiser(unet::call, new NoiseSchedule(SchedulerConfig.ddpm()));
      for (int step = 0; step < steps; step++) {
        try (var scope = Scope.open()) {
          var images = batches.batch(step).images();
          var draw = rng.step(step);
          var result =
              Autograd.valueAndGrad(lora.parameters(), () -> denoiser.loss(images, null, draw));
          optimizer.step(result.gradients()); // the model itself stays as it is
          System.out.printf("step %d: loss %.3f%n", step, result.value().item());
        }
      }
      PeftFolder.save(lora, folder.resolve("adapter")); // as PEFT reads it
    }
    // @end
  }
}
