// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.cuda.Cuda;
import io.sfumato.models.train.GraphedStep;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * A whole U-Net on a CUDA device against the files of the reference, in f32 and bf16, and its
 * training recorded as a graph against the CPU. That a step can be recorded shows that it neither
 * waits for the device nor needs the CPU for an op.
 */
final class CudaUNet2DTest {
  private static final Device CUDA = new Device("cuda", 0);
  private static final Path GOLDEN =
      Path.of("..", "models", "src", "test", "resources", "golden", "models", "unet2d");
  private static final int STEPS = 5;

  private static UNet2D unet(DType dtype, Device device) {
    UNet2DConfig config = UNet2DConfig.read(GOLDEN.resolve("config.json"));
    try (Weights weights = Weights.open(GOLDEN)) {
      return new UNet2D(weights.as(dtype).on(device), config);
    }
  }

  @Test
  void outputAndGradientsAreTheReferences() {
    try {
      Cuda.allowTf32InConvolutions(false);
      compare(DType.F32, 1e-5, 2e-4);
      Cuda.allowTf32InConvolutions(true);
      compare(DType.F32, 2e-3, 1e-2);
    } finally {
      Cuda.allowTf32InConvolutions(true);
    }
    compare(DType.BF16, 3e-2, 0.1);
  }

  private static void compare(DType dtype, double output, double gradients) {
    try (Scope scope = Scope.open();
        UNet2D unet = unet(dtype, CUDA);
        SafeTensors io = SafeTensors.open(GOLDEN.resolve("io.safetensors"))) {
      Tensor x = io.read("in.x").to(dtype).to(CUDA);
      double[] t = io.read("in.t").toDoubleArray();
      Tensor cotangent = io.read("g.sample").to(dtype).to(CUDA);
      Tensor sample = unet.call(x, t);
      assertEquals(CUDA, sample.device());
      assertEquals(0, error(io.read("out.sample"), sample), output, "sample in " + dtype);
      Autograd.Result result =
          Autograd.valueAndGrad(unet.parameters(), () -> Num.sum(unet.call(x, t).mul(cotangent)));
      for (Parameter p : unet.parameters()) {
        String key = "grad." + p.name();
        // The keys' biases have no influence: their gradients are rounding.
        if (io.entries().containsKey(key) && !p.name().endsWith("to_k.bias")) {
          Tensor gradient = result.gradients().get(p);
          assertNotNull(gradient, key);
          assertEquals(0, error(io.read(key), gradient), gradients, key + " in " + dtype);
        }
      }
    }
  }

  /** ‖actual - expected‖ / ‖expected‖. */
  private static double error(Tensor expected, Tensor actual) {
    double[] e = expected.toDoubleArray();
    double[] a = actual.toDoubleArray();
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < e.length; i++) {
      difference += (a[i] - e[i]) * (a[i] - e[i]);
      norm += e[i] * e[i];
    }
    return Math.sqrt(difference / norm);
  }

  @Test
  void aRecordedTrainingStepTrainsAsTheCpuDoes() {
    List<Double> expected = losses(Device.CPU, DType.F32);
    assertTrue(expected.getLast() < 0.9 * expected.getFirst(), expected.toString());
    List<Double> found = losses(CUDA, DType.F32);
    List<Double> half = losses(CUDA, DType.BF16);
    for (int i = 0; i < STEPS; i++) {
      assertEquals(expected.get(i), found.get(i), 2e-3 * expected.get(i), "step " + i);
      assertEquals(expected.get(i), half.get(i), 0.05 * expected.get(i), "step " + i + ", bf16");
    }
  }

  private static List<Double> losses(Device device, DType dtype) {
    List<Double> losses = new ArrayList<>();
    try (Scope scope = Scope.open();
        UNet2D unet = unet(dtype, device);
        SafeTensors io = SafeTensors.open(GOLDEN.resolve("io.safetensors"));
        AdamW optimizer = new AdamW(unet.parameters(), AdamW.options().learningRate(2e-3))) {
      Tensor x = io.read("in.x").to(dtype).to(device);
      Tensor target = io.read("g.sample").to(dtype).to(device);
      Tensor other = io.read("g.sample").mul(0.5).to(dtype).to(device);
      double[] t = io.read("in.t").toDoubleArray();
      try (GraphedStep step =
          GraphedStep.training(
              device, optimizer, unet.parameters(), () -> NN.mse(unet.call(x, t), target))) {
        for (int i = 0; i < STEPS; i++) {
          if (i == 3) {
            Updates.copy(target, other); // the graph reads what is there now
          }
          optimizer.setLearningRate(2e-3 / (1 + i));
          losses.add(step.run()[0].item());
        }
      }
    }
    return losses;
  }
}
