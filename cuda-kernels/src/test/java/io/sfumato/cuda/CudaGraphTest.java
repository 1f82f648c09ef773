// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Recording;
import io.sfumato.tensor.exec.Varying;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import org.junit.jupiter.api.Test;

final class CudaGraphTest {
  private static final Device CUDA = new Device("cuda", 0);

  private static CudaBackend backend() {
    return (CudaBackend) Backends.of(CUDA);
  }

  private static Tensor random(long seed, int... shape) {
    return Rng.seed(seed).normal(shape).to(CUDA);
  }

  private static float[] softmaxOnHost(Tensor x) {
    return NN.softmax(x.to(Device.CPU), -1).toFloatArray();
  }

  @Test
  void nothingIsDoneBeforeAReplayAndNewInputsGiveNewResults() {
    Scope.run(
        () -> {
          Tensor x = random(1, 5, 33);
          Tensor y = random(2, 5, 33);
          try (CudaGraph graph =
              backend().record(() -> new Tensor[] {NN.softmax(NN.softmax(x, -1), -1)})) {
            assertEquals(2, graph.nodes());
            float[] expected = NN.softmax(NN.softmax(x, -1), -1).toFloatArray();
            Tensor result = graph.replay()[0];
            assertArrayEquals(expected, result.toFloatArray());
            Updates.copy(x, y);
            expected = NN.softmax(NN.softmax(y, -1), -1).toFloatArray();
            assertArrayEquals(expected, graph.replay()[0].toFloatArray());
          }
        });
  }

  /** The copy of weights in another order that was kept before is not read by a replay. */
  @Test
  void weightsInAnotherOrderAreThoseOfTheMoment() {
    Scope.run(
        () -> {
          Tensor x = random(1, 2, 16, 9, 7);
          Tensor w = random(2, 24, 16, 3, 3);
          ConvOptions options = ConvOptions.of().padding(1);
          for (int i = 0; i < 3; i++) {
            Tensor unused = NN.conv2d(x, w, null, options);
          }
          try (Recording graph =
              backend().record(() -> new Tensor[] {NN.conv2d(x, w, null, options)})) {
            for (int seed = 3; seed < 6; seed++) {
              Updates.copy(w, random(seed, 24, 16, 3, 3));
              float[] expected = NN.conv2d(x, w, null, options).toFloatArray();
              assertArrayEquals(expected, graph.replay()[0].toFloatArray(), 1e-4f);
            }
          }
        });
  }

  @Test
  void oneThatCannotBeMadeGivesItsMemoryBack() {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver refuses to make it");
    Scope.run(
        () -> {
          Tensor x = random(1, 50, 33);
          float[] expected = NN.softmax(NN.softmax(x, -1), -1).toFloatArray();
          long before = backend().memory().reserved();
          EmulatorControl.set("fail_graph", 1);
          String message =
              assertThrows(
                      DeviceException.class,
                      () ->
                          backend()
                              .record(() -> new Tensor[] {NN.softmax(NN.softmax(x, -1), -1)})
                              .close())
                  .getMessage();
          assertTrue(message.contains("cuGraphInstantiate failed with CUDA_ERROR_OUT_OF"), message);
          assertEquals(before, backend().memory().reserved());
          assertArrayEquals(expected, NN.softmax(NN.softmax(x, -1), -1).toFloatArray());
        });
  }

  @Test
  void itsMemoryIsNobodyElsesUntilItIsClosed() {
    long before = backend().memory().live();
    Scope.run(
        () -> {
          Tensor x = random(3, 7, 64);
          CudaGraph graph = backend().record(() -> new Tensor[] {NN.softmax(NN.softmax(x, -1), 0)});
          float[] expected = NN.softmax(NN.softmax(x, -1), 0).toFloatArray();
          Tensor result = graph.replay()[0];
          for (int i = 0; i < 20; i++) { // would overwrite a shared temporary or the result
            Tensor unused = Tensor.full(x.spec(), i);
          }
          assertArrayEquals(expected, result.toFloatArray());
          assertArrayEquals(expected, graph.replay()[0].toFloatArray());
          graph.close();
          assertThrows(IllegalStateException.class, graph::replay);
          assertTrue(!result.storage().isLive());
        });
    assertEquals(before, backend().memory().live());
  }

  @Test
  void partsThatVaryTakeTheHostsNewNumbers() {
    Scope.run(
        () -> {
          int[] step = {0};
          double[] rate = {0.1};
          Tensor[] p = {random(4, 70), random(5, 9, 5)};
          Tensor[] g = {random(6, 70), random(7, 9, 5)};
          Tensor[] m = {zeros(70), zeros(9, 5)};
          Tensor[] v = {zeros(70), zeros(9, 5)};
          Tensor[] host = {
            p[0].to(Device.CPU), p[1].to(Device.CPU), g[0].to(Device.CPU), g[1].to(Device.CPU),
            m[0].to(Device.CPU), m[1].to(Device.CPU), v[0].to(Device.CPU), v[1].to(Device.CPU)
          };
          try (Recording graph =
              backend()
                  .record(
                      () ->
                          Varying.run(
                              List.of(),
                              () -> {
                                adam(p, g, m, v, rate[0], ++step[0]);
                                return new Tensor[0];
                              }))) {
            for (int i = 1; i <= 4; i++) {
              rate[0] = 0.1 / i;
              graph.replay();
              assertEquals(i, step[0]);
              adam(
                  new Tensor[] {host[0], host[1]},
                  new Tensor[] {host[2], host[3]},
                  new Tensor[] {host[4], host[5]},
                  new Tensor[] {host[6], host[7]},
                  0.1 / i,
                  i);
              assertArrayEquals(host[0].toFloatArray(), p[0].toFloatArray(), 1e-5f);
              assertArrayEquals(host[1].toFloatArray(), p[1].toFloatArray(), 1e-5f);
            }
          }
        });
  }

  private static Tensor zeros(int... shape) {
    return Tensor.zeros(shape).to(CUDA);
  }

  private static void adam(Tensor[] p, Tensor[] g, Tensor[] m, Tensor[] v, double rate, long step) {
    Updates.adamW(
        List.of(p),
        List.of(g),
        List.of(m),
        List.of(v),
        new Updates.Adam(rate, 0.9, 0.99, 1e-8, 0.01, true, step, 1),
        new Updates.Limit(2, Updates.squaredNorm(List.of(g))),
        null);
  }

  @Test
  void randomNumbersOfAVaryingPartAreNewAtEachReplay() {
    Scope.run(
        () -> {
          long[] key = {0};
          TensorSpec spec = zeros(3, 50).spec();
          try (Recording graph =
              backend()
                  .record(
                      () -> {
                        Tensor noise = Varying.run(() -> Rng.seed(key[0]++).normal(spec));
                        return new Tensor[] {NN.softmax(noise, -1)};
                      })) {
            for (int i = 0; i < 3; i++) {
              float[] found = graph.replay()[0].toFloatArray();
              float[] expected = softmaxOnHost(Rng.seed(i).normal(3, 50));
              assertArrayEquals(expected, found, 1e-6f);
            }
          }
        });
  }

  @Test
  void uploadsOfAVaryingPartAreNewAtEachReplay() {
    Scope.run(
        () -> {
          double[] first = {0};
          try (Recording graph =
              backend()
                  .record(() -> new Tensor[] {Num.sum(Varying.run(() -> counting(first[0]++)))})) {
            for (int i = 0; i < 3; i++) {
              assertEquals(1500 * 1499 / 2 + 1500.0 * i, graph.replay()[0].item(), 0.5);
            }
          }
        });
  }

  private static Tensor counting(double first) {
    double[] values = new double[1500]; // more than one launch carries
    for (int i = 0; i < values.length; i++) {
      values[i] = first + i;
    }
    return Tensor.of(values, DType.F32, CUDA, values.length);
  }

  @Test
  void whatNeedsTheHostIsRefusedAndTheDeviceGoesOn() {
    Scope.run(
        () -> {
          Tensor x = random(8, 4, 4);
          Backend backend = backend();
          String message =
              assertThrows(
                      IllegalStateException.class,
                      () ->
                          backend.record(
                              () -> {
                                double unused = Num.sum(x).item();
                                return new Tensor[0];
                              }))
                  .getMessage();
          assertTrue(message.contains("while work is captured"), message);
          assertThrows(
              IllegalStateException.class,
              () ->
                  backend.record(
                      () -> {
                        backend.record(() -> new Tensor[0]);
                        return new Tensor[0];
                      }));
          message =
              assertThrows(
                      IllegalStateException.class,
                      () -> backend.record(() -> new Tensor[] {Tensor.zeros(100_000).to(CUDA)}))
                  .getMessage();
          assertTrue(message.contains("make them an input"), message);
          assertArrayEquals(softmaxOnHost(x), NN.softmax(x, -1).toFloatArray(), 1e-6f);
        });
  }

  @Test
  void aPartThatDoesSomethingElseIsRefused() {
    Scope.run(
        () -> {
          int[] runs = {0};
          Tensor x = random(9, 4, 8);
          try (Recording graph =
              backend()
                  .record(
                      () ->
                          new Tensor[] {
                            Varying.run(() -> NN.softmax(x, runs[0]++ < 1 ? -1 : 0))
                          })) {
            graph.replay();
            assertThrows(IllegalStateException.class, graph::replay);
          }
          int[] size = {4};
          try (Recording graph =
              backend()
                  .record(
                      () ->
                          new Tensor[] {
                            Varying.run(() -> NN.softmax(x.slice(0, 0, size[0]--), -1))
                          })) {
            graph.replay();
            assertThrows(IllegalStateException.class, graph::replay);
          }
          assertArrayEquals(softmaxOnHost(x), NN.softmax(x, -1).toFloatArray(), 1e-6f);
        });
  }

  @Test
  void versionsTellThatAReplayWroteInPlace() {
    Scope.run(
        () -> {
          Tensor x = random(10, 3, 3);
          Tensor total = zeros(3, 3);
          try (Recording graph =
              backend()
                  .record(
                      () -> {
                        Updates.ema(List.of(total), List.of(x), 0.5);
                        return new Tensor[0];
                      })) {
            graph.replay();
            int version = total.storage().version();
            graph.replay();
            assertTrue(total.storage().version() > version);
          }
        });
  }
}
