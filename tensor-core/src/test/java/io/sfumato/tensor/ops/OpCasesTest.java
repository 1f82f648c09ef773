// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static io.sfumato.tensor.ops.cases.Agreement.compare;
import static io.sfumato.tensor.ops.cases.Agreement.laid;
import static io.sfumato.tensor.ops.cases.Agreement.reference;
import static io.sfumato.tensor.ops.cases.Agreement.scale;
import static io.sfumato.tensor.ops.cases.Agreement.specs;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.cases.Agreement;
import io.sfumato.tensor.ops.cases.CaseTables;
import io.sfumato.tensor.ops.cases.ErrorCase;
import io.sfumato.tensor.ops.cases.OpCase;
import io.sfumato.tensor.testing.Relay;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What every op must do, for every case of every table. */
class OpCasesTest {
  static List<OpCase> cases() {
    return CaseTables.cases();
  }

  static Stream<OpCase> halfCases() {
    return cases().stream().filter(c -> c.half() && c.hasFreeInput());
  }

  static Stream<OpCase> emptyCases() {
    return cases().stream().map(OpCase::withoutRows).filter(c -> c != null);
  }

  static List<ErrorCase> errors() {
    return CaseTables.errors();
  }

  // ---- values

  @ParameterizedTest
  @MethodSource("cases")
  void kernelAgreesWithReferenceInAnyLayout(OpCase c) {
    DType dtype = c.dtypes().contains(DType.F32) ? DType.F32 : DType.F64;
    for (Relay relay : c.strides() ? Relay.values() : new Relay[] {Relay.ROW_MAJOR, Relay.OFFSET}) {
      Scope.run(() -> check(c, relay, laid(c, c.tensors(dtype), relay)));
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void kernelAgreesWithReferenceWhenOneInputLiesOddly(OpCase c) {
    DType dtype = c.dtypes().contains(DType.F32) ? DType.F32 : DType.F64;
    assumeTrue(c.strides() && c.inputs().size() > 1);
    for (int i = 0; i < c.inputs().size(); i++) {
      for (Relay relay : new Relay[] {Relay.PERMUTED, Relay.STEPPED}) {
        int odd = i;
        Scope.run(
            () -> {
              Tensor[] in = c.tensors(dtype);
              in[odd] = relay.of(in[odd]);
              check(c, relay, in);
            });
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void f64IsTheReference(OpCase c) {
    assumeTrue(c.dtypes().contains(DType.F64));
    Scope.run(() -> check(c, Relay.ROW_MAJOR, c.tensors(DType.F64)));
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
          check(c, Relay.ROW_MAJOR, in);
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

  @ParameterizedTest
  @MethodSource("cases")
  void resultsDoNotDependOnThreads(OpCase c) {
    int before = Parallel.threads();
    try {
      byte[][] one = bytesWith(c, 1);
      for (int threads = 2; threads <= 3; threads++) {
        byte[][] many = bytesWith(c, threads);
        for (int i = 0; i < one.length; i++) {
          assertArrayEquals(one[i], many[i], c + ": output " + i + " with " + threads + " threads");
        }
      }
    } finally {
      Parallel.setThreads(before);
    }
  }

  // ---- the same op by other ops

  @ParameterizedTest
  @MethodSource("compositeCases")
  void compositionAgreesWithReference(OpCase c) {
    for (DType dtype : new DType[] {DType.F64, DType.F32}) {
      if (c.dtypes().contains(dtype)) {
        Scope.run(() -> checkComposition(c, c.tensors(dtype)));
      }
    }
    DType dtype = c.dtypes().contains(DType.F64) ? DType.F64 : DType.F32;
    Scope.run(() -> checkComposition(c, laid(c, c.tensors(dtype), Relay.PERMUTED)));
  }

  private static void checkComposition(OpCase c, Tensor[] in) {
    Op op = c.op();
    byte[][] before = Arrays.stream(in).map(OpCasesTest::bytes).toArray(byte[][]::new);
    Dense[] expected = reference(op, in);
    Tensor[] out = ((Composite) op).compose(in);
    assertEquals(op.infer(specs(in)), specs(out), c + ": what infer promised");
    for (int i = 0; i < in.length; i++) {
      assertArrayEquals(before[i], bytes(in[i]), c + ": changed its input " + i);
    }
    for (int i = 0; i < out.length; i++) {
      double tolerance = c.tolerance() * scale(expected[i].data());
      compare(c + " composed, output " + i, expected[i].data(), out[i], tolerance);
    }
  }

  static List<OpCase> compositeCases() {
    return cases().stream().filter(c -> c.op() instanceof Composite).toList();
  }

  // ---- errors

  @ParameterizedTest
  @MethodSource("errors")
  void errorsSayOpRequirementInputsAndPath(ErrorCase c) {
    Scope.run(
        () -> {
          Tensor[] in = c.inputs().stream().map(Tensor::zeros).toArray(Tensor[]::new);
          ModulePath.push("block.3.norm");
          try {
            TensorException e =
                assertThrows(TensorException.class, () -> Eager.INSTANCE.execute(c.op(), in));
            String message = String.valueOf(e.getMessage());
            assertTrue(message.startsWith(c.op().name() + ": "), message);
            assertTrue(message.contains("at block.3.norm"), message);
            for (TensorSpec spec : c.inputs()) {
              assertTrue(message.contains(spec.toString()), message);
            }
            for (String part : c.parts()) {
              assertTrue(message.contains(part), "'" + part + "' in: " + message);
            }
          } finally {
            ModulePath.pop();
          }
        });
  }

  @Test
  void everyOpHasACase() {
    List<Class<?>> missing = new ArrayList<>();
    for (Class<?> op : OpClasses.all()) {
      if (cases().stream().noneMatch(c -> c.op().getClass() == op)) {
        missing.add(op);
      }
    }
    assertEquals(List.of(), missing, "ops without a case in any table of ops.cases");
  }

  // ---- helpers

  /** Runs the op; for an in-place op the written inputs. Checks what infer promised. */
  private static Tensor[] run(Op op, Tensor[] in) {
    List<TensorSpec> promised = op.infer(specs(in));
    byte[][] before = Arrays.stream(in).map(OpCasesTest::bytes).toArray(byte[][]::new);
    Tensor[] out = Eager.INSTANCE.execute(op, in);
    assertEquals(promised, specs(out), "what infer promised");
    int[] mutated = op instanceof InPlaceOp o ? o.mutated() : new int[0];
    for (int i = 0; i < in.length; i++) {
      int input = i;
      if (IntStream.of(mutated).noneMatch(m -> m == input)) {
        assertArrayEquals(before[i], bytes(in[i]), op.name() + " changed its input " + i);
      }
    }
    return op instanceof InPlaceOp
        ? IntStream.of(mutated).mapToObj(i -> in[i]).toArray(Tensor[]::new)
        : out;
  }

  private static void check(OpCase c, Relay relay, Tensor[] in) {
    Agreement.check(c, relay + "", reference(c.op(), in), run(c.op(), in));
  }

  private static void checkHalf(OpCase c, DType dtype) {
    Tensor[] in = c.tensors(dtype);
    try {
      c.op().infer(specs(in));
    } catch (TensorException e) {
      fail(c + " refuses " + dtype + "; say so with dtypes(…)", e);
    }
    Agreement.checkHalf(c, dtype, reference(c.op(), in), run(c.op(), in));
  }

  private static byte[][] bytesWith(OpCase c, int threads) {
    Parallel.setThreads(threads);
    DType dtype = c.dtypes().contains(DType.F32) ? DType.F32 : DType.F64;
    try (Scope scope = Scope.open()) {
      return Arrays.stream(run(c.op(), c.tensors(dtype)))
          .map(OpCasesTest::bytes)
          .toArray(byte[][]::new);
    }
  }

  /** The whole storage. */
  private static byte[] bytes(Tensor t) {
    byte[] copy = new byte[Math.toIntExact(t.storage().bytes())];
    long address = t.storage().address();
    for (int i = 0; i < copy.length; i++) {
      copy[i] = Memory.getByte(address + i);
    }
    return copy;
  }
}
