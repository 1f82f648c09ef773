// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.ops.NN;
import java.io.PrintStream;

/**
 * A program that computes on a device in a process of its own, so that {@link DriverFaultsTest} can
 * let the driver fail. Prints what happened, then computes on the CPU.
 */
final class DriverFaults {
  private static final PrintStream OUT = System.out;

  private DriverFaults() {}

  public static void main(String[] args) {
    OUT.println("best " + Backends.best());
    for (String device : args[0].split(",", -1)) {
      attempt(device, Integer.parseInt(args[1]));
    }
    OUT.println("contexts " + EmulatorControl.get("retained"));
    try (Scope scope = Scope.open()) {
      OUT.println("cpu " + Tensor.of(new float[] {1, 2}, 2).sum().item());
    }
  }

  private static void attempt(String name, int size) {
    try (Scope scope = Scope.open()) {
      Device device = Device.parse(name);
      Tensor x = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2).to(device);
      Tensor big = Tensor.empty(new TensorSpec(Shape.of(size), DType.F32, device));
      OUT.println(name + " sum " + x.transpose(0, 1).contiguous().to(Device.CPU).sum().item());
      Tensor table = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2).to(device);
      Tensor index = Tensor.of(new long[] {0, 7}, 2).to(device);
      OUT.println(name + " picked " + NN.embedding(index, table).to(Device.CPU).numel());
      OUT.println(big.numel());
    } catch (TensorException e) {
      OUT.println(name + " failed: " + String.valueOf(e.getMessage()).replace('\n', '|'));
    }
  }
}
