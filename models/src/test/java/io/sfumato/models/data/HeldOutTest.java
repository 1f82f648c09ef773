// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

class HeldOutTest {
  /** Twenty pictures of one pixel; the last ten are shown three times. */
  private record Named() implements ImageDataset {
    @Override
    public int size() {
      return 20;
    }

    @Override
    public int channels() {
      return 1;
    }

    @Override
    public int height() {
      return 1;
    }

    @Override
    public int width() {
      return 1;
    }

    @Override
    public void copyPixels(int index, byte[] target, int offset) {
      target[offset] = (byte) index;
    }

    @Override
    public int label(int index) {
      return 0;
    }

    @Override
    public List<String> classNames() {
      return List.of("all");
    }

    @Override
    public Optional<String> caption(int index) {
      return Optional.of("caption " + index);
    }

    @Override
    public String name(int index) {
      return "file " + index;
    }

    @Override
    public List<Part> parts() {
      return List.of(new Part(0, 10, 1), new Part(10, 10, 3));
    }
  }

  @Test
  void bothPartsKeepNamesCaptionsAndRepeats() {
    HeldOut split = HeldOut.of(new Named(), 0.25, Rng.seed(3));
    Set<Integer> seen = new HashSet<>();
    for (ImageDataset part : List.of(split.training(), split.held())) {
      int showings = 0;
      int expected = 0;
      for (int i = 0; i < part.size(); i++) {
        int index = part.pixels(i)[0];
        assertTrue(seen.add(index));
        assertEquals("file " + index, part.name(i));
        assertEquals(Optional.of("caption " + index), part.caption(i));
        expected += index < 10 ? 1 : 3;
      }
      for (Pictures.Part p : part.parts()) {
        showings += p.showings();
      }
      assertEquals(expected, showings);
    }
    assertEquals(20, seen.size());
    assertEquals(5, split.held().size());
  }
}
