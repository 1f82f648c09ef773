// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class DerivedTensorsTest {
  private Scope scope;
  private TensorSource source;

  @BeforeEach
  void open() {
    scope = Scope.open();
    Tensor a = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2, 1, 1);
    Tensor b = Tensor.of(new float[] {5, 6}, 1, 2);
    source = TensorSource.of(Map.of("a", a, "b", b));
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @Test
  void offersWhatWasAddedAndNothingElse() {
    DerivedTensors view = DerivedTensors.of(source);
    view.add("x", Shape.of(2, 2), "a");
    view.add(
        new TensorEntry("joined", "F32", List.of(3L, 2L), 0, 24),
        s -> Shaping.concat(0, s.read("a").reshape(2, 2), s.read("b")));
    assertEquals(List.of("x", "joined"), List.copyOf(view.entries().keySet()));
    assertEquals(Shape.of(2, 2), view.entries().get("x").shape());
    assertEquals(Shape.of(2, 2), view.read("x").shape());
    assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, view.read("joined").toFloatArray());
    WeightsException e = assertThrows(WeightsException.class, () -> view.read("b"));
    assertTrue(e.getMessage().endsWith("there is no tensor \"b\""), e.getMessage());
  }

  @Test
  void refusesASecondTensorOfAName() {
    DerivedTensors view = DerivedTensors.of(source);
    view.add("x", "a");
    WeightsException e = assertThrows(WeightsException.class, () -> view.add("x", "b"));
    assertTrue(
        e.getMessage().endsWith("tensors \"a\" and \"b\" would both be called \"x\""),
        e.getMessage());
    assertArrayEquals(new float[] {1, 2, 3, 4}, view.read("x").toFloatArray());
  }

  @Test
  void refusesWhatTheSourceDoesNotHave() {
    DerivedTensors view = DerivedTensors.of(source);
    assertThrows(WeightsException.class, () -> view.add("x", "c"));
    assertEquals(Map.of(), view.entries());
  }

  @Test
  void givesBytesOfStoredTensorsOnly() {
    DerivedTensors view = DerivedTensors.of(source);
    view.add("x", "b");
    view.add("y", Shape.of(4), "a");
    assertEquals(Shape.of(1, 2), view.readBytes("x").shape());
    UnsupportedOperationException e =
        assertThrows(UnsupportedOperationException.class, () -> view.readBytes("y"));
    assertTrue(e.getMessage().contains("\"y\""), e.getMessage());
  }

  @Test
  void closesTheSourceOnlyIfItOwnsIt() {
    int[] closed = {0};
    TensorSource counting =
        new TensorSource() {
          @Override
          public String description() {
            return "counting";
          }

          @Override
          public Map<String, TensorEntry> entries() {
            return Map.of();
          }

          @Override
          public Map<String, String> metadata() {
            return Map.of();
          }

          @Override
          public Tensor read(String name) {
            throw new AssertionError(name);
          }

          @Override
          public void close() {
            closed[0]++;
          }
        };
    DerivedTensors.borrowing(counting).close();
    assertEquals(0, closed[0]);
    DerivedTensors.of(counting).close();
    assertEquals(1, closed[0]);
  }
}
