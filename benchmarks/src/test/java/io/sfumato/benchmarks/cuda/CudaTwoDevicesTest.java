// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.cuda.Cuda;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.cuda.testing.Subprocess;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** A model trained on each of two devices of one process: the same bits, in memory of its own. */
final class CudaTwoDevicesTest {
  private static final int STEPS = 3;
  private static final double[] TIME = {7};

  @Test
  void aModelTrainsOnEach() {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver shows two devices");
    Subprocess.Result result =
        Subprocess.run(Training.class, Map.of("SFUMATO_EMU_DEVICES", "2"), "-Dsfumato.debug=true");
    String text = result.output();
    assertEquals(0, result.exit(), text);
    assertTrue(text.contains("same bits true, loss fell true, other device untouched true"), text);
    assertTrue(text.contains("unfreed: none"), text);
  }

  /** The program. */
  static final class Training {
    private static final PrintStream OUT = System.out;

    private Training() {}

    public static void main(String[] args) {
      List<float[]> first = trained(new Device("cuda", 0));
      long before = Backends.of(new Device("cuda", 0)).memory().peak();
      List<float[]> second = trained(new Device("cuda", 1));
      long after = Backends.of(new Device("cuda", 0)).memory().peak();
      boolean same = first.size() == second.size();
      for (int i = 0; same && i < first.size(); i++) {
        same = Arrays.equals(first.get(i), second.get(i));
      }
      float[] loss = first.getLast();
      OUT.println(
          "same bits "
              + same
              + ", loss fell "
              + (loss[STEPS - 1] < loss[0])
              + ", other device untouched "
              + (before == after));
      String left = Cuda.unfreed();
      OUT.println("unfreed: " + (left.isEmpty() ? "none" : left));
    }

    /** The parameters after some steps, and the losses. */
    private static List<float[]> trained(Device device) {
      UNet2DConfig small =
          UNet2DConfig.builder()
              .imageChannels(1)
              .levels(List.of(8, 16), List.of(false, true))
              .layersPerBlock(1)
              .normNumGroups(4)
              .build();
      try (Scope scope = Scope.open();
          UNet2D unet = new UNet2D(Weights.init(Rng.seed(0)).on(device), small);
          AdamW adam = new AdamW(unet.parameters(), AdamW.options().learningRate(1e-3))) {
        Tensor x = Rng.seed(3).normal(2, 1, 8, 8).to(device);
        Tensor target = Rng.seed(4).normal(2, 1, 8, 8).to(device);
        float[] losses = new float[STEPS];
        for (int i = 0; i < STEPS; i++) {
          try (Scope step = Scope.open()) {
            Autograd.Result result =
                Autograd.valueAndGrad(unet.parameters(), () -> NN.mse(unet.call(x, TIME), target));
            adam.step(result.gradients());
            losses[i] = (float) result.value().item();
          }
        }
        List<float[]> values = new ArrayList<>();
        unet.parameters().forEach(p -> values.add(p.value().toFloatArray()));
        values.add(losses);
        return values;
      }
    }
  }
}
