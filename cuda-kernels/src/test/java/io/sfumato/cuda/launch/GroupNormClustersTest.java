// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.GroupNormClusters.Room;
import io.sfumato.cuda.launch.GroupNormSlabs.Problem;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Group normalisation in clusters of blocks gives what the kernels for every device give, with each
 * tile of channels and number of threads.
 */
class GroupNormClustersTest {
  private final Gpu gpu = Gpu.of(0);

  @BeforeEach
  void needsHopper() {
    assumeTrue(gpu.capability() == 90, "clusters need compute capability 9.0");
  }

  @AfterEach
  void allow() {
    System.clearProperty(GroupNormClusters.PROPERTY);
  }

  private static List<GroupNormClusters> plans(Gpu gpu, Problem p, int tensors) {
    List<GroupNormClusters> all = new ArrayList<>();
    for (int tile : GroupNormClusters.tiles(p).toArray()) {
      for (int resident = 1; resident <= 4; resident++) {
        GroupNormClusters plan = GroupNormClusters.of(Room.of(gpu), p, tensors, tile, resident);
        if (plan != null) {
          all.add(plan);
        }
      }
    }
    assertFalse(all.isEmpty());
    return all;
  }

  @ParameterizedTest
  @CsvSource({
    "BF16, 3, 80, 8, 9, 23, true",
    "F16, 2, 80, 2, 8, 8, false",
    "F32, 3, 40, 4, 31, 7, true",
    "F32, 1, 320, 32, 8, 9, true",
    "BF16, 1, 1280, 32, 4, 4, true"
  })
  void everyTileGivesTheSame(
      DType dtype, int n, int channels, int groups, int height, int width, boolean silu)
      throws Throwable {
    try (Scope scope = Scope.open()) {
      Device device = new Device("cuda", 0);
      Rng rng = Rng.seed(9);
      Tensor x = rng.normal(n, height, width, channels).to(device).to(dtype).permute(0, 3, 1, 2);
      Tensor dy = rng.normal(n, height, width, channels).to(device).to(dtype).permute(0, 3, 1, 2);
      Tensor w = rng.normal(channels).to(device).to(dtype);
      Tensor b = rng.normal(channels).to(device).to(dtype);
      GroupNorm op = new GroupNorm(groups, 1e-5, true, true, silu);
      GroupNormBackward gradients = new GroupNormBackward(op, true, true);
      System.setProperty(GroupNormClusters.PROPERTY, "off");
      Tensor[] y = Eager.INSTANCE.execute(op, x, w, b);
      Tensor[] dx = Eager.INSTANCE.execute(gradients, dy, x, y[1], y[2], w, b);
      Tensor[] out = Eager.INSTANCE.execute(op, x, w, b);
      Tensor[] into = Eager.INSTANCE.execute(gradients, dy, x, y[1], y[2], w, b);
      Problem p = GroupNormLaunch.problem(op, x, y[0]);
      GroupNormLaunch.Backward.Operands operands = operands(dy, x, y, w, b, into);
      EmulatorControl.inAllOrders(
          () -> {
            for (GroupNormClusters plan : plans(gpu, p, 1)) {
              clear(out);
              GroupNormLaunch.Forward.clustered(
                  gpu, op, plan, x.address(), w.address(), b.address(), out);
              same(plan, y, out);
            }
            for (GroupNormClusters plan : plans(gpu, p, 2)) {
              clear(into);
              GroupNormLaunch.Backward.clustered(gpu, op, p, plan, operands, into[0]);
              same(plan, dx, into);
            }
          });
    }
  }

  /**
   * Where operands and results of a gradient lie, and the statistics of the forward, y[1] and y[2].
   */
  static GroupNormLaunch.Backward.Operands operands(
      Tensor dy, Tensor x, Tensor[] y, Tensor w, Tensor b, Tensor[] into) {
    return new GroupNormLaunch.Backward.Operands(
        dy.address(),
        x.address(),
        y[1].address(),
        y[2].address(),
        w.address(),
        b.address(),
        into[0].address(),
        into[1].address(),
        into[2].address());
  }

  private void clear(Tensor[] all) {
    for (Tensor t : all) {
      gpu.zero(t.address(), t.numel() * t.dtype().bytes());
    }
  }

  private static void same(GroupNormClusters plan, Tensor[] want, Tensor[] got) {
    for (int k = 0; k < want.length; k++) {
      double[] x = want[k].toDoubleArray();
      double[] y = got[k].toDoubleArray();
      double most = Arrays.stream(x).map(Math::abs).max().orElseThrow();
      DType dtype = want[k].dtype();
      double rounding = dtype == DType.BF16 ? 0x1p-7 : dtype == DType.F16 ? 0x1p-10 : 0;
      for (int i = 0; i < x.length; i++) {
        int output = k;
        assertEquals(
            x[i], y[i], 4e-6 * most + rounding * Math.abs(x[i]), () -> plan + ", output " + output);
      }
    }
  }

  @Test
  void whatDoesNotFitIsLeftToOthers() {
    Problem first = new Problem(2, 64, 8, 4096, false, 8);
    Problem few = new Problem(2, 64, 8, 7, true, 8);
    Problem large = new Problem(2, 64, 2, 1 << 16, true, 8);
    for (Problem p : List.of(first, few, large)) {
      assertNull(GroupNormClusters.of(Room.of(gpu), p, 1, null));
    }
  }

  /** What was measured on an H200. */
  @ParameterizedTest
  @CsvSource({
    "32, 64, 320, 8, 80, 0",
    "32, 64, 320, 4, 40, 0",
    "8, 128, 320, 8, 0, 0",
    "8, 128, 320, 4, 0, 0",
    "32, 32, 640, 8, 160, 0",
    "32, 32, 640, 4, 80, 40",
    "32, 16, 1280, 8, 320, 0",
    "32, 16, 1280, 4, 160, 160",
    "1, 16, 1280, 4, 0, 0"
  })
  void clustersAreTakenWhereTheyAreFaster(
      int n, int side, int channels, int width, int forward, int backward) {
    Room room = new Room(132, 227 << 10);
    Problem p = new Problem(n, channels, 32, side * side, true, width);
    GroupNormSlabs one = GroupNormSlabs.fused(p, 512, 132);
    GroupNormSlabs two = GroupNormSlabs.fused(p, 256, 132);
    assertEquals(forward, tile(GroupNormClusters.of(room, p, 1, one)));
    assertEquals(backward, tile(GroupNormClusters.of(room, p, 2, two)));
  }

  private static int tile(@Nullable GroupNormClusters clusters) {
    return clusters == null ? 0 : clusters.slabs().tile();
  }
}
