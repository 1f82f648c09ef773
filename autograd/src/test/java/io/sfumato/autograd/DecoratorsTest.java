// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Autocast;
import io.sfumato.tensor.exec.CheckFinite;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.ops.MatMul;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Reduce;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Autocasting, tracing and the hunt for NaN, alone and together with recording. */
class DecoratorsTest {
  private static final Map<Class<? extends Op>, Autocast.Precision> TABLE =
      Map.of(MatMul.class, Autocast.Precision.LOW, Reduce.class, Autocast.Precision.FULL);

  private Scope scope;
  private Parameter w;
  private Tensor x;

  @BeforeEach
  void open() {
    scope = Scope.open();
    w = new Parameter("w", Tensor.of(new float[] {1, 2, 3, 4}, 2, 2));
    x = Tensor.of(new float[] {1, -1, 2, 0.5f}, 2, 2);
  }

  @AfterEach
  void close() {
    w.close();
    scope.close();
  }

  @Test
  void autocastLowersProductsAndWidensSums() {
    Tensor y = Autocast.with(DType.BF16, TABLE, () -> Num.matmul(x, w.value()));
    assertEquals(DType.BF16, y.dtype());
    Tensor z = Autocast.with(DType.BF16, TABLE, () -> Num.sum(Num.matmul(x, w.value())));
    assertEquals(DType.F32, z.dtype());
    assertThrows(IllegalArgumentException.class, () -> Autocast.with(DType.F32, TABLE, () -> x));
  }

  @Test
  void gradientsThroughAutocastHaveTheParametersTypeWhicheverIsOutside() {
    Supplier<Tensor> loss = () -> Num.sum(Num.matmul(x, w.value()));
    Gradients inside =
        Autograd.valueAndGrad(List.of(w), () -> Autocast.with(DType.BF16, TABLE, loss)).gradients();
    Gradients outside =
        Autocast.with(DType.BF16, TABLE, () -> Autograd.valueAndGrad(List.of(w), loss)).gradients();
    for (Gradients g : List.of(inside, outside)) {
      Tensor d = g.asMap().get(w);
      assertEquals(DType.F32, d.dtype());
      assertArrayEquals(new float[] {3, 3, -0.5f, -0.5f}, d.toFloatArray());
    }
  }

  @Test
  void checkpointsRepeatUnderTheSameAutocast() {
    Gradients g =
        Autograd.valueAndGrad(
                List.of(w),
                () ->
                    Autocast.with(
                        DType.BF16,
                        TABLE,
                        () -> Num.sum(Autograd.checkpoint(t -> Num.matmul(t[0], w.value()), x))))
            .gradients();
    assertArrayEquals(new float[] {3, 3, -0.5f, -0.5f}, g.asMap().get(w).toFloatArray());
  }

  @Test
  void traceNotesWhatRanWhere() {
    Trace trace =
        Trace.of(
            () -> {
              ModulePath.push("block.1");
              try {
                return Num.sum(x.mul(w.value()));
              } finally {
                ModulePath.pop();
              }
            });
    assertEquals(List.of("mul", "sum"), trace.events().stream().map(e -> e.op().name()).toList());
    assertEquals("block.1", trace.events().getFirst().path());
    assertEquals(3 * 4 * 4, trace.events().getFirst().bytes()); // two read, one written
    assertTrue(trace.table().contains("mul"));
    assertTrue(trace.modules().lines().anyMatch(l -> l.matches("block\\.1 +2 .*%.*")));
    assertTrue(trace.modulesAndOps().contains("block.1 sum"));
    assertTrue(trace.log().contains("[2, 2] f32 cpu"));
  }

  @Test
  void traceSeesForwardAndBackward() {
    Trace trace = new Trace(Executor.current());
    Executor.with(trace, () -> Autograd.valueAndGrad(List.of(w), () -> Num.sum(x.mul(w.value()))));
    long products = trace.events().stream().filter(e -> e.op().name().equals("mul")).count();
    assertEquals(2, products);
  }

  @Test
  void checkFiniteNamesTheFirstCulprit() {
    ModulePath.push("decoder.out");
    try {
      ArithmeticException e =
          assertThrows(
              ArithmeticException.class,
              () -> CheckFinite.with(() -> Num.log(x.mul(w.value())).add(1)));
      String text = String.valueOf(e.getMessage());
      assertTrue(text.startsWith("log: element 1 of output 0 is NaN"), text);
      assertTrue(text.contains("at decoder.out"), text);
    } finally {
      ModulePath.pop();
    }
    assertSame(x, CheckFinite.with(() -> x));
  }

  @Test
  void chainsCanBeTakenApart() {
    Trace trace = new Trace(Eager.INSTANCE);
    Autocast cast = new Autocast(trace, DType.F16, TABLE);
    CheckFinite check = new CheckFinite(cast);
    assertSame(cast, Decorator.find(check, Autocast.class));
    Executor without = Decorator.without(check, Autocast.class);
    assertEquals(null, Decorator.find(without, Autocast.class));
    assertTrue(Decorator.find(without, Trace.class) != null);
    Executor beneath = Decorator.beneath(check, Autocast.class, CheckFinite::new);
    Autocast found = Decorator.find(beneath, Autocast.class);
    assertTrue(found != null && found.inner() instanceof CheckFinite);
    Executor replaced = Decorator.replace(check, cast, Eager.INSTANCE);
    assertEquals(new CheckFinite(Eager.INSTANCE), replaced);
  }
}
