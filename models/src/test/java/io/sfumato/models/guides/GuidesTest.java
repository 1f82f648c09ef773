// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.guides;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.ImageFiles;
import io.sfumato.models.data.ShapeScene;
import io.sfumato.models.data.ShapesWorld;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the programs of the guides, and compares what they print with what the guides show. */
final class GuidesTest {
  private static final Pattern BLUE =
      Pattern.compile("blue: (\\S+) without, (\\S+) at half strength, (\\S+) with");
  private static final Set<ShapeScene.Shape> SHAPES =
      Set.of(ShapeScene.Shape.CIRCLE, ShapeScene.Shape.SQUARE, ShapeScene.Shape.STAR);

  @Test
  void theProgramsPrintWhatTheGuidesShow(@TempDir Path folder) throws IOException {
    Path shapes = folder.resolve("shapes");
    pictures(
        shapes,
        120,
        scene -> SHAPES.contains(scene.shape()) && scene.colour() != ShapeScene.Colour.BLUE);
    String trained =
        printed(() -> TrainYourOwn.main(new String[] {shapes.toString(), folder + "/out", "40"}));
    Output.assertShown("train-your-own.md", trained);
    assertTrue(Files.size(folder.resolve("out/drawn.png")) > 1000);

    Path circles = folder.resolve("blue");
    pictures(
        circles,
        20,
        scene ->
            scene.colour() == ShapeScene.Colour.BLUE && scene.shape() == ShapeScene.Shape.CIRCLE);
    String tuned =
        printed(
            () ->
                FineTuneWithLora.main(
                    new String[] {
                      folder + "/out/model", circles.toString(), folder + "/tuned", "20"
                    }));
    Matcher blue = BLUE.matcher(tuned);
    assertTrue(blue.find(), tuned);
    double without = Double.parseDouble(blue.group(1));
    double half = Double.parseDouble(blue.group(2));
    assertTrue(without < half && half < Double.parseDouble(blue.group(3)), tuned);
    Output.assertShown("fine-tune-with-lora.md", tuned);
    assertTrue(Files.size(folder.resolve("tuned/strengths.png")) > 1000);
  }

  /** Writes pictures as PNG files, a folder per class. */
  private static void pictures(Path folder, int count, Predicate<ShapeScene> chosen)
      throws IOException {
    var world = new ShapesWorld(ShapesWorld.options().resolution(16).plain(true));
    byte[] pixels = new byte[world.bytesPerImage()];
    int written = 0;
    for (int i = 0; written < count; i++) {
      if (chosen.test(world.scene(i))) {
        Path file =
            folder.resolve(world.classNames().get(world.label(i))).resolve(written + ".png");
        Files.createDirectories(file.getParent());
        world.copyPixels(i, pixels, 0);
        ImageFiles.writePng(file, pixels, 3, 16, 16);
        written++;
      }
    }
    assertEquals(count, written);
  }

  private static String printed(Runnable program) {
    PrintStream before = System.out;
    Locale locale = Locale.getDefault();
    var bytes = new ByteArrayOutputStream();
    try (var capture = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
      System.setOut(capture);
      Locale.setDefault(Locale.ROOT);
      program.run();
    } finally {
      System.setOut(before);
      Locale.setDefault(locale);
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
