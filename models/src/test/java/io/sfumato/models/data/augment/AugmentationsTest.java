// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures.Size;
import io.sfumato.models.data.SplitMix64;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

class AugmentationsTest {
  /** What torchvision makes of a picture; {@code torchvision.py} beside it wrote it. */
  @Test
  void pixelsAreThoseOfTorchvision() throws IOException {
    JsonNode golden;
    try (InputStream in = AugmentationsTest.class.getResourceAsStream("torchvision.json")) {
      golden = new ObjectMapper().readTree(in);
    }
    Picture picture = new Picture(bytes(golden), 3, 7, 9);
    Picture grey = new Picture(Arrays.copyOf(picture.pixels(), 63), 1, 7, 9);
    int cases = 0;
    for (JsonNode one : golden.path("cases")) {
      double value = one.path("value").doubleValue();
      String operation = one.path("operation").textValue();
      Picture ours =
          switch (operation) {
            case "brightness" -> ColorJitter.brightness(picture, value);
            case "contrast" -> ColorJitter.contrast(picture, value);
            case "saturation" -> ColorJitter.saturation(picture, value);
            case "hue" -> ColorJitter.hue(picture, value);
            case "rotate" -> RandomRotation.rotated(picture, value);
            case "grey contrast" -> ColorJitter.contrast(grey, value);
            default -> throw new AssertionError(operation);
          };
      // torchvision rotates in float32; the others are equal to the bit.
      int tolerance = operation.equals("rotate") ? 1 : 0;
      byte[] expected = bytes(one);
      assertEquals(expected.length, ours.pixels().length);
      for (int i = 0; i < expected.length; i++) {
        assertEquals(
            expected[i] & 0xFF,
            ours.pixels()[i] & 0xFF,
            tolerance,
            operation + " " + value + ", byte " + i);
      }
      cases++;
    }
    assertEquals(24, cases);
  }

  private static byte[] bytes(JsonNode node) {
    return HexFormat.of().parseHex(node.path("pixels").textValue());
  }

  @Test
  void flipMirrorsRows() {
    Picture picture = new Picture(new byte[] {1, 2, 3, 4, 5, 6}, 1, 2, 3);
    assertArrayEquals(
        new byte[] {3, 2, 1, 6, 5, 4},
        new HorizontalFlip(1).apply(picture, new SplitMix64(0)).pixels());
    assertSame(picture, new HorizontalFlip(0).apply(picture, new SplitMix64(0)));
    int mirrored = 0;
    for (int i = 0; i < 1000; i++) {
      mirrored += new HorizontalFlip(0.3).isMirrored(SplitMix64.of(1, i)) ? 1 : 0;
    }
    assertEquals(300, mirrored, 50);
  }

  @Test
  void cropsLieWithinThePictureAndVary() {
    Size picture = new Size(30, 47);
    Size target = new Size(16, 16);
    boolean[] lefts = new boolean[18];
    for (int i = 0; i < 500; i++) {
      Picture.Region r = new RandomCrop().region(picture, target, SplitMix64.of(2, i));
      assertEquals(30, r.height());
      assertEquals(30, r.width());
      assertEquals(0, r.top());
      lefts[r.left()] = true;
    }
    for (boolean seen : lefts) {
      assertTrue(seen, "every place of the crop occurs");
    }
    double area = 0;
    RandomResizedCrop crop = new RandomResizedCrop(0.25, 0.75);
    for (int i = 0; i < 500; i++) {
      Picture.Region r = crop.region(picture, target, SplitMix64.of(3, i));
      assertTrue(r.top() + r.height() <= 30 && r.left() + r.width() <= 47);
      double ratio = (double) r.width() / r.height();
      assertTrue(ratio > 0.70 && ratio < 1.42, "ratio " + ratio);
      area += r.height() * r.width() / (30.0 * 47) / 500;
    }
    // Areas that do not fit are drawn again, so the mean is a bit below the middle.
    assertEquals(0.47, area, 0.04);
    // Ten times larger than high: no square region of 0.9 of the area fits.
    Picture.Region r =
        new RandomResizedCrop(0.9, 1, 1, 1).region(new Size(10, 100), target, new SplitMix64(0));
    assertEquals(new Picture.Region(0, 45, 10, 10), r);
  }

  @Test
  void jitterIsAFunctionOfItsRandomNumbers() {
    byte[] pixels = new byte[3 * 64];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 37);
    }
    Picture picture = new Picture(pixels, 3, 8, 8);
    ColorJitter jitter = new ColorJitter(0.4, 0.4, 0.4, 0.1);
    byte[] first = jitter.apply(picture, SplitMix64.of(5, 1)).pixels();
    assertArrayEquals(first, jitter.apply(picture, SplitMix64.of(5, 1)).pixels());
    assertTrue(!Arrays.equals(first, jitter.apply(picture, SplitMix64.of(5, 2)).pixels()));
    assertSame(picture, new ColorJitter(0, 0, 0, 0).apply(picture, new SplitMix64(1)));
  }

  @Test
  void listsAreReadFromText() {
    Augmentations read = Augmentations.parse(List.of("flip:0.25", "crop", "jitter:0.1:0:0:0.5"));
    assertEquals(new RandomCrop(), read.framing());
    assertEquals(List.of(new HorizontalFlip(0.25), new ColorJitter(0.1, 0, 0, 0.5)), read.steps());
    assertEquals(
        List.of(new ColorJitter(0.3, 0.2, 0.2, 0.05)),
        Augmentations.parse(List.of("jitter:0.3")).steps());
    assertTrue(Augmentations.parse(List.of()).isNone());
    assertNotNull(Augmentations.parse(List.of("flip")).onlyFlip());
    assertNull(read.onlyFlip());
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                Augmentations.parse(
                    List.of("flop", "flip:2", "crop", "resized-crop", "jitter:a", "rotate:1:2")));
    for (String part :
        List.of(
            "'flop' is none of flip",
            "must be 0 to 1; got 2.0",
            "second crop",
            "a is no number",
            "at most 1 numbers")) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
  }
}
