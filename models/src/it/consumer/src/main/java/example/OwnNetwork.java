// SPDX-License-Identifier: Apache-2.0
package example;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Trains a small network of its own, saves it and loads it again. */
final class OwnNetwork {
  private OwnNetwork() {}

  /** Two layers that learn a sine. */
  private static final class Net extends Layer {
    private final Linear in;
    private final Linear out;

    Net(Weights weights) {
      super(weights);
      in = child("in", w -> new Linear(w, 1, 32));
      out = child("out", w -> new Linear(w, 32, 1));
    }

    @Override
    protected Tensor forward(Tensor x) {
      return out.call(NN.silu(in.call(x)));
    }
  }

  static void run() throws IOException {
    Rng rng = Rng.seed(0);
    Path file = Files.createTempFile("net", ".safetensors");
    try (Net net = new Net(Weights.init(rng));
        AdamW optimizer =
            new AdamW(net.parameters(), AdamW.options().learningRate(0.01).weightDecay(0))) {
      double first = 0;
      double last = 0;
      for (int step = 0; step < 400; step++) {
        try (Scope scope = Scope.open()) {
          Tensor x = rng.fork("x").step(step).uniform(64, 1).mul(6).sub(3);
          Tensor y = Num.sin(x);
          var result = Autograd.valueAndGrad(net.parameters(), () -> NN.mse(net.call(x), y));
          optimizer.step(result.gradients());
          last = result.value().item();
          first = step == 0 ? last : first;
        }
      }
      check(last < 0.02 && last < first / 5, "the loss went from " + first + " to " + last);
      SafeTensors.save(file, net.stateDict());
      try (Weights weights = Weights.open(file);
          Net loaded = new Net(weights);
          Scope scope = Scope.open()) {
        weights.requireAllUsed();
        Tensor x = Tensor.of(new float[] {0.5f}, 1, 1);
        check(loaded.call(x).item() == net.call(x).item(), "the loaded network computes otherwise");
      }
    } finally {
      Files.delete(file);
    }
    check(CpuBackend.instance().memory().live() == 0, "memory is still in use at the end");
  }

  private static void check(boolean ok, String message) {
    if (!ok) {
      throw new IllegalStateException(message);
    }
  }
}
