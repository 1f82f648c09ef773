// SPDX-License-Identifier: Apache-2.0
package example.modular;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.data.ImageFiles;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A user's program in a module: a model, a step of training, an adapter, files and pictures. */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws Exception {
    Path folder = Files.createTempDirectory("modular");
    Rng rng = Rng.seed(0);
    var config = UNet2DConfig.builder().levels(List.of(32, 32), List.of(false, true)).build();
    try (Scope scope = Scope.open();
        UNet2D unet = new UNet2D(Weights.init(rng), config)) {
      Tensor x = rng.normal(1, 3, 8, 8);
      unet.save(folder.resolve("model"));
      try (AdapterSet lora =
              AdapterSet.attach(unet, Targets.glob("**.to_q"), Lora.rank(2), rng.fork("lora"));
          AdamW optimizer = new AdamW(lora.parameters(), AdamW.options())) {
        var result =
            Autograd.valueAndGrad(
                lora.parameters(), () -> NN.mse(unet.call(x, new double[] {5}), x));
        optimizer.step(result.gradients());
        PeftFolder.save(lora, folder.resolve("adapter"));
      }
      try (UNet2D read = UNet2D.open(folder.resolve("model"));
          AdapterSet lora = PeftFolder.open(read, folder.resolve("adapter"))) {
        check(lora.parameterCount() > 0, "an empty adapter");
      }
    }
    ImageFiles.writePng(folder.resolve("a.png"), new byte[3 * 4 * 4], 3, 4, 4);
    check(ImageFiles.readSquare(folder.resolve("a.png"), 4).length == 48, "another picture");
    check(CpuBackend.instance().memory().live() == 0, "memory is still in use at the end");
    check(Main.class.getModule().isNamed(), "not run as a module");
    check(UNet2D.class.getModule().isNamed(), "the library is not run as a module");
    System.out.println("done in " + Main.class.getModule());
  }

  private static void check(boolean ok, String message) {
    if (!ok) {
      throw new IllegalStateException(message);
    }
  }
}
