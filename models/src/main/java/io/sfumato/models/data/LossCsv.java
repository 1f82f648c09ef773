// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * A table of training losses, one line per step: {@code step,loss,learning_rate,seconds}. Each line
 * is written at once, so a table can be read while it grows, and survives the end of the process; a
 * last line that a crash cut short is dropped when the table is opened again.
 */
public final class LossCsv implements AutoCloseable {
  private static final String HEADER = "step,loss,learning_rate,seconds";
  private static final long MAX_BYTES = 1L << 30;

  private final Path file;
  private final FileChannel channel;
  private long lastStep;

  /**
   * One line.
   *
   * @param step number of the optimizer step
   * @param loss the loss; may be NaN or infinite
   * @param learningRate the learning rate
   * @param seconds seconds of training steps so far, this one with them
   */
  public record Row(long step, double loss, double learningRate, double seconds) {}

  private LossCsv(Path file, FileChannel channel, long lastStep) {
    this.file = file;
    this.channel = channel;
    this.lastStep = lastStep;
  }

  /**
   * Opens a table to append to, or creates it (and its folder).
   *
   * @param file the file
   * @return the data set
   * @throws DatasetException if the file is there but is not such a table
   * @throws UncheckedIOException if it cannot be read or written
   */
  public static LossCsv open(Path file) {
    return resume(file, Long.MAX_VALUE);
  }

  /**
   * Opens a table to go on from a checkpoint: lines of {@code nextStep} and later, written by the
   * run that is being repeated, are dropped.
   *
   * @param file the file
   * @param nextStep the first step that is still to be run
   * @return the open table
   * @throws DatasetException if the file is there but is not such a table
   * @throws UncheckedIOException if it cannot be read or written
   */
  public static LossCsv resume(Path file, long nextStep) {
    try {
      Path folder = file.toAbsolutePath().getParent();
      if (folder != null) {
        Files.createDirectories(folder);
      }
      long keep = 0;
      long lastStep = Long.MIN_VALUE;
      if (Files.exists(file) && Files.size(file) > 0) {
        Table table = readTable(file);
        int rows = 0;
        while (rows < table.rows().size() && table.rows().get(rows).step() < nextStep) {
          lastStep = table.rows().get(rows).step();
          rows++;
        }
        keep = table.ends().get(rows);
      }
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      LossCsv csv = new LossCsv(file, channel, lastStep);
      channel.truncate(keep);
      channel.position(keep);
      if (keep == 0) {
        csv.writeLine(HEADER);
      }
      return csv;
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be opened: " + e.getMessage(), e);
    }
  }

  /**
   * Appends a line.
   *
   * @param row the line
   * @throws IllegalArgumentException if the step is not later than the one before
   * @throws UncheckedIOException if the file cannot be written
   */
  public void append(Row row) {
    if (row.step() <= lastStep) {
      throw new IllegalArgumentException(
          file + ": steps must grow; after " + lastStep + " came " + row.step());
    }
    try {
      writeLine(row.step() + "," + row.loss() + "," + row.learningRate() + "," + row.seconds());
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be written: " + e.getMessage(), e);
    }
    lastStep = row.step();
  }

  /**
   * Reads all complete lines of a table.
   *
   * @param file the file
   * @return the lines
   * @throws DatasetException if the file is not such a table
   * @throws UncheckedIOException if it cannot be read
   */
  public static List<Row> read(Path file) {
    try {
      return List.copyOf(readTable(file).rows());
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Closes the file.
   *
   * @throws UncheckedIOException if that fails
   */
  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be closed: " + e.getMessage(), e);
    }
  }

  private void writeLine(String line) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.US_ASCII));
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  /** The rows, and where the header and each row end. */
  private record Table(List<Row> rows, List<Long> ends) {}

  private static Table readTable(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw DatasetException.of(file, "no such file (loss table)");
    }
    if (Files.size(file) > MAX_BYTES) {
      throw DatasetException.at(file, MAX_BYTES, "at most 1 GiB", Files.size(file) + " bytes");
    }
    String text = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    List<Row> rows = new ArrayList<>();
    List<Long> ends = new ArrayList<>();
    int start = 0;
    for (int end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      String line = text.substring(start, end).stripTrailing();
      if (start == 0) {
        if (!line.equals(HEADER)) {
          throw DatasetException.at(file, 0, "the line " + HEADER, quote(line));
        }
      } else {
        Row row = parse(file, start, line);
        if (!rows.isEmpty() && row.step() <= rows.getLast().step()) {
          throw DatasetException.at(
              file, start, "a step after " + rows.getLast().step(), "" + row.step());
        }
        rows.add(row);
      }
      start = end + 1;
      ends.add((long) start);
    }
    if (start == 0) {
      if (HEADER.startsWith(text)) {
        ends.add(0L);
      } else {
        throw DatasetException.at(file, 0, "the line " + HEADER, quote(text));
      }
    }
    return new Table(rows, ends);
  }

  private static Row parse(Path file, long offset, String line) {
    String[] fields = line.split(",", -1);
    try {
      if (fields.length == 4) {
        return new Row(
            Long.parseLong(fields[0]),
            Double.parseDouble(fields[1]),
            Double.parseDouble(fields[2]),
            Double.parseDouble(fields[3]));
      }
    } catch (NumberFormatException e) {
      // Reported below, with the place.
    }
    throw DatasetException.at(file, offset, "four numbers (" + HEADER + ")", quote(line));
  }

  private static String quote(String line) {
    return '"' + (line.length() > 60 ? line.substring(0, 60) + "…" : line) + '"';
  }
}
