// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
