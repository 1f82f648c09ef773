// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import io.sfumato.tensor.io.AtomicFile;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/**
 * The report of training runs: one HTML file with everything in it, drawings as SVG and pictures as
 * data. It loads nothing and runs no script. What a run's folder lacks is left out; what is damaged
 * is named at the top.
 */
public final class Report {
  private Report() {}

  /**
   * Writes {@code report.html} into a run's folder.
   *
   * @param folder of a run
   * @return the file
   * @throws IllegalArgumentException if there is nothing of a run in the folder
   * @throws io.sfumato.tensor.io.TensorFileException if the file cannot be written
   */
  public static Path write(Path folder) {
    Path file = folder.resolve("report.html");
    write(List.of(folder), file);
    return file;
  }

  /**
   * Writes a report of one run, or a comparison of several with their curves over each other.
   *
   * @param folders of runs
   * @param file where to
   * @throws IllegalArgumentException if there is nothing of a run in one of them
   * @throws io.sfumato.tensor.io.TensorFileException if the file cannot be written
   */
  public static void write(List<Path> folders, Path file) {
    byte[] page = html(folders).getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(page)));
  }

  /** The page. */
  static String html(List<Path> folders) {
    List<RunData> runs = folders.stream().map(RunData::read).toList();
    String title =
        runs.size() == 1
            ? runs.getFirst().name()
            : String.join(" · ", runs.stream().map(RunData::name).toList());
    Html page = new Html();
    page.raw(
            """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
            <title>\
            """)
        .text(title + " – Sfumato")
        .raw("</title>\n<style>\n")
        .raw(style())
        .raw("</style></head>\n<body>\n");
    new ReportPage(page, runs).write(title);
    return page.raw("</body></html>\n").toString();
  }

  private static String style() {
    try (InputStream in = Report.class.getResourceAsStream("report.css")) {
      if (in == null) {
        throw new IllegalStateException("report.css is missing beside the class");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException("report.css cannot be read", e);
    }
  }
}
