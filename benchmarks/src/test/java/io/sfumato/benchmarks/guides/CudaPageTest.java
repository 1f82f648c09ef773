// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.guides;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Recording;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Runs the Java of {@code docs/cuda.md}. */
final class CudaPageTest {
  @Test
  void deviceAndGraph() {
    var config =
        UNet2DConfig.builder()
            .imageChannels(1)
            .levels(List.of(8, 16), List.of(false, false))
            .layersPerBlock(1)
            .normNumGroups(4)
            .build();
    try (Scope scope = Scope.open()) {
      Tensor image = Rng.seed(1).normal(1, 1, 8, 8);
      double[] t = {3};
      // @start region="device"
      Device cuda = new Device("cuda", 0);
      var unet = new UNet2D(Weights.init(Rng.seed(0)).on(cuda), config);
      Tensor x = image.to(cuda);
      Tensor y = unet.call(x, t);
      // @end
      assertEquals(cuda, y.device());
      Tensor next = Rng.seed(2).normal(1, 1, 8, 8).to(cuda);
      float[] expected = unet.call(next, t).toFloatArray();
      float[] replayed;
      // @start region="graph"
      try (Recording step = Backends.of(cuda).record(() -> new Tensor[] {unet.call(x, t)})) {
        Updates.copy(x, next); // inputs get new values in place
        Tensor drawn = step.replay()[0]; // valid until the next replay
        replayed = drawn.toFloatArray();
      }
      // @end
      assertArrayEquals(expected, replayed, 1e-5f);
      unet.close();
    }
  }
}
