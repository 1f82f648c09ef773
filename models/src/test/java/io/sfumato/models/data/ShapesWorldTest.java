// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ShapesWorldTest {
  /** The pictures may not change: models trained on them, and results quoted, depend on that. */
  @ParameterizedTest
  @CsvSource({"8, e4a94bc6", "16, 353fbdbc", "32, b51614af", "64, bca9c62e", "128, 262beee6"})
  void picturesArePinned(int resolution, String crc) {
    ShapesWorld world =
        new ShapesWorld(ShapesWorld.options().count(160).resolution(resolution).seed(7));
    CRC32 hash = new CRC32();
    hash.update(world.pixels(0, 160));
    assertEquals(crc, Long.toHexString(hash.getValue()));
  }

  @Test
  void splitMixIsTheReference() {
    // First outputs of the reference program for the seed 1234567.
    SplitMix64 random = new SplitMix64(1234567);
    assertEquals(6457827717110365317L, random.nextLong());
    assertEquals(3203168211198807973L, random.nextLong());
    assertEquals(-8629252141511181193L, random.nextLong());
    for (int i = 0; i < 1000; i++) {
      double d = random.nextDouble();
      int n = random.nextInt(7);
      assertTrue(d >= 0 && d < 1 && n >= 0 && n < 7);
    }
    assertThrows(IllegalArgumentException.class, () -> random.nextInt(0));
  }

  @ParameterizedTest
  @EnumSource
  void labelsAreBalanced(ShapesWorld.Labels labels) {
    ShapesWorld world = new ShapesWorld(ShapesWorld.options().count(800).labels(labels).seed(3));
    int[] counts = new int[world.classNames().size()];
    for (int i = 0; i < world.size(); i++) {
      counts[world.label(i)]++;
    }
    for (int count : counts) {
      assertEquals(800 / counts.length, count);
    }
  }

  @Test
  void labelsSayWhatIsShown() {
    ShapesWorld.Options options = ShapesWorld.options().count(100);
    ShapesWorld shapes = new ShapesWorld(options);
    ShapesWorld colours = new ShapesWorld(options.labels(ShapesWorld.Labels.COLOUR));
    ShapesWorld both = new ShapesWorld(options.labels(ShapesWorld.Labels.COLOUR_AND_SHAPE));
    for (int i = 0; i < 100; i++) {
      ShapeScene scene = shapes.scene(i);
      String shape = ShapeScene.word(scene.shape());
      String colour = ShapeScene.word(scene.colour());
      assertEquals(shape, shapes.classNames().get(shapes.label(i)));
      assertEquals(colour, colours.classNames().get(colours.label(i)));
      assertEquals(colour + " " + shape, both.classNames().get(both.label(i)));
      assertTrue(both.caption(i).orElseThrow().contains(colour + " " + shape));
    }
  }

  @Test
  void everySceneReadsBackFromItsCaption() {
    int scenes = 0;
    for (ShapeScene.Shape shape : ShapeScene.Shape.values()) {
      for (ShapeScene.Colour colour : ShapeScene.Colour.values()) {
        assertTrue(colour.backgrounds().size() >= 3, colour + ": " + colour.backgrounds());
        for (ShapeScene.Size size : ShapeScene.Size.values()) {
          for (ShapeScene.Position position : ShapeScene.Position.values()) {
            for (ShapeScene.Background background : colour.backgrounds()) {
              ShapeScene scene = new ShapeScene(shape, colour, size, position, background);
              assertEquals(scene, ShapeScene.parse(scene.caption()));
              scenes++;
            }
          }
        }
      }
    }
    assertTrue(scenes > 5000);
    ShapeScene example =
        ShapeScene.parse("a small yellow star at the top left on a blue background");
    assertEquals(ShapeScene.Position.TOP_LEFT, example.position());
    assertEquals(ShapeScene.Background.BLUE, example.background());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "a star",
        "a tiny red star at the top on a white background",
        "a small red star at the side on a white background",
        "a small blue star at the top on a blue background",
      })
  void captionsThatAreNone(String caption) {
    assertThrows(IllegalArgumentException.class, () -> ShapeScene.parse(caption));
  }

  @Test
  void attributesAreSpreadEvenly() {
    ShapesWorld world = new ShapesWorld(ShapesWorld.options().count(9000));
    Map<ShapeScene.Position, Integer> positions = new EnumMap<>(ShapeScene.Position.class);
    Map<ShapeScene.Size, Integer> sizes = new EnumMap<>(ShapeScene.Size.class);
    for (int i = 0; i < world.size(); i++) {
      positions.merge(world.scene(i).position(), 1, Integer::sum);
      sizes.merge(world.scene(i).size(), 1, Integer::sum);
    }
    // Five standard deviations of a binomial count.
    positions.values().forEach(n -> assertEquals(1000, n, 5 * Math.sqrt(9000 * 8 / 81.0)));
    sizes.values().forEach(n -> assertEquals(3000, n, 5 * Math.sqrt(9000 * 2 / 9.0)));
  }

  @ParameterizedTest
  @ValueSource(ints = {8, 16, 32, 64, 128})
  void shapesAreSeenAtEveryResolution(int n) {
    ShapesWorld world = new ShapesWorld(ShapesWorld.options().count(240).resolution(n));
    for (int i = 0; i < world.size(); i++) {
      byte[] pixels = world.pixels(i);
      assertEquals(3 * n * n, pixels.length);
      ShapeScene scene = world.scene(i);
      int back = scene.background().rgb();
      int front = scene.colour().rgb();
      double covered = 0;
      double sumX = 0;
      double sumY = 0;
      for (int p = 0; p < n * n; p++) {
        int rgb = ImageFiles.rgb(pixels, 0, 3, n * n, p);
        // Coverage, from the channel in which the colours differ most.
        double best = 0;
        int span = 0;
        for (int shift = 0; shift <= 16; shift += 8) {
          int d = (front >> shift & 0xFF) - (back >> shift & 0xFF);
          if (Math.abs(d) > Math.abs(span)) {
            span = d;
            best = ((rgb >> shift & 0xFF) - (back >> shift & 0xFF)) / (double) d;
          }
        }
        covered += best;
        sumX += best * (p % n + 0.5);
        sumY += best * (p / n + 0.5);
      }
      double radius = scene.size().radius();
      double area = covered / (n * n) / (radius * radius);
      assertTrue(area > 0.9 && area < 3.6, scene + ": area " + area);
      assertEquals(scene.position().dx(), side(sumX / covered / n), scene.toString());
      assertEquals(scene.position().dy(), side(sumY / covered / n), scene.toString());
    }
  }

  /** Returns -1, 0 or 1 for the left, middle and right of the picture. */
  private static int side(double place) {
    return place < 0.42 ? -1 : place > 0.58 ? 1 : 0;
  }

  @Test
  void dependsOnSeedAndIndexAlone() {
    ShapesWorld.Options options = ShapesWorld.options().count(50).resolution(16);
    ShapesWorld world = new ShapesWorld(options);
    byte[] all = world.pixels(0, 50);
    byte[] late = new ShapesWorld(options.count(500)).pixels(49);
    assertArrayEquals(Arrays.copyOfRange(all, 49 * 768, 50 * 768), late);
    assertFalse(Arrays.equals(all, new ShapesWorld(options.seed(1)).pixels(0, 50)));
    assertFalse(Arrays.equals(all, new ShapesWorld(options.jitter(false)).pixels(0, 50)));
    assertEquals(world.scene(3), new ShapesWorld(options.resolution(64)).scene(3));
    assertNotEquals(world.scene(3), world.scene(4));
    InMemoryImageDataset copy = InMemoryImageDataset.copyOf(world);
    assertArrayEquals(all, copy.pixels(0, 50));
    assertEquals(world.caption(7), copy.caption(7));
    assertEquals(world.label(7), copy.label(7));
  }

  @Test
  void refusesOptionsOutOfRange() {
    ShapesWorld.Options options = ShapesWorld.options();
    assertThrows(IllegalArgumentException.class, () -> options.count(0));
    assertThrows(IllegalArgumentException.class, () -> options.resolution(7));
    assertThrows(IllegalArgumentException.class, () -> options.resolution(2000));
    assertThrows(IndexOutOfBoundsException.class, () -> new ShapesWorld(options).pixels(10_000));
  }
}
