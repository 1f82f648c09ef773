// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures.Size;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.train.LoaderOptions;
import io.sfumato.tensor.Rng;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class NativeBucketsTest {
  /** Written by make_buckets.py. */
  @Test
  void sizesAreThoseOfSdScriptsWithoutUpscaling() throws Exception {
    int checked = 0;
    int unsuited = 0;
    try (InputStream in = NativeBucketsTest.class.getResourceAsStream("no_upscale.csv")) {
      String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      for (String line : text.lines().skip(1).toList()) {
        String[] n = line.split(",", -1);
        NativeBuckets buckets = new NativeBuckets(number(n[0]), number(n[1]));
        Size picture = new Size(number(n[3]), number(n[2]));
        if (n[4].isEmpty()) {
          assertEquals(null, buckets.bucket(picture), line);
          unsuited++;
        } else {
          assertEquals(new Size(number(n[5]), number(n[4])), buckets.bucket(picture), line);
          assertEquals(new Size(number(n[7]), number(n[6])), buckets.resized(picture), line);
          checked++;
        }
      }
    }
    assertTrue(checked > 350 && unsuited > 5, checked + " and " + unsuited);
  }

  private static int number(String text) {
    return Integer.parseInt(text);
  }

  @Test
  void noPictureIsEnlarged() {
    for (int height = 1; height < 200; height += 7) {
      for (int width = 1; width < 2000; width += 13) {
        NativeBuckets buckets = new NativeBuckets(64, 8);
        Size resized = buckets.resized(new Size(height, width));
        Size bucket = buckets.bucket(new Size(height, width));
        if (bucket != null) {
          assertTrue(
              Objects.requireNonNull(resized).height() <= height && resized.width() <= width);
          assertTrue(bucket.height() <= resized.height() && bucket.width() <= resized.width());
        }
      }
    }
  }

  private static Picture shown(TestPictures pictures, int index, String... augmentations) {
    NativeBuckets buckets = new NativeBuckets(64, 8);
    SampleReader reader =
        new SampleReader(
            pictures,
            Augmentations.parse(List.of(augmentations)),
            buckets,
            null,
            BrokenImages.FAIL,
            Rng.seed(1));
    Sample sample =
        reader.read(
            new BatchPlan.Slot(index, 0),
            Objects.requireNonNull(buckets.bucket(pictures.sizeOf(index))),
            i -> i);
    assertEquals(
        reader.shown(index, 0, new Size(sample.picture().height(), sample.picture().width())),
        sample.shown());
    return sample.picture();
  }

  @Test
  void aSmallPictureIsShownPixelByPixel() {
    // 19 x 21: columns 2 to 17 and rows 1 to 16 of the picture as it is.
    TestPictures pictures = new TestPictures(List.of(new Size(19, 21))).gradient();
    Picture whole = pictures.picture(0);
    Picture seen = shown(pictures, 0);
    assertEquals(16, seen.height());
    assertEquals(16, seen.width());
    for (int y = 0; y < 16; y++) {
      assertArrayEquals(
          Arrays.copyOfRange(whole.pixels(), (y + 1) * 21 + 2, (y + 1) * 21 + 18),
          Arrays.copyOfRange(seen.pixels(), y * 16, y * 16 + 16));
    }
    Picture elsewhere = shown(pictures, 0, "crop");
    assertEquals(16, elsewhere.height());
  }

  @Test
  void aLargePictureIsResizedAsAWholeThenCut() {
    TestPictures pictures = new TestPictures(List.of(new Size(100, 250))).gradient();
    NativeBuckets buckets = new NativeBuckets(64, 8);
    Size resized = Objects.requireNonNull(buckets.resized(new Size(100, 250)));
    assertEquals("100x40", resized.toString());
    Picture small =
        pictures
            .picture(0)
            .view(new Picture.Region(0, 0, 100, 250), resized.height(), resized.width());
    Picture seen = shown(pictures, 0);
    assertEquals(96, seen.width());
    assertEquals(40, seen.height());
    for (int y = 0; y < 40; y++) {
      assertArrayEquals(
          Arrays.copyOfRange(small.pixels(), y * 100 + 2, y * 100 + 98),
          Arrays.copyOfRange(seen.pixels(), y * 96, y * 96 + 96));
    }
  }

  @Test
  void picturesThatAreTooSmallAreErrorsOrReplaced() {
    List<Size> sizes = List.of(new Size(20, 20), new Size(7, 30), new Size(20, 20));
    TestPictures pictures = new TestPictures(sizes);
    NativeBuckets buckets = new NativeBuckets(64, 8);
    DatasetException e =
        assertThrows(
            DatasetException.class,
            () -> new BucketPlan(pictures, buckets, 3, BrokenImages.FAIL, Rng.seed(1)));
    assertTrue(e.getMessage().startsWith("picture 1: has 30x7 pixels, too few"), e.getMessage());
    BucketPlan plan = new BucketPlan(pictures, buckets, 3, BrokenImages.SKIP_AND_LOG, Rng.seed(1));
    SampleReader reader =
        new SampleReader(
            pictures, Augmentations.NONE, buckets, null, BrokenImages.SKIP_AND_LOG, Rng.seed(1));
    for (BatchPlan.Slot slot : plan.slots(0)) {
      Sample sample = reader.read(slot, plan.size(0), plan::next);
      assertEquals(slot.index() == 1 ? 2 : slot.index(), sample.shown().index());
      assertEquals(slot.index() == 1 ? 1 : 0, sample.failures().size());
    }
    TestPictures none = new TestPictures(List.of(new Size(7, 30)));
    assertThrows(
        DatasetException.class,
        () -> new BucketPlan(none, buckets, 3, BrokenImages.SKIP_AND_LOG, Rng.seed(1)));
  }

  @Test
  void whatCannotGoTogetherIsSaid() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> new NativeBuckets(9000, 0));
    assertTrue(e.getMessage().contains("step") && e.getMessage().contains("side"));
    NativeBuckets buckets = new NativeBuckets(64, 8);
    LoaderOptions resized =
        LoaderOptions.of(1).augmentations(Augmentations.parse(List.of("resized-crop")));
    e = assertThrows(IllegalArgumentException.class, () -> resized.buckets(buckets));
    assertTrue(e.getMessage().contains("enlarges pictures"), e.getMessage());
    LoaderOptions unit = LoaderOptions.of(1).unit(16);
    e = assertThrows(IllegalArgumentException.class, () -> unit.buckets(buckets));
    assertTrue(e.getMessage().contains("multiples of 16 pixels; got steps of 8"), e.getMessage());
  }
}
