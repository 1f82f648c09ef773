// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Recording;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.io.PrintStream;
import java.util.Arrays;

/** A program that computes on two devices, for {@link SeveralDevicesTest}; prints what it saw. */
final class TwoDevices {
  private static final PrintStream OUT = System.out;
  private static final Device FIRST = new Device("cuda", 0);
  private static final Device SECOND = new Device("cuda", 1);

  private TwoDevices() {}

  public static void main(String[] args) throws InterruptedException {
    try (Scope scope = Scope.open()) {
      scope.own(Backends.of(FIRST).allocate(1000));
      copies();
      reuse();
      mixed();
      recorded();
      faults();
      pools();
      threads();
    }
    OUT.println("by way of the host: " + EmulatorControl.get("staged"));
    Backends.of(SECOND).allocate(12_345); // never freed
    OUT.println("end " + Cuda.unfreed());
  }

  /** Neither device has run anything of this when the next one asks for it. */
  private static void copies() {
    Tensor x = Rng.seed(1).normal(33, 65);
    Tensor expected = x.mul(2).add(1);
    Tensor there = x.to(FIRST).mul(2).to(SECOND).add(1);
    Tensor back = there.to(FIRST);
    Tensor view = there.transpose(0, 1).to(FIRST).transpose(0, 1);
    Tensor none = Tensor.zeros(there.spec().with(Shape.of(0, 3))).to(FIRST);
    OUT.println("copy to " + there.device() + ": " + same(expected, there));
    OUT.println("copy back to " + back.device() + ": " + same(expected, back));
    OUT.println("copy of a view: " + same(expected, view) + ", of nothing: " + none.spec());
  }

  /** Memory that was copied from is written again at once. */
  private static void reuse() {
    Tensor x = Rng.seed(2).normal(1000);
    Tensor copy = Scope.run(() -> x.to(FIRST).mul(3).to(SECOND));
    Tensor over = Shaping.full(x.to(FIRST).spec(), 7);
    Backends.of(FIRST).synchronize();
    OUT.println("written over: " + same(x.mul(3), copy) + " " + over.to(Device.CPU).max().item());
  }

  private static void mixed() {
    try {
      Num.add(Tensor.ones(2).to(FIRST), Tensor.ones(2).to(SECOND));
    } catch (DeviceException e) {
      OUT.println("mixed: " + e.getMessage());
    }
  }

  private static void recorded() {
    Tensor x = Tensor.ones(2).to(FIRST);
    try (Recording r = Backends.of(FIRST).record(() -> new Tensor[] {x.to(SECOND)})) {
      OUT.println("recorded " + r);
    } catch (IllegalStateException e) {
      OUT.println("recording: " + e.getMessage());
    }
    try (Recording r = Backends.of(SECOND).record(() -> new Tensor[] {x.mul(2).to(SECOND)})) {
      OUT.println("recorded " + r);
    } catch (IllegalStateException e) {
      OUT.println("recording: " + e.getMessage());
    }
    OUT.println("after: " + x.add(1).to(SECOND).sum().to(Device.CPU).item());
  }

  private static void faults() {
    Tensor x = Tensor.ones(4).to(FIRST);
    long events = EmulatorControl.get("events");
    EmulatorControl.set("fail_peer", 1);
    try {
      OUT.println("copied " + x.to(SECOND));
    } catch (DeviceException e) {
      OUT.println("fault: " + e.getMessage());
    }
    OUT.println("events left: " + (EmulatorControl.get("events") - events));
    OUT.println("once more: " + x.to(SECOND).sum().to(Device.CPU).item());
  }

  private static void pools() {
    long first = Backends.of(FIRST).memory().live();
    long second = Backends.of(SECOND).memory().live();
    try (Scope scope = Scope.open()) {
      scope.own(Backends.of(SECOND).allocate(1 << 20));
      OUT.println(
          "pools: "
              + (Backends.of(FIRST).memory().live() - first)
              + " and "
              + (Backends.of(SECOND).memory().live() - second));
    }
  }

  /** A thread for each device. */
  private static void threads() throws InterruptedException {
    float[][] results = new float[2][];
    Thread[] threads = new Thread[2];
    for (int i = 0; i < 2; i++) {
      Device device = i == 0 ? FIRST : SECOND;
      int at = i;
      threads[i] =
          new Thread(
              () -> {
                try (Scope scope = Scope.open()) {
                  Tensor w = Rng.seed(3).normal(16, 16).to(device);
                  Tensor x = Rng.seed(4).normal(4, 16).to(device);
                  for (int step = 0; step < 20; step++) {
                    x = Num.tanh(x.matmul(w));
                  }
                  results[at] = x.toFloatArray();
                }
              });
      threads[i].start();
    }
    for (Thread t : threads) {
      t.join();
    }
    OUT.println("threads: " + (results[0] != null && Arrays.equals(results[0], results[1])));
  }

  private static boolean same(Tensor expected, Tensor got) {
    return Arrays.equals(expected.toFloatArray(), got.toFloatArray());
  }
}
