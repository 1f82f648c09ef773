// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.exec.ViewOp;
import io.sfumato.tensor.exec.ViewsOp;
import io.sfumato.tensor.ops.cases.Agreement;
import io.sfumato.tensor.ops.cases.CaseTables;
import io.sfumato.tensor.ops.cases.OpCase;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/**
 * Which ops have CUDA kernels for which types: the cases of all ops, without running them. Writes
 * the table to {@code target/cuda-coverage.txt}.
 */
final class CoverageTest {
  private static final Device GPU = new Device("cuda", 0);
  private static final List<DType> TYPES = List.of(DType.F32, DType.BF16, DType.F16, DType.F64);

  private static final class Count {
    int taken;
    int refused;
    final TreeSet<String> reasons = new TreeSet<>();

    @Override
    public String toString() {
      return refused == 0 ? "all" : taken == 0 ? "none" : taken + "/" + (taken + refused);
    }
  }

  @Test
  void everyOpHasKernelsForTheTypesOfTraining() throws IOException {
    Map<String, Map<DType, Count>> table = new TreeMap<>();
    KernelTable kernels = ((CudaBackend) Backends.of(GPU)).kernels();
    for (OpCase c : CaseTables.cases()) {
      if (c.op() instanceof ViewOp || c.op() instanceof ViewsOp) {
        continue;
      }
      for (DType dtype : TYPES) {
        if (c.dtypes().contains(dtype) && (c.half() || !dtype.isHalf())) {
          Count count =
              table
                  .computeIfAbsent(c.op().name(), n -> new TreeMap<>())
                  .computeIfAbsent(dtype, t -> new Count());
          Scope.run(() -> look(kernels, c, dtype, count));
        }
      }
    }
    write(table);
    TreeSet<String> onTheCpu = new TreeSet<>();
    table.forEach(
        (op, byType) ->
            byType.forEach(
                (dtype, count) -> {
                  if (dtype != DType.F64 && count.refused > 0) {
                    onTheCpu.add(op + " " + dtype.label() + ": " + count.reasons);
                  }
                }));
    assertEquals(Set.of(), onTheCpu, "what the CPU computes");
  }

  private static void look(KernelTable kernels, OpCase c, DType dtype, Count count) {
    Op op = CudaOpCasesTest.onDevice(c.op());
    Tensor[] in =
        Arrays.stream(c.tensors(dtype)).map(CudaOpCasesTest::onDevice).toArray(Tensor[]::new);
    List<TensorSpec> specs = Agreement.specs(in);
    Tensor[] out = op.infer(specs).stream().map(Tensor::empty).toArray(Tensor[]::new);
    if (kernels.find(op, in, out) != null) {
      count.taken++;
    } else {
      count.refused++;
      count.reasons.add(kernels.explain(op, in, out));
    }
  }

  private static void write(Map<String, Map<DType, Count>> table) throws IOException {
    StringBuilder text = new StringBuilder(String.format("%-32s", "op"));
    TYPES.forEach(t -> text.append(String.format("%-8s", t.label())));
    table.forEach(
        (op, byType) -> {
          text.append(String.format("%n%-32s", op));
          TYPES.forEach(
              t -> text.append(String.format("%-8s", byType.containsKey(t) ? byType.get(t) : "-")));
          byType.forEach(
              (t, count) ->
                  count.reasons.forEach(
                      r -> text.append(' ').append(t.label()).append(": ").append(r)));
        });
    Path target = Path.of("target");
    if (Files.isDirectory(target)) {
      Files.writeString(target.resolve("cuda-coverage.txt"), text + System.lineSeparator());
    }
  }
}
