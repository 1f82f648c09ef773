// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.DoubleSupplier;
import java.util.zip.CRC32C;

/**
 * A file of events for TensorBoard: numbers, pictures and histograms by tag and step. Each event is
 * a record of TensorFlow (its length, a checksum of that, the event, a checksum of it), the event
 * itself a message of {@code event.proto} and {@code summary.proto}; both are written here, for
 * they are few and fixed. A file that a killed run left is read up to its last whole record.
 *
 * {@snippet :
 * try (EventFile events = EventFile.open(folder, 0)) {
 *   events.scalar("loss", step, loss);
 * }
 * // tensorboard --logdir folder
 * }
 */
public final class EventFile implements AutoCloseable {
  private final Path file;
  private final FileChannel channel;
  private final DoubleSupplier clock;

  private EventFile(Path file, FileChannel channel, DoubleSupplier clock) {
    this.file = file;
    this.channel = channel;
    this.clock = clock;
  }

  /**
   * Begins a file of its own in a folder, as TensorBoard expects of every start of a run.
   *
   * @param folder made if missing
   * @param firstStep the first step of this file, counted from 1; what earlier files of the folder
   *     hold from it on, of a run that was killed, is not shown
   * @throws UncheckedIOException if it cannot be written
   */
  public static EventFile open(Path folder, long firstStep) {
    double now = System.currentTimeMillis() * 1e-3;
    long pid = ProcessHandle.current().pid();
    Path file = folder.resolve(String.format("events.out.tfevents.%010d.%d", (long) now, pid));
    return open(file, firstStep, () -> System.currentTimeMillis() * 1e-3);
  }

  static EventFile open(Path file, long firstStep, DoubleSupplier clock) {
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      FileChannel channel =
          FileChannel.open(
              file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
      EventFile events = new EventFile(file, channel, clock);
      events.write(new Message().number(1, clock.getAsDouble()).text(3, "brain.Event:2"));
      if (firstStep > 1) {
        Message start = new Message().integer(1, 1); // SessionLog.START
        events.write(events.event(firstStep).message(7, start));
      }
      return events;
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be written: " + e.getMessage(), e);
    }
  }

  /** Writes a number. */
  public void scalar(String tag, long step, double value) {
    summary(step, new Message().text(1, tag).real(2, (float) value));
  }

  /**
   * Writes a picture.
   *
   * @param png an encoded PNG
   * @param channels 1 for grey, 3 for RGB
   */
  public void image(String tag, long step, int height, int width, int channels, byte[] png) {
    Message image =
        new Message().integer(1, height).integer(2, width).integer(3, channels).bytes(4, png);
    summary(step, new Message().text(1, tag).message(4, image));
  }

  /**
   * Writes a picture that lies in a file.
   *
   * @param png a PNG file
   * @throws UncheckedIOException if it cannot be read, or is no PNG
   */
  public void image(String tag, long step, Path png) {
    byte[] bytes;
    try {
      bytes = Files.readAllBytes(png);
    } catch (IOException e) {
      throw new UncheckedIOException(png + ": cannot be read: " + e.getMessage(), e);
    }
    if (bytes.length < 33 || bytes[1] != 'P' || bytes[2] != 'N' || bytes[3] != 'G') {
      throw new UncheckedIOException(new IOException(png + ": is no PNG"));
    }
    // The header of a PNG comes first: width, height, bits, and whether there are colours.
    ByteBuffer header = ByteBuffer.wrap(bytes);
    int colours =
        switch (bytes[25]) {
          case 0 -> 1;
          case 4 -> 2;
          case 6 -> 4;
          default -> 3;
        };
    image(tag, step, header.getInt(20), header.getInt(16), colours, bytes);
  }

  /**
   * Writes how values are distributed, in 30 buckets of equal width.
   *
   * @param values some; those that are not finite are left out
   */
  public void histogram(String tag, long step, double[] values) {
    final int buckets = 30;
    double least = Double.POSITIVE_INFINITY;
    double largest = Double.NEGATIVE_INFINITY;
    double sum = 0;
    double squares = 0;
    long count = 0;
    for (double value : values) {
      if (Double.isFinite(value)) {
        least = Math.min(least, value);
        largest = Math.max(largest, value);
        sum += value;
        squares += value * value;
        count++;
      }
    }
    if (count == 0) {
      return;
    }
    double width = largest > least ? (largest - least) / buckets : 1;
    double[] limits = new double[buckets];
    double[] counts = new double[buckets];
    for (int i = 0; i < buckets; i++) {
      limits[i] = least + (i + 1) * width;
    }
    limits[buckets - 1] = largest > least ? largest : least + buckets;
    for (double value : values) {
      if (Double.isFinite(value)) {
        counts[Math.clamp((long) ((value - least) / width), 0, buckets - 1)]++;
      }
    }
    Message histogram =
        new Message()
            .number(1, least)
            .number(2, largest)
            .number(3, count)
            .number(4, sum)
            .number(5, squares)
            .numbers(6, limits)
            .numbers(7, counts);
    summary(step, new Message().text(1, tag).message(5, histogram));
  }

  private Message event(long step) {
    return new Message().number(1, clock.getAsDouble()).integer(2, step);
  }

  private void summary(long step, Message value) {
    write(event(step).message(5, new Message().message(1, value)));
  }

  private void write(Message event) {
    byte[] data = event.toBytes();
    ByteBuffer record = ByteBuffer.allocate(16 + data.length).order(ByteOrder.LITTLE_ENDIAN);
    record.putLong(data.length);
    record.putInt(checksum(record.array(), 0, 8));
    record.put(data);
    record.putInt(checksum(data, 0, data.length));
    record.flip();
    try {
      while (record.hasRemaining()) {
        channel.write(record);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be written: " + e.getMessage(), e);
    }
  }

  /** TensorFlow's masked CRC-32C. */
  private static int checksum(byte[] bytes, int from, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, from, length);
    int value = (int) crc.getValue();
    return Integer.rotateRight(value, 15) + 0xa282ead8;
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be closed", e);
    }
  }

  /** A message in the wire format of protocol buffers; zeros are left out, as proto3 has it. */
  private static final class Message {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int LENGTH = 2;
    private static final int FIXED32 = 5;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    private void key(int field, int type) {
      varint((long) field << 3 | type);
    }

    private void varint(long value) {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        out.write((int) (rest & 0x7f | 0x80));
        rest >>>= 7;
      }
      out.write((int) rest);
    }

    private static byte[] littleEndian(double... values) {
      ByteBuffer buffer = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
      for (double value : values) {
        buffer.putDouble(value);
      }
      return buffer.array();
    }

    Message number(int field, double value) {
      if (Double.doubleToRawLongBits(value) != 0) {
        key(field, FIXED64);
        out.writeBytes(littleEndian(value));
      }
      return this;
    }

    /** A float that is one of several alternatives: its zero is written. */
    Message real(int field, float value) {
      key(field, FIXED32);
      out.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
      return this;
    }

    Message integer(int field, long value) {
      if (value != 0) {
        key(field, VARINT);
        varint(value);
      }
      return this;
    }

    Message numbers(int field, double[] values) {
      return bytes(field, littleEndian(values));
    }

    Message text(int field, String value) {
      return bytes(field, value.getBytes(StandardCharsets.UTF_8));
    }

    Message message(int field, Message value) {
      return bytes(field, value.toBytes());
    }

    Message bytes(int field, byte[] value) {
      key(field, LENGTH);
      varint(value.length);
      out.writeBytes(value);
      return this;
    }

    byte[] toBytes() {
      return out.toByteArray();
    }
  }
}
