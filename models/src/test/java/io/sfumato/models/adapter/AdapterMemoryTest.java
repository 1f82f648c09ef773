// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** What a training step of an adapter holds at most, in bytes. */
class AdapterMemoryTest {
  /** The most bytes held in the second step of training some parameters: there, moments exist. */
  private static long peakOfAStep(List<Parameter> parameters, Supplier<Tensor> loss) {
    long peak = 0;
    try (AdamW optimizer = new AdamW(parameters, AdamW.options().learningRate(1e-3))) {
      for (int i = 0; i < 2; i++) {
        CpuBackend.instance().resetPeak();
        try (Scope step = Scope.open()) {
          optimizer.step(Autograd.valueAndGrad(parameters, loss).gradients());
        }
        peak = CpuBackend.instance().memory().peak();
      }
    }
    return peak;
  }

  private static long bytes(List<Parameter> parameters) {
    return parameters.stream().mapToLong(p -> 4 * p.value().numel()).sum();
  }

  /** A step of a transformer, weights and optimizer included. */
  @Test
  void loraTakesAQuarterLessThanFullFineTuning() {
    DitConfig config =
        DitConfig.builder().size(4, 4, 32).sampleSize(16).imageChannels(4).classes(10).build();
    try (Scope scope = Scope.open();
        Dit dit = new Dit(Weights.init(Rng.seed(0)), config)) {
      Tensor x = Rng.seed(1).normal(4, 4, 16, 16);
      Tensor labels = Tensor.of(new long[] {0, 3, 9, 1}, 4);
      Supplier<Tensor> loss =
          () -> Num.mean(Num.square(dit.call(x, new double[] {1, 20, 300, 900}, labels).sub(x)));
      long outside = CpuBackend.instance().memory().live() - bytes(dit.parameters());
      long full = peakOfAStep(dit.parameters(), loss) - outside;
      for (AdapterKind kind : List.of(Lora.rank(4), Loha.rank(2), Lokr.rank(4))) {
        try (AdapterSet set =
            AdapterSet.attach(dit, Targets.glob("**.to_*", "**.to_out.0"), kind, Rng.seed(2))) {
          long adapter = peakOfAStep(set.parameters(), loss) - outside;
          String text =
              String.format(
                  "%s: %,d bytes, %.1f %% less than %,d",
                  kind, adapter, 100.0 - 100.0 * adapter / full, full);
          assertTrue(adapter < 0.75 * full, text);
        }
      }
    }
  }

  /** Linear layers one after the other. */
  private static final class Stack extends Module {
    private final List<Linear> layers = new ArrayList<>();

    Stack(Weights weights, int count, int width) {
      super(weights);
      for (int i = 0; i < count; i++) {
        layers.add(child("layers." + i, w -> new Linear(w, width, width)));
      }
    }

    Tensor call(Tensor x) {
      return call(
          () -> {
            Tensor h = x;
            for (Linear layer : layers) {
              h = layer.call(h);
            }
            return h;
          });
    }
  }

  /** What is held between forward and backward, beyond what was before. */
  private static long heldForBackward(List<Parameter> parameters, Stack stack, Tensor x) {
    long before = CpuBackend.instance().memory().live();
    long[] held = new long[1];
    try (Scope step = Scope.open()) {
      Autograd.valueAndGrad(
          parameters,
          () -> {
            Tensor y = stack.call(x);
            held[0] = CpuBackend.instance().memory().live() - before;
            return Num.mean(y);
          });
    }
    return held[0];
  }

  /**
   * A frozen layer needs its input for the gradient of its weight alone, so behind or before the
   * adapted layer each keeps nothing; layers that train keep an input each.
   */
  @Test
  void frozenLayersSaveNoInput() {
    int width = 16;
    int rows = 4096;
    long activation = 4L * width * rows;
    for (String adapted : List.of("first", "last")) {
      long[] adapter = new long[2];
      long[] full = new long[2];
      for (int i = 0; i < 2; i++) {
        int count = i == 0 ? 4 : 12;
        try (Scope scope = Scope.open();
            Stack stack = new Stack(Weights.init(Rng.seed(0)), count, width)) {
          Tensor x = Rng.seed(1).normal(rows, width);
          stack.call(x); // weights are packed once
          full[i] = heldForBackward(stack.parameters(), stack, x);
          String path = "layers." + (adapted.equals("first") ? 0 : count - 1);
          try (AdapterSet set = AdapterSet.attach(stack, path::equals, Lora.rank(2), Rng.seed(2))) {
            adapter[i] = heldForBackward(set.parameters(), stack, x);
          }
        }
      }
      assertTrue(full[1] - full[0] > 7 * activation, "full: " + full[0] + ", " + full[1]);
      assertTrue(
          adapter[1] - adapter[0] < activation / 2,
          adapted + ": " + adapter[0] + ", " + adapter[1] + " of " + activation);
    }
  }

  private static final class One extends Module {
    private final Linear linear;
    private final Conv2d conv;

    One(Weights weights) {
      super(weights);
      linear = child("linear", w -> new Linear(w, 1024, 1024));
      conv = child("conv", w -> new Conv2d(w, 256, 256, 3));
    }
  }

  /** No op of a step, forward or backward, gives something of the weight's size. */
  @Test
  void neitherGradientNorChangeOfTheWholeWeightIsFormed() {
    List<AdapterKind> kinds =
        List.of(
            Lora.rank(4),
            Lora.rank(4).dropout(0.1),
            Loha.rank(2),
            Loha.rank(2).effectiveConv(true),
            Lokr.rank(4),
            new Lokr(4, 4, -1, false, true, 0, false, 0),
            Vera.rank(4),
            AdaLora.rank(4),
            new Glora(4, 4));
    try (Scope scope = Scope.open();
        One model = new One(Weights.init(Rng.seed(0)))) {
      Tensor x = Rng.seed(1).normal(3, 1024);
      Tensor picture = Rng.seed(2).normal(1, 256, 2, 2);
      for (boolean conv : new boolean[] {false, true}) {
        WeightLayer layer = conv ? model.conv : model.linear;
        Supplier<Tensor> loss = () -> Num.mean(NN.silu(layer.call(conv ? picture : x)));
        long size = layer.weight().value().numel();
        assertTrue(largest(List.of(layer.weight()), loss) >= size, "full fine-tuning does");
        for (AdapterKind kind : kinds) {
          if (kind.refuses(layer) == null) {
            try (AdapterSet set =
                AdapterSet.attach(model, layer.path()::equals, kind, Rng.seed(3))) {
              long largest = largest(set.parameters(), loss);
              assertTrue(largest < size / 2, kind + " on " + layer.path() + ": " + largest);
            }
          }
        }
      }
    }
  }

  /** The most elements that an op of a step gives; views give nothing new. */
  private static long largest(List<Parameter> parameters, Supplier<Tensor> loss) {
    Trace trace =
        Trace.of(
            () -> {
              try (Scope step = Scope.open()) {
                Autograd.valueAndGrad(parameters, () -> Dropout.active(Rng.seed(5), loss));
              }
              return 0;
            });
    return trace.events().stream()
        .filter(e -> e.bytes() > 0)
        .flatMap(e -> e.outputs().stream())
        .mapToLong(spec -> spec.shape().numel())
        .max()
        .orElse(0);
  }
}
