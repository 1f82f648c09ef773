// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lokr;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * The cases of the speed suite by name, in the order of {@code torch_suite.py}. All tensors are of
 * one type and on one device.
 */
final class SuiteCases {
  private final Device device;
  private final DType dtype;

  private SuiteCases(Device device, DType dtype) {
    this.device = device;
    this.dtype = dtype;
  }

  /** All cases, to be set up when they are asked for. */
  static Map<String, Supplier<SuiteCase>> all(Device device, DType dtype) {
    return new SuiteCases(device, dtype).table();
  }

  /** The names of all cases. */
  static List<String> names() {
    return List.copyOf(all(Device.CPU, DType.F32).keySet());
  }

  private Map<String, Supplier<SuiteCase>> table() {
    Map<String, Supplier<SuiteCase>> cases = new LinkedHashMap<>();
    for (int n : new int[] {256, 512, 1024, 2048}) {
      cases.put("gemm_" + n, () -> gemm(n));
    }
    cases.put("linear_1024x384x1536", this::linear);
    cases.put("lora_1024x768x768_r8", () -> lora(false));
    cases.put("lora_1024x768x768_r8_bwd", () -> lora(true));
    convolutions(cases);
    for (int l : new int[] {256, 1024}) {
      cases.put("attention_4x6x" + l + "x64", () -> attention(l, false));
      cases.put("attention_4x6x" + l + "x64_bwd", () -> attention(l, true));
    }
    cases.put("groupnorm_silu_8x128x32x32", () -> groupNorm(false));
    cases.put("groupnorm_silu_8x128x32x32_bwd", () -> groupNorm(true));
    cases.put("layernorm_4096x384", () -> layerNorm(false));
    cases.put("layernorm_4096x384_bwd", () -> layerNorm(true));
    cases.put("softmax_4096x1024", this::softmax);
    cases.put("gelu_tanh_4m", this::gelu);
    cases.put("add_mul_16m", this::addMul);
    cases.put("adamw_10m", this::adamW);
    cases.put("train_unet_b8", this::trainUnet);
    cases.put("train_dit_b32", () -> trainDit(SuiteDit::parameters));
    cases.put("infer_unet_b1", () -> inferUnet(1));
    cases.put("infer_dit_b1", this::inferDit);
    cases.put("infer_unet_b16", () -> inferUnet(16));
    cases.put("train_lora_dit_b32", () -> trainDit(dit -> dit.adapt(Lora.rank(8))));
    cases.put("train_loha_dit_b32", () -> trainDit(dit -> dit.adapt(Loha.rank(8))));
    cases.put("train_lokr_dit_b32", () -> trainDit(dit -> dit.adapt(Lokr.rank(8))));
    return cases;
  }

  private Tensor random(int... shape) {
    long n = 1;
    for (int d : shape) {
      n = 31 * n + d;
    }
    return placed(Rng.seed(n).normal(shape));
  }

  private Tensor placed(Tensor x) {
    return x.to(dtype).to(device);
  }

  private Weights weights() {
    return Weights.init(Rng.seed(0), dtype, device);
  }

  /** Forward alone, or with the gradients of all inputs for a random cotangent. */
  private SuiteCase differentiated(
      boolean backward, Function<Tensor[], Tensor> f, Tensor... inputs) {
    if (!backward) {
      return SuiteCase.of(
          () -> {
            Tensor unused = f.apply(inputs);
          });
    }
    Tensor first = f.apply(inputs);
    Tensor cotangent = random(first.shape().dims());
    return SuiteCase.of(() -> Autograd.vjp(f, inputs, cotangent));
  }

  private SuiteCase gemm(int n) {
    Tensor a = random(n, n);
    Tensor b = random(n, n).add(1);
    return SuiteCase.of(() -> Num.matmul(a, b));
  }

  private SuiteCase linear() {
    Tensor x = random(1024, 384);
    Tensor w = random(1536, 384);
    Tensor b = random(1536);
    return SuiteCase.of(() -> NN.linear(x, w, b));
  }

  private SuiteCase lora(boolean backward) {
    Tensor frozen = random(768, 768);
    return differentiated(
        backward,
        t -> NN.lowRank(t[0], frozen, null, t[1], t[2], 2),
        random(1024, 768),
        random(8, 768),
        random(768, 8));
  }

  private void convolutions(Map<String, Supplier<SuiteCase>> cases) {
    record Conv(String name, int batch, int channels, int side, int kernel) {}
    for (Conv c :
        List.of(
            new Conv("conv3_8x64x32", 8, 64, 32, 3),
            new Conv("conv3_4x128x16", 4, 128, 16, 3),
            new Conv("conv1_8x64x32", 8, 64, 32, 1))) {
      for (boolean backward : new boolean[] {false, true}) {
        cases.put(
            c.name + (backward ? "_bwd" : ""),
            () ->
                differentiated(
                    backward,
                    t -> NN.conv2d(t[0], t[1], t[2], ConvOptions.of().padding(c.kernel / 2)),
                    Shaping.channelsLast(random(c.batch, c.channels, c.side, c.side)),
                    random(c.channels, c.channels, c.kernel, c.kernel),
                    random(c.channels)));
      }
    }
  }

  private SuiteCase attention(int length, boolean backward) {
    return differentiated(
        backward,
        t -> NN.attention(t[0], t[1], t[2], AttentionOptions.of()),
        random(4, 6, length, 64),
        random(4, 6, length, 64).neg(),
        random(4, 6, length, 64).mul(0.5));
  }

  private SuiteCase groupNorm(boolean backward) {
    return differentiated(
        backward,
        t -> NN.groupNormSilu(t[0], 32, t[1], t[2], 1e-5),
        random(8, 128, 32, 32),
        random(128),
        random(128));
  }

  private SuiteCase layerNorm(boolean backward) {
    return differentiated(
        backward,
        t -> NN.layerNorm(t[0], 1, t[1], t[2], 1e-5),
        random(4096, 384),
        random(384),
        random(384));
  }

  private SuiteCase softmax() {
    Tensor x = random(4096, 1024);
    return SuiteCase.of(() -> NN.softmax(x, -1));
  }

  private SuiteCase gelu() {
    Tensor x = random(4 << 20);
    return SuiteCase.of(() -> NN.geluTanh(x));
  }

  private SuiteCase addMul() {
    Tensor a = random(16 << 20);
    Tensor b = a.mul(0.5);
    Tensor c = a.neg();
    return SuiteCase.of(() -> a.add(b.mul(c)));
  }

  private SuiteCase adamW() {
    List<Parameter> parameters = new ArrayList<>();
    Map<Parameter, Tensor> gradients = new LinkedHashMap<>();
    for (int i = 0; i < 10; i++) {
      Parameter p = new Parameter("p" + i, placed(Rng.seed(i).normal(1000, 1000)));
      parameters.add(p);
      gradients.put(p, placed(Rng.seed(100 + i).normal(1000, 1000)));
    }
    AdamW optimizer = new AdamW(parameters, AdamW.options().learningRate(1e-4));
    Gradients g = Gradients.of(gradients);
    List<AutoCloseable> resources = new ArrayList<>(parameters);
    resources.add(optimizer);
    return new SuiteCase(() -> optimizer.step(g), resources);
  }

  private UNet2D unet() {
    UNet2DConfig config =
        UNet2DConfig.builder()
            .levels(List.of(64, 128, 128), List.of(false, true, true))
            .layersPerBlock(1)
            .attentionHeadDim(32)
            .build();
    return new UNet2D(weights(), config);
  }

  private static double[] times(int batch) {
    double[] t = new double[batch];
    Arrays.setAll(t, i -> (i * 37 + 5) % 1000);
    return t;
  }

  private static long[] labels(int batch) {
    long[] y = new long[batch];
    Arrays.setAll(y, i -> i % 10);
    return y;
  }

  private static SuiteCase training(
      List<Parameter> parameters, Supplier<Tensor> forward, Tensor target, AutoCloseable model) {
    AdamW optimizer = new AdamW(parameters, AdamW.options().learningRate(1e-4));
    return new SuiteCase(
        () -> {
          var result = Autograd.valueAndGrad(parameters, () -> NN.mse(forward.get(), target));
          optimizer.step(result.gradients());
        },
        List.of(optimizer, model));
  }

  private SuiteCase trainUnet() {
    UNet2D unet = unet();
    Tensor x = random(8, 3, 32, 32);
    Tensor noise = random(3, 8, 32, 32).reshape(8, 3, 32, 32);
    double[] t = times(8);
    return training(unet.parameters(), () -> unet.call(x, t), noise, unet);
  }

  private SuiteCase inferUnet(int batch) {
    UNet2D unet = unet();
    Tensor x = random(batch, 3, 32, 32);
    double[] t = {500};
    return new SuiteCase(() -> unet.call(x, t), List.of(unet));
  }

  private SuiteCase trainDit(Function<SuiteDit, List<Parameter>> trained) {
    SuiteDit dit = new SuiteDit(weights());
    Tensor x = random(32, 3, 32, 32);
    Tensor noise = random(3, 32, 32, 32).reshape(32, 3, 32, 32);
    Tensor y = Tensor.of(labels(32), 32).to(device);
    double[] t = times(32);
    return training(trained.apply(dit), () -> dit.call(x, t, y), noise, dit);
  }

  private SuiteCase inferDit() {
    SuiteDit dit = new SuiteDit(weights());
    Tensor x = random(1, 3, 32, 32);
    Tensor y = Tensor.of(new long[] {0}, 1).to(device);
    double[] t = {500};
    return new SuiteCase(() -> dit.call(x, t, y), List.of(dit));
  }
}
