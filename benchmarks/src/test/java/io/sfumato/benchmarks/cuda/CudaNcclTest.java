// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.cuda.driver.DriverLibrary;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.cuda.testing.Subprocess;
import io.sfumato.models.distributed.Collectives;
import io.sfumato.models.distributed.DataParallel;
import io.sfumato.models.distributed.ParallelOptions;
import io.sfumato.models.distributed.Pending;
import io.sfumato.models.distributed.Ranks;
import io.sfumato.models.distributed.Traffic;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Data-parallel training whose gradients stay on the devices: two emulated devices, and a library
 * that stands for NCCL.
 */
final class CudaNcclTest {
  private static final int STEPS = 3;
  private static final int BATCH = 4;

  @TempDir Path folder;

  @Test
  void twoDevicesTrainAsOneProcess() throws Exception {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver shows two devices");
    Path source =
        Path.of("").toAbsolutePath().resolveSibling("models/src/test/native/fake_nccl.cpp");
    Path library = folder.resolve("libnccl.so.2");
    Process compiler =
        new ProcessBuilder(
                "g++",
                "-std=c++20",
                "-O1",
                "-fPIC",
                "-shared",
                "-fvisibility=hidden",
                source.toString(),
                "-o",
                library.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(compiler.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, compiler.waitFor(), said);
    Subprocess.Result result =
        Subprocess.run(
            Training.class,
            Map.of("SFUMATO_EMU_DEVICES", "2", "FAKE_NCCL_DRIVER", driver()),
            "-Dsfumato.nccl.library=" + library);
    assertEquals(0, result.exit(), result.output());
    for (boolean zero : new boolean[] {false, true}) {
      assertTrue(
          result.output().contains("zero " + zero + ": as one process true, sent true"),
          result.output());
    }
  }

  /** The emulated driver, which the library asks to finish what is on a stream. */
  private static String driver() {
    return String.valueOf(System.getProperty(DriverLibrary.PROPERTY));
  }

  /** Two ranks that are threads. */
  @SuppressWarnings("ArrayRecordComponent") // the same for both
  private record Member(int rank, byte[][] board, CyclicBarrier gate) implements Collectives {
    @Override
    public int size() {
      return 2;
    }

    @Override
    public String description() {
      return "threads";
    }

    @Override
    public byte[][] exchange(byte[] message) {
      try {
        board[rank] = message;
        gate.await();
        byte[][] all = board.clone();
        gate.await();
        return all;
      } catch (InterruptedException | BrokenBarrierException e) {
        throw new IllegalStateException(e);
      }
    }

    /** Of one number. */
    @Override
    public Pending allReduce(Tensor data, Reduction reduction) {
      double sum = 0;
      for (byte[] one : exchange(ByteBuffer.allocate(8).putDouble(data.item()).array())) {
        sum += ByteBuffer.wrap(one).getDouble();
      }
      Updates.copy(data, Tensor.of(new double[] {sum}, 1));
      return Pending.DONE;
    }

    @Override
    public Pending reduceScatter(Tensor data, long[] counts, Reduction reduction) {
      throw new UnsupportedOperationException("this belongs on the device: " + data.spec());
    }

    @Override
    public Pending allGather(Tensor data, long[] counts) {
      throw new UnsupportedOperationException("this belongs on the device: " + data.spec());
    }

    @Override
    public Pending broadcast(Tensor data, int root) {
      throw new UnsupportedOperationException("this belongs on the device: " + data.spec());
    }

    @Override
    public void barrier() {
      exchange(new byte[0]);
    }

    @Override
    public void abort(String message, int exitCode) {
      throw new IllegalStateException(message);
    }

    @Override
    public Traffic traffic() {
      return new Traffic(0, 0, 0, 0);
    }

    @Override
    public void close() {}
  }

  /** The program. */
  static final class Training {
    private static final PrintStream OUT = System.out;

    private Training() {}

    public static void main(String[] args) throws Exception {
      double[] wanted = trained(null, Device.CPU, false);
      for (boolean zero : new boolean[] {false, true}) {
        byte[][] board = new byte[2][];
        CyclicBarrier gate = new CyclicBarrier(2);
        double[][] got = new double[2][];
        boolean[] sent = new boolean[2];
        Thread[] threads = new Thread[2];
        for (int r = 0; r < 2; r++) {
          int rank = r;
          threads[r] =
              Thread.ofPlatform()
                  .start(
                      () -> {
                        try {
                          Device device = new Device("cuda", rank);
                          Collectives ranks = Ranks.byNccl(new Member(rank, board, gate), device);
                          got[rank] = trained(ranks, device, zero);
                          sent[rank] = ranks.traffic().bytes() > 0;
                          ranks.close();
                        } catch (RuntimeException | Error e) {
                          e.printStackTrace();
                          Runtime.getRuntime().halt(1);
                        }
                      });
        }
        for (Thread t : threads) {
          t.join();
        }
        boolean same = true;
        for (double[] values : got) {
          for (int i = 0; i < wanted.length; i++) {
            same &= Math.abs(values[i] - wanted[i]) < 1e-5;
          }
        }
        OUT.println("zero " + zero + ": as one process " + same + ", sent " + (sent[0] && sent[1]));
      }
    }

    private static Optimizer adamW(List<ParameterGroup> groups) {
      return new AdamW(groups, AdamW.options().learningRate(1e-2));
    }

    /** The parameters after some steps; ranks begin with different ones. */
    private static double[] trained(Collectives ranks, Device device, boolean zero) {
      int rank = ranks == null ? 0 : ranks.rank();
      int size = ranks == null ? 1 : ranks.size();
      try (Scope scope = Scope.open();
          Linear model = new Linear(Weights.init(Rng.seed(rank)).on(device), 5, 3)) {
        DataParallel parallel =
            ranks == null
                ? null
                : new DataParallel(ranks, ParallelOptions.usual().zero(zero), model.parameters());
        List<ParameterGroup> groups = List.of(ParameterGroup.of(model.parameters()));
        try (Optimizer optimizer =
            parallel == null ? adamW(groups) : parallel.optimizer(groups, Training::adamW)) {
          if (parallel != null) {
            parallel.begin(List.of());
          }
          for (int s = 0; s < STEPS; s++) {
            int rows = 2 * BATCH / size;
            Tensor x = Rng.seed(9).step(s).normal(2 * BATCH, 5);
            Tensor own = x.slice(0, rank * rows, (rank + 1) * rows).contiguous().to(device);
            Gradients gradients =
                Autograd.valueAndGradWithExtra(
                        model.parameters(),
                        () -> new Tensor[] {NN.mse(model.call(own), own.slice(1, 0, 3))},
                        parallel == null ? null : parallel.listener())
                    .gradients();
            optimizer.step(parallel == null ? gradients : parallel.average(gradients));
          }
          if (parallel != null) {
            parallel.checkSame();
          }
        }
        return model.parameters().stream()
            .flatMapToDouble(p -> Arrays.stream(p.value().toDoubleArray()))
            .toArray();
      }
    }
  }
}
