// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.ops.Updates;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Who owns a tensor, and for how long. */
class ScopeTest {
  @Test
  void aResultBelongsToTheInnermostScope() {
    try (Scope outer = Scope.open()) {
      Tensor x = Tensor.ones(3);
      Tensor y;
      try (Scope inner = Scope.open()) {
        assertSame(inner, Scope.current());
        y = x.add(1);
        assertTrue(y.storage().isLive());
      }
      assertSame(outer, Scope.current());
      assertFalse(y.storage().isLive());
      assertTrue(x.storage().isLive());
    }
  }

  @Test
  void useAfterFreeNamesOpAndModule() {
    try (Scope outer = Scope.open()) {
      Tensor x = Tensor.ones(3);
      AtomicReference<Tensor> escaped = new AtomicReference<>();
      Scope.run(() -> escaped.set(x.add(1)));
      ModulePath.push("decoder.up.2");
      try {
        UseAfterFreeException e =
            assertThrows(UseAfterFreeException.class, () -> escaped.get().mul(x));
        String text = String.valueOf(e.getMessage());
        assertTrue(text.startsWith("mul: "), text);
        assertTrue(text.contains("at decoder.up.2"), text);
        assertTrue(text.contains("Scope.keep"), text);
      } finally {
        ModulePath.pop();
      }
      assertThrows(UseAfterFreeException.class, () -> escaped.get().toFloatArray());
      assertThrows(UseAfterFreeException.class, () -> escaped.get().storage().retain());
    }
  }

  @Test
  void keepMovesToTheEnclosingScope() {
    try (Scope outer = Scope.open()) {
      Tensor y;
      try (Scope inner = Scope.open()) {
        y = inner.keep(Tensor.ones(2).add(1));
      }
      assertEquals(2, y.toFloatArray()[1]);
      Tensor[] two = Scope.runAll(() -> new Tensor[] {y.add(1), y.add(2)});
      assertEquals(4, two[1].toFloatArray()[0]);
    }
  }

  @Test
  void theOutermostScopeCannotKeep() {
    try (Scope outer = Scope.open()) {
      Tensor x = Tensor.ones(1);
      assertThrows(IllegalStateException.class, () -> outer.keep(x));
    }
  }

  @Test
  void aViewKeepsItsStorage() {
    try (Scope outer = Scope.open()) {
      Tensor view = Scope.run(() -> Tensor.ones(4, 2).permute(1, 0));
      assertEquals(8, view.toFloatArray().length);
    }
  }

  @Test
  void scopesCloseInnermostFirst() {
    Scope outer = Scope.open();
    Scope inner = Scope.open();
    IllegalStateException e = assertThrows(IllegalStateException.class, outer::close);
    assertTrue(String.valueOf(e.getMessage()).contains("innermost first"));
    inner.close();
    outer.close();
    outer.close(); // twice is fine
  }

  @Test
  void withoutAScopeTheErrorSaysWhatToDo() {
    IllegalStateException e = assertThrows(IllegalStateException.class, () -> Tensor.ones(1));
    assertTrue(String.valueOf(e.getMessage()).contains("Scope.open()"));
  }

  @Test
  void nothingLeaksWhenAnOpFails() {
    long before = CpuBackend.instance().memory().buffers();
    assertThrows(
        ShapeException.class,
        () ->
            Scope.run(
                () -> {
                  Tensor.ones(2).add(Tensor.ones(3)).item();
                }));
    assertEquals(before, CpuBackend.instance().memory().buffers());
  }

  @Test
  void scopesBelongToTheirThread() throws InterruptedException {
    try (Scope scope = Scope.open()) {
      AtomicReference<Throwable> failure = new AtomicReference<>();
      Thread other =
          new Thread(
              () -> {
                try {
                  assertThrows(IllegalStateException.class, Scope::current);
                  assertThrows(IllegalStateException.class, scope::close);
                  try (Scope own = Scope.open()) {
                    assertEquals(3, Tensor.ones(3).toFloatArray().length);
                  }
                } catch (Throwable t) {
                  failure.set(t);
                }
              });
      other.start();
      other.join();
      assertSame(null, failure.get());
      assertSame(scope, Scope.current());
    }
  }

  @Test
  void parametersOutliveScopes() {
    Parameter p;
    try (Scope scope = Scope.open()) {
      p = new Parameter("w", Tensor.ones(2));
    }
    assertEquals(1, p.value().toFloatArray()[0]);
    p.close();
    p.close();
    assertFalse(p.value().storage().isLive());
  }

  @Test
  void versionsCountInPlaceChanges() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(2);
      int before = x.storage().version();
      Updates.add(x, Tensor.ones(2), 3);
      assertEquals(before + 1, x.storage().version());
      x.add(1);
      assertEquals(before + 1, x.storage().version());
      assertEquals(3, x.toFloatArray()[1]);
    }
  }

  @Test
  void releasingTooOftenIsNoticed() {
    Storage s = CpuBackend.instance().allocate(8);
    s.retain();
    s.release();
    s.release();
    assertThrows(IllegalStateException.class, s::release);
  }
}
