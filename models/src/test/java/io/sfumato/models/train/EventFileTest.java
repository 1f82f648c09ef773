// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.awt.image.BufferedImage;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Events for TensorBoard, beside a file that it wrote itself (golden/make_events.py). */
class EventFileTest {
  @TempDir Path folder;

  @Test
  void theBytesAreThoseOfTensorBoard() throws Exception {
    Path file = folder.resolve("runs/events");
    try (EventFile events = EventFile.open(file, 300, () -> 1700000000.5)) {
      events.scalar("loss", 300, 0.25);
      events.scalar("loss", 1L << 40, 0);
      events.scalar("größe", 301, Double.NaN);
      events.image("samples", 302, 2, 300, 3, "png".getBytes(StandardCharsets.UTF_8));
      events.histogram("weights", 303, new double[] {-1, 0.5, Double.NaN, 0.5, 4});
    }
    try (InputStream expected = EventFileTest.class.getResourceAsStream("/tensorboard/events")) {
      assertArrayEquals(expected.readAllBytes(), Files.readAllBytes(file));
    }
  }

  @Test
  void picturesInFilesSayTheirSize() throws Exception {
    Path png = folder.resolve("p.png");
    ImageIO.write(new BufferedImage(7, 5, BufferedImage.TYPE_INT_RGB), "png", png.toFile());
    byte[] bytes = Files.readAllBytes(png);
    Path one = folder.resolve("one/events");
    try (EventFile events = EventFile.open(one, 0, () -> 1700000000.5)) {
      events.image("previews", 8, png);
    }
    Path two = folder.resolve("two/events");
    try (EventFile events = EventFile.open(two, 0, () -> 1700000000.5)) {
      events.image("previews", 8, 5, 7, 3, bytes);
    }
    assertArrayEquals(Files.readAllBytes(two), Files.readAllBytes(one));
    Path text = Files.writeString(folder.resolve("t.png"), "no picture at all, but long enough");
    try (EventFile events = EventFile.open(one, 0, () -> 0)) {
      assertThrows(UncheckedIOException.class, () -> events.image("previews", 9, text));
    }
  }

  @Test
  void everyStartHasAFileOfItsOwn() throws Exception {
    EventFile.open(folder, 0).close();
    try (var files = Files.list(folder)) {
      List<Path> all = files.toList();
      assertEquals(1, all.size());
      String pattern = "events\\.out\\.tfevents\\.\\d{10}\\.\\d+";
      assertEquals(true, all.getFirst().getFileName().toString().matches(pattern));
    }
  }
}
