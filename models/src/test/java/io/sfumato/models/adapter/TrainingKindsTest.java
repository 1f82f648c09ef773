// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Kinds that train by other rules and are kept as plain LoRA: DyLoRA and Delta-LoRA. */
class TrainingKindsTest {
  @TempDir Path folder;

  private static final class Net extends Module {
    final Linear first;
    final Conv2d conv;

    Net() {
      super(Weights.init(Rng.seed(3)));
      first = child("first", w -> new Linear(w, 6, 32));
      conv = child("conv", w -> new Conv2d(w, 2, 3, 3, ConvOptions.of().padding(1)));
    }

    Tensor call(Tensor x) {
      return call(() -> conv.call(first.call(x).reshape(-1, 2, 4, 4)));
    }
  }

  private static Tensor x() {
    return Rng.seed(4).normal(5, 6);
  }

  private static Gradients gradients(Net net, AdapterSet set) {
    Tensor target = Rng.seed(6).normal(5, 3, 4, 4);
    return Autograd.valueAndGrad(
            set.parameters(), () -> Num.mean(Num.square(net.call(x()).sub(target))))
        .gradients();
  }

  private static Optimizer optimizer(AdapterSet set) {
    return new AdamW(set.parameters(), AdamW.options().learningRate(0.05).weightDecay(0));
  }

  // ---- Delta-LoRA

  /** The paper's loop, word by word: plain LoRA, and the weights of the model follow. */
  @Test
  void deltaLoraIsThePapersLoop() {
    for (long start : new long[] {0, 3}) {
      float[] expected;
      try (Net net = new Net();
          Scope scope = Scope.open();
          AdapterSet set =
              AdapterSet.attach(net, Targets.all(), Lora.rank(2).alpha(3), Rng.seed(5));
          Optimizer optimizer = optimizer(set)) {
        for (int t = 0; t < 7; t++) {
          Map<WeightLayer, Tensor> before = products(set);
          optimizer.step(gradients(net, set));
          if (t >= start) {
            products(set)
                .forEach(
                    (layer, now) -> {
                      Tensor was = before.get(layer);
                      assertNotNull(was);
                      Updates.add(layer.weight().value(), now.sub(was), 0.7 * 3 / 2);
                    });
          }
        }
        expected = net.call(x()).toFloatArray();
      }
      try (Net net = new Net();
          Scope scope = Scope.open()) {
        float[] plain = net.call(x()).toFloatArray();
        DeltaLora kind = new DeltaLora(Lora.rank(2).alpha(3), 0.7, start);
        try (AdapterSet set = AdapterSet.attach(net, Targets.all(), kind, Rng.seed(5));
            Optimizer optimizer = optimizer(set)) {
          for (int t = 0; t < 7; t++) {
            optimizer.step(gradients(net, set));
            set.stepped(t + 1);
          }
          assertArrayEquals(expected, net.call(x()).toFloatArray(), 2e-5f);
          set.merge();
          assertArrayEquals(expected, net.call(x()).toFloatArray(), 2e-5f);
          set.unmerge();
          PeftFolder.save(set, folder.resolve("peft" + start));
          AdapterWriter.saveKohya(
              set,
              AdapterFile.Component.UNET,
              UnaryOperator.identity(),
              DType.F32,
              folder.resolve("kohya.safetensors"));
        }
        assertArrayEquals(plain, net.call(x()).toFloatArray());
        try (AdapterSet set = PeftFolder.open(net, folder.resolve("peft" + start))) {
          assertEquals(
              start == 0 ? 2 : 4,
              assertLora(set.kinds().get("conv")).rank(),
              "the rank of the total change");
          assertArrayEquals(expected, net.call(x()).toFloatArray(), 2e-5f);
        }
        try (AdapterSet set =
            AdapterFile.open(net, folder.resolve("kohya.safetensors")).adapter()) {
          assertTrue(set.isOn());
          assertArrayEquals(expected, net.call(x()).toFloatArray(), 2e-5f);
        }
      }
    }
  }

  private static Lora assertLora(AdapterKind kind) {
    assertTrue(kind instanceof Lora, String.valueOf(kind));
    return (Lora) kind;
  }

  private static Map<WeightLayer, Tensor> products(AdapterSet set) {
    Map<WeightLayer, Tensor> products = new LinkedHashMap<>();
    set.parts()
        .values()
        .forEach(
            part -> {
              Map<String, Tensor> dict = part.stateDict();
              Tensor a = factor(dict, part.path() + ".lora_A.weight");
              Tensor b = factor(dict, part.path() + ".lora_B.weight");
              Tensor w = part.layer().weight().value();
              products.put(
                  part.layer(),
                  b.reshape(b.dim(0), -1).matmul(a.reshape(2, -1)).reshape(w.shape().dims()));
            });
    return products;
  }

  private static Tensor factor(Map<String, Tensor> dict, String name) {
    Tensor value = dict.get(name);
    assertNotNull(value, name);
    return value;
  }

  @Test
  void deltaLoraTakesBareFactorsOnly() {
    assertThrows(
        IllegalArgumentException.class, () -> new DeltaLora(Lora.rank(2).dropout(0.1), 1, 0));
    assertThrows(
        IllegalArgumentException.class, () -> new DeltaLora(Lora.rank(2).bias(true), 1, 0));
    assertThrows(IllegalArgumentException.class, () -> new DeltaLora(Lora.rank(2), 1, -1));
  }

  // ---- DyLoRA

  /** In training one block has a gradient, and the output is that of the blocks up to it. */
  @Test
  void oneBlockTrainsAndThoseBehindItAreNotUsed() {
    try (Net net = new Net();
        Scope all = Scope.open();
        AdapterSet set =
            AdapterSet.attach(net, Targets.all(), DyLora.rank(6, 2).alpha(3), Rng.seed(5))) {
      AdapterKindsTest.disturb(set);
      Set<String> drawn = new TreeSet<>();
      for (int step = 0; step < 60; step++) {
        try (Scope scope = Scope.open()) {
          Rng rng = Rng.seed(7).step(step);
          Tensor y = Dropout.active(rng, () -> net.call(x()));
          Gradients gradients = Dropout.active(rng, () -> gradients(net, set));
          Map<String, Integer> blocks = new LinkedHashMap<>();
          for (Parameter p : gradients.asMap().keySet()) {
            if (Num.sum(Num.abs(gradients.get(p))).item() > 0) {
              String[] name = p.name().split("\\.");
              Integer before = blocks.put(name[0], Integer.valueOf(name[2]));
              assertTrue(before == null || before.equals(Integer.valueOf(name[2])), p.name());
            }
          }
          assertEquals(Set.of("first", "conv"), blocks.keySet());
          drawn.add(blocks.toString());
          int first = 2 * blocks.getOrDefault("first", 0) + 2;
          int conv = 2 * blocks.getOrDefault("conv", 0) + 2;
          set.setOn(false);
          try (AdapterSet one = DyLora.cut(net, set, first);
              AdapterSet other = DyLora.cut(net, set, conv)) {
            one.setStrengths(path -> path.equals("first") ? 1 : 0);
            other.setStrengths(path -> path.equals("conv") ? 1 : 0);
            assertEquals(
                3.0 / 6 * Math.sqrt(6.0 / conv),
                assertLora(other.kinds().get("conv")).scale(),
                1e-12);
            assertArrayEquals(net.call(x()).toFloatArray(), y.toFloatArray(), 1e-5f);
          }
          set.setOn(true);
        }
      }
      assertEquals(9, drawn.size(), "every pair of blocks came up: " + drawn);
    }
  }

  @Test
  void filesHoldPlainLora() {
    try (Net net = new Net();
        Scope scope = Scope.open()) {
      float[] whole;
      float[] low;
      try (AdapterSet set =
          AdapterSet.attach(net, Targets.all(), DyLora.rank(6, 2).alpha(3), Rng.seed(5))) {
        AdapterKindsTest.disturb(set);
        whole = net.call(x()).toFloatArray();
        PeftFolder.save(set, folder.resolve("whole"));
        set.setOn(false);
        try (AdapterSet cut = DyLora.cut(net, set, 4)) {
          low = net.call(x()).toFloatArray();
          PeftFolder.save(cut, folder.resolve("low"));
        }
        for (int rank : new int[] {0, 3, 8}) {
          assertThrows(IllegalArgumentException.class, () -> DyLora.cut(net, set, rank));
        }
      }
      try (AdapterSet set = PeftFolder.open(net, folder.resolve("whole"))) {
        assertEquals(Lora.rank(6).alpha(3), set.kinds().get("first"));
        assertArrayEquals(whole, net.call(x()).toFloatArray(), 1e-6f);
      }
      try (AdapterSet set = PeftFolder.open(net, folder.resolve("low"))) {
        assertEquals(4, assertLora(set.kinds().get("first")).rank());
        assertArrayEquals(low, net.call(x()).toFloatArray(), 1e-6f);
      }
    }
    assertThrows(IllegalArgumentException.class, () -> DyLora.rank(6, 4));
  }
}
