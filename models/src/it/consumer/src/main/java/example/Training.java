// SPDX-License-Identifier: Apache-2.0
package example;

// @start region="imports"
import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.List;

// @end

/** The training loop that the README shows. */
final class Training {
  private Training() {}

  static void run(int steps, Path folder) {
    // @start region="loop"
    var rng = Rng.seed(0);
    var data = new ShapesWorld(ShapesWorld.options().resolution(16));
    var batches = new BatchLoader(data, 16, 2, rng.fork("batches"), Device.CPU);
    var config = UNet2DConfig.builder().levels(List.of(32, 64), List.of(false, true)).build();
    try (var unet = new UNet2D(Weights.init(rng), config);
        var optimizer = new AdamW(unet.parameters(), AdamW.options().learningRate(1e-3))) {
      var denoiser = new Denoiser(unet::call, new NoiseSchedule(SchedulerConfig.ddpm()));
      for (int step = 0; step < steps; step++) {
        try (var scope = Scope.open()) { // frees all tensors made in it at its end
          var images = batches.batch(step).images();
          var draw = rng.step(step);
          var result =
              Autograd.valueAndGrad(unet.parameters(), () -> denoiser.loss(images, null, draw));
          optimizer.step(result.gradients());
          System.out.printf("step %d: loss %.3f%n", step, result.value().item());
        }
      }
      unet.save(folder.resolve("model")); // the files that diffusers' UNet2DModel reads
    }
    // @end
  }
}
