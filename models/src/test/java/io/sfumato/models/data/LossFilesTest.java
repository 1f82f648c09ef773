// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LossFilesTest {
  @TempDir Path folder;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models.data");

  @Test
  void tableGrowsOverSeveralRuns() {
    Path file = folder.resolve("run/loss.csv");
    List<LossCsv.Row> rows = rows(6);
    try (LossCsv csv = LossCsv.open(file)) {
      rows.subList(0, 3).forEach(csv::append);
      // Readable while open.
      assertEquals(rows.subList(0, 3), LossCsv.read(file));
      assertThrows(IllegalArgumentException.class, () -> csv.append(rows.get(2)));
    }
    try (LossCsv csv = LossCsv.open(file)) {
      assertThrows(IllegalArgumentException.class, () -> csv.append(rows.get(2)));
      rows.subList(3, 6).forEach(csv::append);
    }
    assertEquals(rows, LossCsv.read(file));
    try (LossCsv csv = LossCsv.resume(file, rows.get(4).step())) {
      assertEquals(rows.subList(0, 4), LossCsv.read(file));
      csv.append(rows.get(5));
    }
    assertEquals(5, LossCsv.read(file).size());
  }

  @Test
  void keepsNumbersExactly() {
    Path file = folder.resolve("loss.csv");
    List<LossCsv.Row> rows =
        List.of(
            new LossCsv.Row(1, Double.NaN, 1e-300, 0),
            new LossCsv.Row(2, Double.POSITIVE_INFINITY, 0.1 + 0.2, 1.0 / 3),
            new LossCsv.Row(1L << 40, -1e-5, 0, 1e9));
    try (LossCsv csv = LossCsv.open(file)) {
      rows.forEach(csv::append);
    }
    assertEquals(rows, LossCsv.read(file));
  }

  @Test
  void dropsALineCutShort() throws IOException {
    Path file = folder.resolve("loss.csv");
    try (LossCsv csv = LossCsv.open(file)) {
      rows(2).forEach(csv::append);
    }
    byte[] whole = Files.readAllBytes(file);
    Files.writeString(file, "30,0.5,1e", StandardOpenOption.APPEND);
    assertEquals(2, LossCsv.read(file).size());
    try (LossCsv csv = LossCsv.open(file)) {
      assertArrayEquals(whole, Files.readAllBytes(file));
      csv.append(new LossCsv.Row(30, 1, 2, 3));
    }
    assertEquals(3, LossCsv.read(file).size());
    // Even the header may be cut short.
    Files.writeString(file, "step,lo");
    try (LossCsv csv = LossCsv.open(file)) {
      csv.append(new LossCsv.Row(1, 1, 2, 3));
    }
    assertEquals(1, LossCsv.read(file).size());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "epoch,loss\n1,2\n",
        "something else",
        "step,loss,learning_rate,seconds\n1,2,3\n",
        "step,loss,learning_rate,seconds\n1,x,3,4\n",
        "step,loss,learning_rate,seconds\n2,1,1,1\n2,1,1,1\n",
      })
  void leavesOtherFilesAlone(String text) throws IOException {
    Path file = Files.writeString(folder.resolve("other.csv"), text);
    DatasetException e = assertThrows(DatasetException.class, () -> LossCsv.open(file));
    assertTrue(e.getMessage().contains("other.csv: at byte "), e.getMessage());
    assertEquals(text, Files.readString(file));
  }

  @Test
  void plotIsAPngOfTheSizeAskedFor() throws IOException {
    Path file = folder.resolve("plots/loss.png");
    LossPlot.write(file, rows(5000), LossPlot.options().size(640, 400).title("Run 1"));
    BufferedImage image = ImageIO.read(file.toFile());
    assertEquals(640, image.getWidth());
    assertEquals(400, image.getHeight());
    assertTrue(count(image, 0x1F4E9E) > 100, "the smooth curve is drawn");
    assertEquals((byte) 0x89, Files.readAllBytes(file)[0]);
  }

  @Test
  void plotsWhateverComes() throws IOException {
    Path file = folder.resolve("loss.png");
    List<List<LossCsv.Row>> cases =
        List.of(
            rows(1),
            rows(2),
            List.of(row(1, 0.5), row(2, 0.5), row(3, 0.5)),
            List.of(row(1, -1), row(2, 0), row(3, 100)),
            List.of(row(1, Double.NaN), row(2, 1e-30), row(3, 1e30)),
            List.of(row(1, 5), row(2, Double.POSITIVE_INFINITY), row(3, 0.4)));
    for (List<LossCsv.Row> rows : cases) {
      LossPlot.write(file, rows, LossPlot.options());
      assertTrue(count(ImageIO.read(file.toFile()), 0x1F4E9E) > 10, rows.toString());
    }
    assertEquals(2, log.lines().size());
    assertTrue(log.lines().getFirst().contains("1 losses that are not finite"));
    LossPlot.write(file, rows(10), LossPlot.options().smoothing(0));
    assertEquals(0, count(ImageIO.read(file.toFile()), 0x1F4E9E));
  }

  @Test
  void refusesAPlotOfNothing() {
    Path file = folder.resolve("loss.png");
    LossPlot.Options options = LossPlot.options();
    assertThrows(IllegalArgumentException.class, () -> LossPlot.write(file, List.of(), options));
    List<LossCsv.Row> none = List.of(row(1, Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> LossPlot.write(file, none, options));
    assertThrows(IllegalArgumentException.class, () -> options.smoothing(1));
    assertThrows(IllegalArgumentException.class, () -> options.size(10, 400));
  }

  @Test
  void movingAverage() {
    double[] smooth = new Curve(new double[3], new double[] {4, 2, 2}).smooth(0.5).y();
    assertEquals(4, smooth[0], 1e-12);
    assertEquals((0.25 * 4 + 0.5 * 2) / 0.75, smooth[1], 1e-12);
    assertEquals((0.125 * 4 + 0.25 * 2 + 0.5 * 2) / 0.875, smooth[2], 1e-12);
  }

  private static int count(BufferedImage image, int rgb) {
    int count = 0;
    for (int i = 0; i < image.getWidth() * image.getHeight(); i++) {
      int pixel = image.getRGB(i % image.getWidth(), i / image.getWidth());
      count += (pixel & 0xFFFFFF) == rgb ? 1 : 0;
    }
    return count;
  }

  private static LossCsv.Row row(long step, double loss) {
    return new LossCsv.Row(step, loss, 1e-4, step);
  }

  private static List<LossCsv.Row> rows(int count) {
    List<LossCsv.Row> rows = new ArrayList<>();
    SplitMix64 random = new SplitMix64(11);
    for (int i = 0; i < count; i++) {
      rows.add(row(i * 10L, (0.02 + 1.0 / (1 + i)) * (0.5 + random.nextDouble())));
    }
    return rows;
  }
}
