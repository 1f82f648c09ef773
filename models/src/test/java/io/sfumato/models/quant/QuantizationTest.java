// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterKindsTest;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.DiagOft;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Quantised layers: what they take, compute and keep, under every kind of adapter. */
class QuantizationTest {
  private static final List<String> NAMES = List.of("linear", "wide", "conv", "point");
  private static final List<QuantizationConfig> CONFIGS =
      List.of(
          QuantizationConfig.nf4(),
          QuantizationConfig.fp4().block(32).doubleQuantization(true),
          QuantizationConfig.int8());

  private static final class Layers extends Module {
    Layers(Weights weights) {
      super(weights);
      child("linear", w -> new Linear(w, 12, 8));
      child("wide", w -> new Linear(w, 60, 66, false));
      child("conv", w -> new Conv2d(w, 4, 8, 3, ConvOptions.of().stride(2).padding(1)));
      child("point", w -> new Conv2d(w, 4, 6, 1));
      child("table", w -> new Embedding(w, 9, 5));
    }

    WeightLayer layer(String name) {
      return (WeightLayer) Objects.requireNonNull(children().get(name));
    }
  }

  private static Layers layers(QuantizationConfig config) {
    Layers layers = new Layers(Weights.init(Rng.seed(1)));
    Quantization.quantize(layers, NAMES::contains, config);
    return layers;
  }

  private static Tensor input(String layer) {
    Rng rng = Rng.seed(5);
    return switch (layer) {
      case "linear" -> rng.normal(2, 3, 12);
      case "wide" -> rng.normal(7, 60);
      default -> rng.normal(2, 4, 7, 5);
    };
  }

  private static void close(Tensor expected, Tensor actual, String what) {
    double largest = Math.max(1e-6, Num.max(Num.abs(expected)).item());
    assertEquals(0, Num.max(Num.abs(expected.sub(actual))).item() / largest, 5e-6, what);
  }

  // ---- adapters

  @TestFactory
  Stream<DynamicTest> everyAdapterActsAsOnTheDecodedWeight() {
    return AdapterKindsTest.kinds().entrySet().stream()
        .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> everyLayer(e.getValue())));
  }

  private static void everyLayer(AdapterKind kind) {
    for (QuantizationConfig config : CONFIGS) {
      for (String name : NAMES) {
        try (Layers coded = layers(config);
            Layers decoded = layers(config)) {
          Quantization.dequantize(decoded);
          assertTrue(Quantization.weights(decoded).isEmpty());
          if (kind.refuses(coded.layer(name)) == null) {
            same(coded, decoded, name, kind);
          } else {
            assertNotNull(kind.refuses(decoded.layer(name)), "refuses only coded weights");
          }
        }
      }
    }
  }

  private static void same(Layers coded, Layers decoded, String name, AdapterKind kind) {
    try (Scope scope = Scope.open();
        AdapterSet one = AdapterSet.attach(coded, name::equals, kind, Rng.seed(2));
        AdapterSet two = AdapterSet.attach(decoded, name::equals, kind, Rng.seed(2))) {
      disturb(one);
      disturb(two);
      Tensor x = input(name);
      for (double strength : new double[] {1, 0.5}) {
        one.setStrength(strength);
        two.setStrength(strength);
        close(decoded.layer(name).call(x), coded.layer(name).call(x), name + " output");
        Gradients a = gradients(one, coded.layer(name), x);
        Gradients b = gradients(two, decoded.layer(name), x);
        for (int i = 0; i < one.parameters().size(); i++) {
          Parameter p = one.parameters().get(i);
          Tensor expected = Objects.requireNonNull(b.get(two.parameters().get(i)), p.name());
          close(expected, Objects.requireNonNull(a.get(p), p.name()), p.name());
        }
        close(inputGradient(decoded.layer(name), x), inputGradient(coded.layer(name), x), "input");
      }
    }
  }

  private static Tensor inputGradient(WeightLayer layer, Tensor x) {
    return Autograd.grad(in -> Num.sum(Num.square(layer.call(in))), x);
  }

  private static Gradients gradients(AdapterSet set, WeightLayer layer, Tensor x) {
    return Autograd.valueAndGrad(set.parameters(), () -> Num.sum(Num.square(layer.call(x))))
        .gradients();
  }

  private static void disturb(AdapterSet set) {
    for (Parameter p : set.parameters()) {
      Tensor noise = Rng.seed(9).fork(p.name()).normal(p.value().spec()).mul(0.3);
      Updates.copy(p.value(), p.value().add(noise));
    }
  }

  // ---- the model

  @Test
  void codesAreBuffersAndTheWeightHasNoValues() {
    try (Layers layers = layers(QuantizationConfig.nf4());
        Scope scope = Scope.open()) {
      assertEquals(
          List.of("linear.bias", "conv.bias", "point.bias", "table.weight"),
          layers.parameters().stream().map(Parameter::name).toList());
      assertTrue(layers.stateDict().containsKey("linear.weight.quant_state.bitsandbytes__nf4"));
      assertEquals(DType.U8, layers.stateDict().get("wide.weight").dtype());
      Tensor weight = layers.layer("wide").weight().value();
      assertEquals(List.of(66, 60), List.of(weight.dim(0), weight.dim(1)));
      TensorException e = assertThrows(TensorException.class, () -> weight.mul(2));
      assertTrue(
          String.valueOf(e.getMessage()).contains("wide.weight is quantized (nf4)"),
          e.getMessage());
    }
  }

  @Test
  void whatCannotBeCodedIsListedAndNothingChanges() {
    try (Layers layers = new Layers(Weights.init(Rng.seed(1)));
        Scope scope = Scope.open()) {
      Predicate<String> all = path -> !path.isEmpty();
      String message =
          String.valueOf(
              assertThrows(
                      IllegalArgumentException.class,
                      () -> Quantization.quantize(layers, all, QuantizationConfig.nf4()))
                  .getMessage());
      assertTrue(message.contains("table: only Linear and Conv2d"), message);
      assertTrue(Quantization.weights(layers).isEmpty());
      Updates.copy(layers.layer("wide").weight().value(), Tensor.full(Double.NaN, 66, 60));
      message =
          String.valueOf(
              assertThrows(
                      IllegalArgumentException.class,
                      () ->
                          Quantization.quantize(layers, NAMES::contains, QuantizationConfig.int8()))
                  .getMessage());
      assertTrue(message.contains("wide: a weight that is not finite"), message);
      assertTrue(Quantization.weights(layers).isEmpty());
      assertThrows(
          IllegalArgumentException.class,
          () -> Quantization.quantize(layers, "none"::equals, QuantizationConfig.nf4()));
      Quantization.quantize(layers, "linear"::equals, QuantizationConfig.nf4());
      assertThrows(
          IllegalArgumentException.class,
          () -> Quantization.quantize(layers, "linear"::equals, QuantizationConfig.nf4()));
    }
  }

  private static final class Stack extends Module {
    static final int WIDTH = 256;
    static final int DEPTH = 8;
    private final List<Linear> layers;

    Stack(Weights weights) {
      super(weights);
      layers = children("layers", DEPTH, (w, i) -> new Linear(w, WIDTH, WIDTH, false));
    }

    Tensor call(Tensor x) {
      return call(
          () -> {
            Tensor h = x;
            for (Linear layer : layers) {
              h = NN.silu(layer.call(h));
            }
            return h;
          });
    }
  }

  @Test
  void memoryShrinksAndBackwardKeepsNoValues() {
    CpuBackend cpu = CpuBackend.instance();
    long weights = 4L * Stack.DEPTH * Stack.WIDTH * Stack.WIDTH;
    long before = cpu.memory().live();
    try (Stack stack = new Stack(Weights.init(Rng.seed(1)))) {
      assertEquals(weights, cpu.memory().live() - before);
      Quantization.quantize(
          stack,
          Quantization.linearLayers(stack),
          QuantizationConfig.nf4().doubleQuantization(true));
      long codes = cpu.memory().live() - before;
      long held = Quantization.weights(stack).values().stream().mapToLong(c -> c.bytes()).sum();
      assertEquals(held, codes, 64 * 6 * Stack.DEPTH, "buffers begin at multiples of 64");
      assertTrue(codes < weights / 7, codes + " of " + weights); // 4.13 bits and tables
      long lora = step(stack, Lora.rank(2));
      long oft = step(stack, new DiagOft(16, 16, 0, false));
      Quantization.dequantize(stack);
      assertTrue(lora < weights / 8, "LoRA used " + lora + " of " + weights);
      // What turns the weight keeps its values in each layer, unless they are decoded again.
      long decoded = step(stack, new DiagOft(16, 16, 0, false));
      assertTrue(oft < decoded - weights / 2, "diag-OFT used " + oft + ", decoded " + decoded);
    }
    assertEquals(before, cpu.memory().live());
  }

  /** The bytes that a step takes beyond those of weights and codes. */
  private static long step(Stack stack, AdapterKind kind) {
    CpuBackend cpu = CpuBackend.instance();
    try (AdapterSet set = AdapterSet.attach(stack, path -> !path.isEmpty(), kind, Rng.seed(2));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(3).normal(4, Stack.WIDTH);
      for (int i = 0; i < 3; i++) { // packs weights, once
        Scope.run(() -> gradients(set, () -> stack.call(x)));
      }
      long start = cpu.memory().live();
      cpu.resetPeak();
      Scope.run(() -> gradients(set, () -> stack.call(x)));
      return cpu.memory().peak() - start;
    }
  }

  private static void gradients(AdapterSet set, Supplier<Tensor> output) {
    Autograd.valueAndGrad(set.parameters(), () -> Num.sum(output.get()));
  }

  @Test
  void productsRunInTheComputeType() {
    QuantizationConfig config = QuantizationConfig.nf4().computeType(DType.BF16);
    try (Layers layers = layers(config);
        Scope scope = Scope.open()) {
      WeightLayer layer = layers.layer("wide");
      Tensor x = input("wide");
      Tensor y = layer.call(x);
      assertEquals(DType.F32, y.dtype());
      assertArrayEquals(layer.call(x.to(DType.BF16)).toFloatArray(), y.toFloatArray());
      assertArrayEquals(y.to(DType.BF16).toFloatArray(), y.toFloatArray());
    }
  }

  // ---- merging

  @Test
  void mergingRefusesCodesOrDecodesThem() {
    for (QuantizationConfig config : CONFIGS) {
      try (Layers layers = layers(config);
          Scope scope = Scope.open();
          AdapterSet set = AdapterSet.attach(layers, NAMES::contains, Lora.rank(2), Rng.seed(2))) {
        disturb(set);
        Map<String, Tensor> before = layers.stateDict();
        Map<String, double[]> values = new java.util.LinkedHashMap<>();
        before.forEach((name, t) -> values.put(name, t.toDoubleArray()));
        Tensor x = input("wide");
        Tensor adapted = layers.layer("wide").call(x);
        IllegalStateException e = assertThrows(IllegalStateException.class, set::merge);
        assertTrue(String.valueOf(e.getMessage()).contains("mergeDequantized"), e.getMessage());
        assertFalse(set.isMerged());
        set.mergeDequantized();
        assertTrue(set.isMerged());
        assertTrue(layers.layer("wide").quantized().isEmpty());
        close(adapted, layers.layer("wide").call(x), "merged");
        set.unmerge();
        assertArrayEquals(adapted.toFloatArray(), layers.layer("wide").call(x).toFloatArray());
        assertEquals(before.keySet(), layers.stateDict().keySet());
        layers
            .stateDict()
            .forEach((name, t) -> assertArrayEquals(values.get(name), t.toDoubleArray(), name));
      }
    }
  }

  @Test
  void whatWasMergedStaysWhenTheAdapterGoes() {
    try (Layers layers = layers(QuantizationConfig.nf4());
        Scope scope = Scope.open()) {
      Tensor x = input("conv");
      Tensor adapted;
      try (AdapterSet set = AdapterSet.attach(layers, "conv"::equals, Lora.rank(2), Rng.seed(2))) {
        disturb(set);
        adapted = layers.layer("conv").call(x);
        set.mergeDequantized();
      }
      close(adapted, layers.layer("conv").call(x), "merged");
      Quantization.quantize(layers, "conv"::equals, QuantizationConfig.int8());
      assertTrue(layers.layer("conv").quantized().isPresent());
    }
  }

  // ---- training

  @Test
  void qloraLearnsAndItsBaseStays() {
    Rng rng = Rng.seed(4);
    try (Layers layers = layers(QuantizationConfig.nf4().doubleQuantization(true));
        Scope scope = Scope.open();
        AdapterSet set = AdapterSet.attach(layers, "wide"::equals, Lora.rank(8), Rng.seed(2));
        AdamW optimizer =
            new AdamW(set.parameters(), AdamW.options().learningRate(1e-2).weightDecay(0))) {
      Map<String, double[]> before = new java.util.LinkedHashMap<>();
      layers.stateDict().forEach((name, t) -> before.put(name, t.toDoubleArray()));
      Tensor x = rng.fork("x").normal(64, 60);
      Tensor change = rng.fork("u").normal(66, 4).matmul(rng.fork("v").normal(4, 60)).mul(0.05);
      Tensor target = layers.layer("wide").call(x).add(NN.linear(x, change, null));
      double first = 0;
      double last = 0;
      for (int step = 0; step < 150; step++) {
        try (Scope inner = Scope.open()) {
          var result =
              Autograd.valueAndGrad(
                  set.parameters(), () -> NN.mse(layers.layer("wide").call(x), target));
          optimizer.step(result.gradients());
          last = result.value().item();
          first = step == 0 ? last : first;
        }
      }
      assertTrue(last < first / 50, "loss " + first + " to " + last);
      layers
          .stateDict()
          .forEach((name, t) -> assertArrayEquals(before.get(name), t.toDoubleArray(), name));
    }
  }
}
