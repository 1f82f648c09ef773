// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.MixedPictures;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.Pictures.Part;
import io.sfumato.models.data.Pictures.Size;
import io.sfumato.tensor.Rng;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class SampleOrderTest {
  private static final Size SIZE = new Size(4, 4);

  private static List<Integer> shown(SampleOrder order, long firstBatch, int batches) {
    List<Integer> indices = new ArrayList<>();
    for (long b = firstBatch; b < firstBatch + batches; b++) {
      order.slots(b).forEach(s -> indices.add(s.index()));
    }
    return indices;
  }

  @Test
  void wholeRepeatsAreExactInEveryEpoch() {
    SampleOrder order =
        new SampleOrder(List.of(new Part(0, 4, 1), new Part(4, 2, 3)), 5, SIZE, Rng.seed(4));
    assertEquals(10, order.epochSize());
    for (int epoch = 0; epoch < 3; epoch++) {
      List<Integer> indices = shown(order, 2L * epoch, 2);
      Collections.sort(indices);
      assertEquals(List.of(0, 1, 2, 3, 4, 4, 4, 5, 5, 5), indices);
    }
  }

  @Test
  void fractionsGoThroughAllPicturesBeforeOneComesAgain() {
    // 7 of 10 pictures in each epoch: after ten epochs each was shown seven times.
    SampleOrder order = new SampleOrder(List.of(new Part(0, 10, 0.7)), 7, SIZE, Rng.seed(5));
    int[] counts = new int[10];
    for (int epoch = 0; epoch < 10; epoch++) {
      shown(order, epoch, 1).forEach(i -> counts[i]++);
      int least = Arrays.stream(counts).min().orElseThrow();
      int most = Arrays.stream(counts).max().orElseThrow();
      assertTrue(most - least <= 1, Arrays.toString(counts));
    }
    assertEquals("[7, 7, 7, 7, 7, 7, 7, 7, 7, 7]", Arrays.toString(counts));
  }

  @Test
  void anEpochOfFractionsIsShuffledAFewTimesOnly() {
    SampleOrder order =
        new SampleOrder(
            List.of(new Part(0, 1000, 0.7), new Part(1000, 300, 2.5)), 29, SIZE, Rng.seed(8));
    shown(order, 0, 10 * order.epochSize() / 29);
    assertTrue(order.made() <= 7 + 25 + 2, order.made() + " orders");
  }

  @Test
  void aPlanIsAFunctionOfTheNumber() {
    List<Part> parts = List.of(new Part(0, 10, 0.7), new Part(10, 3, 2));
    SampleOrder forward = new SampleOrder(parts, 4, SIZE, Rng.seed(6));
    SampleOrder back = new SampleOrder(parts, 4, SIZE, Rng.seed(6));
    List<List<BatchPlan.Slot>> all = new ArrayList<>();
    for (int b = 0; b < 40; b++) {
      all.add(forward.slots(b));
    }
    for (int b = 39; b >= 0; b--) {
      assertEquals(all.get(b), back.slots(b));
    }
  }

  @Test
  void weightsGiveProportionsWhateverTheSizes() {
    Pictures large = new TestPictures(Collections.nCopies(90, SIZE));
    Pictures small = new TestPictures(Collections.nCopies(10, SIZE));
    MixedPictures mixed = MixedPictures.weighted(List.of(large, small), 1, 3);
    SampleOrder order = new SampleOrder(mixed.parts(), 10, SIZE, Rng.seed(7));
    assertEquals(100, order.epochSize());
    for (int epoch = 0; epoch < 5; epoch++) {
      long ofSmall = shown(order, 10L * epoch, 10).stream().filter(i -> i >= 90).count();
      assertEquals(75, ofSmall);
    }
  }

  @Test
  void classesOfTheSameNameAreOne() {
    Pictures first = new TestPictures(Collections.nCopies(3, SIZE));
    MixedPictures mixed =
        MixedPictures.of(
            List.of(new MixedPictures.Share(first, 1), new MixedPictures.Share(first, 2.5)));
    assertEquals(List.of("even", "odd"), mixed.classNames());
    assertEquals(6, mixed.size());
    assertEquals(1, mixed.label(4));
    assertEquals(1, mixed.picture(4).pixels()[0]);
    assertEquals(List.of(new Part(0, 3, 1), new Part(3, 3, 2.5)), mixed.parts());
    assertEquals("picture, number 2", mixed.caption(5).orElseThrow());
    assertThrows(IndexOutOfBoundsException.class, () -> mixed.label(6));
    assertThrows(IllegalArgumentException.class, () -> MixedPictures.of(List.of()));
    assertThrows(
        IllegalArgumentException.class,
        () -> MixedPictures.of(List.of(new MixedPictures.Share(first, 0))));
  }
}
