// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.train.Checkpoint;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Document;
import org.xml.sax.InputSource;

/** Reports of whole, partial, damaged and hostile run folders. */
class ReportTest {
  private static final String HOSTILE =
      "</pre><script>alert(\"1\")</script>&'<img src=x onerror=y>";

  @TempDir Path folder;

  private static void metrics(Path run, int steps, double scale) throws IOException {
    StringBuilder lines = new StringBuilder();
    for (int i = 1; i <= steps; i++) {
      lines.append(
          String.format(
              Locale.ROOT,
              "{\"step\":%d,\"seconds\":%.1f,\"loss\":%.4f,\"learning_rate\":1e-3,"
                  + "\"gradient_norm\":0.5,\"images_per_second\":80,\"live_bytes\":1048576,"
                  + "\"peak_bytes\":3145728}%n",
              i,
              i * 0.5,
              scale / i));
      if (i % 50 == 0) {
        lines.append("{\"step\":" + i + ",\"validation_loss\":" + (scale / i + 0.25) + "}\n");
      }
    }
    Files.writeString(run.resolve("metrics.jsonl"), lines);
  }

  private static byte[] png(Path file, int side) throws IOException {
    Files.createDirectories(file.getParent());
    ImageIO.write(new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB), "png", file.toFile());
    return Files.readAllBytes(file);
  }

  private Path whole(String className) throws IOException {
    Path run = Files.createDirectories(folder.resolve("run"));
    metrics(run, 200, 1);
    Files.writeString(run.resolve("config.yaml"), "steps: 200\nnote: " + className + "\n");
    for (int i = 0; i < 30; i++) {
      png(run.resolve(String.format("previews/step-%09d.png", 10 * i)), 4 + i);
    }
    png(run.resolve("samples.png"), 64);
    Files.writeString(
        run.resolve("profile.json"),
        "[{\"module\":\"mid_block\",\"calls\":4,\"seconds\":0.5,\"bytes\":2048},"
            + "{\"module\":\"up_blocks.1.resnets.0\",\"calls\":4,\"seconds\":0.5,\"bytes\":2048},"
            + "{\"module\":\"up_blocks.1.conv\",\"calls\":7,\"seconds\":0.25,\"bytes\":4096},"
            + "{\"module\":\"\",\"calls\":2,\"seconds\":2,\"bytes\":4096}]");
    Files.writeString(
        run.resolve("environment.json"), "{\"device\":\"cpu\",\"memory_bytes\":2147483648}");
    for (long step : new long[] {100, 200}) {
      Checkpoint.save(
          run.resolve("checkpoint"),
          1,
          new Checkpoint.State(step, step, Map.of("classes", className), List.of(className)),
          into -> {
            try (Scope scope = Scope.open()) {
              Files.createDirectories(into.resolve("training"));
              SafeTensors.save(
                  into.resolve("training/weights.safetensors"),
                  Map.of("w", Tensor.of(new float[1234], 1234)));
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    }
    return run;
  }

  /** The page as a tree: whatever is not escaped or not closed fails here. */
  private static Document parsed(String html) throws Exception {
    String body =
        html.substring(html.indexOf("<body>"), html.indexOf("</body>") + 7)
            .replaceAll("<img ([^>]*)>", "<img $1/>");
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new InputSource(new StringReader(body)));
  }

  private static int count(Document page, String tag) {
    return page.getElementsByTagName(tag).getLength();
  }

  @Test
  void aWholeRunHasAllSections() throws Exception {
    Path run = whole("seven");
    byte[] samples = Files.readAllBytes(run.resolve("samples.png"));
    Path file = Report.write(run);
    assertEquals(run.resolve("report.html"), file);
    String html = Files.readString(file);
    Document page = parsed(html);
    assertEquals(6, count(page, "svg"));
    assertEquals(1 + Pictures.MOST, count(page, "img"));
    String text = page.getDocumentElement().getTextContent();
    for (String expected :
        List.of(
            "Training loss (logarithmic)",
            "moving average (0.97)",
            "Validation loss",
            "Learning rate",
            "Norm of the gradients",
            "Images per second",
            "Memory of tensors, MiB",
            "Previews during training",
            "24 of 30, equally spaced.",
            "step 290",
            "Time per module",
            "(outside of modules)",
            "up_blocks.1110.75006.0 KiB", // the sum of two
            "mid_block",
            "2.0 KiB",
            "Checkpoints",
            "checkpoint-history/step-",
            "1,234",
            "0.2550 (step 200)",
            "1 min 40 s",
            "seven",
            "2.0 GiB",
            "steps: 200")) {
      assertTrue(text.contains(expected), expected);
    }
    assertFalse(text.contains("Not everything"), text);
    assertTrue(html.contains(Base64.getEncoder().encodeToString(samples)), "the very bytes");
    assertFalse(html.matches("(?s).*(https?:|<script|<link|@import|url\\().*"), "loads nothing");
    Matcher data = Pattern.compile("data:image/png;base64,([^\"]+)").matcher(html);
    while (data.find()) {
      byte[] bytes = Base64.getDecoder().decode(data.group(1).getBytes(StandardCharsets.US_ASCII));
      assertTrue(ImageIO.read(new ByteArrayInputStream(bytes)).getWidth() > 0);
    }
  }

  @Test
  void hostileNamesAreText() throws Exception {
    Path run = whole(HOSTILE);
    Files.writeString(
        run.resolve("profile.json"),
        "[{\"module\":\"<script>alert(2)</script>\",\"calls\":1,\"seconds\":1,\"bytes\":1}]");
    Files.writeString(run.resolve("environment.json"), "{\"<b>\":\"<script>3</script>\\u0001\"}");
    String html = Report.html(List.of(run));
    Document page = parsed(html);
    assertEquals(0, count(page, "script"));
    assertFalse(html.contains("<script"), "escaped");
    String text = page.getDocumentElement().getTextContent();
    assertTrue(text.contains(HOSTILE), "and shown as it is");
    assertTrue(text.contains("<script>alert(2)</script>"), text);
  }

  @Test
  void damagedPartsAreNamedAndTheRestIsShown() throws Exception {
    Path run = whole("x");
    List<String> lines = Files.readAllLines(run.resolve("metrics.jsonl"));
    lines.set(9, "{\"step\":10,\"lo");
    lines.set(19, "[1, 2]");
    lines.set(29, "{\"step\":30,\"loss\":\"NaN\"}");
    Files.writeString(run.resolve("metrics.jsonl"), String.join("\n", lines) + "\n{\"st");
    Files.writeString(run.resolve("profile.json"), "[{\"module\"");
    Files.writeString(run.resolve("environment.json"), "no");
    Files.writeString(run.resolve("checkpoint/training/state.json"), "{");
    Files.writeString(run.resolve("checkpoint/training/manifest.json"), "{");
    Files.write(run.resolve("checkpoint/training/weights.safetensors"), new byte[3]);
    Document page = parsed(Report.html(List.of(run)));
    String text = page.getDocumentElement().getTextContent();
    for (String expected :
        List.of(
            "Not everything could be shown",
            "3 lines of metrics.jsonl are damaged and left out: line 10, 20, 205",
            "1 loss is not finite and not drawn, the first at step 30",
            "profile.json is left out",
            "environment.json is left out",
            "the checkpoint is left out",
            "manifest.json is left out",
            "the weights are not counted")) {
      assertTrue(text.contains(expected), () -> expected + " in " + text);
    }
    assertEquals(6, count(page, "svg"));
  }

  @Test
  void whatIsMissingIsLeftOut() throws Exception {
    Path run = Files.createDirectories(folder.resolve("old"));
    Files.writeString(
        run.resolve("loss.csv"),
        "step,loss,learning_rate,seconds\n1,0.5,1e-3,0.1\n2,0.4,1e-3,0.2\n");
    Document page = parsed(Report.html(List.of(run)));
    assertEquals(2, count(page, "svg"));
    assertEquals(0, count(page, "img"));
    Path empty = Files.createDirectories(folder.resolve("empty"));
    String message =
        assertThrows(IllegalArgumentException.class, () -> Report.write(empty)).getMessage();
    assertTrue(message.contains("is no folder of a run"), message);
    assertThrows(IllegalArgumentException.class, () -> Report.write(folder.resolve("nowhere")));
    assertFalse(Files.exists(empty.resolve("report.html")));
  }

  @Test
  void severalRunsLieOverEachOther() throws Exception {
    Path first = whole("a, b");
    Path second = Files.createDirectories(folder.resolve("second"));
    metrics(second, 100, 2);
    Path file = folder.resolve("both.html");
    Report.write(List.of(first, second), file);
    String html = Files.readString(file);
    Document page = parsed(html);
    assertEquals(6, count(page, "svg"));
    Matcher loss = Pattern.compile("(?s)aria-label=\"Training loss\">(.*?)</svg>").matcher(html);
    assertTrue(loss.find());
    assertTrue(loss.group(1).contains("<path class=\"c0\""), "the first run's");
    assertTrue(loss.group(1).contains("<path class=\"c1\""), "the second run's");
    String text = page.getDocumentElement().getTextContent();
    assertTrue(text.contains("run · second"), text);
    assertTrue(text.contains("Data and model: what differs"), text);
  }

  @Test
  void axesHaveRoundNumbers() {
    assertEquals(List.of(0.0, 500.0, 1000.0), LineChart.nice(0, 1000, 2));
    assertEquals(List.of(0.05, 0.1, 0.2, 0.5), rounded(LineChart.decades(-1.4, -0.2)));
    assertEquals("5e-4", LineChart.label(5e-4));
    assertEquals("2e6", LineChart.label(2e6));
    assertEquals("0.002", LineChart.label(0.002));
    assertEquals("1 h 02 min", Html.duration(3725));
    assertEquals("1.5 KiB", Html.bytes(1536));
    assertEquals("1,115,363", Html.number(1_115_363));
  }

  private static List<Double> rounded(List<Double> values) {
    return values.stream().map(v -> Math.round(v * 1e9) / 1e9).toList();
  }
}
