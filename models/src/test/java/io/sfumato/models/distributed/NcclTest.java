// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Op;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.IntPredicate;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The binding of NCCL and the collectives on it, with a library that stands for it. */
class NcclTest {
  private static final long STREAM = 0x5f0;

  @TempDir static Path folder;
  private static FakeNccl fake;

  @BeforeAll
  static void build() {
    fake = FakeNccl.build(folder);
  }

  @AfterAll
  static void forget() {
    System.clearProperty(NcclLibrary.PROPERTY);
  }

  @BeforeEach
  void begin() {
    fake.reset();
  }

  /** A device whose memory is the host's. */
  private record Gpu(int index, OptionalLong handle) implements Backend {
    @Override
    public Device device() {
      return new Device("gpu", index);
    }

    @Override
    public OptionalLong stream() {
      return handle;
    }

    @Override
    public Storage allocate(long bytes) {
      Arena arena = Arena.ofShared();
      MemorySegment memory = arena.allocate(Math.max(1, bytes), 64);
      return new Storage(device(), memory.address(), bytes, (address, size) -> arena.close());
    }

    @Override
    public void launch(Op op, Tensor[] in, Tensor[] out) {
      throw new UnsupportedOperationException(op.name());
    }

    @Override
    public void upload(long hostAddress, long deviceAddress, long bytes) {
      at(deviceAddress, bytes).copyFrom(at(hostAddress, bytes));
    }

    @Override
    public void download(long deviceAddress, long hostAddress, long bytes) {
      at(hostAddress, bytes).copyFrom(at(deviceAddress, bytes));
    }

    private static MemorySegment at(long address, long bytes) {
      return MemorySegment.ofAddress(address).reinterpret(bytes);
    }

    @Override
    public void synchronize() {}

    @Override
    public MemoryStats memory() {
      return new MemoryStats(0, 0, 0, 0);
    }

    /** A copy here, which its owner releases. */
    Tensor copy(Tensor host) {
      Storage storage = allocate(host.numel() * host.dtype().bytes());
      upload(host.address(), storage.address(), storage.bytes());
      return Tensor.owned(storage, Layout.contiguous(host.shape()), host.dtype(), null);
    }

    /** The values, on the host in the current scope. */
    Tensor back(Tensor here) {
      Tensor host =
          Tensor.of(
              new double[Math.toIntExact(here.numel())],
              here.dtype(),
              Device.CPU,
              here.shape().dims());
      download(here.address(), host.address(), here.storage().bytes());
      return host;
    }
  }

  private static Gpu gpu(Collectives ranks) {
    return new Gpu(ranks.rank(), OptionalLong.of(STREAM + ranks.rank()));
  }

  /** What an operation makes of a tensor on a GPU of each rank. */
  @FunctionalInterface
  private interface Operation {
    Pending on(Collectives ranks, Tensor data);
  }

  private static Tensor sample(int rank, DType type, int size) {
    Tensor values = Rng.seed(7).step(rank).normal(size);
    return (type.isFloating() ? values : values.mul(100)).to(type).contiguous();
  }

  private static List<double[]> run(
      int ranks, boolean onGpu, DType type, int size, Operation what) {
    return ThreadRanks.run(
        ranks,
        host -> {
          if (!onGpu) {
            Tensor data = sample(host.rank(), type, size);
            what.on(host, data).await();
            return data.toDoubleArray();
          }
          Gpu gpu = gpu(host);
          Collectives nccl = NcclCollectives.join(host, gpu);
          assertEquals(gpu.device(), nccl.device());
          Tensor data = gpu.copy(sample(host.rank(), type, size));
          try {
            what.on(nccl, data).await();
            double[] values = gpu.back(data).toDoubleArray();
            nccl.close();
            return values;
          } finally {
            data.storage().release();
          }
        });
  }

  private static void assertLikeMpi(DType type, int size, Operation what) {
    List<double[]> wanted = run(3, false, type, size, what);
    List<double[]> got = run(3, true, type, size, what);
    double error = // the order of a sum, and the rounding of its result
        switch (type) {
          case F64 -> 1e-15;
          case F32 -> 1e-6;
          case F16 -> 2e-3;
          default -> 2e-2;
        };
    for (int r = 0; r < 3; r++) {
      assertArrayEquals(wanted.get(r), got.get(r), type.isFloating() ? 3 * error : 0);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "BF16", "F16"})
  void sumsAreThoseOfMpiForEveryFloatingType(DType type) {
    assertLikeMpi(type, 101, (c, data) -> c.allReduce(data, Reduction.MEAN));
    assertLikeMpi(type, 101, (c, data) -> c.allReduce(data, Reduction.SUM));
    assertLikeMpi(
        type, 9, (c, data) -> c.reduceScatter(data, new long[] {3, 3, 3}, Reduction.MEAN));
    assertLikeMpi(type, 9, (c, data) -> c.reduceScatter(data, new long[] {5, 0, 4}, Reduction.SUM));
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "BF16", "F16", "I64", "U8"})
  void copiesAreThoseOfMpiForEveryType(DType type) {
    assertLikeMpi(type, 6, (c, data) -> c.allGather(data, new long[] {2, 2, 2}));
    assertLikeMpi(type, 6, (c, data) -> c.allGather(data, new long[] {0, 1, 5}));
    assertLikeMpi(type, 6, (c, data) -> c.broadcast(data, 2));
  }

  @Test
  void callsHaveTheirArgumentsAndOrder() {
    ThreadRanks.run(
        1,
        host -> {
          Gpu gpu = gpu(host);
          Tensor data = gpu.copy(sample(0, DType.BF16, 12));
          try (Collectives nccl = NcclCollectives.join(host, gpu)) {
            assertEquals("NCCL 2.18.5 on gpu:0, with threads", nccl.description());
            nccl.allReduce(data, Reduction.MEAN).await();
            nccl.reduceScatter(data, new long[] {12}, Reduction.SUM).await();
            nccl.allGather(data, new long[] {12}).await();
            nccl.broadcast(data, 0).await();
            assertEquals(4, nccl.traffic().operations() - host.traffic().operations());
          } finally {
            data.storage().release();
          }
          return null;
        });
    assertEquals(
        List.of(
            "ncclGetUniqueId",
            "ncclCommInitRank rank 0 of 1: communicator " + number(fake.calls().get(1)),
            "ncclAllReduce rank 0: 12 of type 9, op 4, root -1, result 0 bytes on, stream 0x5f0",
            "ncclReduceScatter rank 0: 12 of type 9, op 0, root -1, result 0 bytes on, stream"
                + " 0x5f0",
            "ncclAllGather rank 0: 24 of type 1, op -1, root -1, result 0 bytes on, stream 0x5f0",
            "ncclBroadcast rank 0: 24 of type 1, op -1, root 0, result 0 bytes on, stream 0x5f0",
            "ncclCommDestroy rank 0"),
        fake.calls());
  }

  private static String number(String call) {
    return call.substring(call.lastIndexOf(' ') + 1);
  }

  @Test
  void segmentsAreInPlaceAndUnequalOnesAreOneGroup() {
    run(
        2,
        true,
        DType.F32,
        8,
        (c, data) -> c.reduceScatter(data, new long[] {4, 4}, Reduction.SUM));
    assertTrue(
        fake.calls()
            .contains(
                "ncclReduceScatter rank 1: 4 of type 7, op 0, root -1, result 16 bytes on, stream"
                    + " 0x5f1"),
        fake.calls().toString());
    fake.reset();
    run(2, true, DType.F32, 8, (c, data) -> c.allGather(data, new long[] {4, 4}));
    assertTrue(
        fake.calls()
            .contains(
                "ncclAllGather rank 1: 16 of type 1, op -1, root -1, result -16 bytes on, stream"
                    + " 0x5f1"),
        fake.calls().toString());
    fake.reset();
    run(
        2,
        true,
        DType.F64,
        8,
        (c, data) -> c.reduceScatter(data, new long[] {3, 5}, Reduction.MEAN));
    List<String> own = fake.calls().stream().filter(l -> !l.contains("rank 1:")).toList();
    int start = own.indexOf("ncclGroupStart");
    assertTrue(start > 0, own.toString());
    for (int root = 0; root < 2; root++) {
      String call =
          "ncclReduce rank 0: "
              + (3 + 2 * root)
              + " of type 8, op 4, root "
              + root
              + ", result 0 bytes on, stream 0x5f0";
      assertTrue(own.indexOf(call) > start, own.toString());
      assertTrue(own.lastIndexOf("ncclGroupEnd") > own.indexOf(call), own.toString());
    }
  }

  private static String failure(int ranks, Operation what) {
    List<String> said =
        ThreadRanks.run(
            ranks,
            host -> {
              Gpu gpu = gpu(host);
              Collectives nccl = NcclCollectives.join(host, gpu);
              Tensor data = gpu.copy(sample(host.rank(), DType.F32, 8));
              try {
                return assertThrows(CollectiveException.class, () -> what.on(nccl, data).await())
                    .getMessage();
              } finally {
                data.storage().release();
                nccl.close();
              }
            });
    return said.getLast();
  }

  @Test
  void aFailureNamesCallRankAndReason() {
    fake.fail("ncclAllReduce", -1, 1);
    assertEquals(
        "NCCL: ncclAllReduce on rank 1 of 2: unhandled cuda error (made up for ncclAllReduce);"
            + " NCCL_DEBUG=INFO makes NCCL say more",
        failure(2, (c, data) -> c.allReduce(data, Reduction.SUM)));
    fake.reset();
    fake.fail("ncclBroadcast", -1, 5);
    assertEquals(
        "NCCL: ncclBroadcast on rank 1 of 2: invalid usage (made up for ncclBroadcast);"
            + " NCCL_DEBUG=INFO makes NCCL say more",
        failure(2, (c, data) -> c.allGather(data, new long[] {3, 5})));
    List<String> calls = fake.calls(); // a group that was begun ends
    assertEquals(2, calls.stream().filter(l -> l.equals("ncclGroupStart")).count());
    assertEquals(2, calls.stream().filter(l -> l.equals("ncclGroupEnd")).count());
    fake.reset();
    fake.failUnderWay(6);
    assertEquals(
        "NCCL: an operation under way on rank 1 of 2: remote process exited or there was a network"
            + " error; NCCL_DEBUG=INFO makes NCCL say more",
        failure(2, (c, data) -> c.broadcast(data, 0)));
  }

  @Test
  void aRankThatCannotJoinIsNamedOnEveryRank() {
    fake.fail("ncclCommInitRank", -1, 2);
    for (String said : joinFailures(r -> true, r -> 21805)) {
      assertTrue(said.contains("NCCL: ncclCommInitRank on rank "), said);
    }
    fake.reset();
    for (String said : joinFailures(r -> r != 1, r -> 21805)) {
      assertEquals(
          "rank 1: NCCL: works on CUDA devices, and this rank's is gpu:1; use --device cuda, or"
              + " --communication mpi",
          said);
    }
    for (String said : joinFailures(r -> true, r -> r == 2 ? 22703 : 21805)) {
      assertEquals("rank 0 has NCCL 2.18.5 and rank 2 NCCL 2.27.3", said);
    }
    for (String said : joinFailures(r -> true, r -> r == 0 ? 2804 : 21805)) {
      assertTrue(said.startsWith("rank 0: NCCL: " + fake.file() + " is NCCL 2.8.4, and"), said);
    }
    fake.reset();
    fake.fail("ncclGetUniqueId", -1, 2);
    for (String said : joinFailures(r -> true, r -> 21805)) {
      assertEquals("rank 0: NCCL: ncclGetUniqueId on rank 0: error 2", said);
    }
  }

  private static List<String> joinFailures(IntPredicate hasStream, IntUnaryOperator version) {
    return ThreadRanks.run(
        3,
        host -> {
          fake.version(version.applyAsInt(host.rank()));
          OptionalLong stream =
              hasStream.test(host.rank()) ? OptionalLong.of(STREAM) : OptionalLong.empty();
          Gpu gpu = new Gpu(host.rank(), stream);
          return assertThrows(CollectiveException.class, () -> NcclCollectives.join(host, gpu))
              .getMessage();
        });
  }

  @Test
  void whatIsOnTheHostTakesTheOtherWay() {
    ThreadRanks.run(
        2,
        host -> {
          try (Collectives nccl = NcclCollectives.join(host, gpu(host));
              Scope scope = Scope.open()) {
            Tensor data = Tensor.of(new double[] {host.rank(), 2}, 2);
            nccl.allReduce(data, Reduction.SUM).await();
            assertArrayEquals(new double[] {1, 4}, data.toDoubleArray());
            byte[][] all = nccl.exchange(new byte[] {(byte) nccl.rank()});
            assertArrayEquals(new byte[] {1}, all[1]);
            nccl.barrier();
            Gpu other = new Gpu(7, OptionalLong.empty());
            Tensor elsewhere = other.copy(Tensor.of(new double[] {1}, 1));
            assertThrows(
                IllegalArgumentException.class, () -> nccl.allReduce(elsewhere, Reduction.SUM));
            elsewhere.storage().release();
            Tensor whole = gpu(host).copy(Tensor.of(new long[] {1}, 1));
            assertThrows(
                IllegalArgumentException.class, () -> nccl.allReduce(whole, Reduction.SUM));
            assertThrows(
                IllegalArgumentException.class, () -> nccl.allGather(whole, new long[] {1, 1}));
            whole.storage().release();
          }
          return null;
        });
    assertTrue(fake.calls().stream().noneMatch(l -> l.startsWith("ncclAllReduce")));
  }

  @Test
  void anAbortEndsWhatIsUnderWayFirst() {
    ThreadRanks.run(
        1,
        host -> {
          Collectives nccl = NcclCollectives.join(host, gpu(host));
          nccl.abort("enough", 1);
          nccl.close(); // does nothing more
          return null;
        });
    assertEquals("ncclCommAbort rank 0", fake.calls().getLast());
  }

  @Test
  void aLostRankEndsWhatTheDeviceWaitsFor() {
    ThreadRanks.run(
        1,
        host -> {
          Gpu gpu = gpu(host);
          Collectives nccl = NcclCollectives.join(host, gpu);
          Tensor data = gpu.copy(sample(0, DType.F32, 4));
          Pending pending = nccl.allReduce(data, Reduction.SUM);
          ((HostCollectives) host).fail("rank 1 (process 7) is gone");
          assertEquals("ncclCommAbort rank 0", fake.calls().getLast());
          for (Runnable next :
              List.<Runnable>of(pending::await, () -> nccl.allReduce(data, Reduction.SUM))) {
            assertEquals(
                "rank 1 (process 7) is gone",
                assertThrows(CollectiveException.class, next::run).getMessage());
          }
          data.storage().release();
          return null;
        });
  }

  @Test
  void aMissingLibraryIsOneLineWithTheRemedy() {
    String remedy =
        "; install NCCL (from NVIDIA's package repository: apt-get install libnccl2), name its"
            + " library with -Dsfumato.nccl.library=/…/libnccl.so.2, or let gradients go through"
            + " MPI: --communication mpi";
    String own = System.getProperty(NcclLibrary.PROPERTY);
    try {
      System.setProperty(NcclLibrary.PROPERTY, "/nowhere/libnccl.so.2");
      assertEquals(
          "NCCL: the library was not found (tried /nowhere/libnccl.so.2)" + remedy,
          assertThrows(CollectiveException.class, NcclLibrary::open).getMessage());
      System.setProperty(NcclLibrary.PROPERTY, "libm.so.6");
      assertEquals(
          "NCCL: libm.so.6 lacks ncclGetVersion" + remedy,
          assertThrows(CollectiveException.class, NcclLibrary::open).getMessage());
    } finally {
      System.setProperty(NcclLibrary.PROPERTY, own);
    }
  }

  @Test
  void oneProcessNeedsNoNccl() {
    Collectives alone = new Alone();
    assertSame(alone, Ranks.byNccl(alone, Device.CPU));
    assertEquals(Device.CPU, alone.device());
    assertEquals(List.of(), fake.calls());
  }
}
