// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.Pictures.Size;
import io.sfumato.tensor.Rng;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class BucketsTest {
  /** What make_bucket_resolutions of kohya's sd-scripts prints for (512, 512) and SDXL's sizes. */
  @Test
  void sizesAreThoseOfSdScripts() {
    assertEquals(
        "256x832 256x896 256x960 256x1024 320x704 320x768 384x640 448x576 512x512 576x448 640x384"
            + " 704x320 768x320 832x256 896x256 960x256 1024x256",
        text(Buckets.of(512, 64, 256, 1024)));
    assertEquals(
        "512x1856 512x1920 512x1984 512x2048 576x1664 576x1728 576x1792 640x1536 640x1600 704x1408"
            + " 704x1472 768x1280 768x1344 832x1216 896x1152 960x1088 1024x1024 1088x960 1152x896"
            + " 1216x832 1280x768 1344x768 1408x704 1472x704 1536x640 1600x640 1664x576 1728x576"
            + " 1792x576 1856x512 1920x512 1984x512 2048x512",
        text(Buckets.around(1024, 64)));
  }

  private static String text(Buckets buckets) {
    return buckets.sizes().stream().map(Size::toString).collect(Collectors.joining(" "));
  }

  @Test
  void aPictureGoesToTheNearestProportions() {
    Buckets buckets = Buckets.around(1024, 64);
    assertEquals("1024x1024", name(buckets, 4000, 4000));
    assertEquals("832x1216", name(buckets, 3000, 2000));
    assertEquals("1216x832", name(buckets, 2000, 3000));
    assertEquals("2048x512", name(buckets, 100, 5000));
    assertEquals("512x1984", name(buckets, 1984, 512));
  }

  private static String name(Buckets buckets, int height, int width) {
    return buckets.sizes().get(buckets.nearest(new Size(height, width))).toString();
  }

  @Test
  void everythingWrongIsSaidAtOnce() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Buckets.of(32, 0, 64, 16));
    assertTrue(e.getMessage().contains("step") && e.getMessage().contains("least side"));
  }

  @Test
  void batchesAreOfOneBucketAndAnEpochShowsEveryPicture() {
    // 5 wide, 3 high and 1 square picture; batches of 2.
    List<Size> sizes = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      sizes.add(i < 5 ? new Size(40, 80) : i < 8 ? new Size(80, 40) : new Size(50, 50));
    }
    Buckets buckets = new Buckets(List.of(new Size(8, 16), new Size(16, 8), new Size(11, 11)));
    TestPictures pictures = new TestPictures(sizes);
    BucketPlan plan = new BucketPlan(pictures, buckets, 2, BrokenImages.FAIL, Rng.seed(1));
    assertEquals(3 + 2 + 1, plan.batchesPerEpoch());
    List<List<BatchPlan.Slot>> orders = new ArrayList<>();
    for (int epoch = 0; epoch < 3; epoch++) {
      Map<Integer, Integer> seen = new HashMap<>();
      List<BatchPlan.Slot> all = new ArrayList<>();
      for (int b = 6 * epoch; b < 6 * (epoch + 1); b++) {
        List<BatchPlan.Slot> slots = plan.slots(b);
        assertEquals(2, slots.size());
        for (BatchPlan.Slot slot : slots) {
          Size own = sizes.get(slot.index());
          assertEquals(plan.size(b), buckets.sizes().get(buckets.nearest(own)));
          seen.merge(slot.index(), 1, Integer::sum);
        }
        all.addAll(slots);
      }
      assertEquals(9, seen.size());
      assertEquals(12, all.size());
      assertEquals(2, seen.get(8)); // alone in its bucket
      orders.add(all.stream().map(s -> new BatchPlan.Slot(s.index(), 0)).toList());
    }
    assertTrue(!orders.get(0).equals(orders.get(1)) && !orders.get(1).equals(orders.get(2)));
    // Any order of asking gives the same.
    BucketPlan other = new BucketPlan(pictures, buckets, 2, BrokenImages.FAIL, Rng.seed(1));
    for (int b = 17; b >= 0; b--) {
      assertEquals(plan.slots(b), other.slots(b));
    }
    assertEquals(8, plan.next(8));
    assertEquals(5, plan.next(7));
  }

  @Test
  void partsAreRepeated() {
    List<Size> sizes = List.of(new Size(9, 9), new Size(9, 9), new Size(9, 9));
    Buckets one = new Buckets(List.of(new Size(8, 8)));
    TestPictures whole = new TestPictures(sizes).repeats(1, 3);
    BucketPlan plan = new BucketPlan(whole, one, 5, BrokenImages.FAIL, Rng.seed(3));
    assertEquals(1, plan.batchesPerEpoch());
    int[] counts = new int[3];
    plan.slots(7).forEach(s -> counts[s.index()]++);
    assertEquals("[1, 1, 3]", Arrays.toString(counts));
    assertEquals(5, new TreeSet<>(plan.slots(7).stream().map(s -> s.position()).toList()).size());
    TestPictures part = new TestPictures(sizes).repeats(1, 1.5);
    assertThrows(
        IllegalArgumentException.class,
        () -> new BucketPlan(part, one, 5, BrokenImages.FAIL, Rng.seed(3)));
  }
}
