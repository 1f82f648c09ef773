// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LegacyNamesTest {
  private static final String BLOCK = "encoder.mid_block.attentions.0.";

  @TempDir private Path folder;
  private Path file;

  @BeforeEach
  void file() {
    file = folder.resolve("old.safetensors");
  }

  /** Saves an old attention block with weights of this shape, and {@code others}. */
  private void save(int[] shape, Map<String, Tensor> others) {
    Map<String, Tensor> tensors = new TreeMap<>(others);
    int i = 1;
    for (String part : new String[] {"query", "key", "value", "proj_attn"}) {
      tensors.put(BLOCK + part + ".weight", Tensor.full(i, shape).to(DType.F16));
      tensors.put(BLOCK + part + ".bias", Tensor.full(-i++, 3));
    }
    tensors.put(BLOCK + "group_norm.weight", Tensor.ones(3));
    SafeTensors.save(file, tensors);
  }

  private TensorSource open() {
    return LegacyNames.of(SafeTensors.open(file));
  }

  @Test
  void attentionIsRenamedAndSqueezed() {
    for (int[] shape : new int[][] {{3, 3, 1, 1}, {3, 3}}) {
      Scope.run(() -> save(shape, Map.of()));
      try (Weights weights = Weights.from(open()).as(DType.F32)) {
        Weights block = weights.at("encoder.mid_block.attentions.0");
        float value = 1;
        for (String part : new String[] {"to_q", "to_k", "to_v", "to_out.0"}) {
          try (Parameter w = block.at(part).get("weight", Shape.of(3, 3), Init.zeros());
              Parameter b = block.at(part).get("bias", Shape.of(3), Init.zeros())) {
            assertEquals(BLOCK + part + ".weight", w.name());
            assertEquals(DType.F32, w.value().dtype());
            assertEquals(value, w.value().toFloatArray()[8]);
            assertArrayEquals(new float[] {-value, -value, -value}, b.value().toFloatArray());
          }
          value++;
        }
        block.at("group_norm").get("weight", Shape.of(3), Init.zeros()).close();
        weights.requireAllUsed();
        assertEquals(file.toString(), weights.description());
      }
    }
  }

  @Test
  void otherNamesAndShapesStay() {
    Map<String, int[]> others =
        Map.of(
            "text.key.weight",
            new int[] {2, 2, 1, 1},
            "query.bias",
            new int[] {2},
            "monkey.weight",
            new int[] {2},
            BLOCK + "key.scale",
            new int[] {1},
            "proj_in.weight",
            new int[] {2, 2, 1, 1});
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = new TreeMap<>();
          others.forEach((name, shape) -> tensors.put(name, Tensor.zeros(shape)));
          save(new int[] {3, 3}, tensors);
        });
    try (TensorSource source = open();
        Scope scope = Scope.open()) {
      assertEquals(Map.of("format", "pt"), source.metadata());
      others.forEach(
          (name, shape) -> {
            assertTrue(source.entries().containsKey(name), name);
            assertEquals(Shape.of(shape), source.entries().get(name).shape());
            assertEquals(Shape.of(shape), source.read(name).shape());
          });
    }
  }

  @Test
  void presentNamesAreSqueezedAtTheRootToo() {
    Scope.run(() -> SafeTensors.save(file, Map.of("to_q.weight", Tensor.zeros(2, 5, 1, 1))));
    try (TensorSource source = open();
        Scope scope = Scope.open()) {
      assertEquals(Shape.of(2, 5), source.read("to_q.weight").shape());
      assertEquals(Set.of("to_q.weight"), source.entries().keySet());
    }
  }

  @Test
  void bothNamesAtOnceAreAnError() {
    Scope.run(() -> save(new int[] {3, 3}, Map.of(BLOCK + "to_q.weight", Tensor.zeros(3, 3))));
    try (TensorSource source = SafeTensors.open(file)) {
      WeightsException e = assertThrows(WeightsException.class, () -> LegacyNames.of(source));
      assertTrue(e.getMessage().contains(BLOCK + "to_q.weight"), e.getMessage());
    }
  }
}
