// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.SplitMix64;
import java.util.HashSet;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class CaptionOptionsTest {
  private static final String TAGS = "a dog, red ,  big, old,, on grass";

  @Test
  void plainCaptionsStayAsTheyAre() {
    assertEquals(TAGS, CaptionOptions.PLAIN.apply(TAGS, new SplitMix64(0)));
  }

  @Test
  void tagsAreShuffledBehindThoseThatStay() {
    CaptionOptions shuffled = new CaptionOptions(true, 1, 0, 0);
    Set<String> seen = new HashSet<>();
    for (int i = 0; i < 400; i++) {
      String caption = shuffled.apply(TAGS, SplitMix64.of(1, i));
      assertTrue(caption.startsWith("a dog, "), caption);
      assertEquals(
          "[a dog, big, old, on grass, red]",
          new TreeSet<>(Set.of(caption.split(", "))).toString());
      assertEquals(caption, shuffled.apply(TAGS, SplitMix64.of(1, i)));
      seen.add(caption);
    }
    assertEquals(24, seen.size(), "all orders of four tags");
  }

  @Test
  void captionsAndTagsAreDroppedAsOftenAsAsked() {
    CaptionOptions options = new CaptionOptions(false, 1, 0.2, 0.5);
    int empty = 0;
    int tags = 0;
    for (int i = 0; i < 2000; i++) {
      String caption = options.apply(TAGS, SplitMix64.of(2, i));
      empty += caption.isEmpty() ? 1 : 0;
      tags += caption.isEmpty() ? 0 : caption.split(", ").length - 1;
    }
    assertEquals(400, empty, 60);
    assertEquals(2.0, (double) tags / (2000 - empty), 0.1);
  }

  @Test
  void everythingWrongIsSaidAtOnce() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> new CaptionOptions(true, -1, 2, Double.NaN));
    assertTrue(e.getMessage().matches("captions: .*stay.*; caption dropout.*; tag dropout.*"));
  }
}
