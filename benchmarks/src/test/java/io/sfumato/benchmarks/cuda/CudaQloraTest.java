// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.AdamW8Bit;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.PagedAdamW;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.quant.Quantization;
import io.sfumato.models.quant.QuantizationConfig;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;

/** A quantised U-Net on a CUDA device: as on the CPU, and trained with paged moments as without. */
final class CudaQloraTest {
  private static final Device CUDA = new Device("cuda", 0);
  private static final int STEPS = 3;
  private static final double[] TIME = {7};

  private static UNet2D unet(Device device, QuantizationConfig config) {
    UNet2DConfig small =
        UNet2DConfig.builder()
            .imageChannels(1)
            .levels(List.of(8, 16), List.of(false, true))
            .layersPerBlock(1)
            .normNumGroups(4)
            .build();
    UNet2D unet = new UNet2D(Weights.init(Rng.seed(0)).on(device), small);
    Predicate<String> convolutions =
        path -> path.contains("resnets") && unet.modules().get(path) instanceof Conv2d;
    Quantization.quantize(unet, Quantization.linearLayers(unet).or(convolutions), config);
    return unet;
  }

  @Test
  void outputsAreThoseOfTheCpu() {
    for (QuantizationConfig config :
        List.of(
            QuantizationConfig.nf4().doubleQuantization(true),
            QuantizationConfig.fp4(),
            QuantizationConfig.int8())) {
      try (Scope scope = Scope.open();
          UNet2D here = unet(Device.CPU, config);
          UNet2D there = unet(CUDA, config)) {
        here.stateDict()
            .forEach(
                (name, value) ->
                    assertArrayEquals(
                        value.toDoubleArray(), there.stateDict().get(name).toDoubleArray(), name));
        Tensor x = Rng.seed(1).normal(2, 1, 8, 8);
        float[] expected = here.call(x, TIME).toFloatArray();
        Tensor y = there.call(x.to(CUDA), TIME);
        assertEquals(CUDA, y.device());
        assertArrayEquals(expected, y.toFloatArray(), 2e-3f, "convolutions round to tf32");
      }
    }
  }

  @Test
  void pagedMomentsGiveTheBitsOfAdamW() {
    List<float[]> plain = trained(p -> new AdamW(p, AdamW.options().learningRate(1e-2)));
    for (long bytes : new long[] {1, 4096, PagedAdamW.GROUP_BYTES}) {
      List<float[]> paged =
          trained(
              p ->
                  new PagedAdamW(
                      List.of(ParameterGroup.of(p)), AdamW.options().learningRate(1e-2), bytes));
      assertEquals(plain.size(), paged.size());
      for (int i = 0; i < plain.size(); i++) {
        assertArrayEquals(plain.get(i), paged.get(i), "parameter " + i + ", " + bytes + " bytes");
      }
    }
  }

  private static List<float[]> trained(Function<List<Parameter>, Optimizer> optimizer) {
    try (Scope scope = Scope.open();
        UNet2D unet = unet(CUDA, QuantizationConfig.nf4());
        AdapterSet set =
            AdapterSet.attach(unet, Targets.glob("**.to_q", "**.to_v"), Lora.rank(4), Rng.seed(2));
        Optimizer adam = optimizer.apply(set.parameters())) {
      Tensor x = Rng.seed(3).normal(2, 1, 8, 8).to(CUDA);
      Tensor target = Rng.seed(4).normal(2, 1, 8, 8).to(CUDA);
      double first = 0;
      double last = 0;
      for (int step = 0; step < STEPS; step++) {
        try (Scope inner = Scope.open()) {
          Autograd.Result result =
              Autograd.valueAndGrad(set.parameters(), () -> NN.mse(unet.call(x, TIME), target));
          adam.step(result.gradients());
          last = result.value().item();
          first = step == 0 ? last : first;
        }
      }
      assertTrue(last < first, first + " to " + last);
      boolean paged = adam instanceof PagedAdamW;
      adam.state()
          .forEach(
              (name, state) -> {
                if (name.contains("exp_avg")) {
                  assertEquals(paged ? Device.CPU : CUDA, state.device(), name);
                  assertEquals(DType.F32, state.dtype());
                }
              });
      List<float[]> values = new ArrayList<>();
      set.parameters().forEach(p -> values.add(p.value().toFloatArray()));
      return values;
    }
  }

  @Test
  void momentsInBytesAreThoseOfTheCpu() {
    float[] here = coded(Device.CPU);
    float[] there = coded(CUDA);
    int others = 0;
    for (int i = 0; i < here.length; i++) {
      others += Math.abs(here[i] - there[i]) <= 1e-6 ? 0 : 1; // codes beside each other
      assertEquals(here[i], there[i], 2e-3);
    }
    assertTrue(others < here.length / 200, others + " of " + here.length);
  }

  private static float[] coded(Device device) {
    try (Scope scope = Scope.open();
        Parameter p = new Parameter("p", Rng.seed(5).normal(70, 70).to(device));
        Optimizer adam = new AdamW8Bit(List.of(p), AdamW.options().learningRate(1e-2))) {
      for (int step = 0; step < STEPS; step++) {
        Tensor g = Rng.seed(step).normal(70, 70).to(device);
        adam.step(Gradients.of(Map.of(p, g)));
      }
      return p.value().toFloatArray();
    }
  }
}
