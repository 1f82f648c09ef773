// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.cuda.CudaBackend;
import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lokr;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Layers with LoHa and LoKr on a CUDA device: forward and backward give what the CPU gives, and
 * linear ones hold less beyond the parameters than one weight takes, so no matrix of its size is
 * ever made.
 */
final class CudaAdapterMemoryTest {
  private static final Device CUDA = new Device("cuda", 0);
  private static final int TOKENS = 8;

  /** Two layers, so that the first one's gradient goes through the second. */
  private static final class Pair extends Module {
    private final List<Module> layers = new ArrayList<>();
    private final boolean conv;

    Pair(Weights weights, boolean conv) {
      super(weights);
      this.conv = conv;
      layers.add(child("first", w -> layer(w, in(conv), out(conv))));
      layers.add(child("second", w -> layer(w, out(conv), in(conv))));
    }

    private Module layer(Weights w, int in, int out) {
      return conv ? new Conv2d(w, in, out, 1) : new Linear(w, in, out);
    }

    Tensor call(Tensor x) {
      return call(
          () -> {
            Tensor h = x;
            for (Module m : layers) {
              h = m instanceof Conv2d c ? c.call(h) : ((Linear) m).call(h);
            }
            return h;
          });
    }
  }

  private static int in(boolean conv) {
    return conv ? 64 : 256;
  }

  private static int out(boolean conv) {
    return conv ? 96 : 320;
  }

  private record Step(double loss, List<float[]> gradients, long held, long largest) {}

  static Stream<Arguments> kinds() {
    List<Arguments> all = new ArrayList<>();
    for (AdapterKind kind : List.of(Loha.rank(16), Lokr.rank(4))) {
      for (boolean conv : new boolean[] {false, true}) {
        all.add(Arguments.of(kind, conv, DType.F32));
      }
    }
    all.add(Arguments.of(Loha.rank(16), false, DType.BF16));
    return all.stream();
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void noMatrixOfTheWeightsSizeIsMade(AdapterKind kind, boolean conv, DType dtype) {
    Step here = step(Device.CPU, kind, conv, dtype);
    Step there = step(CUDA, kind, conv, dtype);
    boolean half = dtype == DType.BF16;
    assertEquals(here.loss, there.loss, (half ? 2e-2 : 1e-3) * Math.abs(here.loss));
    for (int i = 0; i < here.gradients.size(); i++) {
      float most = 0;
      for (float v : here.gradients.get(i)) {
        most = Math.max(most, Math.abs(v));
      }
      float tolerance = (half ? 3e-2f : 3e-3f) * most; // convolutions round to tf32
      assertArrayEquals(here.gradients.get(i), there.gradients.get(i), tolerance, "factor " + i);
    }
    long weight = (long) in(conv) * out(conv) * dtype.bytes();
    assertTrue(there.largest < weight, "a result of " + there.largest + " bytes");
    if (!conv) { // a frozen convolution turns its weight for the gradient of its input
      String text = there.held + " bytes are held at once, and a weight takes " + weight;
      assertTrue(there.held < weight, text);
    }
  }

  private static Step step(Device device, AdapterKind kind, boolean conv, DType dtype) {
    try (Scope scope = Scope.open();
        Pair pair = new Pair(Weights.init(Rng.seed(0)).on(device).as(dtype), conv);
        AdapterSet set = AdapterSet.attach(pair, Targets.glob("**"), kind, Rng.seed(2))) {
      int seed = 10;
      for (Parameter p : set.parameters()) { // fresh adapters change nothing
        Tensor values = Rng.seed(seed++).normal(p.value().shape().dims()).mul(0.2);
        Updates.copy(p.value(), values.to(p.value().dtype()).to(device));
      }
      Tensor drawn = Rng.seed(3).normal(TOKENS, in(conv)).to(dtype).to(device);
      Tensor x = conv ? drawn.reshape(1, TOKENS, 1, in(conv)).permute(0, 3, 1, 2) : drawn;
      Runnable warm = // work space of products, and frozen weights in the order kernels read
          () -> Autograd.valueAndGrad(set.parameters(), () -> Num.mean(Num.square(pair.call(x))));
      Scope.run(warm);
      long before = 0;
      if (Backends.of(device) instanceof CudaBackend cuda) {
        cuda.synchronize();
        before = cuda.memory().live();
        cuda.resetPeak();
      }
      List<float[]> gradients = new ArrayList<>();
      double[] loss = new double[1];
      long[] peak = new long[1];
      Trace trace =
          Trace.of(
              () -> {
                try (Scope inner = Scope.open()) {
                  Autograd.Result result =
                      Autograd.valueAndGrad(
                          set.parameters(), () -> Num.mean(Num.square(pair.call(x))));
                  peak[0] = Backends.of(device).memory().peak();
                  loss[0] = result.value().to(DType.F32).item();
                  set.parameters()
                      .forEach(
                          p ->
                              gradients.add(
                                  result.gradients().get(p).to(DType.F32).toFloatArray()));
                }
                return loss;
              });
      long largest =
          trace.events().stream()
              .flatMap(e -> e.bytes() == 0 ? Stream.empty() : e.outputs().stream())
              .mapToLong(s -> s.bytes())
              .max()
              .orElseThrow();
      return new Step(loss[0], gradients, peak[0] - before, largest);
    }
  }
}
