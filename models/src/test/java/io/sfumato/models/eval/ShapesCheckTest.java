// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.ShapeScene;
import io.sfumato.models.data.ShapeScene.Colour;
import io.sfumato.models.data.ShapeScene.Shape;
import io.sfumato.models.data.ShapesWorld;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The check of pictures of the shapes world on pictures whose content is known. */
class ShapesCheckTest {
  @ParameterizedTest
  @ValueSource(ints = {16, 32})
  void readsRealScenes(int side) {
    var world = new ShapesWorld(ShapesWorld.options().resolution(side).count(240).seed(7));
    int labels = 0;
    int everything = 0;
    for (int i = 0; i < world.size(); i++) {
      ShapeScene scene = world.scene(i);
      byte[] picture = world.pixels(i);
      Optional<ShapesCheck.Reading> r = ShapesCheck.read(picture, side);
      labels +=
          r.filter(x -> x.shape() == scene.shape() && x.colour() == scene.colour()).isPresent()
              ? 1
              : 0;
      everything +=
          r.filter(x -> x.shape() == scene.shape() && x.colour() == scene.colour())
                  .filter(x -> x.size() == scene.size() && x.position() == scene.position())
                  .filter(x -> x.background() == scene.background())
                  .isPresent()
              ? 1
              : 0;
    }
    assertTrue(labels >= 0.99 * world.size(), labels + " of " + world.size());
    assertTrue(everything >= 0.99 * world.size(), everything + " of " + world.size());
  }

  @Test
  void rejectsEveryOtherLabel() {
    var world = new ShapesWorld(ShapesWorld.options().resolution(32).count(10).seed(8));
    for (int i = 0; i < world.size(); i++) {
      ShapeScene scene = world.scene(i);
      byte[] picture = world.pixels(i);
      assertTrue(ShapesCheck.shows(picture, 32, scene), scene.caption());
      for (Shape shape : Shape.values()) {
        boolean right = shape == scene.shape();
        assertEquals(right, ShapesCheck.shows(picture, 32, shape, scene.colour()));
      }
      for (Colour colour : Colour.values()) {
        boolean right = colour == scene.colour();
        assertEquals(right, ShapesCheck.shows(picture, 32, scene.shape(), colour));
      }
      ShapeScene other = world.scene((i + 1) % world.size());
      assertEquals(scene.equals(other), ShapesCheck.shows(picture, 32, other));
    }
  }

  @Test
  void seesThroughALittleBlurAndNoise() {
    int side = 32;
    var world = new ShapesWorld(ShapesWorld.options().resolution(side).count(80).seed(9));
    Random random = new Random(3);
    int right = 0;
    for (int i = 0; i < world.size(); i++) {
      byte[] picture = blurred(world.pixels(i), side);
      for (int p = 0; p < picture.length; p++) {
        double v = (picture[p] & 0xFF) + 5 * random.nextGaussian();
        picture[p] = (byte) Math.clamp(Math.round(v), 0, 255);
      }
      ShapeScene scene = world.scene(i);
      right += ShapesCheck.shows(picture, side, scene.shape(), scene.colour()) ? 1 : 0;
    }
    assertTrue(right >= 0.99 * world.size(), right + " of " + world.size());
  }

  @Test
  void picturesWithoutOneShapeShowNone() {
    int side = 32;
    var world = new ShapesWorld(ShapesWorld.options().resolution(side).count(2000).seed(10));
    assertTrue(ShapesCheck.read(new byte[3 * side * side], side).isEmpty(), "black");
    byte[] noise = new byte[3 * side * side];
    new Random(4).nextBytes(noise);
    assertTrue(ShapesCheck.read(noise, side).isEmpty(), "noise");
    int pairs = 0;
    for (int i = 0; i < world.size() && pairs < 10; i++) {
      ShapeScene left = world.scene(i);
      for (int j = i + 1; j < world.size(); j++) {
        ShapeScene right = world.scene(j);
        if (left.background() == right.background()
            && left.colour() == right.colour()
            && left.size() == right.size()
            && left.size() != ShapeScene.Size.LARGE
            && left.position() == ShapeScene.Position.TOP_LEFT
            && right.position() == ShapeScene.Position.BOTTOM_RIGHT) {
          byte[] both = halves(world.pixels(i), world.pixels(j), side);
          assertTrue(ShapesCheck.read(both, side).isEmpty(), left + " and " + right);
          pairs++;
          break;
        }
      }
    }
    assertTrue(pairs >= 5, "only " + pairs + " pairs were found");
  }

  @Test
  void refusesOtherSizes() {
    assertThrows(IllegalArgumentException.class, () -> ShapesCheck.read(new byte[3 * 64], 8));
    assertThrows(IllegalArgumentException.class, () -> ShapesCheck.read(new byte[100], 32));
  }

  /** The picture above the other diagonal of one, and below it of the other. */
  private static byte[] halves(byte[] upperLeft, byte[] lowerRight, int side) {
    byte[] both = lowerRight.clone();
    for (int p = 0; p < both.length; p++) {
      int x = p % side;
      int y = p / side % side;
      if (x + y < side - 1) {
        both[p] = upperLeft[p];
      }
    }
    return both;
  }

  /** The weights 1 2 1 along both axes. */
  private static byte[] blurred(byte[] picture, int side) {
    byte[] result = picture.clone();
    for (int c = 0; c < 3; c++) {
      for (int y = 1; y < side - 1; y++) {
        for (int x = 1; x < side - 1; x++) {
          int sum = 0;
          for (int k = 0; k < 9; k++) {
            int dy = k / 3 - 1;
            int dx = k % 3 - 1;
            int weight = (dy == 0 ? 2 : 1) * (dx == 0 ? 2 : 1);
            sum += weight * (picture[(c * side + y + dy) * side + x + dx] & 0xFF);
          }
          result[(c * side + y) * side + x] = (byte) ((sum + 8) / 16);
        }
      }
    }
    return result;
  }
}
