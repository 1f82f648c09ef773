// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.tensor.ops.cases.Agreement.laid;
import static io.sfumato.tensor.ops.cases.Agreement.reference;
import static io.sfumato.tensor.ops.cases.Agreement.specs;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.launch.ConvPrecision;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.cases.Agreement;
import io.sfumato.tensor.ops.cases.CaseTables;
import io.sfumato.tensor.ops.cases.OpCase;
import io.sfumato.tensor.testing.Relay;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every case of every op on the device: equal to the reference, in all memory orders and types. */
class CudaOpCasesTest {
  private static final Device GPU = new Device("cuda", 0);
  private static final boolean TF32 = ConvPrecision.tf32();

  @BeforeAll
  static void keepAllDigitsInConvolutions() {
    ConvPrecision.allowTf32(false);
  }

  @AfterAll
  static void asBefore() {
    ConvPrecision.allowTf32(TF32);
  }

  /** All cases, or those of the ops that the property {@code sfumato.cuda.ops} names. */
  static List<OpCase> cases() {
    String only = System.getProperty("sfumato.cuda.ops", ".*");
    return CaseTables.cases().stream().filter(c -> c.op().name().matches(only)).toList();
  }

  static Stream<OpCase> halfCases() {
    return cases().stream().filter(c -> c.half() && c.hasFreeInput());
  }

  static Stream<OpCase> emptyCases() {
    return cases().stream().map(OpCase::withoutRows).filter(c -> c != null);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreesWithTheReferenceInAnyLayout(OpCase c) {
    DType dtype = c.dtypes().contains(DType.F32) ? DType.F32 : DType.F64;
    for (Relay relay : c.strides() ? Relay.values() : new Relay[] {Relay.ROW_MAJOR, Relay.OFFSET}) {
      Scope.run(() -> check(c, relay + "", laid(c, c.tensors(dtype), relay)));
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreesWithTheReferenceWhenOneInputLiesOddly(OpCase c) {
    DType dtype = c.dtypes().contains(DType.F32) ? DType.F32 : DType.F64;
    assumeTrue(c.strides() && c.inputs().size() > 1);
    for (int i = 0; i < c.inputs().size(); i++) {
      int odd = i;
      Scope.run(
          () -> {
            Tensor[] in = c.tensors(dtype);
            in[odd] = Relay.PERMUTED.of(in[odd]);
            check(c, "input " + odd + " permuted", in);
          });
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void takesF64(OpCase c) {
    assumeTrue(c.dtypes().contains(DType.F64));
    Scope.run(() -> check(c, "f64", c.tensors(DType.F64)));
  }

  @ParameterizedTest
  @MethodSource("emptyCases")
  void noRowsAreNoProblem(OpCase c) {
    DType dtype = c.dtypes().contains(DType.F32) ? DType.F32 : DType.F64;
    Scope.run(
        () -> {
          Tensor[] in = c.tensors(dtype);
          try {
            c.op().infer(specs(in));
          } catch (TensorException e) {
            return; // the shape rule refuses: fine
          }
          check(c, "no rows", in);
        });
  }

  @ParameterizedTest
  @MethodSource("halfCases")
  void halfPrecisionIsAtMostTwiceAsWrongAsRounding(OpCase c) {
    for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
      if (c.dtypes().contains(dtype)) {
        Scope.run(() -> checkHalf(c, dtype));
      }
    }
  }

  // ---- helpers

  /** The op with every device in its attributes replaced by the one under test. */
  static Op onDevice(Op op) {
    RecordComponent[] parts = op.getClass().getRecordComponents();
    if (parts == null || Arrays.stream(parts).noneMatch(p -> p.getType() == TensorSpec.class)) {
      return op;
    }
    try {
      Object[] values = new Object[parts.length];
      for (int i = 0; i < parts.length; i++) {
        Object value = parts[i].getAccessor().invoke(op);
        values[i] =
            value instanceof TensorSpec s ? new TensorSpec(s.shape(), s.dtype(), GPU) : value;
      }
      Class<?>[] types =
          Arrays.stream(parts).map(RecordComponent::getType).toArray(Class<?>[]::new);
      return (Op) op.getClass().getDeclaredConstructor(types).newInstance(values);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A copy on the device in the same memory order, gaps included. */
  static Tensor onDevice(Tensor t) {
    long bytes = t.storage().bytes();
    Storage storage = Backends.of(GPU).allocate(bytes);
    Backends.of(GPU).upload(t.storage().address(), storage.address(), bytes);
    return Tensor.owned(storage, t.layout(), t.dtype(), Scope.current());
  }

  /** Runs the op on copies of host tensors; for an in-place op the written inputs. */
  private static Tensor[] run(Op hostOp, Tensor[] host) {
    Op op = onDevice(hostOp);
    Tensor[] in = Arrays.stream(host).map(CudaOpCasesTest::onDevice).toArray(Tensor[]::new);
    List<TensorSpec> promised = op.infer(specs(in));
    Tensor[] out = Eager.INSTANCE.execute(op, in);
    assertEquals(promised, specs(out), "what infer promised");
    int[] mutated = op instanceof InPlaceOp o ? o.mutated() : new int[0];
    for (int i = 0; i < in.length; i++) {
      int input = i;
      if (IntStream.of(mutated).noneMatch(m -> m == input)) {
        assertArrayEquals(hostBytes(host[i]), bytes(in[i]), op.name() + " changed its input " + i);
      }
    }
    return op instanceof InPlaceOp
        ? IntStream.of(mutated).mapToObj(i -> in[i]).toArray(Tensor[]::new)
        : out;
  }

  private static void check(OpCase c, String how, Tensor[] in) {
    Agreement.check(c, how, reference(c.op(), in), run(c.op(), in));
  }

  private static void checkHalf(OpCase c, DType dtype) {
    Tensor[] in = c.tensors(dtype);
    Agreement.checkHalf(c, dtype, reference(c.op(), in), run(c.op(), in));
  }

  private static byte[] bytes(Tensor t) {
    Storage staging = CpuBackend.instance().allocate(t.storage().bytes());
    try {
      Backends.of(GPU).download(t.storage().address(), staging.address(), t.storage().bytes());
      return bytes(staging.address(), t.storage().bytes());
    } finally {
      staging.release();
    }
  }

  private static byte[] hostBytes(Tensor t) {
    return bytes(t.storage().address(), t.storage().bytes());
  }

  private static byte[] bytes(long address, long bytes) {
    byte[] copy = new byte[Math.toIntExact(bytes)];
    for (int i = 0; i < copy.length; i++) {
      copy[i] = Memory.getByte(address + i);
    }
    return copy;
  }
}
